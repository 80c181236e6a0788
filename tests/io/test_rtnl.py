"""``RouteSocket`` against the recorded words of a kernel, and the records of its messages."""

import contextlib
import errno
import struct
from _socket import socket
from collections import deque
from ipaddress import ip_interface
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvsha.core.errors import DecodeError, KernelError
from lvsha.io import rtnl
from lvsha.io.netlink import ROUTE, NetlinkSocket
from lvsha.io.rtnl import (
    AddressAdded,
    AddressDecoder,
    AddressRemoved,
    InterfaceAddress,
    Link,
    LinkChanged,
    LinkRemoved,
    NotificationsLost,
    Prefix,
    RouteMonitor,
    RouteSocket,
    decode_link,
    encode_address,
)
from lvsha.wire.netlink import attribute, message, string
from tests.io.netlink_tape import Player, load
from tests.io.route_steps import INDICES, STEPS


def index_of(name: str) -> int:
    if name not in INDICES:
        raise OSError(errno.ENODEV, "No such device")
    return INDICES[name]


@pytest.fixture(autouse=True)
def _interfaces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rtnl, "if_nametoindex", index_of)


def test_every_step_is_asked_and_answered_as_recorded() -> None:
    recorded = load("route.json")
    player = Player([exchange for step in STEPS for exchange in recorded[step.name]])
    routes = RouteSocket(netlink=NetlinkSocket(ROUTE, endpoint=player.as_socket()))

    for step in STEPS:
        assert step.run(routes) == step.answer, step.name

    assert player.is_finished


def link_message(name: str = "eth0", *, family: int = 0, flags: int = 0x11043, index: int = 2) -> bytes:
    header = struct.pack("=BxHiII", family, 1, index, flags, 0)
    return header + string(3, name) + attribute(1, bytes(range(6))) + attribute(4, struct.pack("=I", 1500))


ETH0 = Link(name="eth0", index=2, mac=bytes(range(6)), up=True, carrier=True, mtu=1500)


def test_a_link_without_carrier_is_up_and_does_not_work() -> None:
    data = link_message(flags=0x1003)

    link = decode_link(data, 0, len(data))

    assert link is not None
    assert (link.up, link.carrier) == (True, False)


def test_an_interface_that_leaves_its_bridge_was_not_removed() -> None:
    data = link_message(family=7)

    assert decode_link(data, 0, len(data)) is None


PREFIXES = st.one_of(
    st.builds(lambda a, n: ip_interface((a, n)), st.ip_addresses(v=4), st.integers(0, 32)),
    st.builds(lambda a, n: ip_interface((a, n)), st.ip_addresses(v=6), st.integers(0, 128)),
)


@given(
    index=st.integers(1, 2**31),
    prefix=PREFIXES,
    nodad=st.booleans(),
    noprefixroute=st.booleans(),
    valid_s=st.none() | st.integers(1, 2**32 - 2),
)
def test_an_address_is_read_as_it_was_written(
    index: int, prefix: Prefix, nodad: bool, noprefixroute: bool, valid_s: int | None
) -> None:
    data = encode_address(index, prefix, nodad=nodad, noprefixroute=noprefixroute, valid_s=valid_s)

    address = AddressDecoder().decode(data, 0, len(data))

    assert address == InterfaceAddress(index=index, prefix=prefix, valid_s=valid_s)


def test_our_end_of_a_point_to_point_address_is_taken() -> None:
    local, peer = bytes([10, 0, 0, 1]), bytes([10, 0, 0, 2])
    data = struct.pack("=BBBBI", 2, 32, 0x80, 0, 5) + attribute(1, peer) + attribute(2, local)

    address = AddressDecoder().decode(data, 0, len(data))

    assert address == InterfaceAddress(index=5, prefix=ip_interface("10.0.0.1/32"))


def test_duplicate_and_tentative_addresses_are_told() -> None:
    data = struct.pack("=BBBBI", 10, 64, 0x48, 0, 5) + attribute(1, bytes(16))

    address = AddressDecoder().decode(data, 0, len(data))

    assert address is not None
    assert address.is_duplicate
    assert address.is_tentative


@given(st.binary(max_size=120))
def test_any_bytes_decode_or_are_refused(data: bytes) -> None:
    decoder = AddressDecoder()
    with contextlib.suppress(DecodeError):
        decode_link(data, 0, len(data))
    with contextlib.suppress(DecodeError):
        decoder.decode(data, 0, len(data))


class Channel:
    """A multicast socket that holds datagrams and errors."""

    def __init__(self, *waiting: bytes | OSError) -> None:
        self.waiting = deque(waiting)
        self.groups: list[int] = []
        self.is_blocking = True

    def recv(self, size: int, flags: int = 0) -> bytes:
        if not self.waiting:
            raise BlockingIOError(errno.EAGAIN, "nothing")
        answer = self.waiting.popleft()
        if isinstance(answer, OSError):
            raise answer
        return answer

    def setsockopt(self, level: int, option: int, value: Any) -> None:
        if (level, option) == (270, 1):
            self.groups.append(value)

    def getsockopt(self, level: int, option: int) -> int:
        return 1 << 20

    def bind(self, address: object) -> None:
        pass

    def setblocking(self, blocking: bool) -> None:
        self.is_blocking = blocking


def monitor(channel: Channel) -> RouteMonitor:
    return RouteMonitor(netlink=NetlinkSocket(ROUTE, endpoint=cast(socket, channel)))


def test_the_monitor_listens_to_links_and_addresses_and_never_blocks() -> None:
    channel = Channel()

    events = monitor(channel).read()

    assert events == []
    assert channel.groups == [1, 5, 9]
    assert channel.is_blocking is False


def test_the_monitor_tells_all_that_waits_in_order() -> None:
    address = encode_address(2, ip_interface("10.0.0.1/24"))
    told = InterfaceAddress(index=2, prefix=ip_interface("10.0.0.1/24"))
    channel = Channel(
        message(16, 0, 0, link_message()) + message(20, 0, 0, address),
        message(24, 0, 0, b"a route....."),
        message(21, 0, 0, address) + message(17, 0, 0, link_message()),
    )

    assert monitor(channel).read() == [
        LinkChanged(ETH0),
        AddressAdded(told),
        AddressRemoved(told),
        LinkRemoved(ETH0),
    ]


def test_lost_notifications_are_told_and_reading_goes_on() -> None:
    channel = Channel(OSError(errno.ENOBUFS, "full"), message(16, 0, 0, link_message()))

    assert monitor(channel).read() == [NotificationsLost(), LinkChanged(ETH0)]


def lease_message(valid_s: int, *, flags: int = 0) -> bytes:
    """As the kernel tells of a lease: flags, then life times."""
    payload = encode_address(2, ip_interface("10.0.0.1/24"))
    payload += attribute(8, struct.pack("=I", flags)) + attribute(6, struct.pack("=IIII", 3, valid_s, 7, 9))
    return message(20, 0, 0, payload)


def test_a_lease_that_is_renewed_is_told_once() -> None:
    channel = Channel(lease_message(3), lease_message(3) + lease_message(2))

    assert [type(event) for event in monitor(channel).read()] == [AddressAdded]


def test_what_changes_beside_the_life_time_is_told() -> None:
    channel = Channel(lease_message(3), lease_message(3, flags=8))

    assert [type(event) for event in monitor(channel).read()] == [AddressAdded, AddressAdded]


@pytest.mark.parametrize(
    "between",
    [message(21, 0, 0, encode_address(2, ip_interface("10.0.0.1/24"))), OSError(errno.ENOBUFS, "full")],
    ids=["removed", "lost"],
)
def test_an_address_that_may_have_gone_is_told_when_it_comes_again(between: bytes | OSError) -> None:
    channel = Channel(lease_message(3), between, lease_message(3))

    assert [type(event) for event in monitor(channel).read()][::2] == [AddressAdded, AddressAdded]


def test_a_flood_is_read_in_portions() -> None:
    channel = Channel(*[message(16, 0, 0, link_message())] * 1000)
    listener = monitor(channel)

    assert [len(listener.read()) for _ in range(5)] == [256, 256, 256, 232, 0]


def test_a_silent_kernel_leaves_the_state_unknown() -> None:
    class Silent(Channel):
        def send(self, data: bytes) -> int:
            return len(data)

    routes = RouteSocket(netlink=NetlinkSocket(ROUTE, endpoint=cast(socket, Silent())))

    with pytest.raises(KernelError) as caught:
        routes.add_addresses([("dummy0", ip_interface("10.0.0.1/24"))])

    assert caught.value.errno == errno.ETIMEDOUT
