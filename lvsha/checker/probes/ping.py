"""ICMP and ICMPv6 echo, RFC 792 and RFC 4443 section 4.

::

     0                   1                   2                   3
     0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
    +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
    |     Type      |     Code      |          Checksum             |
    +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
    |          Identifier           |        Sequence Number        |
    +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
    |     Data ...
    +-+-+-+-+-

One socket serves all targets of a family, so an answer is recognised by
identifier and sequence number, and by a cookie in the data that a late answer
to an earlier round does not have.
"""

from struct import Struct
from typing import NamedTuple

from lvsha.wire.checksum import internet_checksum

ECHO_REPLY_4, UNREACHABLE_4, ECHO_REQUEST_4, TIME_EXCEEDED_4 = 0, 3, 8, 11
UNREACHABLE_6, TIME_EXCEEDED_6, ECHO_REQUEST_6, ECHO_REPLY_6 = 1, 3, 128, 129

COOKIE_SIZE = 8
"""Bytes at the start of the data; data shorter than that holds as many of them as fit."""

_REQUEST = Struct("!BBHHH")
_NUMBERS = Struct("!HH")
_HEADER_SIZE = 8
_IPV4_MINIMUM = 20
_LEAST_REPLY = _IPV4_MINIMUM + _HEADER_SIZE
_PLAIN = 0x45
"""IPv4, five words of header."""
_IPV6_HEADER = 40
_ICMP, _ICMPV6 = 1, 58

_UNREACHABLE_WORDS = {
    (4, 0): "network unreachable",
    (4, 1): "host unreachable",
    (4, 2): "protocol unreachable",
    (4, 3): "port unreachable",
    (4, 9): "network administratively prohibited",
    (4, 10): "host administratively prohibited",
    (4, 13): "administratively prohibited",
    (6, 0): "no route to destination",
    (6, 1): "administratively prohibited",
    (6, 3): "address unreachable",
    (6, 4): "port unreachable",
}


class Echo(NamedTuple):
    """An echo reply, or an error about an echo request of somebody's."""

    identifier: int
    sequence: int
    cookie: bytes
    """The first ``COOKIE_SIZE`` bytes of the data; an error may quote none of them."""
    error: str = ""
    """Empty: a reply. Else what a router or the target's host says."""
    destination: bytes = b""
    """The packed address that an error is about."""


def encode_echo_request(*, family: int, identifier: int, sequence: int, cookie: bytes, size: int) -> bytes:
    """An echo request (``family`` 4 or 6) with ``size`` bytes of data that begin with ``cookie``.

    The checksum of ICMPv6 covers addresses that only the kernel knows, and it fills it in.
    """
    data = cookie[:size].ljust(size, b"\0")
    if family == 6:
        return _REQUEST.pack(ECHO_REQUEST_6, 0, 0, identifier, sequence) + data
    # The zeros behind the cookie add nothing.
    checksum = internet_checksum(_REQUEST.pack(ECHO_REQUEST_4, 0, 0, identifier, sequence) + cookie[:size])
    return _REQUEST.pack(ECHO_REQUEST_4, 0, checksum, identifier, sequence) + data


def decode_echo_4(packet: bytes, *, with_header: bool = True) -> Echo | None:
    """What a raw socket (``with_header``) or a ping socket received; None: nothing of interest.

    The kernel has verified the checksum of what it hands to us.
    """
    if with_header:
        if len(packet) >= _LEAST_REPLY and packet[0] == _PLAIN and packet[9] == _ICMP and not packet[20]:
            # Nearly all: a reply behind a header without options.
            identifier, sequence = _NUMBERS.unpack_from(packet, _IPV4_MINIMUM + 4)
            return Echo(identifier, sequence, packet[_LEAST_REPLY : _LEAST_REPLY + COOKIE_SIZE])
        start = _ipv4_payload(packet, _ICMP)
        if start is None:
            return None
        packet = packet[start:]
    if len(packet) < _HEADER_SIZE:
        return None
    kind = packet[0]
    if kind == ECHO_REPLY_4:
        return _echo(packet)
    if kind not in (UNREACHABLE_4, TIME_EXCEEDED_4):
        return None
    quoted = packet[_HEADER_SIZE:]
    start = _ipv4_payload(quoted, _ICMP)
    if start is None or len(quoted) < start + _HEADER_SIZE or quoted[start] != ECHO_REQUEST_4:
        return None
    error = "time to live exceeded" if kind == TIME_EXCEEDED_4 else _unreachable(4, packet[1])
    return _echo(quoted[start:])._replace(error=error, destination=quoted[16:20])


def decode_echo_6(packet: bytes) -> Echo | None:
    """What a raw or ping socket of ICMPv6 received (never with an IPv6 header); None: of no interest."""
    if len(packet) < _HEADER_SIZE:
        return None
    kind = packet[0]
    if kind == ECHO_REPLY_6:
        return _echo(packet)
    if kind not in (UNREACHABLE_6, TIME_EXCEEDED_6):
        return None
    quoted = packet[_HEADER_SIZE:]
    if (
        len(quoted) < _IPV6_HEADER + _HEADER_SIZE
        or quoted[6] != _ICMPV6
        or quoted[_IPV6_HEADER] != ECHO_REQUEST_6
    ):
        return None
    error = "hop limit exceeded" if kind == TIME_EXCEEDED_6 else _unreachable(6, packet[1])
    return _echo(quoted[_IPV6_HEADER:])._replace(error=error, destination=quoted[24:40])


def _echo(message: bytes) -> Echo:
    identifier, sequence = _NUMBERS.unpack_from(message, 4)
    return Echo(identifier, sequence, message[_HEADER_SIZE : _HEADER_SIZE + COOKIE_SIZE])


def _ipv4_payload(packet: bytes, protocol: int) -> int | None:
    """Where the payload of an IPv4 packet of ``protocol`` begins."""
    if len(packet) < _IPV4_MINIMUM or packet[0] >> 4 != 4 or packet[9] != protocol:
        return None
    size = (packet[0] & 0xF) * 4
    return size if _IPV4_MINIMUM <= size <= len(packet) else None


def _unreachable(family: int, code: int) -> str:
    return _UNREACHABLE_WORDS.get((family, code), f"unreachable (code {code})")
