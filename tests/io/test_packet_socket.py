"""The filter that a packet socket gives the kernel, run here step by step."""

import struct
from itertools import pairwise

import pytest

from lvsha.io.packet_socket import port_filter
from tests.wire.frames import ethernet, ipv4, ipv6, udp

PROGRAM = port_filter(8848, 8851)
BODY = bytes(900)


def passes(frame: bytes) -> bool:
    """As the kernel runs a classic filter; a load past the end of the frame refuses it."""
    a = x = at = 0
    while True:
        code, yes, no, value = PROGRAM[at]
        at += 1
        try:
            match code:
                case 0x28:
                    (a,) = struct.unpack_from(">H", frame, value)
                case 0x30:
                    a = frame[value]
                case 0x48:
                    (a,) = struct.unpack_from(">H", frame, x + value)
                case 0xB1:
                    x = (frame[value] & 15) * 4
                case 0x15:
                    at += yes if a == value else no
                case 0x25:
                    at += yes if a > value else no
                case 0x35:
                    at += yes if a >= value else no
                case 0x45:
                    at += yes if a & value else no
                case 0x06:
                    return bool(value)
                case _:
                    raise AssertionError(f"no such step: {code:#x}")
        except (struct.error, IndexError):
            return False


@pytest.mark.parametrize("port", [8848, 8850, 8851])
def test_the_wanted_ports_pass(port: int) -> None:
    assert passes(ethernet(ipv4(udp(BODY, port=port))))
    assert passes(ethernet(ipv6(udp(BODY, port=port))))


@pytest.mark.parametrize("port", [53, 8847, 8852, 65_535])
def test_other_ports_do_not(port: int) -> None:
    assert not passes(ethernet(ipv4(udp(BODY, port=port))))
    assert not passes(ethernet(ipv6(udp(BODY, port=port))))


def test_a_longer_ipv4_header_does_not_hide_the_port() -> None:
    packet = bytearray(ipv4(udp(BODY)))
    packet[0] = 0x46

    assert passes(ethernet(bytes(packet[:20]) + bytes(4) + bytes(packet[20:])))


def test_fragments_pass_whatever_is_in_them() -> None:
    body = udp(BODY)
    frames = [
        ethernet(ipv4(body[start:end], offset=start, more=end < len(body)))
        for start, end in pairwise((0, 400, 800, len(body)))
    ]

    assert [passes(frame) for frame in frames] == [True, True, True]
    assert passes(ethernet(ipv6(b"\x11" + bytes(7) + body[400:], kind=44)))


def test_tags_pass_and_the_rest_does_not() -> None:
    assert passes(ethernet(ipv4(udp(BODY)), 0x8100))
    assert passes(ethernet(ipv4(udp(BODY)), 0x88A8))
    tcp = bytearray(ipv4(udp(BODY)))
    tcp[9] = 6
    assert not passes(ethernet(bytes(tcp)))
    assert not passes(bytes(12) + b"\x08\x06" + bytes(40))
    assert not passes(ethernet(ipv6(udp(BODY), kind=58)))
    assert not passes(bytes(10))
