"""Whether adverts and checks of a real director are late while its API is beset.

A pair runs in a guest, on its one processor. What comes to lb2 is listened to, and the gaps between adverts
are counted while nothing else happens and while lb1's API gets malformed requests, listeners of its events
and clients that dawdle. A takeover would be counted too.
"""

import argparse
import asyncio
import json
import os
import resource
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

PAGE = Path("docs/reference/benchmarks-api.md")
BEGIN = "<!-- beset: begin -->"

_VRRP = 112
_SO_TIMESTAMPNS = 35
_TIMESPEC = struct.Struct("ll")


class Ear:
    """When each advert came to lb2, as its kernel says; once lb2 is MASTER it hears none."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        self._sock = sock
        self.came: list[float] = []
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        while True:
            _, ((_, _, stamp), *_), _, _ = self._sock.recvmsg(2048, 64)
            seconds, nanoseconds = _TIMESPEC.unpack(stamp)
            self.came.append(seconds + nanoseconds / 1e9)

    def take(self) -> dict[str, Any]:
        came, self.came = self.came, []
        gaps = sorted((after - before) * 1000 for before, after in pairwise(came))
        if not gaps:
            return {"adverts": len(came)}
        return {
            "adverts": len(came),
            "median_ms": round(gaps[len(gaps) // 2], 1),
            "p99_ms": round(gaps[len(gaps) * 99 // 100], 1),
            "longest_ms": round(gaps[-1], 1),
        }


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    from tests.kernel.director_rig import running_pair

    bench = Path(__file__).with_name("bench_api.py")
    with tempfile.TemporaryDirectory() as folder, running_pair(Path(folder)) as rig:
        assert rig.roles() == ("lb1", "lb2")
        path = str(rig.run_dir("lb1") / "directord.sock")
        with rig.namespace("lb2").entered():
            ear = Ear(socket.socket(socket.AF_INET, socket.SOCK_RAW, _VRRP))

        def child(*words: str) -> "subprocess.Popen[bytes]":
            command = [sys.executable, str(bench), "--child", words[0], path, *words[1:]]
            return subprocess.Popen(command, stdout=subprocess.PIPE)

        def nothing() -> dict[str, Any]:
            time.sleep(10)
            return {}

        def fuzz() -> dict[str, Any]:
            found = json.loads(child("fuzz", str(arguments.malformed), "1").communicate()[0])
            return {"requests": arguments.malformed, **found}

        def dawdle() -> dict[str, Any]:
            out = child("dawdle", str(arguments.dawdlers), "10").communicate()[0]
            return dict(json.loads(out.splitlines()[-1]))

        def listen() -> dict[str, Any]:
            asyncio.run(_hold(path, arguments.listeners, 10))
            return {"listeners": arguments.listeners}

        def worst_check() -> float:
            rows = [row for each in rig.status("lb1")["services"] for row in each["destinations"]]
            return max(float(row["last_check"]["ago_s"]) for row in rows if row["last_check"])

        results: dict[str, Any] = {}
        phases: list[tuple[str, Callable[[], dict[str, Any]]]] = [
            ("idle", nothing),
            ("malformed", fuzz),
            ("dawdlers", dawdle),
            ("listeners", listen),
        ]
        for name, work in phases:
            ear.came = []
            since = time.time()
            found = work()
            results[name] = {**found, **ear.take()}
            results[name]["takeovers"] = len(rig.events("vrrp.became_master", node="lb2", since=since))
            results[name]["ran_late"] = len(rig.events("vrrp.ran_late", node="lb1", since=since))
            results[name]["oldest_check_s"] = round(worst_check(), 2)
            print(name, json.dumps(results[name]), flush=True)
        return results


async def _hold(path: str, clients: int, duration_s: float) -> None:
    """Listen to the events of the director, and read them."""

    async def one() -> None:
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b"GET /v1/events HTTP/1.1\r\nHost: lvsha\r\n\r\n")
        try:
            async with asyncio.timeout(duration_s):
                while await reader.read(1 << 16):
                    pass
        except TimeoutError:
            writer.close()

    await asyncio.gather(*(one() for _ in range(clients)))


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--malformed", type=int, default=100_000)
    parser.add_argument("--listeners", type=int, default=1_000)
    parser.add_argument("--dawdlers", type=int, default=300)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--page", action="store_true", help=f"write its part of {PAGE}")
    arguments = parser.parse_args()
    if "LVSHA_IN_GUEST" in os.environ:
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65536), hard))
        sys.path.insert(0, os.getcwd())
        measure(arguments)
        return 0
    results = from_guest(arguments)
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=2) + "\n")
    if arguments.page:
        text = PAGE.read_text().partition(BEGIN)[0]
        PAGE.write_text(text.rstrip("\n") + "\n\n" + section(results))
    return 0 if results else 1


def from_guest(arguments: argparse.Namespace) -> dict[str, Any]:
    """A guest's files are its own; what it prints comes out."""
    command = [str(Path(sys.executable).with_name("lvsha")), "lab", "exec", "--bare", "--limit", "900", "--"]
    command += [sys.executable, __file__]
    for name in ("malformed", "listeners", "dawdlers"):
        command += [f"--{name}", str(getattr(arguments, name))]
    results: dict[str, Any] = {}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as guest:
        assert guest.stdout is not None
        for line in guest.stdout:
            print(line, end="", flush=True)
            name, _, found = line.partition(" ")
            results[name] = json.loads(found)
    return results


def section(results: dict[str, Any]) -> str:
    """The page's part, between its marks and the end."""
    doing = {
        "idle": "nothing else",
        "malformed": "{requests:,} malformed requests",
        "dawdlers": "{clients:,} clients that send or read slowly",
        "listeners": "{listeners:,} listeners of its events",
    }
    lines = [
        BEGIN,
        "",
        "## Adverts and checks of a director that is beset",
        "",
        "Made by `.venv/bin/python tests/bench/bench_api_pair.py --page --malformed "
        f"{results['malformed']['requests']}`: a pair of",
        "lvsha in user-mode Linux, whose one processor carries both directors, the kernel and those who",
        "beset lb1. Gaps between lb1's",
        "adverts of 100 ms as lb2's kernel gets them; lb2 would take over after 400 ms.",
        "",
        "| meanwhile | adverts | median gap | p99 | longest | takeovers | oldest check |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, row in results.items():
        gaps = " | ".join(f"{row[key]} ms" for key in ("median_ms", "p99_ms", "longest_ms"))
        what = doing[name].format_map(row)
        rest = f"{row['takeovers']} | {row['oldest_check_s']} s"
        lines.append(f"| {what} | {row['adverts']} | {gaps} | {rest} |")
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    sys.exit(main())
