"""``lvsha switchover`` and ``lvsha resume``: the role, by hand."""

import getpass
import json
import sys

from lvsha.cli.client import (
    Agent,
    AgentRefused,
    AgentUnreachable,
    add_agent_options,
    order_role,
    say_refusal,
)
from lvsha.cli.parser import Parser
from lvsha.cli.words import clock, future

SUMMARY = "hand the addresses over, or take part again"

_VERBS = {
    "switchover": (
        "Hand the addresses of this director to the other one, connections first, and stay out.",
        "lvsha switchover --at 03:30",
    ),
    "resume": ("Take part in VRRP again after a switchover, a pause or maintenance.", "lvsha resume"),
}


def main(verb: str, argv: list[str]) -> int:
    description, example = _VERBS[verb]
    parser = Parser(
        prog=f"lvsha {verb}",
        description=f"{description} Exit 0: ordered; 1: refused, or no agent.",
        epilog=f"example: {example}",
    )
    if verb == "switchover":
        parser.add_argument("--force", action="store_true", help="also when connections would be lost")
        parser.add_argument(
            "--at", type=future, metavar="TIME", help="later: 03:30, 2026-03-01T03:30, 10m (from now)"
        )
        parser.add_argument("--cancel", action="store_true", help="call a planned one off")
    parser.add_argument("--json", action="store_true", help="the answer as one JSON object")
    add_agent_options(parser)
    arguments = parser.parse_args(argv)
    body: dict[str, object] = {}
    if verb == "switchover":
        if arguments.at is not None and arguments.force:
            parser.error("--force is for now: a planned switchover refuses to lose connections")
        body = {"force": arguments.force, "cancel": arguments.cancel, "owner": getpass.getuser()}
        if arguments.at is not None:
            body["at"] = arguments.at
    try:
        answer = order_role(Agent.of(arguments), verb, body=body)
    except AgentRefused as refusal:
        say_refusal(verb, refusal, as_json=arguments.json)
        return 1
    except AgentUnreachable as error:
        print(f"lvsha {verb}: {error}", file=sys.stderr)
        return 1
    if arguments.json:
        print(json.dumps(answer))
    elif answer.get("planned_at"):
        print(f"planned for {clock(answer['planned_at'])}; `lvsha switchover --cancel` calls it off")
    elif "cancelled" in answer:
        print(f"called off: {clock(answer['cancelled'])}")
    else:
        print("ordered; `lvsha status` shows what came of it")
    return 0
