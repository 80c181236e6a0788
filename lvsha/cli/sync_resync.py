"""``lvsha sync resync``: ask the agent to exchange all connections with its peers once more."""

import json
import sys

from lvsha.cli.client import DEFAULT_RUN_DIR, AgentRefused, AgentUnreachable, ask
from lvsha.cli.parser import Parser


def main(argv: list[str]) -> int:
    parser = Parser(
        prog="lvsha sync resync",
        description="Send every connection to the other directors once more, and ask them for all of theirs. "
        "Needs the agent, with [sync] transport relay. Nothing is interrupted by it.",
        epilog="example: lvsha sync resync",
    )
    parser.add_argument("--json", action="store_true", help="the answer as one JSON object")
    parser.add_argument("--run-dir", default=DEFAULT_RUN_DIR, help="the agent's [agent] run_dir")
    arguments = parser.parse_args(argv)
    try:
        answer = ask(arguments.run_dir, "POST", "/v1/sync/resync")
    except (AgentUnreachable, AgentRefused) as error:
        print(f"lvsha sync resync: {error}", file=sys.stderr)
        return 1
    if arguments.json:
        print(json.dumps(answer))
        return 0
    peers = [peer["name"] for peer in answer["peers"] if peer["connected"]]
    if not peers:
        print("no other director is connected; they resynchronise by themselves when they meet")
        return 1
    print(f"{answer['connections']} connections go to {', '.join(peers)} again; `lvsha status` shows how far")
    return 0
