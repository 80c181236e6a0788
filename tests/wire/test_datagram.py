"""Sync messages are found in whatever carries them."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvsha.wire.datagram import ETHERNET, MAX_PARTIAL, Datagram, DatagramReader
from tests.wire.frames import IPV4_ADDRESSES, IPV6_ADDRESSES, ethernet, ipv4, ipv6, udp

PAYLOAD = bytes(range(200))
PORTS = frozenset({8848})


def read(link: int, *frames: bytes) -> list[Datagram | None]:
    reader = DatagramReader(PORTS)
    return [reader.read(link, frame) for frame in frames]


def expected(addresses: tuple[bytes, bytes] = IPV4_ADDRESSES) -> Datagram:
    return Datagram(*addresses, 40_000, 8848, PAYLOAD, 1, False)


@pytest.mark.parametrize("tags", [(), (0x8100,), (0x88A8, 0x8100)], ids=["plain", "vlan", "qinq"])
def test_ethernet_with_any_tags(tags: tuple[int, ...]) -> None:
    assert read(ETHERNET, ethernet(ipv4(udp(PAYLOAD)), *tags)) == [expected()]
    assert read(ETHERNET, ethernet(ipv6(udp(PAYLOAD)), *tags)) == [expected(IPV6_ADDRESSES)]


@pytest.mark.parametrize(
    ("link", "header"),
    [
        (101, b""),
        (12, b""),
        (0, struct.pack("=L", 2)),
        (113, bytes(14) + b"\x08\x00"),
        (276, b"\x08\x00" + bytes(18)),
    ],
    ids=["raw", "raw-bsd", "loopback", "cooked", "cooked-2"],
)
def test_other_link_layers(link: int, header: bytes) -> None:
    assert read(link, header + ipv4(udp(PAYLOAD))) == [expected()]


def test_padding_of_short_frames_is_not_payload() -> None:
    (datagram,) = read(ETHERNET, ethernet(ipv4(udp(b"abc"))) + bytes(20))

    assert datagram is not None
    assert datagram.payload == b"abc"


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
def test_ipv4_fragments_in_any_order(order: tuple[int, ...]) -> None:
    body = udp(PAYLOAD)
    frames = [
        ethernet(ipv4(body[:80], offset=0, more=True)),
        ethernet(ipv4(body[80:160], offset=80, more=True)),
        ethernet(ipv4(body[160:], offset=160)),
    ]

    assert read(ETHERNET, *(frames[place] for place in order)) == [None, None, expected()]


def test_ipv6_fragments_behind_another_header() -> None:
    body = udp(PAYLOAD)

    def part(offset: int, more: int, data: bytes) -> bytes:
        options = bytes((44, 0, 1, 4, 0, 0, 0, 0))
        fragment = struct.pack(">BBHL", 17, 0, offset | more, 99)
        return ethernet(ipv6(options + fragment + data, kind=0))

    frames = [part(0, 1, body[:104]), part(104, 0, body[104:])]

    assert read(ETHERNET, *frames) == [None, expected(IPV6_ADDRESSES)]


def test_fragments_of_different_datagrams_do_not_mix() -> None:
    body = udp(PAYLOAD)
    first = ethernet(ipv4(body[:80], identification=1, more=True))
    other = ethernet(ipv4(body[80:], identification=2, offset=80))

    assert read(ETHERNET, first, other) == [None, None]


def test_lost_fragments_are_forgotten_in_the_end() -> None:
    body = udp(PAYLOAD)
    reader = DatagramReader(PORTS)
    for identification in range(MAX_PARTIAL + 1):
        reader.read(ETHERNET, ethernet(ipv4(body[:80], identification=identification, more=True)))

    oldest, newest = (
        reader.read(ETHERNET, ethernet(ipv4(body[80:], identification=identification, offset=80)))
        for identification in (0, MAX_PARTIAL)
    )

    assert (oldest, newest) == (None, expected())


def test_a_frame_that_the_capture_cut_says_so() -> None:
    (datagram,) = read(ETHERNET, ethernet(ipv4(udp(PAYLOAD)))[:100])

    assert datagram is not None
    assert datagram.is_cut
    assert datagram.payload == PAYLOAD[: 100 - 42]


@pytest.mark.parametrize(
    "frame",
    [
        ethernet(ipv4(udp(PAYLOAD, port=53))),
        ethernet(ipv4(udp(PAYLOAD)[:6])),
        ethernet(ipv4(b""))[:20],
        bytes(12) + b"\x08\x06" + bytes(28),
        ethernet(ipv6(udp(PAYLOAD), kind=6)),
    ],
    ids=["other port", "half a header", "cut address", "arp", "tcp"],
)
def test_anything_else_is_passed_over(frame: bytes) -> None:
    assert read(ETHERNET, frame) == [None]


@given(st.sampled_from([0, 1, 101, 113, 276, 999]), st.lists(st.binary(max_size=120), max_size=4))
def test_any_frames_are_read_without_an_error(link: int, frames: list[bytes]) -> None:
    read(link, *frames)


@given(st.lists(st.tuples(st.integers(0, 150), st.integers(0, 255)), max_size=4))
def test_damaged_frames_are_read_without_an_error(changes: list[tuple[int, int]]) -> None:
    for frame in (ethernet(ipv4(udp(PAYLOAD), more=True)), ethernet(ipv6(udp(PAYLOAD), kind=44), 0x8100)):
        damaged = bytearray(frame)
        for place, value in changes:
            damaged[place] = value
        read(ETHERNET, bytes(damaged), bytes(damaged))
