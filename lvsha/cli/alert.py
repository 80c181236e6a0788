"""``lvsha alert``: who is told when something happens, and whether that works."""

import json
import sys
from typing import Any

from lvsha.cli.client import Agent, AgentRefused, AgentUnreachable, add_agent_options
from lvsha.cli.parser import Parser

SUMMARY = "show who is told when something happens, and send a test"

_TEST_S = 75.0
"""The longest time-out of a channel, and some."""


def _listed(alerts: list[dict[str, Any]]) -> str:
    if not alerts:
        return "nobody is told anything: the configuration has no [[alert]]"
    lines = []
    for alert in alerts:
        lines.append(f"{alert['name']}: on {', '.join(alert['on'])}")
        for row in alert["channels"]:
            to = {
                "webhook": alert.get("webhook"),
                "mail": ", ".join((alert.get("mail") or {}).get("to", ())),
                "exec": " ".join(alert["exec"]),
            }[row["channel"]]
            waits = f"  ({row['waiting']} waiting, attempt {row['attempt']})" if row["waiting"] else ""
            lines.append(f"  {row['channel']:<8}{to}{waits}")
    return "\n".join(lines)


def main(argv: list[str]) -> int:
    parser = Parser(
        prog="lvsha alert",
        usage="lvsha alert [-h] [--json] {list,test} ... [NAME]",
        description="Who is told when something happens. `test` sends a message through each channel of an"
        " [[alert]] and says what came back. Exit 0: all took it; 1: one did not, or no agent.",
        epilog="example: lvsha alert test oncall",
    )
    parser.add_argument("command", choices=("list", "test"))
    parser.add_argument("name", nargs="?", metavar="NAME", help="of test: which [[alert]]")
    parser.add_argument("--json", action="store_true", help="the answer as one JSON object")
    add_agent_options(parser)
    arguments = parser.parse_args(argv)
    if (arguments.command == "test") != (arguments.name is not None):
        parser.error("test takes the name of an [[alert]], list takes none")
    agent = Agent.of(arguments)
    try:
        if arguments.command == "list":
            found = agent.ask("GET", "/v1/alerts")
            print(json.dumps(found) if arguments.json else _listed(found["alerts"]))
            return 0
        found = agent.ask("POST", "/v1/alerts/test", body={"name": arguments.name}, timeout_s=_TEST_S)
    except (AgentRefused, AgentUnreachable) as error:
        print(f"lvsha alert: {error}", file=sys.stderr)
        return 1
    if arguments.json:
        print(json.dumps(found))
    else:
        for row in found["results"]:
            verdict = "ok" if row["ok"] else "FAILED"
            print(f"{row['channel']:<8}{verdict}  {row['answer']}  ({row['took_ms']} ms)")
    return 0 if all(row["ok"] for row in found["results"]) else 1
