"""``lvsha sync``: look into connection synchronisation, on files and live."""

import importlib
import sys

SUMMARY = "inspect the IPVS connection-sync protocol"

COMMANDS = {
    "watch": "what passes on a sync network now: rates, states, what is wrong",
    "resync": "exchange all connections with the other directors once more",
    "decode": "show the entries of a capture, and what is wrong with them",
    "table": "the connection table as a backup would have it",
    "diff": "what two connection tables, or wire and kernel, disagree about",
    "stats": "counters for Prometheus",
    "replay": "send a capture's entries into this kernel",
}


def usage() -> str:
    width = max(map(len, COMMANDS))
    return "\n".join(
        [
            "usage: lvsha sync COMMAND ...",
            "",
            "Look into IPVS connection synchronisation. Works with any director of any make: plain kernels,",
            "keepalived, lvsha. No agent is needed.",
            "",
            *(f"  {name:<{width}}  {text}" for name, text in COMMANDS.items()),
            "",
            "example: lvsha sync decode sync.pcap --summary",
            "`lvsha sync COMMAND --help` tells more.",
        ]
    )


def main(argv: list[str]) -> int:
    if not argv or argv[0] in ("-h", "--help", "help"):
        print(usage())
        return 0 if argv else 2
    command, *rest = argv
    if command not in COMMANDS:
        print(f"lvsha sync: there is no command {command!r}; `lvsha sync --help` lists them", file=sys.stderr)
        return 2
    module = importlib.import_module(f"lvsha.cli.sync_{command}")
    return int(module.main(rest))
