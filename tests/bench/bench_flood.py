"""The figures on floods, with the commands that make them.

    python tests/bench/bench_flood.py --json build/bench/flood.json --page docs/reference/benchmarks.md

plays ``lvsha lab run flood`` with each forwarding method, as fast as it goes and at a rate that each can
take (there the share of the processor says what a packet costs), and writes the tables between the
page's markers. About 8 minutes on a quiet machine.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

METHODS = ("dr", "nat", "tun")
BEGIN, END = "<!-- floods: begin -->", "<!-- floods: end -->"
Row = dict[str, Any]
Played = dict[str, list[Row]]
"""By method: a row for each flood and defence."""


def play(method: str, rate: int, runs: int, report: dict[str, Any]) -> list[Row]:
    """The medians of some runs; ``report`` is told the kernel."""
    command = [str(Path(sys.executable).with_name("lvsha")), "lab", "run", "flood", "--method", method]
    command += ["--rate", str(rate)] if rate else []
    reports: list[list[Row]] = []
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "flood.json"
        for _ in range(runs):
            print(*command, flush=True)
            subprocess.run([*command, "--json", str(target)], check=True, stdout=subprocess.DEVNULL)
            result = json.loads(target.read_text())
            reports.append(result["floods"])
            report["kernel"] = f"{result['kernel']}, Linux {result['kernel_release']}"
    return [
        {
            name: statistics.median(row[name] for row in rows) if isinstance(value, int | float) else value
            for name, value in rows[0].items()
        }
        for rows in zip(*reports, strict=True)
    ]


def _share(row: Row) -> str:
    return f"{row['cpu_busy']:.0%}" if row["cpu_busy"] is not None else "?"


def page_lines(report: dict[str, Any]) -> list[str]:
    """The tables of the page."""
    fast: Played = report["fast"]
    paced: Played = report["paced"]
    lines = [
        f"Medians of {report['runs']}; {report['kernel']}, {report['date']}. Packets a second.",
        "",
    ]
    at_rate = f" CPU at {report['rate']:,} a second |" if paced else ""
    for method in METHODS:
        lines += [
            f"**{method.upper()}**",
            "",
            "| Flood | Defence | sent | director in | director out | at the realservers |"
            f" connections at the end | CPU |{at_rate}",
            "|---" * (9 if paced else 8) + "|",
        ]
        for number, row in enumerate(fast[method]):
            names = ("sent_pps", "director_in_pps", "director_out_pps", "forwarded_pps", "connections")
            cells = [row["flood"], row["defence"], *(f"{row[name]:,.0f}" for name in names), _share(row)]
            if paced:
                cells.append(_share(paced[method][number]))
            lines.append(f"| {' | '.join(cells)} |")
        lines.append("")
    return lines


def write_page(page: Path, lines: list[str]) -> None:
    text = page.read_text()
    before, rest = text.split(BEGIN + "\n")
    _, after = rest.split(END)
    page.write_text(before + "\n".join([BEGIN, *lines, END]) + after)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=1, help="of each (%(default)s)")
    parser.add_argument(
        "--rate", type=int, default=5000, help="packets a second of the second run, 0: none (%(default)s)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--page", type=Path, metavar="FILE", help="write the tables into this page")
    arguments = parser.parse_args()
    report: dict[str, Any] = {
        "runs": arguments.runs,
        "rate": arguments.rate,
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "fast": {},
        "paced": {},
    }
    for method in METHODS:
        report["fast"][method] = play(method, 0, arguments.runs, report)
        if arguments.rate:
            report["paced"][method] = play(method, arguments.rate, arguments.runs, report)
    if arguments.json is not None:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(report, indent=1) + "\n")
    if arguments.page is not None:
        write_page(arguments.page, page_lines(report))
    return 0


if __name__ == "__main__":
    sys.exit(main())
