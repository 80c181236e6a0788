"""``lvsha history``: what changed, when, and why."""

import json
import sys
from typing import Any
from urllib.parse import urlencode

from lvsha.cli.client import Agent, AgentRefused, AgentUnreachable, add_agent_options
from lvsha.cli.parser import Parser
from lvsha.cli.words import clock, past

SUMMARY = "what changed, when, and why"

Json = dict[str, Any]


def line(change: Json) -> str:
    """``14:30:05  rs1 in web  weight 10 -> 0: refused: connection refused``."""
    before, after = ("-" if change[key] is None else change[key] for key in ("before", "after"))
    why = "; ".join(cause["text"] for cause in change["causes"])
    return f"{clock(change['at'])}  {change['subject']}: {change['what']} {before} -> {after}: {why}"


def main(argv: list[str]) -> int:
    parser = Parser(
        prog="lvsha history",
        description="Every change of a weight, role, address or service, with its causes, oldest first.",
        epilog="example: lvsha history --service web --until 14:30 --limit 20",
    )
    parser.add_argument("--service", help="of this service")
    parser.add_argument("--realserver", help="of this realserver, by its name")
    parser.add_argument("--subject", help="of this alone: 'rs1 in web', 'eth0-51'")
    parser.add_argument(
        "--until", type=past, metavar="TIME", help="not after: 14:30, 2026-03-01T14:30, 10m (ago)"
    )
    parser.add_argument(
        "--limit", type=int, default=50, metavar="N", help="at most so many, the last ones (50)"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object a line, with all evidence")
    add_agent_options(parser)
    arguments = parser.parse_args(argv)
    query = {
        name: value
        for name in ("service", "realserver", "subject", "until", "limit")
        if (value := getattr(arguments, name)) is not None
    }
    try:
        changes = Agent.of(arguments).ask("GET", f"/v1/history?{urlencode(query)}")["changes"]
    except (AgentRefused, AgentUnreachable) as error:
        print(f"lvsha history: {error}", file=sys.stderr)
        return 1
    for change in changes:
        print(json.dumps(change) if arguments.json else line(change))
    return 0
