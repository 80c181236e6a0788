"""``lvsha status``: one screen that answers "is all well?"."""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from typing import Any, NoReturn

from lvsha.cli.client import Agent, AgentUnreachable, add_agent_options, ask_status
from lvsha.cli.parser import Parser
from lvsha.cli.words import clock, span

SUMMARY = "show what a director does and whether all is well"

Json = dict[str, Any]

_LOST_SHOWN = 5

_CLEAR = "\x1b[H\x1b[2J"
"""To the top left, and everything gone: ECMA-48's CUP and ED."""


def ago(age_s: float | None) -> str:
    """A span; a dash for never."""
    return span(age_s, unknown="-")


def _table(rows: Sequence[tuple[str, ...]], indent: str = "  ") -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        (indent + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))).rstrip()
        for row in rows
    ]


def _routers(vrrp: Json, peers: Sequence[Json]) -> list[str]:
    names = {peer["address"]: peer["name"] for peer in peers}
    rows = [("VIRTUAL ROUTER", "STATE", "SINCE", "PRIORITY", "MASTER", "ADDRESSES")]
    for router in vrrp["routers"]:
        addresses = router["addresses"]
        shown = ", ".join(addresses[:3]) + (f" and {len(addresses) - 3} more" if len(addresses) > 3 else "")
        heard = router.get("master")
        master = "this one" if router["state"] == "MASTER" else names.get(heard, heard) or "-"
        state = router["state"] if vrrp["connected"] else f"was {router['state']}"
        rows.append((router["name"], state, ago(router["since_s"]), str(router["priority"]), master, shown))
    return _table(rows)


def _service(service: Json) -> list[str]:
    flags = []
    if not service["in_kernel"]:
        flags.append("NOT IN KERNEL")
    if not service["quorum_met"]:
        flags.append("QUORUM LOST")
    if service["sorry_active"]:
        flags.append("sorry server active")
    head = f"{service['service']} {service['scheduler']}  ({service['name']})"
    lines = ["  " + "  ".join([head, *flags])]
    rows = [("REALSERVER", "STATE", "SINCE", "WEIGHT", "ACTIVE", "INACTIVE", "LAST CHECK")]
    for destination in service["destinations"]:
        check = destination["last_check"]
        if check is None:
            said = "none yet" if destination["check"] else "not checked"
        elif check["ok"]:
            said = f"ok in {check['took_ms']:.1f} ms, {ago(check['ago_s'])} ago"
        else:
            whose = " (our side)" if check["ours"] else ""
            said = f"{check['reason']}{whose}: {check['detail']}, {ago(check['ago_s'])} ago"
        if orders := destination.get("orders"):
            said = f"{_orders(destination, orders)}; {said}"
        weight = destination["kernel_weight"]
        shown = "-" if weight is None else str(weight)
        if weight is not None and weight != destination["configured_weight"]:
            shown += f" (of {destination['configured_weight']})"
        rows.append(
            (
                destination["name"],
                destination["state"],
                ago(destination["since_s"]),
                shown,
                str(destination["active_connections"]),
                str(destination["inactive_connections"]),
                said,
            )
        )
    return lines + _table(rows, indent="    ")


def _orders(destination: Json, orders: Sequence[str]) -> str:
    """What an operator ordered of it: ``draining: 12 left, about 3 min``."""
    words = [order for order in orders if order != "drain"]
    if drain := destination["drain"]:
        if drain["phase"] == "draining":
            words.insert(0, f"draining: {drain['connections']} left, about {span(drain['eta_s'])}")
        else:
            words.insert(0, drain["phase"])
    return ", ".join(words)


def _overrides(overrides: Sequence[Json]) -> list[str]:
    lines = []
    for each in overrides:
        weight = f" {each['weight']}" if each["weight"] is not None else ""
        until = f" until {clock(each['expires_at'])}" if each["expires_at"] is not None else ""
        why = f": {each['reason']}" if each["reason"] else ""
        since = clock(each["set_at"])
        who = (each["owner"] or "?") + (f" on {each['node']}" if each.get("node") else "")
        lines.append(f"  {each['kind']}{weight} {each['target']} by {who} at {since}{until}{why}")
    return lines


def _relay(relay: Json) -> list[str]:
    """What the other directors hold of our connections, and whether an address may be taken back."""
    lines = []
    for peer in relay["peers"]:
        if not peer["connected"]:
            says = f"is not connected: {relay['connections']} connections would be lost now"
        elif peer["missing"]:
            says = f"lacks {peer['missing']} of {relay['connections']} connections"
        else:
            says = f"has all {relay['connections']} connections"
        lines.append(f"  relay: {peer['name']} {says}")
    if relay.get("would_lose_by_service"):
        of = ", ".join(f"{count} of {name}" for name, count in relay["would_lose_by_service"].items())
        more = "" if relay["would_lose_counted"] == relay["would_lose"] else " or more"
        lines.append(f"  relay: would be lost now: {of}{more}")
        shown = relay["would_lose_connections"][:_LOST_SHOWN]
        lines += [f"    {each}" for each in shown]
        if relay["would_lose"] > len(shown):
            lines.append(f"    ... and {relay['would_lose'] - len(shown)} more: --json has up to 20")
    if not relay["gate"]["open"]:
        lines.append(f"  relay: no address is taken back yet: {relay['gate']['reason']}")
    return lines


def render(status: Json) -> str:
    """The screen."""
    verdict = "all is well" if status["ok"] else f"{len(status['problems'])} to look at"
    peers = ", ".join(peer["name"] for peer in status["peers"]) or "none"
    generation = status.get("config", {}).get("generation")
    config = f", configuration {generation}" if generation else ""
    config += "".join(
        f" ({peer['name']}: {peer['generation'] if not peer['same_config'] else 'the same'})"
        for peer in status["peers"]
        if peer.get("generation")
    )
    lines = [f"director {status['node']}: {verdict}   (up {ago(status['uptime_s'])}, peers: {peers}{config})"]
    lines += [f"  ! {problem}" for problem in status["problems"]]
    if trial := status.get("config", {}).get("trial"):
        lines.append(
            f"  configuration {trial['generation']} is on trial until {clock(trial['until'])}: "
            "`lvsha config confirm` or `lvsha config rollback`"
        )
    if status["vrrp"]["expected"]:
        lines += ["", *_routers(status["vrrp"], status["peers"])]
    sync = status["sync"]
    if sync["expected"]:
        running = ", ".join(
            f"{daemon['role']} on {daemon['interface']} (maxlen {daemon['maxlen']})"
            for daemon in sync["daemons"]
        )
        lines += ["", f"  connection sync, syncid {sync['syncid']}: {running or 'NOT RUNNING'}"]
        if relay := sync.get("relay"):
            lines += _relay(relay)
    for service in status["services"]:
        lines += ["", *_service(service)]
    if overrides := status.get("overrides"):
        lines += ["", "  ordered:", *_overrides(overrides)]
    if planned := status.get("switchover_at"):
        lines += ["", f"  a switchover is planned for {clock(planned)}"]
    foreign = status["foreign_services"]
    if foreign:
        lines += [
            "",
            f"  not ours, left alone: {', '.join(foreign[:5])}" + (" ..." if len(foreign) > 5 else ""),
        ]
    return "\n".join(lines)


_CHECK_KEYS = ("check_id", "check", "state", "since_s", "last_check")


def distinct_checks(status: Json) -> list[Json]:
    """Each check that runs, with the realservers of all services that follow it: one check of a target
    is made once, however many services ask for it."""
    found: dict[str, Json] = {}
    for service in status["services"]:
        for row in service["destinations"]:
            for check in row.get("checks") or [row]:
                if check.get("check_id") is None:
                    continue
                known = found.setdefault(
                    check["check_id"],
                    {
                        **{key: check[key] for key in _CHECK_KEYS},
                        "followers": [],
                    },
                )
                known["followers"].append(f"{service['name']}/{row['name']}")
    return list(found.values())


def render_checks(checks: Sequence[Json]) -> str:
    """One line a check."""
    rows = [("CHECK", "STATE", "SINCE", "FOLLOWERS", "LAST RESULT", "FOLLOWED BY")]
    for check in checks:
        last, followers = check["last_check"], check["followers"]
        if last is None:
            said = "none yet"
        elif last["ok"]:
            said = f"ok in {last['took_ms']:.1f} ms"
        else:
            said = f"{last['reason']}{' (our side)' if last['ours'] else ''}: {last['detail'][:60]}"
        more = f" and {len(followers) - 3} more" if len(followers) > 3 else ""
        shown = ", ".join(followers[:3]) + more
        rows.append((check["check"], check["state"], ago(check["since_s"]), str(len(followers)), said, shown))
    configured = sum(len(check["followers"]) for check in checks)
    lines = [f"{len(checks)} checks run for {configured} that are configured", "", *_table(rows)]
    return "\n".join(lines)


def main(argv: list[str]) -> int:
    parser = Parser(
        prog="lvsha status",
        description="What this director does. Exit 0: all is well; 1: something to look at, or no agent.",
        epilog="example: lvsha status --watch",
    )
    parser.add_argument("--json", action="store_true", help="the whole status as one JSON object")
    parser.add_argument(
        "--checks", action="store_true", help="each check that runs, once, and who follows its verdict"
    )
    parser.add_argument("--watch", action="store_true", help="refresh until interrupted")
    parser.add_argument("--interval", type=float, default=1.0, metavar="S", help="of --watch, seconds (1)")
    add_agent_options(parser)
    arguments = parser.parse_args(argv)
    if arguments.watch:
        return _watch(arguments)
    try:
        status = ask_status(Agent.of(arguments))
    except AgentUnreachable as error:
        print(f"lvsha status: {error}", file=sys.stderr)
        return 1
    if arguments.checks:
        checks = distinct_checks(status)
        print(json.dumps({"checks": checks}) if arguments.json else render_checks(checks))
    else:
        print(json.dumps(status) if arguments.json else render(status))
    return 0 if status["ok"] else 1


def _watch(arguments: argparse.Namespace) -> NoReturn:
    """Until interrupted; an agent that is away may come back."""
    while True:
        try:
            status = ask_status(Agent.of(arguments))
        except AgentUnreachable as error:
            status = {"ok": False, "problems": [str(error)]}
            text = f"lvsha status: {error}"
        else:
            text = render(status)
        print(json.dumps(status) if arguments.json else f"{_CLEAR}{text}", flush=True)
        time.sleep(max(0.1, arguments.interval))
