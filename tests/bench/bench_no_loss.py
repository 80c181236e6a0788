"""No connection lost: the cells of docs/reference/benchmarks-no-loss.md, lvsha beside keepalived.

    python tests/bench/bench_no_loss.py --page docs/reference/benchmarks-no-loss.md

plays every cell once with each kind of director, both in one guest, each cell in a guest of its own. A
cell whose result lies in the folder is not played again, so that a page can be made in several sittings;
``--cell`` plays one, ``--only-page`` none. ``--matrix`` plays every scenario for every method, family and
kind of service instead, many cells in a guest (``no_loss_matrix.py``). Needs a quiet machine: a director
that does not get the processor for 0.1 s loses connections that are younger than that.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from tests.bench import no_loss_matrix as matrix

Result = dict[str, Any]

BEGIN = "<!-- no loss: begin -->"
END = "<!-- no loss: end -->"
MATRIX_BEGIN = "<!-- matrix: begin -->"
MATRIX_END = "<!-- matrix: end -->"
LIMIT_S = 230

KINDS = {
    "": "",
    "DR, IPv6": "family=6",
    "NAT": "method=nat",
    "NAT, IPv6": "method=nat,family=6",
    "TUN": "method=tun",
    "TUN, IPv6": "method=tun,family=6",
    "UDP, persistent": "protocol=udp",
    "fwmark": "fwmark=7",
}
SCENARIOS = {name: own for name, own in matrix.SCENARIOS.items() if name != "table-100k"}
SCENARIOS["switchover-under-load"] = "idle=1000"
FURTHER = (
    "lossy-sync,loss=5",
    "switchover-under-load",
    "table-100k",
)


def cells() -> Iterator[str]:
    """All of them, the most telling first: each scenario once, each kind once, and then the rest."""
    every = list(_every())
    plain = [cell for cell in every if not any(own and cell.endswith(own) for own in KINDS.values())]
    kinds = [cell for cell in every if cell not in plain and cell.startswith("late-joiner")]
    yield from (*plain, *kinds, *(cell for cell in every if cell not in (*plain, *kinds)))


def _every() -> Iterator[str]:
    for own in KINDS.values():
        for scenario, settings in SCENARIOS.items():
            yield ",".join(filter(None, (scenario, settings, own)))
        if not own:
            yield from FURTHER


def play(cell: str, target: Path) -> list[Result]:
    """Both kinds of director, in one guest."""
    command = [sys.executable, "-m", "lvsha.cli.main", "lab", "compare", cell, "--runs", "1"]
    command += ["--limit", str(LIMIT_S), "--json", str(target)]
    print(f"$ lvsha {' '.join(command[3:])}", file=sys.stderr, flush=True)
    subprocess.run(command, check=False, stdout=subprocess.DEVNULL)
    return read(target)


def read(path: Path) -> list[Result]:
    try:
        return list(json.loads(path.read_text())["runs"])
    except (OSError, ValueError, KeyError):
        return []


# The page


def also(result: Result) -> str:
    """What this scenario asks besides, in words."""
    say: dict[str, Callable[[], str]] = {
        "late-joiner": lambda: (
            f"in sync {result['in_sync_ms'] / 1000:.1f} s after its start" if result["in_sync_ms"] else ""
        ),
        "failback": lambda: f"after the return {result['survived_failback']}",
        "second-failure": lambda: f"after the first {result['survived_first_failure']}",
        "fresh-connections": lambda: (
            f"older than 20 ms: {result['older']['survived']} / {result['older']['established']}; "
            f"oldest lost {result['oldest_lost_ms'] or 0:.0f} ms"
        ),
        "lossy-sync": lambda: (
            f"after 1 s {result['coverage_after_1s']:.0%}, all after "
            f"{_ms(result['covered_after_ms'])}; {result['packets_lost']} packets lost"
        ),
        "partition-heal": lambda: f"{result['began_meanwhile']} began meanwhile",
        "forged-sync": lambda: f"forged and taken: {result['accepted']} of {2 * result['forged']}",
        "switchover-under-load": lambda: (
            f"load: {result['load']['rate']:.0f}/s, lost "
            f"{result['load']['tried'] - result['load']['check']['survived']}; idle: "
            f"{result['idle']['survived']} / {result['idle']['established']}; slowest answer "
            f"{result['load']['slowest_ms']:.0f} ms"
        ),
        "config-lag": lambda: f"counted on the backup: {result['counted']} / {result['added']}",
        "table-100k": lambda: (
            f"rows that arrived: {result['arrived']}"
            + (f"; {resync['wall_s']:g} s, CPU {resync['cpu_s']}" if (resync := result["resync"]) else "")
        ),
    }
    try:
        return say[result["scenario"]]()
    except KeyError:
        return "" if "connections_died" in result else str(result.get("verdict", ""))


def _ms(value: float | None) -> str:
    return "never" if value is None else f"{value:.0f} ms"


def row(cell: str, results: list[Result]) -> list[str]:
    lines: list[str] = []
    for result in results:
        count = result["connections"]
        survived = f"{count['survived']} / {count['established']}" if count["established"] else "-"
        silence = result["longest_silence_ms"]
        columns = (
            cell if not lines else "",
            result["director"],
            survived,
            f"{silence:.0f} ms" if silence is not None else "-",
            also(result),
            "yes" if result["ok"] else "no",
        )
        lines.append(f"| {' | '.join(columns)} |")
    return lines


def page(found: dict[str, list[Result]]) -> str:
    head = [
        "| Cell | Director | Connections that go on | Longest silence | Also | ok |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    body = [line for cell, results in found.items() for line in row(cell, results)]
    ours = [result for results in found.values() for result in results if result["director"] == "lvsha"]
    theirs = [r for results in found.values() for r in results if r["director"] == "keepalived"]
    kernel = ours[0]["kernel_release"] if ours else "?"
    said = (
        f"{len(found)} cells, one run each with each director, Linux {kernel} ({os.cpu_count()} CPUs on the "
        f"host, one in the guest). ok: lvsha {sum(r['ok'] for r in ours)} of {len(ours)}, keepalived "
        f"{sum(r['ok'] for r in theirs)} of {len(theirs)}."
    )
    return "\n".join([said, "", *head, *body])


def main() -> int:
    parser = argparse.ArgumentParser(description="No connection lost, beside keepalived.")
    parser.add_argument("--folder", type=Path, default=Path("build/bench/no-loss"))
    parser.add_argument("--page", type=Path, help="a Markdown file with the markers")
    parser.add_argument("--cell", action="append", help="play this one only")
    parser.add_argument("--only-page", action="store_true")
    parser.add_argument("--until", type=float, help="begin no further cell after so many seconds")
    parser.add_argument("--matrix", action="store_true", help="the matrix instead")
    parser.add_argument("--again", action="store_true", help="with --matrix: what was not ok, once more")
    parser.add_argument("--director", choices=("lvsha", "keepalived"), default="lvsha", help="of the matrix")
    arguments = parser.parse_args()
    if arguments.matrix:
        return play_matrix(arguments)
    arguments.folder.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    found: dict[str, list[Result]] = {}
    for cell in arguments.cell or cells():
        target = arguments.folder / f"{cell.replace(',', '_').replace('=', '-')}.json"
        results = read(target)
        late = arguments.until is not None and time.monotonic() - began > arguments.until
        if not results and not arguments.only_page and not late:
            results = play(cell, target)
        if results:
            found[cell] = results
    text = page(found)
    if arguments.page is not None:
        write_between(arguments.page, BEGIN, text, END)
    print(text)
    return 0


def play_matrix(arguments: argparse.Namespace) -> int:
    folder = arguments.folder / "matrix"
    folder.mkdir(parents=True, exist_ok=True)
    until = time.monotonic() + arguments.until if arguments.until is not None else None
    if not arguments.only_page:
        names = arguments.cell or list(matrix.cells())
        matrix.play(names, folder, arguments.director, again=arguments.again, until=until)
    played = matrix.Played()
    tables = [matrix.page(played, kind) for kind in ("lvsha", "keepalived") if kind in played]
    text = "\n\n".join(tables)
    if arguments.page is not None:
        write_between(arguments.page, MATRIX_BEGIN, text, MATRIX_END)
    print(text)
    return 0


def write_between(path: Path, begin: str, text: str, end: str) -> None:
    """Into a page, in the place of what stood between the markers."""
    before, _, rest = path.read_text().partition(begin)
    path.write_text(f"{before}{begin}\n{text}\n{end}{rest.partition(end)[2]}")


if __name__ == "__main__":
    raise SystemExit(main())
