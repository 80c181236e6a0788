"""``lvsha explain TARGET``: why a weight or a role is what it is."""

import json
import sys
from typing import Any
from urllib.parse import urlencode

from lvsha.cli.client import Agent, AgentRefused, AgentUnreachable, add_agent_options
from lvsha.cli.history import line
from lvsha.cli.parser import Parser
from lvsha.cli.words import clock, past

SUMMARY = "why a weight or a role is what it is"

Json = dict[str, Any]

_SHOWN = (
    "check",
    "reason",
    "detail",
    "failures",
    "successes",
    "owner",
    "generation",
    "event",
    "alive_weight",
)


def render(answer: Json) -> str:
    """What is so, since when, and what it rests on."""
    lines: list[str] = []
    for each in answer["answers"]:
        since = "" if each["since"] is None else f" (since {clock(each['since'])})"
        lines.append(f"{each['text']}{since}")
        for cause in each["causes"]:
            found = cause["evidence"]
            evidence = ", ".join(f"{key}={found[key]}" for key in _SHOWN if found.get(key) not in (None, ""))
            lines.append(f"  {cause['kind']}: {cause['text']}" + (f"  [{evidence}]" if evidence else ""))
        if each["changes"]:
            lines.append("  before that:")
            lines += [f"    {line(change)}" for change in each["changes"]]
    if answer["more"]:
        lines.append(f"and {answer['more']} realservers more; name one, or use --json")
    return "\n".join(lines)


def main(argv: list[str]) -> int:
    parser = Parser(
        prog="lvsha explain",
        description="Why a realserver's weight, a service's state or a virtual router's role is what it is.",
        epilog="example: lvsha explain web/10.0.0.11 --at 14:30",
    )
    parser.add_argument(
        "target", help="a realserver, a service, SERVICE/REALSERVER, a virtual router or address"
    )
    parser.add_argument(
        "--at", type=past, metavar="TIME", help="as it was: 14:30, 2026-03-01T14:30, 10m (ago)"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object")
    add_agent_options(parser)
    arguments = parser.parse_args(argv)
    query = {"target": arguments.target} | ({"at": arguments.at} if arguments.at is not None else {})
    try:
        answer = Agent.of(arguments).ask("GET", f"/v1/explain?{urlencode(query)}")
    except (AgentRefused, AgentUnreachable) as error:
        print(f"lvsha explain: {error}", file=sys.stderr)
        return 1
    print(json.dumps(answer) if arguments.json else render(answer))
    return 0
