"""``lvsha check bench``: what checks cost here.

The machines, pools and probes of a director, without its kernel table. Its realservers
are addresses of 127/8 with one small server behind them all, which is a process of its
own and whose time is not counted.
"""

import argparse
import asyncio
import json
import multiprocessing
import os
import random
import resource
import select
import signal
import socket
import sys
import time
from ipaddress import IPv4Address, ip_address
from multiprocessing.process import BaseProcess
from typing import Any

from lvsha.checker.check import CancelProbe, CheckFell, StartProbe
from lvsha.checker.pool import PoolMember, PoolSettings
from lvsha.checker.result import ProbeResult
from lvsha.checker.settings import CheckKind, CheckSettings
from lvsha.config.settings import Director as DirectorRecord
from lvsha.config.settings import RealServerSettings, ServiceSettings, Settings
from lvsha.core.addr import Address
from lvsha.core.instant import Instant, seconds, to_seconds
from lvsha.core.machine import Output
from lvsha.director.director import Director
from lvsha.io.probes.runner import ProbeRunner
from lvsha.io.probes.workers import ProbeWorkers
from lvsha.io.reactor import monotonic
from lvsha.ipvs.model import Destination, Protocol, Service, ServiceKey

SETTLE_S = 2.0
MEMBERS = 100
"""Realservers of a service."""
_FIRST = 0x7F010001
_REASONS = 20
"""Different reasons of bad answers that are counted apart."""
_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"
_TICKS = os.sysconf("SC_CLK_TCK")

Json = dict[str, Any]


def target(index: int) -> IPv4Address:
    """127.1.0.1 and so on."""
    return IPv4Address(_FIRST + index)


def configuration(
    kind: str,
    targets: int,
    interval: float,
    *,
    port: int,
    at: Address | None = None,
    services_each: int = 1,
    timeout: float = 1.0,
) -> Settings:
    """Services of a hundred realservers; each realserver is in ``services_each`` of them."""
    services = []
    for first in range(0, targets, MEMBERS):
        realservers = []
        for i in range(first, min(first + MEMBERS, targets)):
            address = target(i) if at is None else at
            check = CheckSettings(
                kind=CheckKind(kind),
                address=address,
                port=0 if kind == "ping" else port,
                interval=seconds(interval),
                timeout=seconds(timeout),
                # A place that all targets share would be one check: nothing else differs.
                rise=2 + (i if at is not None else 0),
            )
            destination = Destination(address=target(i), port=port, weight=1)
            realservers.append(RealServerSettings(name=f"rs{i}", destination=destination, check=check))
        members = tuple(PoolMember(name=each.name, weight=1) for each in realservers)
        for again in range(services_each):
            name = f"service{first}-{again}"
            key = ServiceKey.of(Protocol.TCP, IPv4Address(0x0A000000 + first), 80 + again)
            services.append(
                ServiceSettings(
                    name=name,
                    service=Service(key=key),
                    realservers=tuple(realservers),
                    pool=PoolSettings(name=name, members=members),
                )
            )
    return Settings(node="bench", directors=(DirectorRecord(name="bench"),), services=tuple(services))


class Measured:
    """A director in the running loop, and what it did."""

    def __init__(self, settings: Settings, workers: int) -> None:
        self._loop = asyncio.get_running_loop()
        self.runner: ProbeRunner | ProbeWorkers = ProbeWorkers(workers) if workers else ProbeRunner()
        self.director = Director(settings, random=random.Random(1).random, actual={})
        self.probes = self.bad = self.falls = 0
        self.reasons: dict[str, int] = {}
        self.latencies: list[int] = []
        self.fallen_at: list[int] = []
        self._timer: asyncio.TimerHandle | None = None
        self._armed: Instant | None = None
        self.lateness: list[int] = []

    def start(self) -> None:
        self._perform(self.director.start(monotonic()))

    def count(self) -> int:
        return self.director.check_count

    def all_proven(self) -> bool:
        return all(check.proven for check, _ in self.director.followers())

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self.runner.close()

    def _perform(self, outputs: list[Output]) -> None:
        for output in outputs:
            if type(output) is StartProbe:
                self.runner.start(output.check_id, output.settings, self._on_probe, is_plain=output.is_plain)
            elif isinstance(output, CancelProbe):
                self.runner.cancel(output.check_id)
            elif isinstance(output, CheckFell):
                self.falls += 1
                self.fallen_at.append(time.monotonic_ns())
        self._arm()

    def _on_probe(self, check_id: str, result: ProbeResult) -> None:
        self.probes += 1
        if not result.ok:
            self.bad += 1
            words = f"{result.reason}: {result.detail[:60]}"
            if words in self.reasons or len(self.reasons) < _REASONS:
                self.reasons[words] = self.reasons.get(words, 0) + 1
        self.latencies.append(result.timings.total)
        outputs = self.director.on_probe(check_id, result, monotonic())
        if outputs:
            self._perform(outputs)
        else:
            self._arm()

    def _arm(self) -> None:
        deadline = self.director.deadline
        if deadline is None or (self._armed is not None and self._armed <= deadline):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._armed = deadline
        self._timer = self._loop.call_later(
            max(to_seconds(deadline - monotonic()), 0), self._on_timer, deadline
        )

    def _on_timer(self, deadline: Instant) -> None:
        self._armed = None
        now = monotonic()
        self.lateness.append(now - deadline)
        self._perform(self.director.on_deadline(now))


def cpu_seconds(pid: int) -> tuple[float, float]:
    """User and system time of a process, with its children that have ended."""
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return int(fields[11]) / _TICKS, int(fields[12]) / _TICKS


def rss_mb(pid: int) -> float:
    with open(f"/proc/{pid}/status") as file:
        for line in file:
            if line.startswith("VmHWM:"):
                return round(int(line.split()[1]) / 1024, 1)
    return 0.0


def percentile(values: list[int], share: float) -> float:
    """In milliseconds."""
    ordered = sorted(values)
    return round(ordered[min(int(len(ordered) * share), len(ordered) - 1)] / 1e6, 2) if ordered else 0.0


async def measure(settings: Settings, duration: float, workers: int) -> Json:
    """First verdicts, then ``duration`` seconds of it."""
    measured = Measured(settings, workers)
    began = time.monotonic()
    measured.start()
    while not measured.all_proven() and time.monotonic() - began < 60:  # noqa: ASYNC110  (now and then)
        await asyncio.sleep(0.02)
    first = time.monotonic() - began
    await asyncio.sleep(SETTLE_S)
    measured.latencies.clear()
    measured.lateness.clear()
    measured.probes = 0
    runner = measured.runner
    pids = [os.getpid(), *(runner.pids if isinstance(runner, ProbeWorkers) else [])]
    before, begun = [cpu_seconds(pid) for pid in pids], time.monotonic()
    await asyncio.sleep(duration)
    after, took = [cpu_seconds(pid) for pid in pids], time.monotonic() - begun
    user = sum(b[0] - a[0] for a, b in zip(before, after, strict=True))
    system = sum(b[1] - a[1] for a, b in zip(before, after, strict=True))
    probes = max(measured.probes, 1)
    report: Json = {
        "targets": measured.count(),
        "configured": sum(len(service.realservers) for service in settings.services),
        "workers": workers,
        "seconds": round(took, 2),
        "checks": measured.probes,
        "checks_per_s": round(measured.probes / took, 1),
        "cpu_ms": round(1000 * (user + system) / probes, 4),
        "user_ms": round(1000 * user / probes, 4),
        "system_ms": round(1000 * system / probes, 4),
        "core_percent": round(100 * (user + system) / took, 1),
        "core_percent_each": [
            round(100 * (sum(b) - sum(a)) / took, 1) for a, b in zip(before, after, strict=True)
        ],
        "rss_mb": [rss_mb(pid) for pid in pids],
        "first_verdicts_s": round(first, 2),
        "late_p50_ms": percentile(measured.lateness, 0.5),
        "late_p99_ms": percentile(measured.lateness, 0.99),
        "answer_p50_ms": percentile(measured.latencies, 0.5),
        "answer_p99_ms": percentile(measured.latencies, 0.99),
        "bad": measured.bad,
        "falls": measured.falls,
        "reasons": measured.reasons,
        "load": os.getloadavg()[0],
    }
    measured.close()
    return report


# The server behind the targets


def serve(listener: socket.socket, *, answers: bool) -> None:
    """Accept, read, answer, close; for as long as the process lives."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    epoll = select.epoll()
    listener.setblocking(False)
    epoll.register(listener, select.EPOLLIN)
    clients: dict[int, socket.socket] = {}
    while True:
        for descriptor, _ in epoll.poll():
            if descriptor != listener.fileno():
                client = clients.pop(descriptor)
                try:
                    if client.recv(4096):
                        client.send(_ANSWER)
                except OSError:
                    pass  # it has gone: as good as answered
                client.close()
                continue
            for _ in range(1000):
                try:
                    client, _ = listener.accept()
                except BlockingIOError:
                    break
                if not answers:
                    client.close()
                    continue
                client.setblocking(False)
                clients[client.fileno()] = client
                epoll.register(client, select.EPOLLIN)


def server(kind: str) -> tuple[BaseProcess, int]:
    """A process that serves all of 127/8, and its port."""
    listener = socket.create_server(("0.0.0.0", 0), backlog=8192)
    context = multiprocessing.get_context("fork")
    process = context.Process(target=serve, args=(listener,), kwargs={"answers": kind == "http"}, daemon=True)
    process.start()
    port: int = listener.getsockname()[1]
    listener.close()
    return process, port


def bench(arguments: argparse.Namespace) -> int:
    """The verb."""
    if not 1 <= arguments.targets <= 1_000_000 or arguments.interval < 0.05 or arguments.seconds <= 0:
        print("lvsha check bench: 1 to 1,000,000 targets, an interval of 0.05 s or more", file=sys.stderr)
        return 2
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    at: Address | None = None
    behind: BaseProcess | None = None
    port = 1
    try:
        if arguments.at:
            host, _, text = arguments.at.rpartition(":")
            at, port = ip_address(host.strip("[]")), int(text)
        elif arguments.port is not None:
            port = arguments.port
        elif arguments.type != "ping":
            behind, port = server(arguments.type)
    except ValueError as error:
        print(f"lvsha check bench: --at {arguments.at}: {error}; write ADDRESS:PORT", file=sys.stderr)
        return 2
    wanted = configuration(
        arguments.type,
        arguments.targets,
        arguments.interval,
        port=port,
        at=at,
        services_each=max(arguments.services, 1),
    )
    try:
        report = asyncio.run(measure(wanted, arguments.seconds, arguments.workers))
    finally:
        if behind is not None:
            behind.terminate()
            behind.join()
    report = {"type": arguments.type, "interval_s": arguments.interval, **report}
    print(json.dumps(report) if arguments.json else render(report))
    return 1 if report["falls"] else 0


def render(report: Json) -> str:
    """For people."""
    return "\n".join(
        [
            f"{report['targets']} {report['type']} targets every {report['interval_s']:g} s, "
            f"{report['workers'] or 'no'} worker processes, {report['seconds']:g} s:",
            f"  {report['checks_per_s']:.0f} checks/s, {report['cpu_ms']:.4f} ms of CPU each "
            f"({report['user_ms']:.4f} user, {report['system_ms']:.4f} system)",
            f"  {report['core_percent']:.1f} % of a core"
            f" ({', '.join(f'{each:.1f}' for each in report['core_percent_each'])} by process)",
            f"  {' + '.join(f'{each:.1f}' for each in report['rss_mb'])} MB",
            f"  first verdicts after {report['first_verdicts_s']:.2f} s",
            f"  our timers late: half by {report['late_p50_ms']:.2f} ms, "
            f"1 % by {report['late_p99_ms']:.2f} ms or more",
            f"  answers: half within {report['answer_p50_ms']:.2f} ms, 99 % within "
            f"{report['answer_p99_ms']:.2f} ms",
            f"  {report['bad']} bad answers, {report['falls']} realservers taken down",
            *(f"    {count} {reason}" for reason, count in report["reasons"].items()),
        ]
    )
