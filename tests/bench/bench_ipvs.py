"""IPVS in bulk, beside ipvsadm and pyroute2 in the same guest: time and system calls.

Run as root where the kernel has IPVS, or in a guest::

    lvsha lab exec --bare -- .venv/bin/python tests/bench/bench_ipvs.py --json FILE

Each figure is the median of ``--rounds``, each peer in a network namespace of its
own. Times of whole programs include their start-up. In user-mode Linux a system
call costs about 140 times what it costs on a real machine, so there a ratio of
times tells mostly of system calls; both are printed.
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from lvsha.io.ipvs_genl import IpvsSocket
from lvsha.io.sync_socket import SyncInjector
from lvsha.ipvs.model import (
    Daemon,
    DaemonRole,
    DesiredService,
    DesiredTable,
    Destination,
    EditDestination,
    ForwardingMethod,
    Operation,
    Protocol,
    Service,
    ServiceKey,
    Table,
)
from lvsha.ipvs.plan import plan
from lvsha.lab.netns import Namespace, ip_batch
from lvsha.wire.ipvs_sync.message import encode_messages
from lvsha.wire.ipvs_sync.records import SyncConn

NOBODY: frozenset[ServiceKey] = frozenset()


def table(services: int, realservers: int) -> DesiredTable:
    """Some services with as many realservers each."""
    result: dict[ServiceKey, DesiredService] = {}
    for number in range(services):
        key = ServiceKey.of(Protocol.TCP, ip_address("10.0.0.1") + number, 80)
        destinations = tuple(
            Destination(address=ip_address("10.128.0.1") + n, port=80, method=ForwardingMethod.MASQ)
            for n in range(realservers)
        )
        result[key] = DesiredService(service=Service(key=key), destinations=destinations)
    return result


def rules(desired: DesiredTable) -> str:
    """The table as ``ipvsadm -R`` reads it."""
    lines: list[str] = []
    for key, wanted in desired.items():
        name = f"{key.address}:{key.port}"
        lines.append(f"-A -t {name} -s {wanted.service.scheduler}")
        lines += [f"-a -t {name} -r {each.address}:{each.port} -m -w 1" for each in wanted.destinations]
    return "\n".join(lines) + "\n"


@contextmanager
def empty_netns(name: str = "bench") -> Iterator[None]:
    ip_batch([f"netns add {name}"])
    try:
        with Namespace(name).entered():
            ip_batch(["link set lo up"])  # without any route the kernel takes no destination
            yield
            subprocess.run(["ipvsadm", "-C"], check=True)
    finally:
        ip_batch([f"netns del {name}"])


def timed(call: Callable[..., Any], *arguments: Any) -> tuple[float, Any]:
    begun = time.perf_counter()
    result = call(*arguments)
    return time.perf_counter() - begun, result


def changes(desired: DesiredTable, actual: Table, *, exclusive: bool = False) -> tuple[Operation, ...]:
    return plan(desired, actual, exclusive=exclusive, owned=NOBODY)


def run(argv: list[str], stdin: str = "") -> None:
    subprocess.run(argv, input=stdin, text=True, stdout=subprocess.DEVNULL, check=True)


def system_calls(argv: list[str], stdin: str = "") -> int | None:
    """How many a program makes; None without strace."""
    with tempfile.NamedTemporaryFile("r") as summary:
        try:
            run(["strace", "-f", "-c", "-o", summary.name, *argv], stdin)
        except (FileNotFoundError, subprocess.CalledProcessError):
            return None
        found = re.search(r"^100\.00\s+\S+\s+\S+\s+(\d+).*total$", summary.read(), re.MULTILINE)
    return int(found.group(1)) if found else None


def ours() -> list[str] | None:
    """The command that stands for ipvsadm; None where it is not built yet."""
    name = Path(sys.executable).with_name("lvsha-ipvsadm")
    return [str(name)] if name.exists() else None


def measure_socket(desired: DesiredTable, rounds: int) -> dict[str, float]:
    """IpvsSocket inside this process: what a director pays."""
    rows: dict[str, list[float]] = {}
    for _ in range(rounds):
        with empty_netns(), IpvsSocket() as ipvs:
            cost, operations = timed(changes, desired, {})
            rows.setdefault("plan an empty table", []).append(cost)
            cost, failures = timed(ipvs.apply, operations)
            assert failures == [], [str(error) for _, error in failures[:3]]
            rows.setdefault("apply", []).append(cost)
            cost, found = timed(ipvs.table)
            rows.setdefault("dump", []).append(cost)
            cost, found = timed(ipvs.table)
            rows.setdefault("dump again", []).append(cost)
            cost, operations = timed(changes, desired, found)
            assert operations == ()
            rows.setdefault("plan without a change", []).append(cost)
            key, wanted = next(iter(desired.items()))
            cost, failures = timed(ipvs.apply, [EditDestination(key, wanted.destinations[0])])
            assert failures == []
            rows.setdefault("one weight", []).append(cost)
            removal = changes({}, found, exclusive=True)
            rows.setdefault("remove", []).append(timed(ipvs.apply, removal)[0])
    return {name: statistics.median(values) for name, values in rows.items()}


CONNECTIONS = 50_000


def fill_connections(count: int) -> None:
    """Rows in the kernel's table, by way of its backup daemon; the namespace has ``dummy0``."""
    client, server = bytes((10, 9, 0, 1)), bytes((10, 1, 0, 1))
    entries = (
        SyncConn(
            0, 6, 0, 1, 1024 + n % 60_000, 80, 80, 0, 3600, client[:2] + n.to_bytes(2, "big"), client, server
        )
        for n in range(count)
    )
    with IpvsSocket() as ipvs:
        ipvs.start_daemon(Daemon(role=DaemonRole.BACKUP, interface="dummy0", syncid=0, maxlen=65507))
    with SyncInjector("dummy0") as injector:
        delivery = injector.deliver(encode_messages(0, entries))
    assert delivery.dropped == 0, delivery


def peak_kib(argv: list[str]) -> int | None:
    """Largest resident size of a program; None without GNU time."""
    try:
        done = subprocess.run(
            ["/usr/bin/time", "-f", "%M", *argv], capture_output=True, text=True, check=True
        )
    except (FileNotFoundError, subprocess.CalledProcessError):
        return None
    return int(done.stderr.split()[-1])


def measure_connections(count: int, rounds: int) -> dict[str, Any]:
    """``-Lnc`` of a large table: both programs read the same ``/proc`` file."""
    programs = {"ipvsadm": ["ipvsadm"]} | ({"lvsha-ipvsadm": own} if (own := ours()) else {})
    result: dict[str, Any] = {}
    with empty_netns("connections"):
        ip_batch(["link add dummy0 type dummy", "link set dummy0 up"])
        fill_connections(count)
        for name, argv in programs.items():
            costs = [timed(run, [*argv, "-Lnc"])[0] for _ in range(rounds)]
            result[name] = {"-Lnc": statistics.median(costs), "peak KiB": peak_kib([*argv, "-Lnc"])}
        with IpvsSocket() as ipvs:
            ipvs.stop_daemon(DaemonRole.BACKUP)
    return result


PYROUTE2 = """
import sys
from pyroute2 import IPVS, IPVSDest, IPVSService
with IPVS() as ipvs:
    service = None
    for line in sys.stdin:
        words = line.split()
        address, port = words[2].split(":")
        if words[0] == "-A":
            service = IPVSService(addr=address, port=int(port), protocol=6, sched_name=words[4])
            ipvs.service("add", service=service)
        else:
            address, port = words[4].split(":")
            ipvs.dest("add", service=service, dest=IPVSDest(addr=address, port=int(port), fwd_method=0))
"""


FLOOR = "python -I -S -c pass"
"""What no Python program can be faster than."""


def in_turns(programs: dict[str, list[str]], rounds: int) -> dict[str, float]:
    """The median time of each program's ``-Ln``."""
    costs: dict[str, list[float]] = {name: [] for name in programs}
    for _ in range(rounds):
        for name, argv in programs.items():
            costs[name].append(timed(run, argv if name == FLOOR else [*argv, "-Ln"])[0])
    return {name: statistics.median(values) for name, values in costs.items()}


def measure_programs(
    desired: DesiredTable, rounds: int, *, with_pyroute2: bool, with_calls: bool
) -> dict[str, Any]:
    """Whole programs, start-up included."""
    text = rules(desired)
    programs: dict[str, list[str]] = {"ipvsadm": ["ipvsadm"]}
    own = ours()
    if own is not None:
        programs["lvsha-ipvsadm"] = own
    result: dict[str, Any] = {}
    for name, argv in programs.items():
        restore: list[float] = []
        for _ in range(rounds):
            with empty_netns():
                restore.append(timed(run, [*argv, "-R"], text)[0])
        with empty_netns():
            calls = {"-R": system_calls([*argv, "-R"], text)} if with_calls else {}
        result[name] = {"-R": statistics.median(restore), "system calls": calls}
    # In turns: a machine is not equally fast all the time.
    with empty_netns():
        nothing = in_turns(programs, rounds)
        run([*(own or ["ipvsadm"]), "-R"], text)
        lists = in_turns(programs | {FLOOR: [sys.executable, "-I", "-S", "-c", "pass"]}, 3 * rounds)
        for name, argv in programs.items():
            result[name] |= {"-Ln": lists[name], "-Ln of nothing": nothing[name]}
            if with_calls:
                result[name]["system calls"]["-Ln"] = system_calls([*argv, "-Ln"])
            result[name]["peak KiB"] = peak_kib([*argv, "-Ln"])
        result[FLOOR] = {"-Ln": lists[FLOOR]}
    if with_pyroute2:
        with empty_netns():
            result["pyroute2"] = {"-R": timed(run, [sys.executable, "-c", PYROUTE2], text)[0]}
    return result


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--without-pyroute2", action="store_true", help="it takes long")
    parser.add_argument(
        "--times-only", action="store_true", help="count no system calls: strace takes minutes"
    )
    parser.add_argument(
        "--shapes", default="1x5000,1000x10,1000x5", help="services x realservers (%(default)s)"
    )
    parser.add_argument("--connections", type=int, default=CONNECTIONS, help="0: without (%(default)s)")
    options = parser.parse_args()
    shapes = [tuple(map(int, shape.split("x"))) for shape in options.shapes.split(",") if shape]
    report: dict[str, Any] = {"kernel": os.uname().release, "shapes": {}}
    if options.connections:
        report["connections"] = measure_connections(options.connections, options.rounds)
        print(f"-Lnc of {options.connections:,} connections, median of {options.rounds}")
        for name, figures in report["connections"].items():
            print(f"  {name:<15} {figures['-Lnc'] * 1e3:9.1f} ms  {figures['peak KiB'] or '?':>7} KiB")
    for services, realservers in shapes:
        desired = table(services, realservers)
        shape = f"{services} x {realservers}"
        inside = measure_socket(desired, options.rounds)
        slow = not options.without_pyroute2 and services == 1
        programs = measure_programs(
            desired, options.rounds, with_pyroute2=slow, with_calls=not options.times_only
        )
        report["shapes"][shape] = {"in process": inside, "programs": programs}
        print(f"\n{shape} (services x realservers), median of {options.rounds}, kernel {report['kernel']}")
        for what, cost in inside.items():
            print(f"  {what:<24} {cost * 1e3:9.1f} ms")
        peer = programs["ipvsadm"]
        for name, figures in programs.items():
            print(f"  {name}")
            for what in ("-R", "-Ln", "-Ln of nothing"):
                if what in figures:
                    ratio = peer[what] / figures[what]
                    print(f"    {what:<22} {figures[what] * 1e3:9.1f} ms   ipvsadm/this {ratio:6.2f}")
            for what, count in figures.get("system calls", {}).items():
                if count:
                    ratio = peer["system calls"][what] / count
                    print(f"    {what + ', system calls':<22} {count:9}      ipvsadm/this {ratio:6.1f}")
    if options.json:
        Path(options.json).write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
