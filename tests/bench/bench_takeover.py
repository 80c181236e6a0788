"""Takeovers beside keepalived: the cells of docs/reference/benchmarks.md, each in a guest of its own.

    python tests/bench/bench_takeover.py --json build/bench/takeover.json --page docs/reference/benchmarks.md

plays everything, five runs of each with each kind of director, and writes the table between the page's
markers. ``--cell`` plays one; with ``--keep``, cells whose results lie beside the file of ``--json`` are not
played again, so that a page can be made in several sittings. Needs a quiet machine.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lvsha.lab.report import markdown, summarize

BEGIN = "<!-- takeovers: begin -->"
END = "<!-- takeovers: end -->"

CELLS = (
    "crash",
    "crash,crash-after=0.1",
    "crash,crash-after=0.1,method=nat",
    "crash,family=6",
    "crash,vips=500",
    "crash,advert=1",
    "planned",
    "planned,advert=1",
    "agent-kill,process=directord",
    "agent-kill,process=vrrpd",
    "agent-kill,process=both",
    "realserver-death",
    "realserver-return",
    "late-joiner",
    "table-cleared",
    "reload",
)

LIMIT_S = 400
"""Of a guest. What was played until then counts."""

TARGETS = (
    "A number of lvsha that misses its target is a bug. keepalived has the same checks, adverts and sync "
    "daemon in the same guest; runs alternate."
)


def play(cell: str, runs: int, target: Path) -> list[dict[str, Any]]:
    """All runs of a cell; its results are in ``target`` afterwards."""
    command = [sys.executable, "-m", "lvsha.cli.main", "lab", "compare", cell]
    command += ["--runs", str(runs), "--limit", str(LIMIT_S), "--json", str(target)]
    print(f"$ lvsha {' '.join(command[3:])}", file=sys.stderr, flush=True)
    subprocess.run(command, check=False, stdout=subprocess.DEVNULL)
    return read(target)


def read(source: Path) -> list[dict[str, Any]]:
    runs: list[dict[str, Any]] = json.loads(source.read_text())["runs"] if source.exists() else []
    return runs


def page_lines(results: list[dict[str, Any]]) -> list[str]:
    """What stands between the markers."""
    first = results[0]
    where = f"{first['kernel']}, Linux {first['kernel_release']}, {os.cpu_count()} CPUs, {platform.machine()}"
    return [
        BEGIN,
        f"Medians, the range behind them; {where}; {datetime.now(UTC):%Y-%m-%d}.",
        "",
        *markdown(summarize(results)),
        "",
        TARGETS,
        END,
    ]


def write_page(page: Path, lines: list[str]) -> None:
    text = page.read_text()
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    page.write_text(before + "\n".join(lines) + after)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all results here")
    parser.add_argument("--cell", action="append", choices=CELLS, help="again and again; default: all")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--keep", action="store_true", help="do not play cells again whose results are there")
    parser.add_argument("--page", type=Path, metavar="FILE", help="write the table into this page")
    arguments = parser.parse_args()

    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) if arguments.json is None else arguments.json.parent
        folder.mkdir(parents=True, exist_ok=True)
        results: list[dict[str, Any]] = []
        for cell in CELLS:
            target = folder / f"takeover-{cell}.json"
            wanted = cell in (arguments.cell or CELLS) and not (arguments.keep and target.exists())
            results += play(cell, arguments.runs, target) if wanted else read(target)
    if not results:
        print("bench_takeover: nothing was played: see the errors above", file=sys.stderr)
        return 1
    summaries = summarize(results)
    print("\n".join(markdown(summaries)))
    if arguments.json is not None:
        arguments.json.write_text(json.dumps({"runs": results, "summary": summaries}, indent=2) + "\n")
    if arguments.page is not None:
        write_page(arguments.page, page_lines(results))
    return 0 if all(result["ok"] for result in results if result["director"] == "lvsha") else 1


if __name__ == "__main__":
    sys.exit(main())
