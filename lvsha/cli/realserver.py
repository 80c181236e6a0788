"""``lvsha realserver``: prepare a realserver, prove that it is ready, take it back."""

import argparse
import json
import sys
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from lvsha.config.settings import Settings
from lvsha.core.errors import ConfigErrors, LvshaError
from lvsha.realserver.plan import Plan, Step

SUMMARY = "prepare a realserver for DR, tunnels or NAT, and prove that it is ready"

_FORMS = ("commands", "interfaces", "sysctl", "networkd")


def _parser() -> argparse.ArgumentParser:
    from lvsha.cli.config_file import DEFAULT_FILE

    parser = argparse.ArgumentParser(
        prog="lvsha realserver",
        description="Run it on a realserver, with the directors' configuration file: that says which services"
        " this machine does the work of, by its addresses.",
        epilog="example: lvsha realserver plan lvsha.toml && lvsha realserver apply --yes lvsha.toml",
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="plan|apply|check|undo")

    def verb(name: str, text: str, example: str) -> argparse.ArgumentParser:
        made = verbs.add_parser(name, help=text, description=text, epilog=f"example: {example}")
        made.add_argument("--json", action="store_true", help="for programs")
        made.add_argument(
            "--state", type=Path, help="what was applied (default: /var/lib/lvsha/realserver.json)"
        )
        if name != "undo":
            made.add_argument("file", nargs="?", default=DEFAULT_FILE, help=f"default: {DEFAULT_FILE}")
        return made

    plan = verb("plan", "Show what would be changed, and why.", "lvsha realserver plan lvsha.toml")
    plan.add_argument(
        "--as", dest="form", choices=_FORMS, default="commands", help="as lines for another set-up tool"
    )
    apply = verb("apply", "Show the plan, then make it so.", "lvsha realserver apply --yes lvsha.toml")
    apply.add_argument("--yes", action="store_true", help="do not ask")
    check = verb(
        "check",
        "Say whether this machine is ready, by its settings and by packets. On any other machine of the"
        " network,"
        " --arp INTERFACE asks who answers for the virtual addresses.",
        "lvsha realserver check lvsha.toml",
    )
    check.add_argument("--arp", metavar="INTERFACE", help="only ask there who has the virtual addresses")
    verb("undo", "Take back everything that apply did.", "lvsha realserver undo")
    return parser


def main(argv: list[str]) -> int:
    arguments = _parser().parse_args(argv)
    try:
        if arguments.verb == "undo":
            return _undo(arguments)
        return {"plan": _plan, "apply": _apply, "check": _check}[arguments.verb](arguments)
    except ConfigErrors as refusal:
        for problem in refusal.problems:
            print(f"{refusal.source}:{problem.line}: {problem.path}: {problem.message}", file=sys.stderr)
        return 1
    except LvshaError as error:
        print(f"lvsha realserver: {error}", file=sys.stderr)
        return 1


def _settings(name: str) -> Settings:
    """Of any director: what concerns realservers is the same for all."""
    import tomllib

    from lvsha.cli.config_file import read
    from lvsha.config.load import STANDALONE, loads

    text = read(name)
    try:
        directors = tomllib.loads(text).get("directors")
    except tomllib.TOMLDecodeError:
        directors = None  # `loads` says what is wrong
    node = next(iter(directors), STANDALONE) if isinstance(directors, dict) else STANDALONE
    return loads(text, name, node)


def _made(arguments: argparse.Namespace) -> tuple[Plan, Any]:
    from lvsha.realserver.apply import look
    from lvsha.realserver.plan import make_plan

    machine = look()
    plan = make_plan(_settings(arguments.file), machine)
    if not plan.roles:
        raise LvshaError(
            f"{arguments.file} names no realserver with an address of this machine"
            f" ({', '.join(sorted(map(str, machine.addresses)))})"
        )
    return plan, machine


def _plan(arguments: argparse.Namespace) -> int:
    from lvsha.realserver import plan as planning

    plan, _ = _made(arguments)
    if arguments.json:
        print(json.dumps(_as_json(plan), indent=2))
    elif arguments.form == "commands":
        _show(plan)
    else:
        text = {
            "interfaces": planning.as_interfaces,
            "sysctl": planning.as_sysctl,
            "networkd": planning.as_networkd,
        }[arguments.form](plan)
        print(text, end="")
    return 0


def _show(plan: Plan) -> None:
    for role in plan.roles:
        where = f"{role.address} port {role.port}" if role.port else str(role.address)
        print(f"# {role.service}: {where}, by {role.destination.method.name}, at {role.own_address}")
    for step in plan.steps:
        mark = "# done: " if step.is_done else ""
        print(f"{mark}{' '.join(step.command)}    # {step.reason}")
    for note in plan.notes:
        print(f"# note: {note}")


def _as_json(plan: Plan) -> dict[str, Any]:
    return {
        "services": sorted({role.service for role in plan.roles}),
        "steps": [_step_json(step) for step in plan.steps],
        "notes": list(plan.notes),
    }


def _step_json(step: Step) -> dict[str, Any]:
    return {
        "kind": step.kind.value,
        "what": step.what,
        "command": list(step.command),
        "undo": None if step.undo is None else list(step.undo),
        "reason": step.reason,
        "done": step.is_done,
    }


def _apply(arguments: argparse.Namespace) -> int:
    from lvsha.realserver.apply import STATE, apply, cuts_session

    plan, machine = _made(arguments)
    if step := cuts_session(plan, machine):
        raise LvshaError(
            f"`{' '.join(step.command)}` would cut your ssh session from {_client()}: run it on the console"
        )
    if not arguments.json:
        _show(plan)
    if not arguments.yes:
        if not sys.stdin.isatty():
            raise LvshaError("nobody to ask: say --yes, or look at `lvsha realserver plan` first")
        if input("apply? [y/N] ").strip().lower() not in ("y", "yes"):
            return 1
    done = apply(plan, arguments.state or STATE)
    if arguments.json:
        print(json.dumps({"applied": [_step_json(step) for step in done]}, indent=2))
    else:
        print(f"{len(done)} steps applied; `lvsha realserver undo` takes them back, `check` proves them")
    return 0


def _client() -> str:
    import os

    return os.environ.get("SSH_CONNECTION", "?").split()[0]


def _check(arguments: argparse.Namespace) -> int:
    from lvsha.realserver.prove import Finding, listens, only_one_answers

    findings: list[Finding] = []
    if arguments.arp is not None:
        mac = _mac(arguments.arp)
        settings = _settings(arguments.file)
        addresses = {service.service.key.address for service in settings.services}
        for address in sorted(each for each in addresses if isinstance(each, IPv4Address)):
            findings.append(only_one_answers(arguments.arp, mac, address))
    else:
        plan, _ = _made(arguments)
        findings += [
            Finding(
                ok=step.is_done,
                what=step.what,
                evidence="so it is" if step.is_done else "not so",
                remedy="" if step.is_done else "lvsha realserver apply",
            )
            for step in plan.steps
            if step.kind.value in ("sysctl", "address", "route")
        ]
        seen = {
            (role.address, role.port)
            for role in plan.roles
            if role.port and role.destination.method.name != "MASQ"
        }
        findings += [listens(address, port) for address, port in sorted(seen, key=str)]
    is_ready = all(finding.ok for finding in findings)
    if arguments.json:
        keys = ("ok", "what", "evidence", "remedy")
        found = [{key: getattr(finding, key) for key in keys} for finding in findings]
        print(json.dumps({"ok": is_ready, "findings": found}, indent=2))
    else:
        for finding in findings:
            remedy = f"; {finding.remedy}" if finding.remedy else ""
            print(f"{'ok ' if finding.ok else 'BAD'} {finding.what}: {finding.evidence}{remedy}")
    return 0 if is_ready else 1


def _mac(interface: str) -> bytes:
    from lvsha.io.rtnl import RouteSocket

    with RouteSocket() as routes:
        return routes.link(interface).mac


def _undo(arguments: argparse.Namespace) -> int:
    from lvsha.realserver.apply import STATE, undo

    steps, failures = undo(arguments.state or STATE)
    for failure in failures:
        print(f"lvsha realserver: {failure}", file=sys.stderr)
    if arguments.json:
        print(json.dumps({"undone": [_step_json(step) for step in steps], "failures": failures}, indent=2))
    else:
        print(f"{len(steps)} steps taken back" if steps else "nothing was applied here")
    return 1 if failures else 0
