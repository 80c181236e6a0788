"""Checks at scale: cost beside keepalived's checker, de-duplication, ten thousand targets, all of them dying.

Every cell is a process of its own in a network namespace of its own; nginx serves 127/8.
What is measured is the whole way from machine to verdict: director, pools, probes, and
worker processes where the cell has some. The kernel's table is not written. keepalived is
measured as ``bench_checker`` does. Times are processor time, which a busy machine changes
less than the clock; each row says the load it was measured under.
"""

import argparse
import asyncio
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from lvsha.cli.check_bench import Measured, configuration, cpu_seconds, percentile, rss_mb, server
from tests.bench.bench_checker import PORT, compile_shim, enter_namespace, run_keepalived, web_server

Row = dict[str, Any]
DEATH_TARGETS, DEATH_INTERVAL_S, FAST_INTERVAL_S = 10_200, 3.0, 0.5


def bench(*words: str, nice: int = 0) -> Row:
    """One run of ``lvsha check bench``."""
    command = [
        "nice",
        f"-n{nice}",
        sys.executable,
        "-m",
        "lvsha.cli.main",
        "check",
        "bench",
        "--json",
        *words,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if not done.stdout:
        raise SystemExit(f"lvsha check bench failed: {done.stderr.strip().splitlines()[-1:]}")
    row: Row = json.loads(done.stdout)
    return row


def words_of(kind: str, targets: int, interval: float, seconds: float) -> list[str]:
    port = [] if kind == "ping" else ["--port", str(PORT)]
    numbers = ["--targets", str(targets), "--interval", f"{interval:g}", "--seconds", f"{seconds:g}"]
    return ["--type", kind, *numbers, *port]


def beside_keepalived(arguments: argparse.Namespace, directory: Path) -> list[Row]:
    """2,000 targets at 1 s; once each realserver in one service, once in two."""
    rows = []
    shim = compile_shim(directory)
    for kind in ("http", "tcp", "ping"):
        words = words_of(kind, 2000, 1.0, arguments.seconds)
        row: Row = {
            "kind": kind,
            "lvsha": bench(*words),
            "lvsha_two_services": bench(*words, "--services", "2"),
        }
        if shim is not None:
            peer = row["keepalived"] = run_keepalived(kind, 2000, 1.0, arguments.seconds, directory, shim)
            if "cpu_ms" in peer:
                row["ratio_distinct"] = round(row["lvsha"]["cpu_ms"] / peer["cpu_ms"], 2)
                # keepalived asks once for each service: two services are two of its checks.
                row["ratio_configured"] = round(row["lvsha_two_services"]["cpu_ms"] / 2 / peer["cpu_ms"], 2)
        rows.append(row)
        print(kind, {key: value for key, value in row.items() if key.startswith("ratio")}, flush=True)
    return rows


def scale(arguments: argparse.Namespace) -> list[Row]:
    """Cost against count, and ten thousand with worker processes."""
    rows = []
    for cell in (arguments.only or SCALE).split(","):
        kind, targets, workers = cell.split(":")
        words = [*words_of(kind, int(targets), 1.0, arguments.seconds), "--workers", workers]
        rows.append(bench(*words))
        print({key: rows[-1][key] for key in SHOWN}, flush=True)
    return rows


SCALE = (
    "http:100:0,http:1000:0,http:10000:0,http:10000:1,http:10000:2,tcp:100:0,tcp:1000:0,tcp:10000:0,"
    "ping:10000:0"
)
SHOWN = (
    *("type", "targets", "workers", "checks_per_s", "cpu_ms", "user_ms", "core_percent_each", "rss_mb"),
    *("first_verdicts_s", "late_p99_ms", "bad", "falls", "load"),
    "reasons",
)


async def death(workers: int) -> Row:
    """All up for a while; then the server goes, and every target refuses."""
    behind, port = server("tcp")
    settings = configuration("tcp", DEATH_TARGETS, DEATH_INTERVAL_S, port=port)
    measured = Measured(settings, workers)
    began = time.monotonic()
    measured.start()
    while not measured.all_proven() and time.monotonic() - began < 60:  # noqa: ASYNC110
        await asyncio.sleep(0.02)
    first = time.monotonic() - began
    await asyncio.sleep(DEATH_INTERVAL_S)
    before, begun = sum(cpu_seconds(os.getpid())), time.monotonic()
    await asyncio.sleep(2 * DEATH_INTERVAL_S)
    up = (sum(cpu_seconds(os.getpid())) - before) / (time.monotonic() - begun)
    false_falls, measured.falls = measured.falls, 0
    measured.fallen_at.clear()
    before, died = sum(cpu_seconds(os.getpid())), time.monotonic_ns()
    behind.kill()
    behind.join()
    while measured.falls < DEATH_TARGETS and time.monotonic_ns() - died < 60e9:  # noqa: ASYNC110
        await asyncio.sleep(0.02)
    after = (time.monotonic_ns() - died) / 1e9
    down = (sum(cpu_seconds(os.getpid())) - before) / after
    row = {
        "targets": DEATH_TARGETS,
        "interval_s": DEATH_INTERVAL_S,
        "fall": 3,
        "first_verdicts_s": round(first, 2),
        "core_percent_up": round(100 * up, 1),
        "core_percent_dying": round(100 * down, 1),
        "fallen": measured.falls,
        "false_falls": false_falls,
        "half_down_s": percentile([at - died for at in measured.fallen_at], 0.5) / 1000,
        "all_down_s": round(max(measured.fallen_at, default=died) - died, 0) / 1e9,
        "due_s": DEATH_INTERVAL_S + 2 * FAST_INTERVAL_S,
        "late_p99_ms": percentile(measured.lateness, 0.99),
        "rss_mb": rss_mb(os.getpid()),
        "load": os.getloadavg()[0],
    }
    measured.close()
    return row


def starved(seconds: float, targets: int, nice: int) -> Row:
    """HTTP targets while every core has two processes that only burn. ``nice``: director and burners
    alike give way to everything else on the machine, the web server too."""
    burners = [
        subprocess.Popen(["nice", f"-n{nice}", sys.executable, "-c", "while True: pass"])
        for _ in range(2 * len(os.sched_getaffinity(0)))
    ]
    try:
        row = bench(*words_of("http", targets, 1.0, seconds), nice=nice)
    finally:
        for burner in burners:
            burner.kill()
            burner.wait()
    print({key: row[key] for key in SHOWN}, flush=True)
    return row


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path, help="write the results here")
    parser.add_argument("--seconds", type=float, default=10.0, help="of measuring per cell")
    parser.add_argument("--starved", type=float, default=60.0, help="seconds of the starved cell")
    parser.add_argument("--starved-targets", type=int, default=2000, help="of the starved cell")
    parser.add_argument("--nice", type=int, default=0, help="of director and burners in the starved cell")
    parser.add_argument("--only", help="of the scale: TYPE:TARGETS:WORKERS,...")
    parser.add_argument("--cells", default="peer,scale,death,starved")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        print(json.dumps(asyncio.run(death(0))))
        return 0
    enter_namespace()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    Path("/proc/sys/net/ipv4/ip_local_port_range").write_text("1024 65535")
    results: Row = {"cores": len(os.sched_getaffinity(0))}
    cells = arguments.cells.split(",")
    with tempfile.TemporaryDirectory(prefix="lvsha-bench-") as name:
        directory = Path(name)
        directory.chmod(0o755)
        with web_server(directory, pinned=False):
            if "peer" in cells:
                results["peer"] = beside_keepalived(arguments, directory)
            if "scale" in cells:
                results["scale"] = scale(arguments)
            if "starved" in cells:
                results["starved"] = starved(arguments.starved, arguments.starved_targets, arguments.nice)
    if "death" in cells:
        command = [sys.executable, "-m", "tests.bench.bench_checks", "--child"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        results["death"] = json.loads(done.stdout)
        print(results["death"], flush=True)
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(results, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
