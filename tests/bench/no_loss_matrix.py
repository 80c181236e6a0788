"""The matrix of ``bench_no_loss.py --matrix``: every scenario for every method, family and kind of service.

Counts only: many cells are played one after another in one guest, mostly on a machine with other work, so a
silence there says nothing. What was played stands in ``RESULTS``, one line a cell, and is not played again,
unless it was not ok and that is asked for; then the table has all its tries.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

Result = dict[str, Any]

RESULTS = Path(__file__).resolve().with_name("no_loss_matrix.json")
"""The page is generated from it; a cell that is taken out is played again."""

WAYS = {
    "DR 4": "",
    "DR 6": "family=6",
    "NAT 4": "method=nat",
    "NAT 6": "method=nat,family=6",
    "TUN 4": "method=tun",
    "TUN 6": "method=tun,family=6",
}
SERVICES = {
    "TCP": "",
    "UDP, persistent": "protocol=udp",
    "by firewall mark, TCP": "fwmark=7",
    "by firewall mark, TCP, persistent": "fwmark=7,persistent=yes",
}
SCENARIOS = {
    "late-joiner": "connections=200",
    "failback": "",
    "second-failure": "",
    "fresh-connections": "",
    "quiet-connections": "connections=50",
    "lossy-sync": "",
    "partition-heal": "",
    "forged-sync": "",
    "switchover-under-load": "idle=200,rate=100",
    "table-100k": "entries=5000",
    "config-lag": "",
}
"""With the settings that keep a cell short; the figures of a scenario at its size stand beside the matrix."""

CELLS_IN_A_GUEST = 11
LIMIT_S = 60.0
"""Of a cell in its guest, in the mean."""


def cell(scenario: str, way: str, service: str) -> str:
    """As ``lvsha lab compare`` takes it."""
    words = (scenario, SCENARIOS[scenario], WAYS[way], SERVICES[service])
    return ",".join(filter(None, words))


def cells() -> Iterator[str]:
    """All of them, in an order that has each way and each kind of service among the first."""
    ways = list(WAYS)
    for turn in range(len(ways)):
        for number, service in enumerate(SERVICES):
            way = ways[(turn + 2 * number + number // 3) % len(ways)]
            for scenario in SCENARIOS:
                yield cell(scenario, way, service)


class Played:
    """What was played, by director and cell; the file is written whole after every guest."""

    def __init__(self, path: Path = RESULTS) -> None:
        self._path = path
        self._found: dict[str, dict[str, Result]] = json.loads(path.read_text()) if path.exists() else {}

    def __contains__(self, director: str) -> bool:
        return bool(self._found.get(director))

    def get(self, director: str, name: str) -> Result | None:
        return self._found.get(director, {}).get(name)

    def add(self, director: str, name: str, result: Result) -> None:
        """A try more of a cell; what is kept of it is what the page says, and why it was not ok."""
        kept = {
            "survived": result["connections"]["survived"],
            "established": result["connections"]["established"],
            "ok": result["ok"],
            "took_s": result["took_s"],
            "load": round(os.getloadavg()[0], 1),
        }
        if not result["ok"]:
            kept["verdict"] = result["verdict"]
        before = self.get(director, name)
        if before is not None:
            kept["earlier"] = [*before.pop("earlier", []), before]
        self._found.setdefault(director, {})[name] = kept

    def write(self) -> None:
        lines = []
        for director, found in sorted(self._found.items()):
            rows = (f"  {json.dumps(name)}: {json.dumps(result)}" for name, result in sorted(found.items()))
            lines.append(f"{json.dumps(director)}: {{\n" + ",\n".join(rows) + "\n}")
        part = self._path.with_suffix(".part")
        part.write_text("{" + ",\n".join(lines) + "}\n")
        os.replace(part, self._path)


def play(names: Sequence[str], folder: Path, director: str, *, again: bool, until: float | None) -> None:
    """Play what is missing, some cells a guest.

    ``again``: what was not ok too. ``until``: begin no guest after this ``time.monotonic``.
    """
    played = Played()
    before = {name: played.get(director, name) for name in names}
    missing = [name for name, result in before.items() if result is None or (again and not result["ok"])]
    for start in range(0, len(missing), CELLS_IN_A_GUEST):
        if until is not None and time.monotonic() > until:
            return
        some = missing[start : start + CELLS_IN_A_GUEST]
        for name, result in zip(some, _guest(some, folder / "guest.json", director), strict=False):
            played.add(director, name, result)
        played.write()


def _guest(names: Sequence[str], target: Path, director: str) -> list[Result]:
    """The results of the first of these, as many as it got done."""
    target.unlink(missing_ok=True)
    command = [sys.executable, "-m", "lvsha.cli.main", "lab", "compare", *names, "--runs", "1"]
    # What only silences and failures need is left out: it takes most of the guest's processor.
    command += ["--warm", "yes", "--beat", "50", "--capture", "no"]
    command += ["--director", director, "--json", str(target)]
    command += ["--limit", f"{60 + LIMIT_S * len(names):g}"]
    print(f"$ lvsha {' '.join(command[3:])}", file=sys.stderr, flush=True)
    subprocess.run(command, check=False, stdout=subprocess.DEVNULL)
    try:
        return list(json.loads(target.read_text())["runs"])
    except (OSError, ValueError):
        return []


def page(played: Played, director: str) -> str:
    """A table for each kind of service that was played."""
    lines: list[str] = []
    results: list[Result] = []
    for service in SERVICES:
        rows = []
        for scenario in SCENARIOS:
            found = [played.get(director, cell(scenario, way, service)) for way in WAYS]
            results += (there := [result for result in found if result is not None])
            if there:
                rows.append(f"| {scenario} | {' | '.join(map(_cell, found))} |")
        if rows:
            lines += ["", f"**{service}**", "", f"| | {' | '.join(WAYS)} |", "| --- |" + " --- |" * len(WAYS)]
            lines += rows
    total = len(SERVICES) * len(WAYS) * len(SCENARIOS)
    good = [result for result in results if result["ok"]]
    at_once = sum("earlier" not in result for result in good)
    head = (
        f"{director}: {len(results)} of {total} cells played, ok in {len(good)}, {at_once} of them at the "
        "first try."
    )
    return "\n".join([head, *lines])


def _cell(result: Result | None) -> str:
    """``100 / 100``; bold where the scenario's own condition did not hold; earlier tries behind it."""
    if result is None:
        return ""
    return ", before: ".join(map(_one, (result, *reversed(result.get("earlier", [])))))


def _one(result: Result) -> str:
    text = f"{result['survived']} / {result['established']}" if result["established"] else "not played"
    return text if result["ok"] else f"**{text}**"
