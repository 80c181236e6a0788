"""Processes of a director are killed, told to leave, and started again; the tests follow one another.

The kernel goes on forwarding without any of them, so each case asks the same: was
a datagram lost, did the address move, who wrote into the kernel.
"""

import os
import signal
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from lvsha.lab.peers.base import tree
from tests.kernel.director_rig import Process, Rig, running_pair

pytestmark = [pytest.mark.kernel, pytest.mark.timeout(120)]

CONNECTIONS = 50
SLACK_S = 0.1
"""What the one processor of a user-mode guest adds."""


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    with running_pair(tmp_path_factory.mktemp("kills")) as rig:
        rig.stage.open_connections(CONNECTIONS)
        yield rig


def survived(rig: Rig) -> int:
    return int(rig.stage.check_connections()["survived"])


def since(rig: Rig) -> int:
    """The instant of the witness's newest event."""
    rig.stage.pump(0)
    return int(rig.stage.timeline.events[-1]["at"])


def moves(rig: Rig, after: int) -> list[tuple[str, str]]:
    """Who bound or unbound the virtual address after an instant."""
    rig.stage.pump(0)
    return [
        (event["director"], event["event"])
        for event in rig.stage.timeline.events
        if event["event"] in ("bound", "unbound")
        and event["address"] == rig.stage.vip
        and event["at"] > after
        and not is_renewal(rig, event)
    ]


def is_renewal(rig: Rig, event: dict[str, Any]) -> bool:
    """The holder says again that it holds it: an address on a lease."""
    if event["event"] != "bound":
        return False
    earlier = [
        other["event"]
        for other in rig.stage.timeline.events
        if other["event"] in ("bound", "unbound")
        and (other["director"], other["address"]) == (event["director"], event["address"])
        and other["at"] < event["at"]
    ]
    return bool(earlier) and earlier[-1] == "bound"


def test_sync_comes_before_the_address_at_the_start(rig: Rig) -> None:
    """Sync daemons first, then the services, then the address, and only then anybody is told."""
    daemons = rig.events("sync.daemon_started")
    (serving,) = rig.events("director.started")
    (master,) = rig.events("vrrp.became_master")
    bound_at = rig.stage.timeline.first("bound", 0, director="lb1", address=rig.stage.vip)
    assert bound_at is not None
    bound = bound_at / 1e9 + (time.time() - time.monotonic())

    assert [daemon["role"] for daemon in daemons] == ["backup", "master"]
    assert daemons[-1]["at"] <= serving["at"] <= bound + 0.002
    assert bound <= master["at"] + SLACK_S, "the witness comes to look a little later"


def test_a_killed_directord_is_replaced_and_writes_nothing(rig: Rig) -> None:
    before, begun = since(rig), time.time()

    with rig.beating() as beats:
        os.kill(rig.worker(Process.DIRECTORD), signal.SIGKILL)
        started = rig.event("director.started", since=begun, within=30)
        rig.stage.pump(1.5)

    assert beats[0].lost == ()
    assert started["writes"] == 0
    written = rig.stage.timeline.writes("lb1", before)
    assert written is not None, "the guest cannot mirror netlink: nothing was counted"
    assert written["ipvs"] == 0
    assert rig.events("sync.daemon_started", since=begun) == []
    assert rig.events("director.reset_grace_applied", since=begun) == []
    assert moves(rig, before) == []
    assert survived(rig) == CONNECTIONS
    assert rig.status()["ok"], rig.status()["problems"]


@pytest.mark.parametrize("victims", [[Process.VRRPD], [Process.DIRECTORD, Process.VRRPD]])
def test_a_killed_vrrpd_is_back_in_time_or_is_taken_over_from_once(rig: Rig, victims: list[Process]) -> None:
    """In time is before its BACKUP gives up waiting; a guest on a busy machine may not manage that."""
    master, backup = rig.roles()
    # Time for a spare, and for a predecessor's youth to be forgotten.
    rig.stage.pump(2.0)
    before = since(rig)
    pids = [rig.worker(victim, master) for victim in victims]

    with rig.beating() as beats:
        begun = time.time()
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        rig.event("vrrp.adopted_addresses", node=master, since=begun, within=10)
        rig.stage.pump(1.5)

    assert beats[0].longest_silence_ms < 500
    assert survived(rig) == CONNECTIONS
    if rig.roles() == (master, backup):
        assert beats[0].lost == ()
        assert moves(rig, before) == []
    else:
        # One move each; which of them the witness sees first is a matter of microseconds.
        assert sorted(moves(rig, before)) == sorted([(backup, "bound"), (master, "unbound")])
        assert rig.events("vrrp.became_master", node=master, since=begun) == []


def test_the_restart_of_a_wholly_killed_director_does_not_fight_the_new_master(rig: Rig) -> None:
    master, backup = rig.roles()
    main = rig.main_pid(master)

    with rig.beating() as beats:
        begun = time.time()
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for pid in (main, *tree(main)):
                os.kill(pid, number)
        assert rig.exit_status(master) == -signal.SIGKILL
        rig.event("vrrp.became_master", node=backup, since=begun)
        rig.stage.pump(0.6)
        again = time.time()
        rig.peer.start(master)
        rig.event("director.started", node=master, since=again, within=30)
        rig.until(lambda: rig.holders() == {backup}, "the killed one to give up what it had bound")
        rig.stage.pump(1.0)

    assert rig.events("vrrp.became_master", node=master, since=again) == []
    assert rig.events("vrrp.became_backup", node=backup, since=begun) == []
    assert rig.holders() == {backup}
    assert survived(rig) == CONNECTIONS
    assert beats[0].longest_silence_ms < 500


@contextmanager
def sent_by(node: str) -> Iterator[list[str]]:
    """What a director has sent during the block, in its order: ``advert``, ``zero``, ``garp``."""
    seen: list[str] = []
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.htons(3)) as sock:
        sock.setsockopt(socket.SOL_SOCKET, 33, 4 << 20)  # SO_RCVBUFFORCE: the beats come along
        sock.bind((f"{node}-eth0", 3))
        yield seen
        while True:
            try:
                frame, address = sock.recvfrom(200)
            except BlockingIOError:
                break
            (kind,) = struct.unpack_from("!H", frame, 12)
            if address[2] == socket.PACKET_OUTGOING:
                continue
            if kind == 0x0806 and frame[28:32] == frame[38:42]:
                seen.append("garp")
            elif kind == 0x0800 and frame[23] == 112:
                seen.append("advert" if frame[36] else "zero")


def test_a_planned_leave_goes_in_order_and_is_not_noticed(rig: Rig) -> None:
    """Flush, priority 0, the successor's advert, its address and its announcement, then ours off; sync
    daemons and services last. Then the last director leaves too: nobody takes over, it waits a second for a
    successor and goes all the same, and nothing stays behind."""
    master, backup = rig.roles()
    rig.stage.pump(1.0)
    before, begun = since(rig), time.time()

    with (
        rig.beating() as beats,
        sent_by(backup) as successor,
        sent_by(master) as left,
    ):
        rig.peer.terminate(master)
        rig.event("agent.stopped", node=master, since=begun, within=8)
        rig.stage.pump(0.5)

    said = [event["event"] for event in rig.events(node=master, since=begun)]
    order = ["vrrp.releasing", "vrrp.released", "sync.daemon_stopped", "director.left", "agent.stopped"]
    assert sorted(order, key=said.index) == order
    assert left[-1] == "zero"
    assert successor.index("advert") < successor.index("garp")
    # The successor says that it is MASTER and binds; who heard it twice takes the address off.
    assert sorted(moves(rig, before)) == sorted([(backup, "bound"), (master, "unbound")])
    assert beats[0].lost == ()
    assert survived(rig) == CONNECTIONS
    assert rig.exit_status(master) == 0

    begun = time.time()
    rig.peer.terminate(backup)
    stopped = rig.event("agent.stopped", node=backup, since=begun, within=8)
    rig.stage.pump(0.2)

    assert stopped["at"] - begun < 4
    assert rig.exit_status(backup) == 0
    assert rig.holders() == set()
    for node in (master, backup):
        run = rig.namespace(node).run
        assert run(["ipvsadm", "-Sn"]) == ""
        assert "syncid" not in run(["ipvsadm", "-L", "--daemon"])
        assert rig.namespace(node).read("/proc/sys/net/ipv4/vs/sync_refresh_period").strip() == "0"
        assert "LVSHA" not in run(["iptables-legacy", "-S"], check=False)
        assert "lvsha" not in run(["nft", "list", "tables"], check=False)


def test_on_stop_keep_leaves_the_table_to_the_kernel(rig: Rig) -> None:
    assert rig.holders() == set(), "the test before has stopped both"
    rig.peer.edits.append(lambda text: text + 'on_stop = "keep"\n')
    begun = time.time()
    rig.peer.start("lb1")
    rig.event("vrrp.became_master", since=begun, within=15)

    rig.peer.terminate("lb1")
    rig.event("agent.stopped", since=begun, within=8)

    assert rig.exit_status("lb1") == 0
    assert rig.holders() == set()
    assert "-A -t 10.0.0.10:8000" in rig.namespace().run(["ipvsadm", "-Sn"])
