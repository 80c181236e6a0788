"""``lvsha drain | undrain | weight | disable | enable | maintenance | pause``: orders to a director."""

import argparse
import json
import sys
import time
from collections.abc import Callable
from typing import Any

from lvsha.cli.client import (
    ROLE_S,
    Agent,
    AgentRefused,
    AgentUnreachable,
    add_agent_options,
    owner,
    say_refusal,
)
from lvsha.cli.parser import Parser
from lvsha.cli.words import clock, duration, span

SUMMARY = "order something about a realserver, a service or this director"

Json = dict[str, Any]

_TARGET = "a realserver (name, address, address:port; in every service), a service, or SERVICE/REALSERVER"
_LOOK_S = 1.0


def _order(parser: argparse.ArgumentParser, *, ends: bool = True) -> None:
    parser.add_argument("--reason", default="", help="shown wherever the order is")
    parser.add_argument("--owner", default="", help="on whose behalf; default: you")
    if ends:
        parser.add_argument(
            "--expires", type=duration, metavar="TIME", help="ends by itself after 90s, 10m, 2h"
        )


def _drain(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("target", help=_TARGET)
    parser.add_argument(
        "--deadline",
        type=duration,
        metavar="TIME",
        help="cut off what is left after 90s, 10m, 2h; default: never",
    )
    parser.add_argument("--wait", action="store_true", help="show what is left until it is over")
    _order(parser)


def _target(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("target", help=_TARGET)
    _order(parser)


def _undo(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("target", help=_TARGET)
    _order(parser, ends=False)


def _weight_value(text: str) -> int | None:
    if text in ("default", "configured"):
        return None
    if text.isascii() and text.isdigit() and int(text) <= 65535:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not 0-65535, or `default` for the configured one")


def _weight(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("target", help=_TARGET)
    parser.add_argument("weight", type=_weight_value, help="0-65535, or `default` for the configured one")
    _order(parser)


def _maintenance(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("state", choices=("on", "off"))
    parser.add_argument("target", nargs="?", help=f"{_TARGET}; left out: this director")
    _order(parser)


def _pause(parser: argparse.ArgumentParser) -> None:
    _order(parser)


_VERBS: dict[str, tuple[str, Callable[[argparse.ArgumentParser], None], str]] = {
    "drain": (
        "Give a realserver or a service no new connections, not from persistent clients either; take it out "
        "of the table when the old ones have ended, or at the deadline.",
        _drain,
        "lvsha drain 10.0.0.11 --deadline 10m --reason 'new disk' --wait",
    ),
    "undrain": ("Take a drain back.", _undo, "lvsha undrain 10.0.0.11"),
    "weight": (
        "Put another weight in the configured one's place.",
        _weight,
        "lvsha weight web/10.0.0.11 50 --expires 1h",
    ),
    "disable": (
        "Give a realserver or a service no new connections until `lvsha enable`; the old ones go on.",
        _target,
        "lvsha disable web/10.0.0.11:80 --reason 'bad release'",
    ),
    "enable": ("Take a `lvsha disable` back.", _undo, "lvsha enable web/10.0.0.11:80"),
    "maintenance": (
        "A realserver or service gets no new connections and is no problem; a director (no target) hands its "
        "addresses over and takes no part in VRRP, also after a restart.",
        _maintenance,
        "lvsha maintenance on --reason 'kernel update' && reboot",
    ),
    "pause": (
        "Hand the addresses over and take no part in VRRP until `lvsha resume`, also after a restart.",
        _pause,
        "lvsha pause --reason 'looking at the switch'",
    ),
}


def main(verb: str, argv: list[str]) -> int:
    description, arguments_of, example = _VERBS[verb]
    parser = Parser(
        prog=f"lvsha {verb}",
        description=f"{description} Exit 0: ordered; 1: refused, or no agent.",
        epilog=f"example: {example}",
    )
    arguments_of(parser)
    parser.add_argument("--json", action="store_true", help="the answer as one JSON object")
    add_agent_options(parser)
    arguments = parser.parse_args(argv)
    agent = Agent.of(arguments)
    try:
        answer = agent.ask("POST", f"/v1/{verb}", body=_body(verb, arguments), timeout_s=ROLE_S)
        if verb == "drain" and arguments.wait:
            meant = {(row["service"], row["name"]) for row in answer["destinations"]}
            return _wait(agent, meant, as_json=arguments.json)
    except AgentRefused as refusal:
        say_refusal(verb, refusal, as_json=arguments.json)
        return 1
    except AgentUnreachable as error:
        print(f"lvsha {verb}: {error}", file=sys.stderr)
        return 1
    print(json.dumps(answer) if arguments.json else _text(verb, answer))
    return 0


def _body(verb: str, arguments: argparse.Namespace) -> Json:
    body: Json = {"reason": arguments.reason, "owner": arguments.owner or owner()}
    if getattr(arguments, "target", None) is not None:
        body["target"] = arguments.target
    if getattr(arguments, "expires", None) is not None:
        body["expires_s"] = arguments.expires
    if verb == "drain" and arguments.deadline is not None:
        body["deadline_s"] = arguments.deadline
    if verb == "weight":
        body["weight"] = arguments.weight
    if verb == "maintenance":
        body["on"] = arguments.state == "on"
        if not body["on"]:
            body.pop("expires_s", None)
    return body


def _text(verb: str, answer: Json) -> str:
    rows = answer.get("destinations", [])
    lines = [f"{verb} {answer['target']}: done"]
    override = answer.get("override")
    if override is not None:
        if override["deadline_at"] is not None:
            lines.append(f"  what is left is cut off at {clock(override['deadline_at'])}")
        if override["expires_at"] is not None:
            lines.append(f"  ends by itself at {clock(override['expires_at'])}")
    for row in rows[:20]:
        weight = "out of the table" if row["weight"] is None else f"weight {row['weight']}"
        left = "" if row["connections"] is None else f", {row['connections']} connections"
        lines.append(f"  {row['name']} in {row['service']}: {weight}{left}")
    if len(rows) > 20:
        lines.append(f"  and {len(rows) - 20} more")
    for name, has_it in answer.get("peers", {}).items():
        says = "has it too" if has_it else "has not said that it has it; it takes it when it is connected"
        lines.append(f"  {name} {says}")
    return "\n".join(lines)


def _wait(agent: Agent, meant: set[tuple[str, str]], *, as_json: bool) -> int:
    """A line a second until the drains of these (service, realserver) have ended. 1: some were cut off."""
    while True:
        status = agent.ask("GET", "/v1/status")
        rows = [
            {"service": service["name"], **row}
            for service in status["services"]
            for row in service["destinations"]
            if row["drain"] is not None and (service["name"], row["name"]) in meant
        ]
        left = sum(row["drain"]["connections"] for row in rows)
        phases = {row["drain"]["phase"] for row in rows}
        etas = [row["drain"]["eta_s"] for row in rows if row["drain"]["phase"] == "draining"]
        known = [eta for eta in etas if eta is not None]
        eta = max(known) if known and len(known) == len(etas) else None
        over = "draining" not in phases
        if as_json:
            drains = [{key: row[key] for key in ("service", "name", "drain")} for row in rows]
            print(json.dumps({"connections": left, "eta_s": eta, "over": over, "drains": drains}), flush=True)
        elif over:
            print("drained" if "cut" not in phases else f"cut off with {left} connections left", flush=True)
        else:
            print(f"{left} connections left, about {span(eta)}", flush=True)
        if over:
            return 1 if "cut" in phases else 0
        time.sleep(_LOOK_S)
