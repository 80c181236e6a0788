"""The user-space master beside the kernel's: who says what when, and what the kernel makes of ours."""

import contextlib
import select
import socket
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from ipaddress import ip_address
from typing import Any

import pytest

from lvsha.core.instant import SECOND, Instant
from lvsha.core.machine import Output
from lvsha.io.packet_socket import PacketSocket
from lvsha.lab.netns import Namespace, ip_batch
from lvsha.sync.conn_table import row_of
from lvsha.sync.producer import (
    KernelMaster,
    KernelRules,
    MessageBuffer,
    OwnRules,
    SendMessage,
    TableMaster,
)
from lvsha.wire.datagram import DatagramReader
from lvsha.wire.ipvs_sync.message import decode_message
from lvsha.wire.ipvs_sync.names import ConnFlag, TcpState
from lvsha.wire.ipvs_sync.records import SyncConn
from tests.kernel.kernel_sync_rig import backup_kernel, differences, tally

pytestmark = pytest.mark.kernel

VIP, CLIENT = ip_address("10.92.0.1"), ip_address("10.92.0.2")
PORTS = frozenset({8848})
FLUSHED_S = 3.5
"""After this the kernel has sent what it has."""


def payloads(outputs: list[Output]) -> list[bytes]:
    return [output.payload for output in outputs if isinstance(output, SendMessage)]


def connection(number: int, **changes: Any) -> SyncConn:
    conn = SyncConn.build(
        protocol=6,
        client=(ip_address("192.0.2.1"), 1_000 + number),
        virtual=(ip_address("10.0.0.10"), 80),
        destination=(ip_address("10.1.0.1"), 80),
        state=TcpState.ESTABLISHED,
        flags=0,
        timeout=900,
    )
    return conn._replace(**changes)


def test_a_kernel_holds_the_table_that_our_master_says_and_forgets_it_at_the_goodbye() -> None:
    master = TableMaster(OwnRules(), MessageBuffer(7, maxlen=1_400))
    template = connection(0, cport=0, flags=ConnFlag.TEMPLATE, timeout=360)
    table = [*(connection(number) for number in range(100)), template]
    now = Instant(SECOND)
    with backup_kernel(syncid=7) as backup:
        backup.install(payloads(master.table(table, now) + master.flush()))
        assert differences([row_of(conn, conn.timeout) for conn in table], backup.rows()) == []

        closing = [conn._replace(state=TcpState.FIN_WAIT, timeout=120) for conn in table[:10]]
        kept = [*closing, *table[20:]]
        backup.install(payloads(master.table(kept, now) + master.flush()))
        time.sleep(2.5)

        assert differences([row_of(conn, conn.timeout) for conn in kept], backup.rows()) == []
        assert tally(backup.rows())["FIN_WAIT"] == 10
        backup.install(payloads(master.table([], now) + master.flush()))
        time.sleep(2.5)
        assert backup.rows() == []


@contextlib.contextmanager
def serving_kernel(threshold: str, refresh_s: int, retries: int) -> Iterator[tuple[Namespace, Namespace]]:
    """A kernel master whose service is on its own address, and a client's namespace beside it."""
    left, right = Namespace("masterk"), Namespace("clientk")
    ip_batch(["netns add masterk", "netns add clientk"])
    try:
        ip_batch(["link add sync0 netns masterk type veth peer name sync0 netns clientk"])
        for namespace, address in ((left, VIP), (right, CLIENT)):
            namespace.batch(["link set lo up", f"addr add {address}/24 dev sync0", "link set sync0 up"])
        left.sysctl(
            net__ipv4__vs__sync_threshold=threshold,
            net__ipv4__vs__sync_refresh_period=refresh_s,
            net__ipv4__vs__sync_retries=retries,
        )
        for command in (
            f"-A -u {VIP}:53 -s rr",
            f"-a -u {VIP}:53 -r {VIP}:53 -m",
            f"-A -t {VIP}:80 -s rr",
            f"-a -t {VIP}:80 -r {VIP}:80 -m",
            "--start-daemon master --mcast-interface sync0 --syncid 7",
        ):
            left.run(["ipvsadm", *command.split()])
        yield left, right
    finally:
        for name in ("masterk", "clientk"):
            subprocess.run(["ip", "netns", "delete", name], check=False)


def heard_until(packets: PacketSocket, end: float) -> list[SyncConn]:
    """What the kernel has announced by then."""
    reader = DatagramReader(PORTS)
    found: list[SyncConn] = []
    while (left := end - time.monotonic()) > 0:
        if select.select([packets], [], [], left)[0]:
            for frame in packets.receive():
                datagram = reader.read(frame.link, frame.data)
                if datagram is not None:
                    found += decode_message(datagram.payload).require_clean().entries
    return found


@pytest.mark.parametrize(
    ("threshold", "refresh_s", "retries", "packets"),
    [("3 50", 0, 0, 60), ("0 0", 2, 2, 45), ("3 5", 2, 0, 45)],
)
def test_the_kernels_master_announces_when_our_rules_say(
    threshold: str, refresh_s: int, retries: int, packets: int
) -> None:
    """One UDP flow; the rules are shown the packets at the times at which they were sent."""
    first, period = map(int, threshold.split())
    rules = KernelRules(threshold=first, period=period, refresh=refresh_s * SECOND, retries=retries)
    ours = KernelMaster(rules, MessageBuffer(7, flush_after=0))
    flow = SyncConn.build(
        protocol=17,
        client=(CLIENT, 30_000),
        virtual=(VIP, 53),
        destination=(VIP, 53),
        state=0,
        flags=0,
        timeout=300,
    )
    expected = 0
    with (
        serving_kernel(threshold, refresh_s, retries) as (_, right),
        right.entered(),
        PacketSocket("sync0", ports=PORTS) as listener,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock,
    ):
        sock.bind((str(CLIENT), 30_000))
        for number in range(1, packets + 1):
            sock.sendto(b"?", (str(VIP), 53))
            expected += len(ours.packet(flow, number, Instant(time.monotonic_ns())))
            # So far apart that no packet falls near the end of a period.
            time.sleep(0.15 if refresh_s else 0.02)
        heard = heard_until(listener, time.monotonic() + FLUSHED_S)

    assert [conn.cport for conn in heard] == [30_000] * expected
    assert expected >= 2


def test_states_that_the_kernels_master_announces_at_once_and_keeps_to_itself() -> None:
    """A TCP connection of five client packets and its end, under "2 50"."""
    with serving_kernel("2 50", 0, 0) as (left, right):
        with left.entered():
            server = socket.create_server((str(VIP), 80))
        with server, right.entered(), PacketSocket("sync0", ports=PORTS) as listener:
            client = socket.create_connection((str(VIP), 80), source_address=(str(CLIENT), 30_001))
            accepted, _ = server.accept()
            for _ in range(3):
                client.sendall(b"x")
                time.sleep(0.05)
            client.close()
            time.sleep(0.1)
            accepted.close()
            heard = heard_until(listener, time.monotonic() + FLUSHED_S)

    states = [conn.state for conn in heard if conn.cport == 30_001]
    ours = KernelMaster(KernelRules(threshold=2), MessageBuffer(7, flush_after=0))
    shown = connection(0)
    ours.packet(shown._replace(state=TcpState.SYN_RECV), 1, Instant(0))
    expected = [
        state
        for number, state in enumerate([TcpState.ESTABLISHED] * 4 + states[1:], start=2)
        if ours.packet(shown._replace(state=state), number, Instant(number))
    ]
    assert states == expected
    assert states[0] == TcpState.ESTABLISHED
    assert Counter(states)[TcpState.ESTABLISHED] == 1
    assert len(states) > 1, "the end was not announced"
