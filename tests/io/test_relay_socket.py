"""The relay's socket on the loopback: both families, errors that say what to do."""

import errno
import select
from ipaddress import IPv4Address, IPv6Address

import pytest

from lvsha.core.addr import Address
from lvsha.core.errors import KernelError
from lvsha.io.relay_socket import RelaySocket

LOOPBACK = IPv4Address("127.0.0.1")
LOOPBACK6 = IPv6Address("::1")


def heard(endpoint: RelaySocket) -> list[tuple[bytes, tuple[Address, int]]]:
    select.select([endpoint], [], [], 1.0)
    return endpoint.receive()


@pytest.mark.parametrize("address", [LOOPBACK, LOOPBACK6])
@pytest.mark.parametrize("bound", [True, False])
def test_a_datagram_comes_from_the_address_that_sent_it(address: Address, bound: bool) -> None:
    """An unbound socket takes both families, and shows IPv4 as IPv4."""
    one, other = RelaySocket(address if bound else None, 0), RelaySocket(address, 0)

    assert other.send(address, one.port, [b"hello"]) == 0
    assert heard(one) == [(b"hello", (address, other.port))]
    assert one.send(address, other.port, [b"back"]) == 0
    assert heard(other) == [(b"back", (address, one.port))]
    assert one.receive() == []
    one.close()
    other.close()


@pytest.mark.parametrize("cuts", [True, False])
def test_many_frames_arrive_whole_and_in_their_order(cuts: bool) -> None:
    """Those of one length go through the kernel together; where it cannot, one by one."""
    one, other = RelaySocket(LOOPBACK, 0), RelaySocket(LOOPBACK, 0)
    other._cuts = cuts and other._cuts
    sizes = [1200] * 100 + [700, 700, 800] + [1200] * 3 + [5]
    frames = [bytes([number % 251]) * size for number, size in enumerate(sizes)]

    assert other.send(LOOPBACK, one.port, frames) == 0

    received: list[bytes] = []
    while len(received) < len(frames):
        found = heard(one)
        assert found, "frames got lost on the loopback"
        received += (data for data, source in found)
    assert received == frames
    one.close()
    other.close()


def test_what_cannot_be_sent_says_why() -> None:
    one = RelaySocket(LOOPBACK, 0)

    assert one.send(LOOPBACK, 9, [b"fits", bytes(65_508)]) == errno.EMSGSIZE
    one.close()


def test_a_port_in_use_and_an_address_that_is_not_ours_say_what_to_set() -> None:
    one = RelaySocket(LOOPBACK, 0)

    with pytest.raises(KernelError, match=r"set sync\.relay\.port"):
        RelaySocket(LOOPBACK, one.port)
    with pytest.raises(KernelError, match=r"set sync\.relay\.address"):
        RelaySocket(IPv4Address("192.0.2.1"), 0)
    one.close()
