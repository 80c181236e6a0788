"""``lvsha events``: what happens, as it happens."""

import argparse
import json
import sys
import time
from typing import Any

from lvsha.cli.client import Agent, AgentRefused, AgentUnreachable, add_agent_options
from lvsha.cli.history import line
from lvsha.cli.parser import Parser
from lvsha.cli.words import clock

SUMMARY = "what happens, as it happens"

_AGAIN_S = 1.0
_RESERVED = frozenset({"at", "event", "process"})


def _text(kind: str, data: dict[str, Any]) -> str:
    if kind == "change":
        return line(data)
    if kind == "gap":
        return f"(some events are missing: {data['lost']})"
    fields = " ".join(
        f"{key}={value if isinstance(value, (int, float)) else json.dumps(value)}"
        for key, value in data.items()
        if key not in _RESERVED
    )
    return f"{clock(data.get('at'))}  {data.get('event')} {fields}".rstrip()


def main(argv: list[str]) -> int:
    parser = Parser(
        prog="lvsha events",
        description="The events of a director: changes with their causes, and its journal.",
        epilog="example: lvsha events --follow --kinds change --json",
    )
    parser.add_argument(
        "--follow", action="store_true", help="go on until interrupted; default: what is kept"
    )
    parser.add_argument("--kinds", metavar="KIND,...", help="only these: change, journal")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    add_agent_options(parser)
    arguments = parser.parse_args(argv)
    agent = Agent.of(arguments)
    if not arguments.follow:
        return _kept(agent, arguments)
    last_id = ""
    path = "/v1/events" + (f"?kinds={arguments.kinds}" if arguments.kinds else "")
    while True:
        try:
            for kind, event_id, data in agent.stream(path, last_id):
                last_id = event_id or last_id
                print(json.dumps({"kind": kind, **data}) if arguments.json else _text(kind, data), flush=True)
        except (AgentRefused, AgentUnreachable) as error:
            if not last_id:
                print(f"lvsha events: {error}", file=sys.stderr)
                return 1
        time.sleep(_AGAIN_S)  # it was restarted; what it said meanwhile comes, or a gap is told


def _kept(agent: Agent, arguments: argparse.Namespace) -> int:
    """The last events of both kinds, oldest first."""
    wanted = arguments.kinds.split(",") if arguments.kinds else ["change", "journal"]
    rows: list[tuple[float, str, dict[str, Any]]] = []
    try:
        if "change" in wanted:
            changes = agent.ask("GET", "/v1/history?limit=100")["changes"]
            rows += [(change["at"], "change", change) for change in changes]
        if "journal" in wanted:
            rows += [(each["at"], "journal", each) for each in agent.ask("GET", "/v1/status")["events"]]
    except (AgentRefused, AgentUnreachable) as error:
        print(f"lvsha events: {error}", file=sys.stderr)
        return 1
    for _, kind, data in sorted(rows, key=lambda row: row[0]):
        print(json.dumps({"kind": kind, **data}) if arguments.json else _text(kind, data))
    return 0
