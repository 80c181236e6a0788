"""ICMP echo: RFC 792, RFC 4443."""

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvsha.checker.probes.ping import Echo, decode_echo_4, decode_echo_6, encode_echo_request
from lvsha.wire.checksum import checksum_holds

COOKIE = b"cookie!!"
TARGET_4, TARGET_6 = IPv4Address("10.0.0.11").packed, IPv6Address("fd00::11").packed


def request(family: int, size: int = 56) -> bytes:
    return encode_echo_request(family=family, identifier=0x1234, sequence=0xABCD, cookie=COOKIE, size=size)


def in_ipv4(
    payload: bytes, *, protocol: int = 1, options: bytes = b"", destination: bytes = TARGET_4
) -> bytes:
    words = 5 + len(options) // 4
    header = bytes((0x40 | words, 0)) + (words * 4 + len(payload)).to_bytes(2, "big")
    return header + bytes((0, 0, 0, 0, 64, protocol, 0, 0)) + bytes(4) + destination + options + payload


def in_ipv6(payload: bytes, *, next_header: int = 58) -> bytes:
    header = b"\x60\0\0\0" + len(payload).to_bytes(2, "big") + bytes((next_header, 64))
    return header + bytes(16) + TARGET_6 + payload


def reply(family: int) -> bytes:
    return bytes((0 if family == 4 else 129,)) + request(family)[1:]


def test_request_has_the_documented_layout() -> None:
    packet = request(4, size=10)

    assert packet[:2] == b"\x08\x00"
    assert packet[4:8] == b"\x12\x34\xab\xcd"
    assert packet[8:] == COOKIE + b"\0\0"
    assert checksum_holds(packet)


def test_request_of_icmpv6_leaves_the_checksum_to_the_kernel() -> None:
    assert request(6)[:4] == b"\x80\x00\x00\x00"


@pytest.mark.parametrize("size", [0, 3, 8, 1400])
def test_request_is_as_long_as_asked(size: int) -> None:
    assert len(request(4, size)) == 8 + size
    assert decode_echo_4(b"\0" + request(4, size)[1:], with_header=False) == Echo(
        0x1234, 0xABCD, COOKIE[:size]
    )


def test_reply_is_recognised() -> None:
    expected = Echo(0x1234, 0xABCD, COOKIE)

    assert decode_echo_4(in_ipv4(reply(4))) == expected
    assert decode_echo_4(in_ipv4(reply(4), options=bytes(8))) == expected
    assert decode_echo_4(reply(4), with_header=False) == expected
    assert decode_echo_6(reply(6)) == expected


@pytest.mark.parametrize(
    ("kind", "code", "words"),
    [
        (3, 1, "host unreachable"),
        (3, 13, "administratively prohibited"),
        (3, 99, "unreachable (code 99)"),
        (11, 0, "time to live exceeded"),
    ],
)
def test_error_quotes_our_request(kind: int, code: int, words: str) -> None:
    # RFC 792 routers quote eight bytes of it: no cookie.
    packet = in_ipv4(bytes((kind, code, 0, 0, 0, 0, 0, 0)) + in_ipv4(request(4))[:28])

    assert decode_echo_4(packet) == Echo(0x1234, 0xABCD, b"", words, TARGET_4)


def test_error_of_icmpv6_quotes_our_request() -> None:
    packet = bytes((1, 3, 0, 0, 0, 0, 0, 0)) + in_ipv6(request(6))

    assert decode_echo_6(packet) == Echo(0x1234, 0xABCD, COOKIE, "address unreachable", TARGET_6)


@pytest.mark.parametrize(
    "packet",
    [
        b"",
        in_ipv4(request(4)),
        in_ipv4(reply(4), protocol=6),
        in_ipv4(reply(4)[:7]),
        in_ipv4(bytes((3, 1, 0, 0, 0, 0, 0, 0)) + in_ipv4(request(4), protocol=17)),
        in_ipv4(bytes((3, 1, 0, 0, 0, 0, 0, 0)) + in_ipv4(reply(4))),
        in_ipv4(bytes((3, 1, 0, 0, 0, 0, 0, 0)) + in_ipv4(request(4))[:27]),
        b"\x41" + in_ipv4(reply(4))[1:],
        b"\x4f" + in_ipv4(reply(4)[:8])[1:],
    ],
)
def test_anything_else_is_nothing_of_ours(packet: bytes) -> None:
    assert decode_echo_4(packet) is None


@given(st.binary(max_size=200))
def test_any_bytes_decode_or_are_nothing(packet: bytes) -> None:
    decode_echo_4(packet)
    decode_echo_4(packet, with_header=False)
    decode_echo_6(packet)
