from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvsha.core.errors import DecodeError, DropReason
from lvsha.wire.ip import Ipv4Packet, decode_ipv4

PACKET = bytes.fromhex("4500001800010000ff70000001020304e0000012") + b"data"


def reason_of(packet: bytes) -> DropReason:
    with pytest.raises(DecodeError) as caught:
        decode_ipv4(packet)
    return caught.value.reason


def test_packet_is_split_where_its_lengths_say() -> None:
    expected = Ipv4Packet(
        source=IPv4Address("1.2.3.4"),
        destination=IPv4Address("224.0.0.18"),
        ttl=255,
        protocol=112,
        payload=b"data",
    )

    assert decode_ipv4(PACKET) == expected


def test_options_belong_to_the_header_and_padding_to_nobody() -> None:
    """RFC 791 section 3.1: IHL counts the options; Ethernet pads to 60 bytes."""
    with_options = b"\x46" + PACKET[1:3] + b"\x1c" + PACKET[4:20] + b"\x94\x04\0\0" + b"data" + bytes(20)

    assert decode_ipv4(with_options).payload == b"data"


@pytest.mark.parametrize("length", range(len(PACKET)))
def test_packet_cut_anywhere_is_truncated(length: int) -> None:
    assert reason_of(PACKET[:length]) is DropReason.TRUNCATED


def test_header_that_contradicts_itself_is_refused() -> None:
    assert reason_of(b"\x65" + PACKET[1:]) is DropReason.BAD_VERSION
    assert reason_of(b"\x44" + PACKET[1:]) is DropReason.TRUNCATED
    assert reason_of(PACKET[:3] + b"\x13" + PACKET[4:]) is DropReason.TRUNCATED


@given(st.binary(max_size=64))
def test_any_bytes_decode_or_raise_decode_error(data: bytes) -> None:
    try:
        decode_ipv4(data)
    except DecodeError:
        return
