"""``lvsha realserver``: prepare a realserver, prove that it is ready, take it back."""

import argparse
import json
import shlex
import sys
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from lvsha.cli.parser import Parser
from lvsha.config.settings import Settings
from lvsha.core.errors import ConfigErrors, LvshaError
from lvsha.ipvs.model import ForwardingMethod
from lvsha.realserver.model import Machine, Plan, Step

SUMMARY = "prepare a realserver for DR, tunnels or NAT, and prove that it is ready"

_FORMS = ("commands", "interfaces", "sysctl", "networkd")


def _parser() -> argparse.ArgumentParser:
    from lvsha.cli.config_file import DEFAULT_FILE

    parser = Parser(
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
            "--state", type=Path, help="what was applied (default: /run/lvsha-realserver/applied.json)"
        )
        if name != "undo":
            made.add_argument("file", nargs="?", default=DEFAULT_FILE, help=f"default: {DEFAULT_FILE}")
            made.add_argument(
                "--role",
                choices=("realserver", "director"),
                default="realserver",
                help="what this machine is; a director forwards, filters loosely, sends no redirects and"
                " masquerades what realservers of NAT ask for (default: realserver)",
            )
            made.add_argument(
                "--no-masquerade", action="store_true", help="of a director: leave that to somebody else"
            )
        return made

    plan = verb("plan", "Show what would be changed, and why.", "lvsha realserver plan lvsha.toml")
    plan.add_argument(
        "--as", dest="form", choices=_FORMS, default="commands", help="as lines for another set-up tool"
    )
    apply = verb("apply", "Show the plan, then make it so.", "lvsha realserver apply --yes lvsha.toml")
    apply.add_argument("--yes", action="store_true", help="do not ask")
    check = verb(
        "check",
        "Say whether this machine is ready, by its settings and by packets. On a director (--role director)"
        " each realserver gets a packet as IPVS would send it and has to answer from the virtual address; the"
        " table is not touched. On any other machine of the network, --arp INTERFACE asks who answers for the"
        " virtual addresses.",
        "lvsha realserver check lvsha.toml",
    )
    check.add_argument(
        "--arp", metavar="INTERFACE", help="only ask there who has the virtual addresses, by ARP or IPv6"
    )
    check.add_argument(
        "--client",
        type=ip_address,
        metavar="ADDRESS",
        help="a client of NAT: prove that answers to it pass the director (a datagram with TTL 1)",
    )
    verb("undo", "Take back everything that apply did.", "lvsha realserver undo")
    return parser


def main(argv: list[str]) -> int:
    arguments = _parser().parse_args(argv)
    try:
        if arguments.verb == "undo":
            return _undo(arguments)
        return {"plan": _plan, "apply": _apply, "check": _check}[arguments.verb](arguments)
    except ConfigErrors as refusal:
        from lvsha.cli.config_file import problem_lines

        print(*problem_lines(refusal.source, refusal.problems), sep="\n", file=sys.stderr)
        return 1
    except LvshaError as error:
        print(f"lvsha realserver: {error}", file=sys.stderr)
        return 1


def _settings(name: str) -> Settings:
    """Of any director: what concerns realservers is the same for all."""
    from lvsha.cli.config_file import load_for_any

    return load_for_any(name)


def _made(arguments: argparse.Namespace) -> tuple[Plan, Machine]:
    from lvsha.realserver.apply import look
    from lvsha.realserver.director import make_director_plan
    from lvsha.realserver.plan import make_plan

    settings = _settings(arguments.file)
    methods = {each.destination.method for service in settings.services for each in service.realservers}
    machine = look(with_nft=methods != {ForwardingMethod.DROUTE})
    if arguments.role == "director":
        return make_director_plan(settings, machine, masquerades=not arguments.no_masquerade), machine
    plan = make_plan(settings, machine)
    if not plan.roles:
        raise LvshaError(
            f"{arguments.file} names no realserver with an address of this machine"
            f" ({', '.join(sorted(map(str, machine.addresses)))})"
        )
    return plan, machine


def _plan(arguments: argparse.Namespace) -> int:
    from lvsha.realserver import text

    plan, _ = _made(arguments)
    if arguments.json:
        print(json.dumps(_as_json(plan), indent=2))
    elif arguments.form == "commands":
        _show(plan)
    else:
        lines = {
            "interfaces": text.as_interfaces,
            "sysctl": text.as_sysctl,
            "networkd": text.as_networkd,
        }[arguments.form](plan)
        print(lines, end="")
    return 0


def _show(plan: Plan) -> None:
    for role in plan.roles:
        where = f"{role.address} port {role.port}" if role.port else str(role.address)
        print(f"# {role.service}: {where}, by {role.destination.method.name}, at {role.own_address}")
    for step in plan.steps:
        mark = "# done: " if step.is_done else ""
        print(f"{mark}{shlex.join(step.command)}    # {step.reason}")
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
    from lvsha.realserver.apply import STATE, apply, cuts_session, own_session

    plan, machine = _made(arguments)
    session = own_session()
    if step := cuts_session(plan.steps, machine, session):
        raise LvshaError(_would_cut(step.command, session))
    if not arguments.json:
        _show(plan)
    if not arguments.yes:
        if not sys.stdin.isatty():
            raise LvshaError("nobody to ask: say --yes, or look at `lvsha realserver plan` first")
        if input("apply? [y/N] ").strip().lower() not in ("y", "yes"):
            return 1
    done = apply(plan.steps, arguments.state or STATE)
    if arguments.json:
        print(json.dumps({"applied": [_step_json(step) for step in done]}, indent=2))
    else:
        print(f"{len(done)} steps applied; `lvsha realserver undo` takes them back, `check` proves them")
    return 0


def _would_cut(command: tuple[str, ...], session: str) -> str:
    client = session.split()[0]
    return f"`{shlex.join(command)}` would cut your ssh session from {client}: run it on the console"


def _check(arguments: argparse.Namespace) -> int:
    from lvsha.realserver.prove import Finding, goes_through_director, only_one_answers, services
    from lvsha.realserver.prove_path import from_director

    findings: list[Finding] = []
    if arguments.arp is not None:
        settings = _settings(arguments.file)
        addresses = {address for each in settings.services if (address := each.service.key.address)}
        for address in sorted(addresses, key=lambda address: (address.version, address)):
            findings.append(only_one_answers(arguments.arp, address))
    else:
        plan, machine = _made(arguments)
        findings += [
            Finding(
                ok=step.is_done,
                what=step.what,
                evidence="so it is" if step.is_done else "not so",
                remedy="" if step.is_done else "lvsha realserver apply",
            )
            for step in plan.steps
            if step.kind.value != "module"
        ]
        findings += (
            from_director(plan.roles, machine) if arguments.role == "director" else services(plan.roles)
        )
        if arguments.client is not None:
            findings.append(goes_through_director(arguments.client))
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


def _undo(arguments: argparse.Namespace) -> int:
    from lvsha.realserver.apply import STATE, applied, look, own_session, undo, undo_cuts_session

    if session := own_session():
        steps = applied(arguments.state or STATE)
        if (step := undo_cuts_session(steps, look(), session)) and step.undo is not None:
            raise LvshaError(_would_cut(step.undo, session))
    steps, failures = undo(arguments.state or STATE)
    for failure in failures:
        print(f"lvsha realserver: {failure}", file=sys.stderr)
    if arguments.json:
        print(json.dumps({"undone": [_step_json(step) for step in steps], "failures": failures}, indent=2))
    else:
        print(f"{len(steps)} steps taken back" if steps else "nothing was applied here")
    return 1 if failures else 0
