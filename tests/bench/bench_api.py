"""What the API costs, and whether anything else waits for it.

The server runs in this process, over a director of ``--realservers`` realservers in virtual
time, and a task beside it that wants to run every millisecond: how late it was is what a
check would have waited. Clients are processes of their own. The status is made as directord
makes it; the kernel's table is pretended.
"""

import argparse
import asyncio
import contextlib
import gc
import json
import os
import random
import resource
import shutil
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from lvsha.api.events import EventStream
from lvsha.api.server import ApiServer
from lvsha.config.settings import Settings

SWITCH_S = 0.001
"""As directord: see ``agent.directord.main``."""

PAGE = Path("docs/reference/benchmarks-api.md")
SERVICES = 10


def wanted(realservers: int) -> Settings:
    from dataclasses import replace
    from ipaddress import IPv4Address

    from tests.director.operated import realserver, service, settings

    def member(number: int) -> Any:
        made = realserver(11)
        address = IPv4Address(0x0A010000 + number)
        assert made.check is not None
        return replace(
            made,
            name=f"{address}:80",
            destination=replace(made.destination, address=address),
            check=replace(made.check, address=address),
        )

    share = realservers // SERVICES
    return settings(
        *(
            service(f"web{n}", *(member(n * share + k) for k in range(share)), port=80 + n)
            for n in range(SERVICES)
        )
    )


# --- clients: processes of their own --------------------------------------------------------------


def _exchange(path: str, request: bytes) -> bytes:
    """One request on a connection of its own; the answer's head."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(0.5)
        sock.connect(path)
        sock.sendall(request)
        found = b""
        try:
            while b"\r\n\r\n" not in found and (data := sock.recv(1 << 16)):
                found += data
        except TimeoutError:
            return found or b"HTTP/1.1 waits"  # the head is not whole: it waits for the rest
        return found


def client_get(path: str, target: str, count: int, pause_s: float) -> dict[str, Any]:
    """Ask ``count`` times, one after the other."""
    times = []
    size = 0
    request = f"GET {target} HTTP/1.1\r\nHost: lvsha\r\nConnection: close\r\n\r\n".encode()
    for _ in range(count):
        with socket.socket(socket.AF_UNIX) as sock:
            begun = time.perf_counter()
            sock.connect(path)
            sock.sendall(request)
            size = 0
            while data := sock.recv(1 << 20):
                size += len(data)
            times.append((time.perf_counter() - begun) * 1000)
        time.sleep(pause_s)
    return {"ms": times, "bytes": size}


def client_fuzz(path: str, count: int, seed: int) -> dict[str, Any]:
    """Requests that no client should send; what came back, by status."""
    dice = random.Random(seed)
    codes: dict[str, int] = {}
    begun = time.perf_counter()
    for _ in range(count):
        try:
            answer = _exchange(path, malformed(dice))
        except OSError as error:
            answer = b"HTTP/1.1 " + type(error).__name__.encode()
        code = answer[9:12].decode(errors="replace") if answer.startswith(b"HTTP/1.") else "closed"
        codes[code] = codes.get(code, 0) + 1
    return {"codes": codes, "s": time.perf_counter() - begun}


_PATHS = (
    "/v1/drain",
    "/v1/weight",
    "/v1/maintenance",
    "/v1/switchover",
    "/v1/config/validate",
    "/v1/history?limit=",
    "/v1/explain?at=",
    "/v1/services/",
    "/v1/events",
    "/",
)


def malformed(dice: random.Random) -> bytes:
    """Broken heads, broken bodies, sound requests for what is not there."""
    noise = dice.randbytes(dice.randrange(1, 60))
    path = dice.choice(_PATHS)
    text = "".join(chr(dice.randrange(33, 127)) for _ in range(dice.randrange(30)))
    match dice.randrange(8):
        case 0:
            return noise + b"\r\n\r\n"
        case 1:
            return b"GET " + noise + b" HTTP/1.1\r\nHost: lvsha\r\n\r\n"
        case 2:
            return f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {text}\r\n\r\n".encode()
        case 3:
            return f"POST {path} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n".encode()
        case 4:
            head = f"GET {path}{text} HTTP/9.9\r\n".encode()
            return head + b"X: " + noise + b"\r\n\r\n"
        case 5:
            return f"{text} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()
        case 6:
            body = dice.choice(
                (noise, b"{" * 300, b'{"target":' + b"[" * 200, b'{"target":"\\ud800"}', b"null")
            )
        case _:
            body = json.dumps(
                {"target": text, dice.choice(("deadline_s", "weight", "on", "at")): text}
            ).encode()
    start = f"POST /v1/drain HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
    return start.encode() + body


async def _listen(path: str, clients: int, events: int) -> dict[str, Any]:
    """Open the streams, say so, and count until each has every event."""
    late: list[float] = []
    opened = asyncio.Event()
    waiting = clients

    async def one() -> int:
        nonlocal waiting
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b"GET /v1/events?kinds=change HTTP/1.1\r\nHost: lvsha\r\n\r\n")
        await reader.readuntil(b"retry: 1000\n\n")
        waiting -= 1
        if not waiting:
            opened.set()
            print("open", flush=True)
        await opened.wait()
        got = 0
        while got < events:
            line = await reader.readline()
            if not line:
                break
            if line.startswith(b"data: "):
                got += 1
                late.append((time.time() - json.loads(line[6:])["at"]) * 1000)
        writer.close()
        return got

    counts = await asyncio.gather(*(one() for _ in range(clients)))
    late.sort()
    return {"complete": sum(count == events for count in counts), "p99_ms": late[len(late) * 99 // 100]}


async def _dawdle(path: str, clients: int, duration_s: float) -> dict[str, Any]:
    """A third sends its head a byte a second, a third never its body, a third reads no answer."""
    head = b"GET /v1/status HTTP/1.1\r\nHost: lvsha\r\nX-Slow: "
    promised = b"POST /v1/drain HTTP/1.1\r\nHost: lvsha\r\nContent-Length: 4000000\r\n\r\n{"
    unread = b"GET /metrics HTTP/1.1\r\nHost: lvsha\r\n\r\n"
    writers = []
    for number in range(clients):
        _, writer = await asyncio.open_unix_connection(path, limit=1)
        writer.write((head, promised, unread)[number % 3])
        writers.append(writer)
    print("open", flush=True)
    end = time.monotonic() + duration_s
    while time.monotonic() < end:
        await asyncio.sleep(1)
        for writer in writers[::3]:
            with contextlib.suppress(ConnectionError):
                writer.write(b"x")
    for writer in writers:
        writer.transport.abort()
    return {"clients": clients}


# --- this process ---------------------------------------------------------------------------------


class Lateness:
    """Wants to run every millisecond."""

    def __init__(self) -> None:
        self.worst = 0.0
        self.all: list[float] = []

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + 0.001
            await asyncio.sleep(0.001)
            late = (loop.time() - due) * 1000
            self.worst = max(self.worst, late)
            self.all.append(late)

    def take(self) -> dict[str, float]:
        found = sorted(self.all) or [0.0]
        result = {"worst_ms": round(self.worst, 1), "p99_ms": round(found[len(found) * 99 // 100], 1)}
        self.worst, self.all = 0.0, []
        return result


async def child(*words: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, __file__, "--child", *words, stdout=asyncio.subprocess.PIPE
    )


async def answer_of(process: asyncio.subprocess.Process) -> Any:
    out, _ = await process.communicate()
    return json.loads(out.splitlines()[-1])


def percentile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return round(ordered[min(len(ordered) - 1, int(len(ordered) * share))], 1)


async def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    from tests.api.pretended import Pretended

    folder = tempfile.mkdtemp(prefix="lvsha-bench-")
    path = f"{folder}/directord.sock"
    port = Pretended(wanted(arguments.realservers))
    table = port.bench.table()
    port.bench.table = lambda: table  # type: ignore[method-assign]  # directord has read it before, too
    sys.setswitchinterval(SWITCH_S)
    events = EventStream("life")
    server = ApiServer(port, events=events)
    await server.start(Path(path))
    gc.collect()
    gc.freeze()
    lateness = Lateness()
    watch = asyncio.create_task(lateness.run())
    results: dict[str, Any] = {"realservers": arguments.realservers}

    async def during(name: str, work: Callable[[], Awaitable[dict[str, Any]]]) -> None:
        lateness.take()
        results[name] = await work()
        results[name]["loop"] = lateness.take()
        print(name, json.dumps(results[name]), flush=True)

    async def gets(target: str, count: int, pause_s: float) -> dict[str, Any]:
        found = await answer_of(await child("get", path, target, str(count), str(pause_s)))
        times = found["ms"]
        return {
            "requests": len(times),
            "first_ms": round(times[0], 1),
            "median_ms": percentile(times[1:], 0.5),
            "p99_ms": percentile(times[1:], 0.99),
            "bytes": found["bytes"],
        }

    async def fuzz() -> dict[str, Any]:
        each = arguments.malformed // 2
        both = [await child("fuzz", path, str(each), str(seed)) for seed in (1, 2)]
        found = [await answer_of(process) for process in both]
        codes: dict[str, int] = {}
        for one in found:
            for code, count in one["codes"].items():
                codes[code] = codes.get(code, 0) + count
        return {"requests": 2 * each, "codes": codes, "s": round(max(one["s"] for one in found), 1)}

    async def listeners() -> dict[str, Any]:
        process = await child("listen", path, str(arguments.listeners), "100")
        assert process.stdout is not None
        await process.stdout.readline()
        lateness.take()
        for number in range(100):
            events.publish("change", {"n": number, "at": time.time(), "subject": "x" * 300})
            await asyncio.sleep(0.05)
        found = await answer_of(process)
        return {"clients": arguments.listeners, "events": 100, **found, "dropped": events.dropped}

    async def dawdlers() -> dict[str, Any]:
        process = await child("dawdle", path, str(arguments.dawdlers), "10")
        assert process.stdout is not None
        await process.stdout.readline()
        found = await gets("/livez", 100, 0.05)
        return {**found, **await answer_of(process)}

    async def nothing() -> dict[str, Any]:
        await asyncio.sleep(2)
        return {}

    await during("idle", nothing)
    await during("status", lambda: gets("/v1/status", 200, 0.05))
    await during("metrics", lambda: gets("/metrics", 20, 0.5))
    await during("listeners", listeners)
    await during("dawdlers", dawdlers)
    await during("malformed", fuzz)
    await during("after", lambda: gets("/livez", 100, 0.0))
    results["rss_mb"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    watch.cancel()
    await server.stop()
    shutil.rmtree(folder)
    return results


async def command_line() -> dict[str, Any]:
    """Wall time; the agent that is asked serves two realservers."""
    from tests.api.pretended import Pretended

    folder = tempfile.mkdtemp(prefix="lvsha-bench-")
    server = ApiServer(Pretended(), events=EventStream("life"))
    await server.start(Path(folder) / "directord.sock")
    found = {}
    for name, words in (("help", ["--help"]), ("status", ["status", "--json", "--run-dir", folder])):
        times = []
        for _ in range(11):
            begun = time.perf_counter()
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "lvsha.cli.main", *words, stdout=asyncio.subprocess.DEVNULL
            )
            assert await process.wait() == 0
            times.append((time.perf_counter() - begun) * 1000)
        found[name] = {"median_ms": round(statistics.median(times), 1), "best_ms": round(min(times), 1)}
    await server.stop()
    shutil.rmtree(folder)
    return found


def page(results: dict[str, Any]) -> str:
    cli, status, metrics = results["cli"], results["status"], results["metrics"]
    listeners, slow, malformed_ = results["listeners"], results["dawdlers"], results["malformed"]
    codes = ", ".join(f"{count:,} × {code}" for code, count in sorted(malformed_["codes"].items()))
    rows = [
        ("`lvsha --help`, wall time, median of 11", f"{cli['help']['median_ms']} ms", "150 ms"),
        (
            "`lvsha status`, wall time, median of 11",
            f"{cli['status']['median_ms']} ms",
            "250 ms",
        ),
        (
            f"status of {results['realservers']:,} realservers, p99 of {status['requests']}",
            f"{status['p99_ms']} ms",
            "100 ms",
        ),
        ("the first of them (made while it waits)", f"{status['first_ms']} ms", ""),
        ("longest pause of the loop meanwhile", f"{status['loop']['worst_ms']} ms", "20 ms"),
        (
            f"scrape of {results['realservers']:,} realservers, p99 of {metrics['requests']}",
            f"{metrics['p99_ms']} ms",
            "300 ms",
        ),
        ("size of a scrape", f"{metrics['bytes'] / 1e6:.1f} MB", ""),
        ("longest pause of the loop meanwhile", f"{metrics['loop']['worst_ms']} ms", "20 ms"),
        (
            f"{listeners['clients']:,} listeners, {listeners['events']} events: complete",
            f"{listeners['complete']:,}",
            f"{listeners['clients']:,}",
        ),
        ("event to listener, p99", f"{listeners['p99_ms']:.0f} ms", "300 ms"),
        ("longest pause of the loop meanwhile", f"{listeners['loop']['worst_ms']} ms", "20 ms"),
        (
            f"{slow['clients']:,} clients that send or read slowly: /livez beside them, p99",
            f"{slow['p99_ms']} ms",
            "served",
        ),
        ("longest pause of the loop meanwhile", f"{slow['loop']['worst_ms']} ms", "20 ms"),
        (f"{malformed_['requests']:,} malformed requests", codes, "refused"),
        ("longest pause of the loop meanwhile", f"{malformed_['loop']['worst_ms']} ms", "20 ms"),
        ("longest pause of the idle loop, for comparison", f"{results['idle']['loop']['worst_ms']} ms", ""),
        ("resident memory of it all at the end", f"{results['rss_mb']} MB", ""),
    ]
    lines = [
        "# Benchmarks of the API",
        "",
        "<!-- Made by tests/bench/bench_api.py --page; run it instead of changing this. -->",
        "",
        "Made by `.venv/bin/python tests/bench/bench_api.py --page`. The server is the real one, over a",
        "director whose kernel is pretended; clients are processes of their own on the same machine, which",
        "has two processors and other work besides. A pause is how late a task was that wants to run every",
        "millisecond: so long would a check have waited. vrrpd, which sends the adverts, is another process.",
        "",
        "| what | measured | wanted |",
        "|---|---|---|",
    ]
    for what, value, limit in rows:
        lines.append(f"| {what} | {value} | {'≤ ' + limit if limit.endswith('ms') else limit} |")
    return "\n".join([*lines, ""])


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--realservers", type=int, default=10_000)
    parser.add_argument("--malformed", type=int, default=100_000)
    parser.add_argument("--listeners", type=int, default=1_000)
    parser.add_argument("--dawdlers", type=int, default=300)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--page", action="store_true", help=f"write {PAGE}")
    parser.add_argument("--child", nargs="+", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65536), hard))
    if arguments.child:
        kind, path, *rest = arguments.child
        if kind == "get":
            print(json.dumps(client_get(path, rest[0], int(rest[1]), float(rest[2]))))
        elif kind == "fuzz":
            print(json.dumps(client_fuzz(path, int(rest[0]), int(rest[1]))))
        elif kind == "dawdle":
            print(json.dumps(asyncio.run(_dawdle(path, int(rest[0]), float(rest[1])))))
        else:
            print(json.dumps(asyncio.run(_listen(path, int(rest[0]), int(rest[1])))))
        return 0
    sys.path.insert(0, os.getcwd())
    results = {"cli": asyncio.run(command_line()), **asyncio.run(measure(arguments))}
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(results, indent=2) + "\n")
    if arguments.page:
        # What stands after the mark is bench_directord.py's and bench_api_pair.py's.
        text = PAGE.read_text()
        mark = next(
            (each for each in ("<!-- directord: begin -->", "<!-- beset: begin -->") if each in text), ""
        )
        theirs = text.partition(mark)[2] if mark else ""
        PAGE.write_text(page(results) + (f"\n{mark}{theirs}" if mark else ""))
    print(page(results))
    return 0


if __name__ == "__main__":
    sys.exit(main())
