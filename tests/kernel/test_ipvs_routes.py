"""Addresses and their notifications on a real kernel, with pyroute2 and iproute2 as witnesses.

``LVSHA_RECORD=1`` writes what was said to ``proto/netlink/route.json``.
"""

import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from ipaddress import ip_address, ip_interface

import pytest
from pyroute2 import IPRoute

from lvsha.io.netlink import ROUTE, NetlinkSocket
from lvsha.io.rtnl import (
    AddressAdded,
    AddressRemoved,
    InterfaceAddress,
    LinkChanged,
    LinkRemoved,
    NotificationsLost,
    RouteMonitor,
    RouteSocket,
)
from tests.io.netlink_tape import Exchange, Recorder, save
from tests.io.route_steps import LINKS, STEPS
from tests.kernel.ipvs_netns import fresh_netns

pytestmark = pytest.mark.kernel


@pytest.fixture
def routes() -> Iterator[RouteSocket]:
    with fresh_netns(LINKS), RouteSocket() as opened:
        yield opened


def test_every_step_is_answered_as_recorded() -> None:
    exchanges: dict[str, list[Exchange]] = {}
    with fresh_netns(LINKS):
        recorder = Recorder(socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, ROUTE))
        with RouteSocket(netlink=NetlinkSocket(ROUTE, endpoint=recorder.as_socket())) as routes:
            for step in STEPS:
                said = len(recorder.exchanges)
                assert step.run(routes) == step.answer, step.name
                exchanges[step.name] = recorder.exchanges[said:]
    if os.environ.get("LVSHA_RECORD"):
        save(
            "route.json",
            about="RouteSocket and a kernel, as tests/io/route_steps.py has them talk",
            kernel=os.uname().release,
            steps=exchanges,
        )


def test_500_addresses_in_two_system_calls_are_those_pyroute2_and_ip_list(routes: RouteSocket) -> None:
    wanted = [("dummy0", ip_interface(f"10.96.{n // 250}.{n % 250 + 1}/32")) for n in range(250)]
    wanted += [("dummy0", ip_interface(f"fd96::{n + 1:x}/128")) for n in range(250)]

    assert routes.add_addresses(wanted) == []

    ours = {each.prefix.ip for each in routes.addresses(2) if not each.prefix.ip.is_link_local}
    assert ours == {prefix.ip for _, prefix in wanted}
    with IPRoute() as witness:
        listed = [each.get_attr("IFA_ADDRESS") for each in witness.get_addr(index=2)]
    assert ours == {ip_address(text) for text in listed if not text.startswith("fe80")}
    shown = json.loads(subprocess.check_output(["ip", "-json", "address", "show", "dev", "dummy0"]))
    assert ours <= {ip_address(info["local"]) for info in shown[0]["addr_info"]}
    assert not any(each.is_tentative for each in routes.addresses(2) if each.prefix.ip in ours)
    assert routes.remove_addresses(wanted) == []
    assert [each for each in routes.addresses(2) if not each.prefix.ip.is_link_local] == []


def test_links_are_those_that_pyroute2_lists(routes: RouteSocket) -> None:
    with IPRoute() as witness:
        expected = {
            link["index"]: (link.get_attr("IFLA_IFNAME"), link.get_attr("IFLA_MTU"), bool(link["flags"] & 1))
            for link in witness.get_links()
        }

    assert {i: (link.name, link.mtu, link.up) for i, link in routes.links().items()} == expected


def test_a_lease_ends_by_itself(routes: RouteSocket) -> None:
    lease = ip_interface("10.97.1.1/32")
    routes.add_addresses([("dummy0", lease)], valid_s=1)

    give_up = time.monotonic() + 10
    while any(each.prefix == lease for each in routes.addresses(2)) and time.monotonic() < give_up:
        time.sleep(0.1)

    assert not any(each.prefix == lease for each in routes.addresses(2))


def test_noprefixroute_brings_no_route(routes: RouteSocket) -> None:
    routes.add_addresses([("dummy0", ip_interface("10.95.0.1/24"))], noprefixroute=True)
    routes.add_addresses([("dummy0", ip_interface("10.94.0.1/24"))])

    shown = subprocess.check_output(["ip", "route", "show"], text=True)

    assert "10.95.0.0/24" not in shown
    assert "10.94.0.0/24" in shown


def test_an_address_is_used_without_asking_whether_another_has_it(routes: RouteSocket) -> None:
    """nodad: a takeover cannot wait for a second."""
    address = ip_interface("fd95::1/64")
    routes.add_addresses([("dummy0", address)])

    assert InterfaceAddress(index=2, prefix=address) in routes.addresses(2)


def test_the_monitor_tells_what_happens(routes: RouteSocket) -> None:
    monitor = RouteMonitor()
    prefix = ip_interface("10.97.0.10/24")

    routes.add_addresses([("dummy0", prefix)])
    subprocess.run(["ip", "link", "set", "dummy0", "down"], check=True)
    subprocess.run(["ip", "link", "delete", "dummy0"], check=True)

    events = monitor.read()
    monitor.close()
    assert events[0] == AddressAdded(InterfaceAddress(index=2, prefix=prefix))
    assert any(isinstance(event, LinkChanged) and not event.link.up for event in events)
    assert any(isinstance(event, AddressRemoved) and event.address.prefix == prefix for event in events)
    assert [event.link.name for event in events if isinstance(event, LinkRemoved)] == ["dummy0"]


def test_a_monitor_that_cannot_follow_says_so(routes: RouteSocket) -> None:
    monitor = RouteMonitor(netlink=NetlinkSocket(ROUTE, buffer=4096))
    many = [("dummy0", ip_interface(f"10.96.{n // 250}.{n % 250 + 1}/32")) for n in range(500)]

    routes.add_addresses(many)

    events = monitor.read()
    monitor.close()
    assert NotificationsLost() in events


def test_the_wrong_name_of_an_interface_is_guessed(routes: RouteSocket) -> None:
    with pytest.raises(Exception, match="did you mean 'dummy0'"):
        routes.link("dumy0")


def test_our_own_connections_do_not_start_from_a_virtual_ipv6_address(routes: RouteSocket) -> None:
    """In DR mode the realserver has it too: a health check from there would never be answered."""
    subprocess.run(["ip", "address", "add", "fd97::1/64", "dev", "dummy0", "nodad"], check=True)
    routes.add_addresses([("dummy0", ip_interface("fd97::a/128"))], valid_s=3)

    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        sock.connect(("fd97::11", 9))

        assert sock.getsockname()[0] == "fd97::1"
