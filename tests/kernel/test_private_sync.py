"""The private interface: a real kernel's announcements are read from it, and nothing gets on a wire."""

import itertools
import subprocess
import time
from collections.abc import Iterator

import pytest

from lvsha.director.desired import NUDGE_KEY
from lvsha.director.rebuild import rebuilder
from lvsha.io.ipvs_genl import IpvsSocket
from lvsha.io.private_link import (
    PRIVATE_ADDRESS,
    PRIVATE_INTERFACE,
    ensure_private_link,
    remove_private_link,
)
from lvsha.io.procfs import connections
from lvsha.io.realtime import NICE, sync_threads_run_ahead
from lvsha.io.rtnl import RouteSocket
from lvsha.io.sockets import NudgeSocket
from lvsha.io.sync_capture import SyncCapture
from lvsha.ipvs.model import Daemon, DaemonRole
from lvsha.lab.netns import Namespace, ip_batch, run
from lvsha.sync.conn_table import TableRow
from lvsha.sync.nudge import NUDGE_FLOWS, nudge_packets
from lvsha.wire.ipvs_sync.message import decode_message
from lvsha.wire.ipvs_sync.records import SyncConn

pytestmark = pytest.mark.kernel

_names = (f"private{number}" for number in itertools.count())


@pytest.fixture
def namespace() -> Iterator[Namespace]:
    namespace = Namespace(next(_names))
    ip_batch([f"netns add {namespace.name}"])
    try:
        with namespace.entered():
            ip_batch(["link set lo up"])
            yield namespace
    finally:
        subprocess.run(["ip", "netns", "delete", namespace.name], check=False)


def captured(capture: SyncCapture, count: int, seconds: float) -> list[SyncConn]:
    found: list[SyncConn] = []
    end = time.monotonic() + seconds
    while len(found) < count and time.monotonic() < end:
        for message in capture.receive():
            found += decode_message(message).entries
        time.sleep(0.01)
    return found


def test_the_interface_is_made_once_with_an_address_and_removed_again(namespace: Namespace) -> None:
    assert ensure_private_link()
    assert not ensure_private_link()

    with RouteSocket() as routes:
        link = routes.link(PRIVATE_INTERFACE)
        assert link.up
        assert [each.prefix for each in routes.addresses(link.index) if each.prefix.version == 4] == [
            PRIVATE_ADDRESS
        ]
    remove_private_link()
    remove_private_link()
    with RouteSocket() as routes:
        assert PRIVATE_INTERFACE not in {link.name for link in routes.links().values()}


def test_what_the_kernel_announces_is_read_and_can_be_rebuilt_from_its_table(namespace: Namespace) -> None:
    ensure_private_link()
    run(["ipvsadm", "-A", "-t", f"{NUDGE_KEY.address}:{NUDGE_KEY.port}", "-s", "rr"])
    run(["ipvsadm", "-a", "-t", f"{NUDGE_KEY.address}:{NUDGE_KEY.port}", "-r", "127.0.0.1:8848", "-m"])
    capture = SyncCapture(PRIVATE_INTERFACE, port=8848)
    nudger = NudgeSocket()
    with IpvsSocket() as ipvs:
        for role in DaemonRole:
            ipvs.start_daemon(Daemon(role=role, interface=PRIVATE_INTERFACE, syncid=7, maxlen=1472))
        announced: dict[int, SyncConn] = {}
        end = time.monotonic() + 60
        while len(announced) < NUDGE_FLOWS and time.monotonic() < end:
            nudger.send(nudge_packets())  # as a director does: again and again
            announced |= {conn.cport: conn for conn in captured(capture, NUDGE_FLOWS, seconds=3)}

        rebuild = rebuilder(ipvs.table(), ipvs.timeouts())
        rebuilt = {
            row.cport: rebuild(
                TableRow(
                    row.protocol,
                    row.caddr.packed,
                    row.cport,
                    row.vaddr.packed,
                    row.vport,
                    row.daddr.packed,
                    row.dport,
                    row.state,
                    row.expires_s,
                )
            )
            for row in connections()
        }
    capture.close()
    nudger.close()
    assert len(announced) == NUDGE_FLOWS
    for cport, conn in announced.items():
        assert rebuilt[cport] == conn
    assert capture.lost == 0


def test_the_kernels_sync_threads_run_ahead_of_ordinary_work(namespace: Namespace) -> None:
    ensure_private_link()
    before = sync_thread_nices()
    with IpvsSocket() as ipvs:
        for role in DaemonRole:
            ipvs.start_daemon(Daemon(role=role, interface=PRIVATE_INTERFACE, syncid=9, maxlen=1472))
    ours = {tid: nice for tid, nice in sync_thread_nices().items() if tid not in before}
    assert sorted(ours.values()) == [0, 0]

    assert sync_threads_run_ahead() >= 2

    assert {sync_thread_nices()[tid] for tid in ours} == {NICE}


def sync_thread_nices() -> dict[int, int]:
    found = {}
    for row in run(["ps", "-e", "-o", "pid=,ni=,comm="]).splitlines():
        tid, nice, name = row.split(None, 2)
        if name.startswith("ipvs-"):
            found[int(tid)] = int(nice)
    return found
