"""What a health check costs, beside keepalived's checker in the same run.

Targets are addresses in 127/8 of a network namespace of its own; nginx answers
HTTP and TCP, the kernel answers ping. Each checker runs alone, all targets once
per interval, for ``--seconds`` after a settling time; its user and system time
come from the kernel's accounting of its process. The checkers are the whole
ones: machines, pools' verdicts and probes, not a bare socket loop.

keepalived wants IPVS before it checks anything. Where the kernel has none, a few
lines of C that answer its socket options stand between them; they are compiled
with the system's compiler, and without one its columns stay empty.
"""

import argparse
import asyncio
import contextlib
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from lvsha.checker.check import CheckFell, StartProbe
from lvsha.checker.fleet import Fleet
from lvsha.checker.result import ProbeResult
from lvsha.checker.settings import CheckKind, CheckSettings
from lvsha.core.instant import Instant, seconds, to_seconds
from lvsha.core.machine import Output
from lvsha.io.probes.runner import ProbeRunner
from lvsha.io.reactor import monotonic

PORT = 8080
SETTLE_S = 3.0
PEER_START_S = 60.0
KEEPALIVED_KINDS = {"http": "HTTP_GET", "tcp": "TCP_CHECK", "ping": "PING_CHECK"}

NGINX = """
worker_processes 1;
worker_rlimit_nofile 131072;
pid {directory}/nginx.pid;
error_log {directory}/nginx.log crit;
events {{ worker_connections 65536; }}
http {{
    access_log off;
    client_body_temp_path {directory}; proxy_temp_path {directory};
    fastcgi_temp_path {directory}; uwsgi_temp_path {directory}; scgi_temp_path {directory};
    server {{
        listen {port} backlog=8192;
        location / {{ return 200 "{body}"; }}
    }}
}}
"""

SHIM = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <string.h>
#include <sys/socket.h>
/* IPVS has the socket options 1152 to 1215 of level IPPROTO_IP: say yes to all of them. */
static int ours(int level, int name) { return level == 0 && name >= 1152 && name < 1216; }
int getsockopt(int fd, int level, int name, void *value, socklen_t *size)
{
    int (*next)(int, int, int, void *, socklen_t *) = dlsym(RTLD_NEXT, "getsockopt");
    if (!ours(level, name)) return next(fd, level, name, value, size);
    memset(value, 0, *size);
    return 0;
}
int setsockopt(int fd, int level, int name, const void *value, socklen_t size)
{
    int (*next)(int, int, int, const void *, socklen_t) = dlsym(RTLD_NEXT, "setsockopt");
    return ours(level, name) ? 0 : next(fd, level, name, value, size);
}
"""


def address(index: int) -> IPv4Address:
    return IPv4Address(0x7F010001 + index)


def pin(core: int) -> None:
    """Checker and web server each on a core of their own, where there are two."""
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[core % len(cores)]})


# Our side: runs in a process of its own


async def check_all(kind: str, targets: int, interval: float, duration: float) -> dict[str, Any]:
    loop = asyncio.get_running_loop()
    fleet = Fleet(random=random.Random(1).random)
    counts = {"probes": 0, "bad": 0, "falls": 0}
    timer: asyncio.TimerHandle | None = None
    armed: Instant | None = None
    latencies: list[int] = []

    def perform(outputs: list[Output]) -> None:
        for output in outputs:
            if type(output) is StartProbe:
                runner.start(output.check_id, output.settings, on_result)
            elif isinstance(output, CheckFell):
                counts["falls"] += 1

    def on_result(check_id: str, result: ProbeResult) -> None:
        counts["probes"] += 1
        if not result.ok:
            counts["bad"] += 1
        latencies.append(result.timings.total)
        outputs = fleet.on_result(check_id, result, monotonic())
        if outputs:
            perform(outputs)
        arm()

    def arm() -> None:
        nonlocal timer, armed
        deadline = fleet.deadline
        if deadline is None or (armed is not None and armed <= deadline):
            return
        if timer is not None:
            timer.cancel()
        armed = deadline
        timer = loop.call_later(max(to_seconds(deadline - monotonic()), 0), on_timer)

    def on_timer() -> None:
        nonlocal armed
        armed = None
        perform(fleet.on_deadline(monotonic()))
        arm()

    runner = ProbeRunner()
    wanted = {
        str(i): CheckSettings(
            kind=CheckKind(kind),
            address=address(i),
            port=0 if kind == "ping" else PORT,
            interval=seconds(interval),
        )
        for i in range(targets)
    }
    began = monotonic()
    perform(fleet.reconfigure(wanted, began))
    arm()
    while not all(check.proven for check in fleet):  # noqa: ASYNC110  (a bench may look now and then)
        await asyncio.sleep(0.01)
    first = to_seconds(monotonic() - began)
    await asyncio.sleep(SETTLE_S)

    latencies.clear()
    counts["probes"] = 0
    before, begun = resource.getrusage(resource.RUSAGE_SELF), time.monotonic()
    await asyncio.sleep(duration)
    after, ended = resource.getrusage(resource.RUSAGE_SELF), time.monotonic()
    lag = runner.lag
    runner.close()
    probes = counts["probes"]
    user, system = after.ru_utime - before.ru_utime, after.ru_stime - before.ru_stime
    latencies.sort()
    return {
        "checks": probes,
        "checks_per_s": round(probes / (ended - begun), 1),
        "user_ms": round(1000 * user / probes, 4),
        "system_ms": round(1000 * system / probes, 4),
        "cpu_ms": round(1000 * (user + system) / probes, 4),
        "core_percent": round(100 * (user + system) / (ended - begun), 1),
        "rss_mb": round(after.ru_maxrss / 1024, 1),
        "first_verdicts_s": round(first, 2),
        "lag_p99_ms": round(lag.percentile(0.99) / 1e6, 1),
        "answer_p50_ms": round(latencies[len(latencies) // 2] / 1e6, 2),
        "answer_p99_ms": round(latencies[len(latencies) * 99 // 100] / 1e6, 2),
        "bad": counts["bad"],
        "falls": counts["falls"],
    }


def run_ours(kind: str, targets: int, interval: float, duration: float) -> dict[str, Any]:
    command = [sys.executable, __file__, "--child", kind, str(targets), str(interval), str(duration)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"our checker failed: {done.stderr.strip().splitlines()[-1]}")
    result: dict[str, Any] = json.loads(done.stdout)
    return result


# The peer


def keepalived_config(kind: str, targets: int, interval: float) -> str:
    connect = f"connect_timeout 1\nconnect_port {PORT}" if kind != "ping" else "connect_timeout 1"
    inner = "url {\npath /\nstatus_code 200\n}\n" if kind == "http" else ""
    check = f"{KEEPALIVED_KINDS[kind]} {{\n{inner}{connect}\n}}"
    lines = ["global_defs {", "router_id bench", "}"]
    # Services of 100: one of thousands makes keepalived itself slow.
    for first in range(0, targets, 100):
        lines += [
            f"virtual_server 10.255.{first // 25600}.{first // 100 % 256 + 1} {PORT} {{",
            f"delay_loop {interval:g}",
            "lvs_sched rr",
            "lvs_method NAT",
            "protocol TCP",
        ]
        for i in range(first, min(first + 100, targets)):
            lines += [f"real_server {address(i)} {PORT} {{", "weight 1", check, "}"]
        lines.append("}")
    return "\n".join(lines) + "\n"


def compile_shim(directory: Path) -> str | None:
    """Where the kernel has no IPVS: a library to preload; "" where it is not needed, None: no compiler."""
    if Path("/proc/net/ip_vs").exists():
        return ""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        return None
    source, library = directory / "shim.c", directory / "shim.so"
    source.write_text(SHIM)
    subprocess.run([compiler, "-shared", "-fPIC", "-O2", "-o", library, source, "-ldl"], check=True)
    return str(library)


def checker_process(parent: int) -> int | None:
    """keepalived's checker is its parent's child."""
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return int(children[0]) if children else None


def cpu_seconds(pid: int) -> tuple[float, float]:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    ticks = os.sysconf("SC_CLK_TCK")
    return int(fields[11]) / ticks, int(fields[12]) / ticks


def rss_mb(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return 0.0


def tcp_opens() -> int:
    """Connections that this namespace has begun."""
    names, values = [
        line.split() for line in Path("/proc/net/snmp").read_text().splitlines() if line.startswith("Tcp:")
    ]
    return int(values[names.index("ActiveOpens")])


def echo_requests() -> int:
    names, values = [
        line.split() for line in Path("/proc/net/snmp").read_text().splitlines() if line.startswith("Icmp:")
    ]
    return int(values[names.index("OutEchos")])


def run_keepalived(
    kind: str, targets: int, interval: float, duration: float, directory: Path, shim: str
) -> dict[str, Any]:
    """Its checks are counted by the kernel: connections begun, or echo requests sent."""
    config = directory / "keepalived.conf"
    config.write_text(keepalived_config(kind, targets, interval))
    environment = {**os.environ, **({"LD_PRELOAD": shim} if shim else {})}
    log = (directory / "keepalived.log").open("w")
    process = subprocess.Popen(
        ["keepalived", "-n", "-l", "-C", "-f", config, "-p", directory / "k.pid", "-c", directory / "c.pid"],
        env=environment,
        stdout=log,
        stderr=log,
        preexec_fn=lambda: pin(0),
    )
    try:
        count = echo_requests if kind == "ping" else tcp_opens
        began = time.monotonic()
        # It logs and registers target by target first, which takes it a while.
        while time.monotonic() - began < PEER_START_S:
            last = count()
            time.sleep(interval)
            if count() - last > 0.95 * targets:
                break
        time.sleep(SETTLE_S)
        checker = checker_process(process.pid)
        if checker is None:
            return {
                "error": "its checker did not stay; see the end of its log",
                "log": tail(directory / "keepalived.log"),
            }
        before, checks, begun = cpu_seconds(checker), count(), time.monotonic()
        time.sleep(duration)
        after, checks, ended = cpu_seconds(checker), count() - checks, time.monotonic()
        user, system = after[0] - before[0], after[1] - before[1]
        if not checks:
            return {"error": "it made no checks", "log": tail(directory / "keepalived.log")}
        return {
            "checks": checks,
            "checks_per_s": round(checks / (ended - begun), 1),
            "user_ms": round(1000 * user / checks, 4),
            "system_ms": round(1000 * system / checks, 4),
            "cpu_ms": round(1000 * (user + system) / checks, 4),
            "core_percent": round(100 * (user + system) / (ended - begun), 1),
            "rss_mb": round(rss_mb(checker), 1),
        }
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
        log.close()


def tail(path: Path) -> str:
    return " | ".join(path.read_text().splitlines()[-3:])


# The run


@contextlib.contextmanager
def web_server(directory: Path, *, pinned: bool = True) -> Iterator[None]:
    config = directory / "nginx.conf"
    config.write_text(NGINX.format(directory=directory, port=PORT, body="ok"))
    process = subprocess.Popen(
        ["nginx", "-c", config, "-g", "daemon off;"],
        stderr=subprocess.DEVNULL,
        preexec_fn=lambda: pin(1) if pinned else None,
    )
    try:
        time.sleep(0.5)
        yield
    finally:
        process.send_signal(signal.SIGQUIT)
        process.wait(10)


def enter_namespace() -> None:
    """127/8 of our own: no other traffic is counted, and nothing of ours gets out."""
    if os.environ.get("LVSHA_BENCH_INSIDE"):
        return
    os.environ["LVSHA_BENCH_INSIDE"] = "1"
    inside = 'ip link set lo up && sysctl -qw net.ipv4.icmp_ratelimit=0; exec "$@"'
    command = ["unshare", "--net", "sh", "-c", inside, "sh", sys.executable, *sys.argv]
    os.execvp(command[0], command)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path, help="write the results here")
    parser.add_argument("--targets", type=int, default=2000)
    parser.add_argument("--interval", type=float, default=1.0, help="seconds")
    parser.add_argument("--seconds", type=float, default=10.0, help="of measuring per checker and kind")
    parser.add_argument("--kinds", default="http,tcp,ping")
    parser.add_argument("--no-peer", action="store_true", help="leave keepalived out")
    parser.add_argument(
        "--child", nargs=4, metavar=("KIND", "TARGETS", "INTERVAL", "SECONDS"), help=argparse.SUPPRESS
    )
    arguments = parser.parse_args()
    if arguments.child:
        pin(0)
        kind, targets, interval, duration = arguments.child
        print(json.dumps(asyncio.run(check_all(kind, int(targets), float(interval), float(duration)))))
        return 0
    enter_namespace()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    results: dict[str, Any] = {"targets": arguments.targets, "interval_s": arguments.interval, "kinds": {}}
    header = (
        "kind",
        "checker",
        "checks/s",
        "CPU ms/check",
        "user",
        "system",
        "core %",
        "RSS MB",
        "lag p99 ms",
    )
    print("{:5} {:11} {:>9} {:>13} {:>8} {:>8} {:>7} {:>7} {:>11}".format(*header))
    with tempfile.TemporaryDirectory(prefix="lvsha-bench-") as name:
        directory = Path(name)
        directory.chmod(0o755)
        shim = None if arguments.no_peer or not shutil.which("keepalived") else compile_shim(directory)
        with web_server(directory):
            for kind in arguments.kinds.split(","):
                row: dict[str, Any] = {
                    "lvsha": run_ours(kind, arguments.targets, arguments.interval, arguments.seconds)
                }
                if shim is not None:
                    row["keepalived"] = run_keepalived(
                        kind, arguments.targets, arguments.interval, arguments.seconds, directory, shim
                    )
                    if "cpu_ms" in row["keepalived"]:
                        row["ratio"] = round(row["lvsha"]["cpu_ms"] / row["keepalived"]["cpu_ms"], 2)
                results["kinds"][kind] = row
                for checker in ("lvsha", "keepalived"):
                    if checker in row:
                        show(kind, checker, row[checker])
                if "ratio" in row:
                    print(f"{kind:5} ratio       {row['ratio']:.2f}")
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(results, indent=2) + "\n")
    return 0


def show(kind: str, checker: str, row: dict[str, Any]) -> None:
    if "error" in row:
        print(f"{kind:5} {checker:11} {row['error']}: {row['log']}")
        return
    names = ("checks_per_s", "cpu_ms", "user_ms", "system_ms", "core_percent", "rss_mb", "lag_p99_ms")
    cells = (row.get(name, "") for name in names)
    print("{:5} {:11} {:>9} {:>13} {:>8} {:>8} {:>7} {:>7} {:>11}".format(kind, checker, *cells))


if __name__ == "__main__":
    sys.exit(main())
