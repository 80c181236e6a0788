"""``lvsha switchover`` and ``lvsha resume``: the role, by hand."""

import argparse
import sys

from lvsha.cli.client import DEFAULT_RUN_DIR, AgentRefused, AgentUnreachable, order_role

SUMMARY = "hand the addresses over, or take part again"

_VERBS = {
    "switchover": ("release", "Hand the addresses of this director to the other one and stay out."),
    "resume": ("resume", "Take part in VRRP again after a switchover."),
}


def main(verb: str, argv: list[str]) -> int:
    order, description = _VERBS[verb]
    parser = argparse.ArgumentParser(
        prog=f"lvsha {verb}", description=description, epilog=f"example: lvsha {verb}"
    )
    if verb == "switchover":
        parser.add_argument("--force", action="store_true", help="also when connections would be lost")
    parser.add_argument("--run-dir", default=DEFAULT_RUN_DIR, help="the agent's [agent] run_dir")
    arguments = parser.parse_args(argv)
    try:
        order_role(arguments.run_dir, order, force=getattr(arguments, "force", False))
    except AgentRefused as refusal:
        print(f"lvsha {verb}: {refusal}", file=sys.stderr)
        for connection in refusal.answer.get("lost", ()):
            print(connection)
        return 1
    except AgentUnreachable as error:
        print(f"lvsha {verb}: {error}", file=sys.stderr)
        return 1
    print("ordered; `lvsha status` shows what came of it")
    return 0
