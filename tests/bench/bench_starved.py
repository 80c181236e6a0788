"""How late vrrpd's adverts are on a machine whose processors are all busy, with and without real time.

Two directors in namespaces of their own, adverts every 100 ms, four busy loops a
processor. The second column is the same with CAP_SYS_NICE taken away, as in a
container that was not given it. What keepalived does about it (``vrrp_rt_priority``)
is off by default there.
"""

import argparse
import asyncio
import contextlib
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.interop.vrrp_directors import Lvsha, Pair, running
from tests.interop.vrrp_stage import Stage, until

WITHOUT = ("setpriv", "--bounding-set=-sys_nice", "--inh-caps=-sys_nice", "--")


@contextlib.contextmanager
def busy_loops(count: int) -> Iterator[None]:
    processes = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


async def measure(seconds: float, load: int, *, real_time: bool) -> dict[str, Any]:
    """Let a pair settle, make the machine busy, and look at the wire."""
    with tempfile.TemporaryDirectory(prefix="lvsha-bench-") as folder, Stage(Path(folder)) as stage:
        pair = [Lvsha(stage.host(node), Pair()) for node in ("lb1", "lb2")]
        for lvsha in pair:
            lvsha.prefix = () if real_time else WITHOUT
        with running(*pair):
            await until(
                lambda: [lvsha.state() for lvsha in pair] == ["MASTER", "BACKUP"], within=30, what="a pair"
            )
            await asyncio.sleep(1.5)
            begun = time.time()
            with busy_loops(load):
                await asyncio.sleep(seconds)
            adverts = stage.wire.of("lb1", since=begun, to=begun + seconds)
            gaps = [later.at - earlier.at for earlier, later in itertools.pairwise(adverts)]
            takeovers = [each for each in pair[1].events("vrrp.became_master") if each["at"] >= begun]
            return {
                "real_time": real_time,
                "false_takeovers": len(takeovers),
                "longest_gap_ms": round(max(gaps) * 1000, 1) if gaps else None,
                "worst_lateness_ms": max(lvsha.ask()["process"]["worst_lateness_ms"] for lvsha in pair),
            }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, epilog="example: bench_starved.py --seconds 30")
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--load", type=int, default=4 * (os.cpu_count() or 1), help="busy loops")
    parser.add_argument("--json", metavar="FILE")
    arguments = parser.parse_args()
    rows = [
        asyncio.run(measure(arguments.seconds, arguments.load, real_time=real_time))
        for real_time in (True, False)
    ]
    for row in rows:
        name = "real time" if row["real_time"] else "without"
        print(
            f"{name:9}  longest gap {row['longest_gap_ms']} ms, worst lateness "
            f"{row['worst_lateness_ms']} ms, false takeovers {row['false_takeovers']}"
        )
    if arguments.json:
        Path(arguments.json).write_text(json.dumps({"load": arguments.load, "rows": rows}, indent=2) + "\n")
    return 1 if rows[0]["false_takeovers"] else 0


if __name__ == "__main__":
    sys.exit(main())
