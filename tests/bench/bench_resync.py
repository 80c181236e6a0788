"""A table on its way to a director that joins, and new connections at a rate: two processes, real sockets.

    .venv/bin/python tests/bench/bench_resync.py [--rows 100000] [--rates 1000,10000] [--json FILE]
    .venv/bin/lvsha lab exec --bare --limit 300 -- .venv/bin/python tests/bench/bench_resync.py --kernel

Both directors' relays run as in directord (``agent.connection_sync``), each in a process of its own,
over UDP on the loopback. With ``--kernel``, as root where there is ip_vs, the joining one puts all rows
into its kernel, barrier and all, and its kernel is asked how many it has; without it a batch counts as
installed at once. Wall clock is from the session's beginning until the joining director knows that it
has everything; processor is of whole processes meanwhile, memory is what its resident set grew by. Lag is
how long a new connection is not in the peer's kernel, looked at every millisecond.
"""

import argparse
import asyncio
import gc
import json
import os
import resource
import struct
import sys
import time
from collections.abc import Callable
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any, cast

from lvsha.agent.connection_sync import ConnectionSync, on_private_interface
from lvsha.agent.journal import Journal
from lvsha.core.errors import KernelError
from lvsha.core.instant import SECOND
from lvsha.io.ipvs_genl import IpvsSocket
from lvsha.io.private_link import PRIVATE_INTERFACE, ensure_private_link, remove_private_link
from lvsha.io.reactor import monotonic
from lvsha.io.sync_socket import Delivery
from lvsha.ipvs.model import Daemon, DaemonRole
from lvsha.lab.netns import run
from lvsha.sync.relay_outputs import Direction, PeerConnected, ResyncFinished
from lvsha.sync.relay_settings import RelayPeer, RelaySettings, director_id
from lvsha.sync.resync import BULK_MAXLEN, Batch
from lvsha.sync.settings import SyncSettings, Transport
from lvsha.wire.ipvs_sync.v1 import assemble

LOOPBACK = IPv4Address("127.0.0.1")
PORTS = {"sender": 18849, "joiner": 18850}
SERVICE, SERVER = "10.9.0.100:80", "10.9.0.50:80"
LEAD_S = 2.0
RATE_S = 5.0
_ENTRY = struct.Struct(">BBHLHHHHLL4s4s4s")


def entry(number: int) -> bytes:
    client = struct.pack(">L", 0x0A010000 + number // 60_000)
    ports = (1024 + number % 60_000, 80, 80)
    return _ENTRY.pack(0, 6, 36, 0x83, 1, *ports, 0, 900, client, b"\x0a\x09\0\x64", b"\x0a\x09\0\x32")


class NoKernel:
    """No table to read."""

    def table(self) -> None:
        raise KernelError("read", 0, "not here")


class Notes:
    """A journal that runs ``said`` for each event of the relay."""

    def __init__(self, said: Callable[[object], None]) -> None:
        self.said = said

    def record(self, part: str, event: object) -> None:
        self.said(event)

    def write(self, event: str, **values: object) -> None:
        if event in ("sync.injection_failed", "sync.entries_dropped"):
            print(event, values, file=sys.stderr)


def usage() -> tuple[float, float, int]:
    """Seconds of processor, of them in the kernel, and bytes of memory."""
    spent = resource.getrusage(resource.RUSAGE_SELF)
    resident = int(Path("/proc/self/statm").read_text().split()[1]) * 4096
    return spent.ru_utime + spent.ru_stime, spent.ru_stime, resident


class Side:
    """One director, until its part is over; its figures go to a pipe as JSON."""

    def __init__(self, name: str, rows: int, rates: list[int], key_file: Path, *, kernel: bool) -> None:
        other = "joiner" if name == "sender" else "sender"
        self.name, self.rows, self.rates, self.kernel = name, rows, rates, kernel
        self.figures: dict[str, Any] = {}
        self.began = 0.0
        self.before = usage()
        self.done = asyncio.Event()
        peer = RelayPeer(name=other, director=director_id(other), address=LOOPBACK, port=PORTS[other])
        relay = RelaySettings(
            director=director_id(name), peers=(peer,), key_file=str(key_file), port=PORTS[name]
        )
        settings = SyncSettings(interface="lo", syncid=51, transport=Transport.RELAY, relay=relay)
        ipvs = IpvsSocket() if kernel else NoKernel()
        made = ConnectionSync.of(
            on_private_interface(settings),
            ipvs=cast(IpvsSocket, ipvs),
            journal=cast(Journal, Notes(self.said)),
            allow_preemption=lambda _: None,
        )
        assert made is not None, "there is a relay"
        self.sync = made
        self.sync.installer.is_ready = True
        self.sync.takes_messages(BULK_MAXLEN)
        if not (kernel and name == "joiner"):
            self.sync._injection._deliver = installed_at_once  # type: ignore[method-assign]

    def said(self, event: object) -> None:
        if isinstance(event, PeerConnected):
            self.began, self.before = time.monotonic(), usage()
        wanted = Direction.IN if self.name == "joiner" else Direction.OUT
        if isinstance(event, ResyncFinished) and event.direction is wanted:
            cpu, system, resident = usage()
            self.figures |= {
                "wall_s": round(time.monotonic() - self.began, 3),
                "cpu_s": round(cpu - self.before[0], 3),
                "system_s": round(system - self.before[1], 3),
                "bytes_per_row": round((resident - self.before[2]) / self.rows),
            }
            self.done.set()

    async def live(self) -> dict[str, Any]:
        if self.name == "sender":
            now = monotonic()
            for number in range(self.rows):
                self.sync.store.observe(entry(number), now, lifetime=1000 * SECOND)
        gc.set_threshold(1_000, 10, 100)  # as directord does
        task = asyncio.create_task(self.sync.run())
        await asyncio.wait_for(self.done.wait(), 120)
        await asyncio.sleep(LEAD_S)
        for rate in self.rates:
            before, began = usage(), time.monotonic()
            lags = await self.speak(rate) if self.name == "sender" else await asyncio.sleep(RATE_S, [])
            cores = (usage()[0] - before[0]) / (time.monotonic() - began)
            figures = {"cores": round(cores, 3)}
            if lags:
                lags.sort()
                figures |= {"lag_median_ms": round(lags[len(lags) // 2] / 1e6, 1)}
                figures |= {"lag_p99_ms": round(lags[len(lags) * 99 // 100] / 1e6, 1)}
                figures |= {"lag_worst_ms": round(lags[-1] / 1e6, 1)}
            self.figures[f"rate_{rate}"] = figures
            await asyncio.sleep(1.0)
        task.cancel()
        self.figures["rows"] = len(self.sync.store)
        self.figures["dropped"] = self.sync._injection.dropped
        return self.figures

    async def speak(self, rate: int) -> list[int]:
        """New connections, as our kernel would announce them; the lag at each look."""
        began, said, lags = time.monotonic(), 0, []
        first = self.rows + 200_000 * (1 + self.rates.index(rate))
        while (passed := time.monotonic() - began) < RATE_S:
            due = int(passed * rate)
            if due > said:
                now = monotonic()
                for at in range(said, due, 8):
                    several = [entry(first + n) for n in range(at, min(at + 8, due))]
                    self.sync.mirror.hear(assemble(51, several), now)
                said = due
                self.sync._perform(self.sync.relay.on_changes(now))
            await asyncio.sleep(0.001)
            (view,) = self.sync.relay.peers(monotonic())
            lags.append(view.lag)
        self.figures[f"said_{rate}"] = said
        return lags


def installed_at_once(batch: Batch) -> Delivery:
    return Delivery(sent=len(batch.messages))


def in_child(side: Callable[[], Side], out: int, profile: str) -> None:
    async def live() -> dict[str, Any]:
        return await side().live()

    if profile:
        import cProfile

        profiler = cProfile.Profile()
        figures = profiler.runcall(asyncio.run, live())
        profiler.dump_stats(profile)
    else:
        figures = asyncio.run(live())
    os.write(out, json.dumps(figures).encode())
    os._exit(0)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--rates", default="1000,10000")
    parser.add_argument("--kernel", action="store_true")
    parser.add_argument("--profile", default="", help="file for cProfile; the side's name is added")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    rates = [int(rate) for rate in arguments.rates.split(",") if rate]
    key_file = Path(os.environ.get("TMPDIR", "/tmp")) / f"bench-resync-{os.getpid()}.key"
    key_file.touch(mode=0o600)
    key_file.write_text("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n")
    if arguments.kernel:
        run(["ip", "link", "set", "lo", "up"])
        ensure_private_link()
        run(["ipvsadm", "-A", "-t", SERVICE, "-s", "rr"])
        run(["ipvsadm", "-a", "-t", SERVICE, "-r", SERVER, "-g"])
        with IpvsSocket() as ipvs:
            ipvs.start_daemon(
                Daemon(role=DaemonRole.BACKUP, interface=PRIVATE_INTERFACE, syncid=51, maxlen=BULK_MAXLEN)
            )
    pipes = {}
    for name in PORTS:
        read, write = os.pipe()
        pipes[name] = read
        if os.fork() == 0:
            profile = f"{arguments.profile}.{name}" if arguments.profile else ""
            in_child(
                lambda name=name: Side(name, arguments.rows, rates, key_file, kernel=arguments.kernel),  # type: ignore[misc]
                write,
                profile,
            )
        os.close(write)
        if name == "sender":
            time.sleep(LEAD_S)  # its table is there before the other begins
    figures: dict[str, Any] = {"rows": arguments.rows, "kernel": arguments.kernel}
    for name, read in pipes.items():
        with os.fdopen(read, "rb") as pipe:
            figures[name] = json.loads(pipe.read())
    for _ in pipes:
        os.wait()
    if arguments.kernel:
        with IpvsSocket() as ipvs:
            counted = [each for state in ipvs.table().values() for each in state.destinations.values()]
            figures["in_kernel"] = sum(each.active for each in counted)
            ipvs.stop_daemon(DaemonRole.BACKUP)
        remove_private_link()
    key_file.unlink()
    print(json.dumps(figures, indent=1))
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
