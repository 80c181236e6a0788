"""How true is "connections you would lose now"? Many failovers, predicted and real loss.

    python tests/bench/bench_prediction.py --failovers 50 --json build/bench/prediction.json

Each failover: clients have idle connections, and open new ones all the time. At a random moment the MASTER
is asked what would be lost now (``would_lose_expected``), and its cables are pulled: that is the
prediction. What the clients lose after the takeover is the truth. Then the cables are plugged in again, and
when both are well the other one is next.

They are played in several guests, one after another: each gets a few failovers and a seed of its own. What
a guest leaves undone the next one does.
"""

import argparse
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from io import StringIO
from pathlib import Path
from typing import Any

from lvsha.lab.errors import LabError
from lvsha.lab.guest import IN_GUEST
from lvsha.lab.peers.lvsha import Lvsha
from lvsha.lab.settings import RunSettings
from lvsha.lab.stage import Stage, now
from lvsha.lab.story import Story
from lvsha.lab.timeline import milliseconds
from lvsha.lab.topology import DIRECTORS

IDLE = 200
RATE = 50
IN_A_GUEST = 10
GUEST_LIMIT_S = 400.0
ASKED_AT_MOST = 3
GUESTS_AT_MOST = 20

LATENESS = re.compile(rb"lateness=(\d+)")
"""Of a director's event loop, as its log has it: a director that does not run knows of no new connection."""


def failover(stage: Stage, master: str, dice: random.Random) -> dict[str, Any]:
    """One; the other director is MASTER afterwards, and both are well.

    ``took_ms``: from the question until the cables are out. ``late_ms``: the worst lateness of the crashed
    director's event loop around it.
    """
    peer = stage.peer
    assert isinstance(peer, Lvsha)
    backup = next(name for name in DIRECTORS if name != master)
    stage.renew_client()
    stage.pump(0.2)
    stage.open_connections(IDLE, rounds=1)
    stage.start_load(RATE)
    log = peer.log(master)
    read = log.stat().st_size
    stage.pump(dice.uniform(0.5, 1.5))
    asked = now()
    relay = _prediction(peer, master)
    stage.crash(master)
    took_ms = milliseconds(now() - asked)
    stage.wait_for_holder(backup, 20.0)
    stage.pump(0.3)
    count = stage.check_connections()
    # Of the load everything counts that the client began: a SYN that was lost comes again.
    load = stage.stop_load(3.0)
    established = count["established"] + load["tried"]
    survived = count["survived"] + load["check"]["survived"]
    stage.topology.set_link(master, up=True)
    try:
        stage.wait(f"{master} and {backup} are whole", lambda: _whole(peer, backup), 60.0)
    except LabError:
        for node in DIRECTORS:
            print(node, json.dumps(peer.status(node).get("sync", {}).get("relay")), file=sys.stderr)
        raise
    lateness = [int(nanoseconds) for nanoseconds in LATENESS.findall(log.read_bytes()[read:])]
    return {
        "opened": established,
        "predicted": relay["would_lose_expected"],
        "unacknowledged": relay["would_lose"],
        "lost": established - survived,
        "took_ms": took_ms,
        "late_ms": max(map(milliseconds, lateness), default=0.0),
    }


def _prediction(peer: Lvsha, master: str) -> dict[str, Any]:
    for _ in range(ASKED_AT_MOST):
        relay = peer.status(master).get("sync", {}).get("relay")
        if relay is not None:
            return dict(relay)
    raise LabError(f"{master} did not say what would be lost")


def _whole(peer: Lvsha, master: str) -> bool:
    for node in DIRECTORS:
        relay = peer.status(node).get("sync", {}).get("relay")
        if relay is None or not relay["peers"][0]["connected"] or relay["would_lose"]:
            return False
    routers = [peer.status(node)["vrrp"]["routers"][0]["state"] for node in DIRECTORS]
    return routers.count("MASTER") == 1 and routers[DIRECTORS.index(master)] == "MASTER"


def play(failovers: int, seed: int, target: Path) -> None:
    dice = random.Random(seed)
    settings = RunSettings(scenario="prediction", capture=False, warm=True)
    found: list[dict[str, Any]] = []
    with Stage(settings, Path(tempfile.mkdtemp()), Story(StringIO())) as stage:
        stage.build()
        stage.start_pair()
        masters = list(DIRECTORS)
        for number in range(failovers):
            found.append(failover(stage, masters[number % 2], dice))
            print(number + 1, found[-1], file=sys.stderr, flush=True)
            target.write_text(json.dumps(found))


def summary(found: list[dict[str, Any]]) -> dict[str, Any]:
    opened = sum(each["opened"] for each in found)
    apart = [abs(each["predicted"] - each["lost"]) for each in found]
    shares = [100 * off / each["opened"] for off, each in zip(apart, found, strict=True)]
    return {
        "failovers": len(found),
        "opened": opened,
        "unacknowledged": sum(each["unacknowledged"] for each in found),
        "predicted": sum(each["predicted"] for each in found),
        "lost": sum(each["lost"] for each in found),
        "difference_percent": round(100 * sum(apart) / opened, 2) if opened else None,
        "within_1_percent": sum(share <= 1 for share in shares),
        "worst_percent": round(max(shares), 2) if shares else None,
        "worst": max(apart, default=None),
        "exact": apart.count(0),
        "runs": found,
    }


def play_in_guests(failovers: int, seed: int, target: Path, *, each: int, until: float | None) -> None:
    """Until so many were played; what ``target`` has already counts. ``until``: of ``time.monotonic``."""
    found: list[dict[str, Any]] = json.loads(target.read_text())["runs"] if target.exists() else []
    root = Path(__file__).resolve().parents[2]
    part = target.with_suffix(".guest.json").absolute()
    for number in range(GUESTS_AT_MOST):
        left = failovers - len(found)
        if left <= 0 or (until is not None and time.monotonic() > until):
            break
        part.unlink(missing_ok=True)
        command = [sys.executable, "-m", "lvsha.cli.main", "lab", "exec", "--bare"]
        command += ["--limit", str(GUEST_LIMIT_S), "--", "env", f"PYTHONPATH={root}", sys.executable]
        command += [__file__, "--failovers", str(min(left, each))]
        command += ["--seed", str(seed + len(found) + number), "--json", str(part)]
        subprocess.run(command, check=False)
        if part.exists():
            found += json.loads(part.read_text())
            part.unlink()
        target.write_text(json.dumps(summary(found)))


def main() -> int:
    parser = argparse.ArgumentParser(description="Predicted and real loss over many failovers.")
    parser.add_argument("--failovers", type=int, default=50)
    parser.add_argument("--seed", type=int, default=4)
    parser.add_argument("--json", type=Path, default=Path("build/bench/prediction.json"))
    parser.add_argument("--each", type=int, default=IN_A_GUEST, help="failovers in a guest")
    parser.add_argument("--until", type=float, help="begin no further guest after so many seconds")
    arguments = parser.parse_args()
    if IN_GUEST in os.environ:
        play(arguments.failovers, arguments.seed, arguments.json)
        return 0
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    until = time.monotonic() + arguments.until if arguments.until is not None else None
    play_in_guests(arguments.failovers, arguments.seed, arguments.json, each=arguments.each, until=until)
    result = json.loads(arguments.json.read_text())
    print({key: value for key, value in result.items() if key != "runs"})
    return 0 if result["failovers"] >= arguments.failovers and result["difference_percent"] <= 1 else 1


if __name__ == "__main__":
    raise SystemExit(main())
