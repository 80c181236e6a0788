"""``IpvsSocket`` against a real kernel, with ipvsadm as witness.

``LVSHA_RECORD=1`` writes what was said to ``proto/netlink/ipvs.json``, which the
unit tests play back.
"""

import os
import re
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from ipaddress import ip_address

import pytest

from lvsha.io.ipvs_genl import IpvsSocket
from lvsha.io.netlink import GENERIC, NetlinkSocket
from lvsha.ipvs.model import (
    AddDestination,
    AddService,
    Daemon,
    DaemonRole,
    DesiredService,
    Destination,
    Operation,
    RemoveDestination,
    Service,
    ServiceFlags,
    ServiceKey,
    Timeouts,
)
from lvsha.ipvs.plan import plan
from tests.io.ipvs_steps import FILLED, SAVED, STEPS, WEB
from tests.io.netlink_tape import Exchange, Recorder, save
from tests.kernel.ipvs_netns import fresh_netns, ipvsadm, saved

pytestmark = pytest.mark.kernel

LINKS = (
    "link add dummy0 type dummy",
    "link set dummy0 up",
    "address add 10.99.0.1/24 dev dummy0",
    "address add fd99::1/64 dev dummy0 nodad",
    "link add dummy1 type dummy",
    "address add 10.98.0.1/24 dev dummy1",
)


@pytest.fixture
def ipvs() -> Iterator[IpvsSocket]:
    with fresh_netns(LINKS), IpvsSocket() as opened:
        yield opened


def test_every_step_is_answered_as_recorded() -> None:
    """All commands, all attributes both ways, all errors; ipvsadm sees what we wrote."""
    recorders: list[Recorder] = []

    def connect(deadline_s: float) -> NetlinkSocket:
        recorders.append(Recorder(socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, GENERIC)))
        return NetlinkSocket(GENERIC, deadline_s=deadline_s, endpoint=recorders[-1].as_socket())

    exchanges: dict[str, list[Exchange]] = {}
    with fresh_netns(LINKS), closing(IpvsSocket(connect=connect)) as ipvs:
        for step in STEPS:
            said = len(recorders[0].exchanges) if recorders else 0
            answer = step.run(ipvs)
            assert answer == step.answer, step.name
            exchanges[step.name] = recorders[0].exchanges[said:]
            if step.name == FILLED:
                assert saved() == sorted(SAVED.splitlines())
                assert "10.9.0.50:8080               100        80  " in ipvsadm("-Ln", "--thresholds").stdout
            if step.name == "start a backup":
                time.sleep(0.3)  # its thread must have run, or stopping it has no answer either
    if os.environ.get("LVSHA_RECORD"):
        save(
            "ipvs.json",
            about="IpvsSocket and a kernel, as tests/io/ipvs_steps.py has them talk",
            kernel=os.uname().release,
            steps=exchanges,
        )


def test_ipvsadm_shows_the_daemons_as_we_started_them(ipvs: IpvsSocket) -> None:
    backup = Daemon(
        role=DaemonRole.BACKUP,
        interface="dummy0",
        syncid=3,
        maxlen=1500,
        group=ip_address("224.0.0.99"),
        port=9000,
        ttl=4,
    )
    master = Daemon(role=DaemonRole.MASTER, interface="dummy0", syncid=7)

    ipvs.start_daemon(backup)
    ipvs.start_daemon(master)

    assert ipvsadm("-L", "--daemon").stdout.splitlines() == [
        "master sync daemon (mcast=dummy0, syncid=7, maxlen=1472, group=224.0.0.81, port=8848, ttl=1)",
        "backup sync daemon (mcast=dummy0, syncid=3, maxlen=1500, group=224.0.0.99, port=9000, ttl=4)",
    ]


@pytest.mark.parametrize("role", list(DaemonRole))
@pytest.mark.parametrize("pause_s", [0.0, 0.3])
def test_a_daemon_is_gone_when_stop_returns(ipvs: IpvsSocket, role: DaemonRole, pause_s: float) -> None:
    """Whether or not the kernel answers."""
    ipvs.start_daemon(Daemon(role=role, interface="dummy0", syncid=1))
    time.sleep(pause_s)

    ipvs.stop_daemon(role)

    assert ipvs.daemons() == []
    assert ipvsadm("-L", "--daemon").stdout == ""


def test_ipvsadm_shows_the_timeouts_we_set(ipvs: IpvsSocket) -> None:
    ipvs.set_timeouts(Timeouts(tcp_s=1000, tcp_fin_s=60))

    assert ipvsadm("-L", "--timeout").stdout == "Timeout (tcp tcpfin udp): 1000 60 300\n"


SCHEDULERS = ["rr", "wrr", "lc", "wlc", "lblc", "lblcr", "dh", "sh", "mh", "sed", "nq", "fo", "ovf"]


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_every_scheduler(ipvs: IpvsSocket, scheduler: str) -> None:
    service = Service(key=WEB, scheduler=scheduler)

    assert ipvs.apply([AddService(service)]) == []

    assert ipvs.service(WEB).service == service
    assert saved() == [f"-A -t 10.9.0.100:80 -s {scheduler}"]


@pytest.mark.parametrize("bits", range(8))
def test_every_combination_of_scheduler_flags(ipvs: IpvsSocket, bits: int) -> None:
    service = Service(key=WEB, scheduler="mh", flags=ServiceFlags(bits << 3))

    assert ipvs.apply([AddService(service)]) == []

    assert ipvs.service(WEB).service == service


def test_what_we_did_not_write_is_read_as_ipvsadm_wrote_it(ipvs: IpvsSocket) -> None:
    ipvsadm("-A", "-t", "[fd00::1]:443", "-s", "sh", "-b", "sh-port", "-p", "30", "-M", "56")
    ipvsadm("-a", "-t", "[fd00::1]:443", "-r", "[fd00::2]:8443", "-m", "-w", "9", "-x", "50", "-y", "20")

    (state,) = ipvs.table().values()

    assert state.service == Service(
        key=ServiceKey.of(6, ip_address("fd00::1"), 443),
        scheduler="sh",
        flags=ServiceFlags.SCHED_2,
        persistence_timeout_s=30,
        netmask=56,
    )
    (found,) = state.destinations.values()
    assert (found.destination.weight, found.destination.upper_threshold) == (9, 50)
    assert (found.destination.lower_threshold, str(found.destination)) == (20, "[fd00::2]:8443")


def test_counters_are_those_that_ipvsadm_shows(ipvs: IpvsSocket) -> None:
    service = ServiceKey.of(17, ip_address("10.99.0.1"), 5353)
    local = Destination(address=ip_address("127.0.0.1"), port=5353)
    ipvs.apply([AddService(Service(key=service)), AddDestination(service, local)])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        for _ in range(7):
            client.sendto(b"hello", ("10.99.0.1", 5353))

    # The kernel sums its counters up every two seconds.
    give_up = time.monotonic() + 10
    while (state := ipvs.table()[service]).stats.in_packets < 7 and time.monotonic() < give_up:
        time.sleep(0.1)

    listed = ipvsadm("-Ln", "--stats", "--exact").stdout
    shown = re.search(r"^UDP +10\.99\.0\.1:5353" + r" +(\d+)" * 5, listed, re.MULTILINE)
    assert shown is not None
    assert state.stats[:5] == tuple(int(group) for group in shown.groups())
    assert state.stats.in_packets == 7
    (destination,) = state.destinations.values()
    assert destination.stats.in_packets == 7
    assert destination.active + destination.inactive == 1

    ipvs.zero(service)

    assert ipvs.service(service).stats.in_packets == 0


def many(count: int) -> list[Destination]:
    return [Destination(address=ip_address("10.1.0.0") + n, port=80) for n in range(1, count + 1)]


def test_five_thousand_realservers_come_and_go_in_batches(ipvs: IpvsSocket) -> None:
    destinations = many(5000)
    desired = {WEB: DesiredService(service=Service(key=WEB), destinations=tuple(destinations))}

    failures = ipvs.apply(plan(desired, {}, exclusive=True, owned=frozenset()))

    assert failures == []
    assert plan(desired, ipvs.table(), exclusive=True, owned=frozenset()) == ()
    one = replace(destinations[2500], weight=0)
    edited = {WEB: replace(desired[WEB], destinations=(*destinations[:2500], one, *destinations[2501:]))}
    edits = plan(edited, ipvs.table(), exclusive=True, owned=frozenset())
    assert len(edits) == 1
    assert ipvs.apply(edits) == []
    assert ipvs.destinations(WEB)[one.key].destination.weight == 0
    empty = {WEB: replace(desired[WEB], destinations=())}
    assert ipvs.apply(plan(empty, ipvs.table(), exclusive=True, owned=frozenset())) == []
    assert ipvs.destinations(WEB) == {}


def test_thousands_of_errors_are_each_told(ipvs: IpvsSocket) -> None:
    """More answers than one chunk, none lost, each by its own operation."""
    destinations = many(3000)
    adds = [AddDestination(WEB, destination) for destination in destinations]
    ipvs.apply([AddService(Service(key=WEB)), *adds])
    removal = RemoveDestination(WEB, destinations[1000].key)
    again: list[Operation] = [*adds[:1500], removal, *adds[1500:]]

    failures = ipvs.apply(again)

    # All are there already; the removal in the middle is done, and nothing adds that one again.
    assert [operation for operation, _ in failures] == adds
    assert len(ipvs.destinations(WEB)) == 2999


def test_two_sockets_see_one_table(ipvs: IpvsSocket) -> None:
    ipvs.apply([AddService(Service(key=WEB))])

    with IpvsSocket() as other:
        assert list(other.table()) == [WEB]


def test_a_namespace_has_its_own_table(ipvs: IpvsSocket) -> None:
    ipvs.apply([AddService(Service(key=WEB))])

    with fresh_netns(), IpvsSocket() as elsewhere:
        assert elsewhere.table() == {}
