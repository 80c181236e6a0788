"""``lvsha reload``: load the configuration anew, after showing what that does."""

import json
import sys
from typing import Any

from lvsha.cli.client import Agent, AgentRefused, AgentUnreachable, add_agent_options
from lvsha.cli.parser import Parser

SUMMARY = "load the configuration anew, after showing what that does"

_LOAD_S = 60.0


def _plan(found: dict[str, Any]) -> str:
    lines = [f"warning: {warning}" for warning in found["warnings"]]
    lines += [change["text"] for change in found["changes"]]
    return "\n".join(lines) if lines else "nothing changes"


def main(argv: list[str]) -> int:
    parser = Parser(
        prog="lvsha reload",
        description="Have both processes load the agent's file anew. A file with problems is refused whole.",
        epilog="example: lvsha reload --plan && lvsha reload",
    )
    parser.add_argument("--plan", action="store_true", help="show what would change; change nothing")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    add_agent_options(parser)
    arguments = parser.parse_args(argv)
    agent = Agent.of(arguments)
    try:
        if arguments.plan:
            found = agent.ask("POST", "/v1/config/diff", body={}, timeout_s=_LOAD_S)
        else:
            found = agent.ask("POST", "/v1/reload", body={}, timeout_s=_LOAD_S)
    except AgentRefused as refusal:
        print(f"lvsha reload: {refusal}", file=sys.stderr)
        if arguments.json:
            print(json.dumps(refusal.answer))
        else:
            print("\n".join(refusal.answer.get("problems", ())))
        return 1
    except AgentUnreachable as error:
        print(f"lvsha reload: {error}", file=sys.stderr)
        return 1
    is_good = found.get("ok", True)
    if arguments.json:
        print(json.dumps(found))
    else:
        print(_plan(found) if is_good else "\n".join(found["problems"]))
        if not arguments.plan:
            print(f"configuration {found['reloaded']} is in force")
    return 0 if is_good else 1
