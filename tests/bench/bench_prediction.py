"""How true is "connections you would lose now"? Many failovers in one guest, predicted and real loss.

    python tests/bench/bench_prediction.py --failovers 50 --json build/bench/prediction.json

Each failover: clients have idle connections, and open new ones all the time. At a random moment the MASTER
is asked what would be lost now (``would_lose_expected``), and its cables are pulled: that is the
prediction. What the clients lose after the takeover is the truth. Then the cables are plugged in again, and
when both are well the other one is next.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
from io import StringIO
from pathlib import Path
from typing import Any

from lvsha.lab import probe
from lvsha.lab.errors import LabError
from lvsha.lab.guest import IN_GUEST
from lvsha.lab.peers.lvsha import Lvsha
from lvsha.lab.settings import RunSettings
from lvsha.lab.stage import Stage
from lvsha.lab.story import Story
from lvsha.lab.topology import DIRECTORS

IDLE = 200
RATE = 50


def failover(stage: Stage, master: str, dice: random.Random) -> dict[str, Any]:
    """One; the other director is MASTER afterwards, and both are well."""
    peer = stage.peer
    assert isinstance(peer, Lvsha)
    backup = next(name for name in DIRECTORS if name != master)
    stage._helpers["connections"].kill()
    stage._spawn("connections", probe.drive_connections, "client")
    stage.pump(0.2)
    stage.open_connections(IDLE, rounds=1)
    stage.start_load(RATE)
    stage.pump(dice.uniform(0.5, 1.5))
    relay = peer.status(master).get("sync", {}).get("relay", {})
    stage.crash(master)
    stage.wait_for_holder(backup, 20.0)
    stage.pump(0.3)
    count = stage.check_connections()
    # Of the load everything counts that the client began: a SYN that was lost comes again.
    load = stage.stop_load()
    stage._helpers["load"].kill()
    established = count["established"] + load["tried"]
    survived = count["survived"] + load["check"]["survived"]
    stage.topology.set_link(master, up=True)
    try:
        stage.wait(f"{master} and {backup} are whole", lambda: _whole(peer, backup), 60.0)
    except LabError:
        for node in DIRECTORS:
            print(node, json.dumps(peer.status(node).get("sync", {}).get("relay")), file=sys.stderr)
        raise
    return {
        "opened": established,
        "predicted": relay.get("would_lose_expected"),
        "unacknowledged": relay.get("would_lose"),
        "lost": established - survived,
    }


def _whole(peer: Lvsha, master: str) -> bool:
    for node in DIRECTORS:
        relay = peer.status(node).get("sync", {}).get("relay")
        if relay is None or not relay["peers"][0]["connected"] or relay["would_lose"]:
            return False
    routers = [peer.status(node)["vrrp"]["routers"][0]["state"] for node in DIRECTORS]
    return routers.count("MASTER") == 1 and routers[DIRECTORS.index(master)] == "MASTER"


def play(failovers: int, seed: int, target: Path) -> None:
    dice = random.Random(seed)
    settings = RunSettings(scenario="prediction", capture=False)
    found: list[dict[str, Any]] = []
    with Stage(settings, Path(tempfile.mkdtemp()), Story(StringIO())) as stage:
        stage.build()
        stage.start_pair()
        masters = list(DIRECTORS)
        for number in range(failovers):
            found.append(failover(stage, masters[number % 2], dice))
            print(number + 1, found[-1], file=sys.stderr, flush=True)
            target.write_text(json.dumps(summary(found, seed)))


def summary(found: list[dict[str, Any]], seed: int) -> dict[str, Any]:
    good = [each for each in found if each["predicted"] is not None]
    opened = sum(each["opened"] for each in good)
    apart = [abs(each["predicted"] - each["lost"]) for each in good]
    return {
        "seed": seed,
        "failovers": len(found),
        "opened": opened,
        "unacknowledged": sum(each["unacknowledged"] for each in good),
        "predicted": sum(each["predicted"] for each in good),
        "lost": sum(each["lost"] for each in good),
        "difference_percent": round(100 * sum(apart) / opened, 2) if opened else None,
        "worst": max(apart, default=None),
        "exact": apart.count(0),
        "runs": found,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description="Predicted and real loss over many failovers.")
    parser.add_argument("--failovers", type=int, default=50)
    parser.add_argument("--seed", type=int, default=4)
    parser.add_argument("--json", type=Path, default=Path("build/bench/prediction.json"))
    parser.add_argument("--limit", type=float, default=1200.0)
    arguments = parser.parse_args()
    if IN_GUEST in os.environ:
        play(arguments.failovers, arguments.seed, arguments.json)
        return 0
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "lvsha.cli.main", "lab", "exec", "--bare"]
    root = Path(__file__).resolve().parents[2]
    command += ["--limit", str(arguments.limit), "--", "env", f"PYTHONPATH={root}", sys.executable, __file__]
    command += ["--failovers", str(arguments.failovers), "--seed", str(arguments.seed)]
    command += ["--json", str(arguments.json.absolute())]
    subprocess.run(command, check=False)
    result = json.loads(arguments.json.read_text())
    print({key: value for key, value in result.items() if key != "runs"})
    return 0 if result["difference_percent"] <= 1 else 1


if __name__ == "__main__":
    raise SystemExit(main())
