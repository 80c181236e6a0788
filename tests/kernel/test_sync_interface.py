"""An interface under the kernel's sync daemons is deleted, made again or gets another address.

The kernel goes on listing its daemons as running then, and they send and hear nothing
any more. That they work again is seen on the wire.
"""

import asyncio
import json
import os
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from lvsha.agent.journal import Journal
from lvsha.agent.kernel_sync import KernelSync
from lvsha.config.settings import AgentSettings, LogFormat
from lvsha.director.desired import DesiredTables
from lvsha.io.ipvs_genl import IpvsSocket
from lvsha.ipvs.model import DaemonRole
from lvsha.ipvs.plan import plan
from lvsha.lab.netns import ip_batch, run
from lvsha.sync.settings import SyncSettings
from lvsha.wire.checksum import internet_checksum
from tests.kernel.ipvs_netns import fresh_netns

pytestmark = [pytest.mark.kernel, pytest.mark.timeout(60)]

LINK = ["link add sync0 type veth peer name other", "link set other up", "link set sync0 up"]
ADDRESS = ["addr add 10.9.0.1/24 dev sync0"]
PORT = 8848


@dataclass(slots=True)
class Bench:
    """``KernelSync`` on ``sync0``, with the end of its cable in hand."""

    sync: KernelSync
    log: StringIO
    settings: SyncSettings

    def events(self) -> list[str]:
        return [json.loads(line)["event"] for line in self.log.getvalue().splitlines()]

    def watch_for(self, seconds: float) -> None:
        """Let it look after its daemons as directord does."""

        async def watching() -> None:
            await asyncio.wait_for(self.sync.watch(), seconds)

        with pytest.raises(TimeoutError):
            asyncio.run(watching())

    def sender(self, within: float = 3.0) -> str | None:
        """The source of a sync message that a nudge brings out; None: there is none."""
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0800)) as sock:
            sock.bind(("other", 0x0800))
            sock.settimeout(0.05)
            end = time.monotonic() + within
            while time.monotonic() < end:
                self.sync.nudge()
                try:
                    frame = sock.recv(2048)
                except TimeoutError:
                    continue
                if frame[23] == 17 and struct.unpack_from("!H", frame, 36)[0] == PORT:
                    return socket.inet_ntoa(frame[26:30])
        return None


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with fresh_netns([*LINK, *ADDRESS]), IpvsSocket() as ipvs:
        table = DesiredTables().table((), {}, nudge=True)
        ipvs.apply(plan(table, ipvs.table(), exclusive=False, owned=frozenset()))
        log = StringIO()
        journal = Journal("directord", AgentSettings(log_format=LogFormat.JSON), stream=log)
        settings = SyncSettings(interface="sync0", syncid=7)
        sync = KernelSync(settings, ipvs, journal, tmp_path)
        sync.start()
        yield Bench(sync, log, settings)
        sync.stop()


def test_a_part_filled_message_leaves_when_it_is_nudged(bench: Bench) -> None:
    assert bench.sender() == "10.9.0.1"


def readdress() -> None:
    ip_batch(["addr flush dev sync0", "addr add 10.9.0.77/24 dev sync0"])


def make_again() -> None:
    ip_batch(["link del sync0", *LINK, "addr add 10.9.0.77/24 dev sync0"])


@pytest.mark.parametrize("change", [readdress, make_again])
def test_daemons_work_again_on_a_changed_interface(bench: Bench, change: Callable[[], None]) -> None:
    assert bench.sender() == "10.9.0.1"
    change()
    assert bench.sender(within=0.5) != "10.9.0.77", "the kernel follows by itself: nothing to do for us"

    bench.watch_for(1.5)

    assert bench.sender() == "10.9.0.77"
    assert bench.events().count("sync.sync_daemon_repaired") == 2
    assert bench.sync.status()["missing"] == []
    with IpvsSocket() as ipvs:
        assert {daemon.role for daemon in ipvs.daemons()} == set(DaemonRole)


def test_an_interface_that_is_away_for_a_while_is_said_once_and_waited_for(bench: Bench) -> None:
    ip_batch(["link del sync0"])
    bench.watch_for(2.5)

    assert bench.events().count("sync.no_interface") == 1

    ip_batch([*LINK, *ADDRESS])
    bench.watch_for(1.5)
    assert bench.sender() == "10.9.0.1"


def test_a_daemon_that_somebody_stopped_runs_again(bench: Bench) -> None:
    with IpvsSocket() as ipvs:
        ipvs.stop_daemon(DaemonRole.MASTER)
        bench.watch_for(1.5)

        assert {daemon.role for daemon in ipvs.daemons()} == set(DaemonRole)


def test_a_second_look_writes_nothing(bench: Bench) -> None:
    before = bench.events()

    bench.watch_for(2.5)

    assert bench.events() == before


class BusyMirror:
    """Announces 20,000 entries a second that say nothing new."""

    window = 0
    passed_on = 0

    @property
    def heard(self) -> int:
        return round(time.monotonic() * 20_000)


class Reader:
    def __init__(self) -> None:
        self.mirror: Any = BusyMirror()
        self.readings = 0

    def read_again(self) -> None:
        self.readings += 1

    def takes_messages(self, maxlen: int) -> None:
        pass


def test_busy_connections_are_announced_less_often_and_the_event_says_why(bench: Bench) -> None:
    bench.sync.follow(Reader())
    path = Path("/proc/sys/net/ipv4/vs/sync_refresh_period")

    bench.watch_for(6.5)

    assert path.read_text().strip() == "20"
    (event,) = [json.loads(line) for line in bench.log.getvalue().splitlines() if "sync_tuned" in line]
    assert (event["setting"], event["old"], event["new"]) == ("refresh_s", 10, 20)
    assert "say nothing new" in event["reason"]
    assert bench.sync.status()["tuning"]["refresh_s"] == 20


def speak(*, syncid: int = 7, port: int = PORT, size: int = 44) -> None:
    """A message of another director, as it comes out of the cable; what is too long comes in fragments."""
    payload = struct.pack(">BBHBbH", 0, syncid, size, 0, 1, 0) + bytes(36)
    udp = struct.pack(">HHHH", 40_000, port, 8 + size, 0) + payload
    more = 0x2000 if size > len(payload) else 0
    ends = socket.inet_aton("10.9.0.2") + socket.inet_aton("224.0.0.81")
    header = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(udp), 1, more, 1, 17, 0)
    checksum = internet_checksum(header + ends)
    packet = header[:10] + struct.pack(">H", checksum) + ends + udp
    frame = bytes.fromhex("01005e000051 020000000002 0800") + packet
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sock:
        sock.bind(("other", 0))
        for _ in range(3):
            sock.send(frame)


def test_what_the_daemons_drop_without_a_word_is_found_and_named(bench: Bench) -> None:
    bench.watch_for(1.3)
    speak(syncid=8)
    speak(port=8850)
    speak(size=2_000)
    speak()
    bench.watch_for(1.2)

    told = {each["trouble"]: each for each in bench.sync.status()["troubles"]}
    assert set(told) == {"other_syncid", "other_port", "too_long"}
    assert {each["source"] for each in told.values()} == {"10.9.0.2"}
    assert "2000 bytes" in told["too_long"]["detail"]
    assert bench.events().count("sync.neighbour_trouble") == 3

    rule = ["INPUT", "-i", "sync0", "-p", "udp", "--dport", str(PORT), "-j", "DROP"]
    run(["iptables-legacy", "-w", "-A", *rule])
    for _ in range(4):
        speak()
        bench.watch_for(1.1)

    assert "filtered" in {each["trouble"] for each in bench.sync.status()["troubles"]}


def test_a_stop_puts_the_settings_of_the_kernel_back(bench: Bench) -> None:
    path = Path("/proc/sys/net/ipv4/vs/sync_refresh_period")
    assert path.read_text().strip() == "10"

    bench.sync.stop()

    assert path.read_text().strip() == "0"
    with IpvsSocket() as ipvs:
        assert ipvs.daemons() == []


def test_directord_without_the_capability_says_which_and_what_gives_it(tmp_path: Path) -> None:
    config = tmp_path / "lvsha.toml"
    config.write_text('[[service]]\naddress = "10.0.0.10:80"\nrealservers = ["10.0.0.11"]\n')
    words = ["agent", "-f", str(config), "--only", "directord", "--run-dir", str(tmp_path / "run")]
    bounded = ["setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin", "--"]

    done = subprocess.run(
        [*bounded, sys.executable, "-m", "lvsha.cli.main", *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
        env=os.environ,
    )

    (complaint,) = [line for line in done.stderr.splitlines() if line.startswith("lvsha ")]
    assert done.returncode == 1
    assert "open IPVS: EPERM" in complaint
    assert "CAP_NET_ADMIN" in complaint
