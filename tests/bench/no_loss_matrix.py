"""The matrix of ``bench_no_loss.py --matrix``: every scenario for every method, family and kind of service.

Counts only: many cells are played one after another in one guest, mostly on a machine with other work, so a
silence there says nothing. A cell that lies in the folder is not played again, unless it was not ok and that
is asked for; then the table has all its results.
"""

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

Result = dict[str, Any]

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


def file(folder: Path, name: str, director: str) -> Path:
    return folder / f"{director}_{name.replace(',', '_').replace('=', '-')}.json"


def read(path: Path) -> Result | None:
    try:
        return dict(json.loads(path.read_text()))
    except (OSError, ValueError):
        return None


def play(names: Sequence[str], folder: Path, director: str, *, again: bool, until: float | None) -> None:
    """Play what is missing, some cells a guest.

    ``again``: what was not ok too. ``until``: begin no guest after this ``time.monotonic``.
    """
    before = {name: read(file(folder, name, director)) for name in names}
    missing = [name for name, result in before.items() if result is None or (again and not result["ok"])]
    for start in range(0, len(missing), CELLS_IN_A_GUEST):
        if until is not None and time.monotonic() > until:
            return
        some = missing[start : start + CELLS_IN_A_GUEST]
        for name, result in zip(some, _guest(some, folder / "guest.json", director), strict=False):
            last = before[name]
            earlier = [*last.pop("earlier", []), last] if last is not None else []
            file(folder, name, director).write_text(json.dumps(result | {"earlier": earlier}))


def _guest(names: Sequence[str], target: Path, director: str) -> list[Result]:
    """The results of the first of these, as many as it got done."""
    target.unlink(missing_ok=True)
    command = [sys.executable, "-m", "lvsha.cli.main", "lab", "compare", *names, "--runs", "1"]
    command += ["--director", director, "--json", str(target), "--limit", f"{60 + LIMIT_S * len(names):g}"]
    print(f"$ lvsha {' '.join(command[3:])}", file=sys.stderr, flush=True)
    subprocess.run(command, check=False, stdout=subprocess.DEVNULL)
    return list((read(target) or {"runs": []})["runs"])


def page(folder: Path, director: str) -> str:
    """A table for each kind of service that was played."""
    lines: list[str] = []
    played = good = 0
    for service in SERVICES:
        rows = []
        for scenario in SCENARIOS:
            found = [read(file(folder, cell(scenario, way, service), director)) for way in WAYS]
            results = [result for result in found if result is not None]
            played += len(results)
            good += sum(result["ok"] for result in results)
            if results:
                rows.append(f"| {scenario} | {' | '.join(map(_cell, found))} |")
        if rows:
            lines += ["", f"**{service}**", "", f"| | {' | '.join(WAYS)} |", "| --- |" + " --- |" * len(WAYS)]
            lines += rows
    total = len(SERVICES) * len(WAYS) * len(SCENARIOS)
    return "\n".join([f"{director}: {played} of {total} cells played, ok in {good}.", *lines])


def _cell(result: Result | None) -> str:
    """``100 / 100``; bold where the scenario's own condition did not hold; earlier tries behind it."""
    if result is None:
        return ""
    return ", before: ".join(map(_one, (result, *reversed(result.get("earlier", [])))))


def _one(result: Result) -> str:
    count = result["connections"]
    text = f"{count['survived']} / {count['established']}" if count["established"] else "not played"
    return text if result["ok"] else f"**{text}**"
