"""lvsha's vrrpd and keepalived as processes on a host of the stage, and what each says of itself.

Both are told to write nothing outside the host's folder, and both end with the
test: whoever starts them is watched by the kernel (``PR_SET_PDEATHSIG``).
"""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.interop.vrrp_stage import Host, until

LVSHA = str(Path(sys.executable).with_name("lvsha"))
_DIES_WITH_US = ("setpriv", "--pdeathsig", "KILL", "--")

ROUTER = "eth0-51"
"""What lvsha calls the virtual router of these tests."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """What the two directors of a test agree on, and where they differ."""

    addresses: tuple[str, ...] = ("10.0.0.10/24", "10.0.0.11/24")
    vrid: int = 51
    version: int = 3
    interval: float = 0.3
    """A director that gets no processor for three of them loses its role, and no test is about that."""
    unicast: tuple[str, str] | None = None
    """The addresses that lb1 and lb2 talk between; None: multicast."""
    password: str | None = None
    min_ttl: int = 255
    """lvsha's; keepalived 2.2 leaves the hop limit of IPv6 unicast at the system's 64."""
    preempts: bool = True
    priorities: dict[str, int] = field(default_factory=lambda: {"lb1": 200, "lb2": 100})

    def skew(self, node: str) -> float:
        """RFC 9568 section 6.1, RFC 3768 section 6.1."""
        unit = self.interval if self.version == 3 else 1.0
        return (256 - self.priorities[node]) / 256 * unit

    def down_interval(self, node: str) -> float:
        return 3 * self.interval + self.skew(node)


class Director:
    """A process on a host."""

    def __init__(self, host: Host, pair: Pair) -> None:
        self.prefix: tuple[str, ...] = ()
        """What the command is run by, such as ``setpriv``."""
        self.host = host
        self.node = host.node
        self.pair = pair
        self.log_path = host.folder / "log"
        self._process: subprocess.Popen[bytes] | None = None

    def command(self) -> list[str]:
        raise NotImplementedError

    def start(self) -> None:
        with self.log_path.open("ab") as log:
            self._process = self.host.namespace.popen(
                [*_DIES_WITH_US, *self.prefix, *self.command()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    @property
    def pid(self) -> int:
        assert self._process is not None, "not started"
        return self._process.pid

    def signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def stop(self) -> None:
        """Ask it to leave as planned; does not wait."""
        self.signal(signal.SIGTERM)

    @property
    def status(self) -> int | None:
        """Its exit status; None while it runs."""
        assert self._process is not None, "not started"
        return self._process.poll()

    def log(self) -> str:
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def last_words(self) -> str:
        """The end of its log, without what is said over and over."""
        lines = [line for line in self.log().splitlines() if "Sending " not in line]
        return "\n".join(lines[-25:])

    def end(self) -> None:
        """At once, with everything that it has started."""
        if self._process is None:
            return
        for pid in [*children(self._process.pid), self._process.pid]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait()


class Lvsha(Director):
    """``lvsha agent --only vrrpd``."""

    def __init__(self, host: Host, pair: Pair) -> None:
        super().__init__(host, pair)
        self.config_path = host.folder / "lvsha.toml"
        self.run_dir = host.folder / "run"
        self.write_config()

    def command(self) -> list[str]:
        words = [LVSHA, "agent", "--file", str(self.config_path), "--node", self.node]
        return [*words, "--only", "vrrpd", "--run-dir", str(self.run_dir)]

    def write_config(self, pair: Pair | None = None, *, interface: str = "eth0") -> None:
        self.pair = pair or self.pair
        self.config_path.write_text(lvsha_config(self.pair, interface=interface))

    # What it says

    def events(self, name: str | None = None) -> list[dict[str, Any]]:
        """Its journal, or the events of one name; what is not JSON is left out."""
        found = []
        for line in self.log().splitlines():
            with contextlib.suppress(ValueError):
                event = json.loads(line)
                if name is None or event["event"] == name:
                    found.append(event)
        return found

    def ask(self) -> dict[str, Any]:
        """vrrpd's status."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
            sock.settimeout(5)
            sock.connect(str(self.run_dir / "vrrpd.sock"))
            sock.sendall(b'{"type":"get"}\n')
            answers: list[dict[str, Any]] = []
            with sock.makefile("rb") as stream:
                while len(answers) < 2:  # one for connecting, one for asking; events come in between
                    message = json.loads(stream.readline())
                    if message["type"] != "event":
                        answers.append(message)
        return answers[1]

    def state(self) -> str:
        """Of its first router; empty while nobody answers."""
        try:
            routers = self.ask()["routers"]
        except OSError:
            return ""
        return str(routers[0]["state"]) if routers else ""

    def vrrpd_pid(self) -> int:
        """Of the worker that runs now."""
        return int(self.events("agent.worker_started")[-1]["pid"])


def lvsha_config(pair: Pair, *, interface: str = "eth0") -> str:
    """One file for both directors."""
    names = {"lb1": 0, "lb2": 1}
    lines = ["[agent]", 'log_format = "json"', "", "[directors]"]
    for node, priority in pair.priorities.items():
        address = f'address = "{pair.unicast[names[node]]}", ' if pair.unicast else ""
        lines.append(f"{node} = {{ {address}priority = {priority} }}")
    lines += ["", "[[vrrp]]", f'name = "{ROUTER}"', f'interface = "{interface}"', f"vrid = {pair.vrid}"]
    lines += [f"addresses = {json.dumps(pair.addresses)}", f"version = {pair.version}"]
    lines += [f"advert_interval = {pair.interval:g}", f"preempt = {str(pair.preempts).lower()}"]
    if pair.unicast:
        lines.append("unicast = true")
    if pair.min_ttl != 255:
        lines.append(f"min_ttl = {pair.min_ttl}")
    if pair.password is not None:
        lines.append(f'password = "{pair.password}"')
    return "\n".join([*lines, ""])


_COMPLAINT = re.compile(
    r"(?i)invalid|mismatch|wrong|error|bogus|unknown|discard|dropp|ignor|checksum|authentication"
    r"|too (long|short)|unexpected|differ|ttl|hop limit|different|not found|unable|can'?t|cannot|WARNING"
)
_DROP_COUNTERS = (
    "packet_len_err",
    "advert_interval_err",
    "ip_ttl_err",
    "invalid_type_rcvd",
    "addr_list_err",
    "invalid_authtype",
    "authtype_mismatch",
    "auth_failure",
)


class Keepalived(Director):
    """keepalived with VRRP alone. ``/tmp``, where it leaves its statistics, is the host's folder to it."""

    def __init__(self, host: Host, pair: Pair) -> None:
        super().__init__(host, pair)
        (host.folder / "keepalived.conf").write_text(keepalived_config(pair, host.node))

    def command(self) -> list[str]:
        options = "--dont-fork --log-console --log-detail --no-syslog --vrrp"
        files = "-f /tmp/keepalived.conf -p /tmp/keepalived.pid -r /tmp/vrrp.pid"
        script = f'mount --bind "$1" /tmp && cd / && exec keepalived {options} {files}'
        return ["unshare", "--mount", "sh", "-c", script, "sh", str(self.host.folder)]

    def complaints(self) -> list[str]:
        """What it has logged about the other's packets, or about anything else it did not like."""
        lines = [line.partition(": ")[2] for line in self.log().splitlines()]
        return [line for line in lines if _COMPLAINT.search(line) and not _is_routine(line)]

    async def statistics(self) -> dict[str, int]:
        """What it has counted until now, asked for by its signal."""
        path = self.host.folder / "keepalived.json"
        path.unlink(missing_ok=True)
        self.signal(signal.SIGRTMIN + 2)

        def answer() -> dict[str, int] | None:
            try:
                stats: dict[str, int] = json.loads(path.read_text())[0]["stats"]
            except (OSError, ValueError):
                return None  # not there, or not yet whole
            return stats

        return await until(answer, within=5, what="keepalived's statistics")


def _is_routine(line: str) -> bool:
    return "max_auto_priority" in line or "lower priority" in line or line.startswith("Command line")


def dropped(statistics: dict[str, int]) -> dict[str, int]:
    """Of keepalived's counters, those of adverts that it refused."""
    return {name: statistics[name] for name in _DROP_COUNTERS if statistics[name]}


def keepalived_config(pair: Pair, node: str) -> str:
    lines = ["global_defs {", f"  router_id {node}", f"  vrrp_version {pair.version}", "}"]
    lines += ["vrrp_instance pair {", "  state BACKUP", "  interface eth0"]
    lines += [f"  virtual_router_id {pair.vrid}", f"  priority {pair.priorities[node]}"]
    lines += [f"  advert_int {pair.interval:g}"]
    if not pair.preempts:
        lines.append("  nopreempt")
    if pair.unicast:
        own, other = pair.unicast if node == "lb1" else reversed(pair.unicast)
        lines += [f"  unicast_src_ip {own}", "  unicast_peer {", f"    {other}", "  }"]
    if pair.password is not None:
        lines += ["  authentication {", "    auth_type PASS", f"    auth_pass {pair.password}", "  }"]
    lines += ["  virtual_ipaddress {", *(f"    {address}" for address in pair.addresses), "  }"]
    return "\n".join([*lines, "}", ""])


# Processes


def children(pid: int) -> list[int]:
    """All below ``pid``, the nearest first."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in task.read_text().split():
                found += [int(child), *children(int(child))]
    return found


@contextlib.contextmanager
def ended(*directors: Director) -> Iterator[None]:
    """At the end of the block at the latest, whatever of them still runs is killed."""
    try:
        yield
    finally:
        for director in directors:
            director.end()


@contextlib.contextmanager
def running(*directors: Director) -> Iterator[None]:
    """Started at the beginning of the block, ended with it."""
    with ended(*directors):
        for director in directors:
            director.start()
        yield


def run_lvsha(host: Host, *words: str, prefix: Sequence[str] = ()) -> "subprocess.CompletedProcess[str]":
    """A command of lvsha that ends by itself."""
    with host.namespace.entered():
        return subprocess.run(
            [*prefix, LVSHA, *words], capture_output=True, text=True, check=False, timeout=20
        )


def gone(pid: int) -> bool:
    """Ended and buried, or ended by whoever adopted it."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return True
    return state == "Z"


def wall_clock() -> float:
    """As the frames on the wire are stamped."""
    return time.time()
