"""What vrrpd takes and costs, read off the wire and out of /proc, in network namespaces, without IPVS.

    .venv/bin/python -m tests.bench.bench_vrrp takeover --director keepalived --advert 0.1 --runs 30
    .venv/bin/python -m tests.bench.bench_vrrp cost --instances 20 --addresses 1 --lease 3s
    .venv/bin/python -m tests.bench.bench_vrrp hang --addresses 500 --lease 3s
    .venv/bin/python -m tests.bench.bench_vrrp announce --addresses 2000

``takeover``: lb1's frames are dropped in the switch from one moment on; the clock runs
from there to lb2's first advert. Then the network is whole again and lb1 wins, so one
pair of processes serves all runs. ``cost``: processor time and memory of the process
that leads, over ``--seconds``. ``announce``: when has lb2 told of all addresses?
``hang``: SIGSTOP to all of lb1; when is what it held gone? Needs root.
"""

import argparse
import asyncio
import json
import os
import random
import signal
import statistics
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

from lvsha.core.instant import SECOND, to_seconds
from lvsha.vrrp.timers import master_down_interval
from tests.interop.vrrp_directors import (
    Director,
    Keepalived,
    Lvsha,
    Pair,
    children,
    keepalived_config,
    lvsha_config,
    running,
    wall_clock,
)
from tests.interop.vrrp_stage import NODES, Stage, addresses, until

KINDS: dict[str, type[Director]] = {"lvsha": Lvsha, "keepalived": Keepalived}
ADVERTISED = 20
"""Of many addresses; the others move along unadvertised, as one does where there are so many."""
TICKS = os.sysconf("SC_CLK_TCK")


def many(count: int, instance: int = 0) -> tuple[str, ...]:
    return tuple(f"10.{1 + instance}.{n // 250}.{1 + n % 250}/8" for n in range(count))


def make(kind: str, stage: Stage, node: str, options: argparse.Namespace) -> Director:
    """A director with ``--instances`` routers of ``--addresses`` each."""
    parts = []
    for instance in range(options.instances):
        ours = many(options.addresses, instance)
        pair = Pair(addresses=ours[:ADVERTISED], vrid=51 + instance, interval=options.advert)
        rest = ours[ADVERTISED:]
        if kind == "lvsha":
            text = lvsha_config(pair).replace("eth0-51", f"eth0-{pair.vrid}")
            text += f'excluded_addresses = {json.dumps(rest)}\nlease = "{options.lease}"\n'
            parts.append(text if not instance else text[text.index("[[vrrp]]") :])
        else:
            text = keepalived_config(pair, node).replace("instance pair", f"instance pair{instance}")
            text = text.rstrip()[:-1] + "  virtual_ipaddress_excluded {\n" + "\n".join(rest) + "\n  }\n}\n"
            parts.append(text if not instance else text[text.index("vrrp_instance") :])
    director = KINDS[kind](stage.host(node), Pair(interval=options.advert))
    name = "lvsha.toml" if kind == "lvsha" else "keepalived.conf"
    (stage.host(node).folder / name).write_text("\n".join(parts))
    return director


async def takeover(stage: Stage, options: argparse.Namespace) -> dict[str, Any]:
    dice = random.Random(1)
    took: list[float] = []
    directors = [make(options.director, stage, node, options) for node in NODES]
    ours = addresses(*many(options.addresses))
    with running(*directors):
        await until(lambda: stage.holders(ours) == ["lb1"], within=60, what="lb1 alone")
        await asyncio.sleep(2 + 5 * options.advert)
        while len(took) < options.runs:
            await asyncio.sleep(dice.random() * options.advert)
            before = wall_clock()
            stage.forward("lb1", frames=False)
            cut = (before + wall_clock()) / 2
            await until(
                lambda cut=cut: stage.wire.of("lb2", since=cut) or None,  # type: ignore[misc]
                within=10 + 10 * options.advert,
                what="a takeover",
            )
            took.append(stage.wire.of("lb2", since=cut)[0].at - cut)
            # The network is whole again: the better one never stepped down, the other gives way.
            stage.forward("lb1", frames=True)
            await until(lambda: stage.holders(ours) == ["lb1"], within=10, what="one holder")
            await asyncio.sleep(1 + 4 * options.advert)
    down = master_down_interval(
        version=3, priority=100, master_advert_interval=round(options.advert * SECOND)
    )
    took.sort()
    return {
        "runs": len(took),
        "p50_ms": round(statistics.median(took) * 1000, 1),
        "p99_ms": round(took[round(0.99 * (len(took) - 1))] * 1000, 1),
        "derived_limit_ms": round(to_seconds(down) * 1000, 1),
    }


async def lead(stage: Stage, options: argparse.Namespace) -> tuple[list[Director], frozenset[Any]]:
    """Two directors, lb1 the holder of everything."""
    directors = [make(options.director, stage, node, options) for node in NODES]
    ours = frozenset[Any]().union(
        *(addresses(*many(options.addresses, instance)) for instance in range(options.instances))
    )
    directors[0].start()
    await until(lambda: ours <= directors[0].host.addresses(), within=60, what="lb1 holds all")
    directors[1].start()
    await asyncio.sleep(8)
    return directors, ours


async def cost(stage: Stage, options: argparse.Namespace) -> dict[str, Any]:
    directors, _ = await lead(stage, options)
    try:
        found: dict[str, Any] = {}
        for director, role in zip(directors, ("master", "backup"), strict=True):
            pid = director.vrrpd_pid() if isinstance(director, Lvsha) else children(director.pid)[-1]
            before, since = _processor_s(pid), time.monotonic()
            began = wall_clock()
            await asyncio.sleep(options.seconds)
            spent = (_processor_s(pid) - before) / (time.monotonic() - since)
            found[f"{role}_percent_of_a_core"] = round(100 * spent, 2)
            found[f"{role}_rss_mb"] = round(_rss_kb(pid) / 1024, 1)
            if role == "master":
                adverts = [advert for advert in stage.wire.of("lb1", since=began) if advert.vrid == 51]
                gaps = [later.at - sooner.at for sooner, later in pairwise(adverts)]
                found["longest_advert_gap_ms"] = round(max(gaps, default=0) * 1000, 1)
        return found
    finally:
        for director in directors:
            director.end()


async def announce(stage: Stage, options: argparse.Namespace) -> dict[str, Any]:
    """lb1 is cut off: until lb2 has announced the last address, and how late its adverts were meanwhile."""
    directors, _ = await lead(stage, options)
    ours = addresses(*many(options.addresses))
    try:
        stage.wire.read()
        cut = wall_clock()
        stage.forward("lb1", frames=False)
        claims = await until(
            lambda: stage.wire.claims_of("lb2", ours, since=cut), within=30, what="every address announced"
        )
        await asyncio.sleep(3)
        adverts = stage.wire.of("lb2", since=cut)
        gaps = [later.at - sooner.at for sooner, later in pairwise(adverts)]
        took = adverts[0].at
        return {
            "takeover_ms": round((took - cut) * 1000, 1),
            "announced_all_after_ms": round((max(claim.at for claim in claims) - took) * 1000, 1),
            "longest_advert_gap_ms": round(max(gaps) * 1000, 1),
        }
    finally:
        for director in directors:
            director.end()


async def hang(stage: Stage, options: argparse.Namespace) -> dict[str, Any]:
    directors, ours = await lead(stage, options)
    one, other = directors
    try:
        began = time.monotonic()
        for pid in (*children(one.pid), one.pid):
            os.kill(pid, signal.SIGSTOP)
        taken = alone = None
        while time.monotonic() - began < options.seconds and alone is None:
            now = time.monotonic() - began
            if taken is None and ours <= other.host.addresses():
                taken = round(now, 3)
            if not ours & one.host.addresses():
                alone = round(now, 3)
            await asyncio.sleep(0.005)
        return {"other_holds_all_after_s": taken, "hung_one_holds_nothing_after_s": alone}
    finally:
        for director in directors:
            director.end()


def _processor_s(pid: int) -> float:
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / TICKS


def _rss_kb(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    return 0


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("takeover", "cost", "hang", "announce"))
    parser.add_argument("--director", choices=KINDS, default="lvsha")
    parser.add_argument("--advert", type=float, default=0.1, metavar="S")
    parser.add_argument("--runs", type=int, default=30, metavar="N")
    parser.add_argument("--instances", type=int, default=1, metavar="N")
    parser.add_argument("--addresses", type=int, default=1, metavar="N", help="per instance")
    parser.add_argument("--lease", default="3s", metavar="TIME", help="lvsha's")
    parser.add_argument("--seconds", type=float, default=10.0, metavar="S")
    options = parser.parse_args()
    work = {"takeover": takeover, "cost": cost, "hang": hang, "announce": announce}[options.what]
    with tempfile.TemporaryDirectory(prefix="lvb") as folder, Stage(Path(folder)) as stage:
        found = asyncio.run(work(stage, options))
    print(json.dumps(vars(options) | found))


if __name__ == "__main__":
    main()
