"""One UDP datagram down a path, and the ICMP message that it provokes.

The kernel hands ICMP errors to the socket that caused them (``IP_RECVERR``), so this needs no raw socket and
no privilege. Sent to a port where nobody listens, *port unreachable* proves that a packet of that size came
through; with a small TTL the router at that distance names itself.
"""

import errno
import select
import socket
import struct
import time
from enum import StrEnum
from ipaddress import IPv4Address
from typing import Final

from lvsha.core.errors import KernelError

_IP_MTU_DISCOVER, _PMTUDISC_PROBE, _IP_RECVERR = 10, 3, 11
_EXTENDED_ERROR: Final = struct.Struct("=IBBBBII")
_ORIGIN_ICMP: Final = 2
_UNREACHABLE, _TIME_EXCEEDED = 3, 11
_PORT, _FRAGMENTATION_NEEDED = 3, 4
HEADERS: Final = 28
"""Bytes of an IPv4 and a UDP header."""


class Outcome(StrEnum):
    ARRIVED = "arrived"
    """Port unreachable, or an answer."""
    EXPIRED = "expired"
    """The TTL was used up, at the reporter."""
    TOO_BIG = "too_big"
    """Larger than our interface, or than a router on the way says."""
    REFUSED = "refused"
    """Another ICMP error, or no route."""
    SILENCE = "silence"


def probe_path(
    target: IPv4Address, port: int, *, size: int = 64, ttl: int = 64, timeout_s: float = 0.3
) -> tuple[Outcome, IPv4Address | None]:
    """What came of a packet of ``size`` bytes with DF, and who said so.

    Raises:
        KernelError: no socket.
    """
    try:
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    except OSError as error:
        raise KernelError("open a UDP socket", error.errno or 0, error.strerror or "") from None
    with udp:
        udp.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, ttl)
        udp.setsockopt(socket.IPPROTO_IP, _IP_MTU_DISCOVER, _PMTUDISC_PROBE)
        udp.setsockopt(socket.IPPROTO_IP, _IP_RECVERR, 1)
        try:
            udp.connect((str(target), port))
            udp.send(bytes(max(0, size - HEADERS)))
        except OSError as error:
            is_long = error.errno == errno.EMSGSIZE
            return (Outcome.TOO_BIG if is_long else Outcome.REFUSED), None
        poll = select.poll()
        poll.register(udp.fileno(), select.POLLIN)
        end = time.monotonic() + timeout_s
        while (left := end - time.monotonic()) > 0:
            if not poll.poll(left * 1000):
                break
            if (answer := _read(udp)) is not None:
                return answer
    return Outcome.SILENCE, None


def _read(udp: socket.socket) -> tuple[Outcome, IPv4Address | None] | None:
    try:
        _, ancillary, _, _ = udp.recvmsg(0, 512, socket.MSG_ERRQUEUE)
    except BlockingIOError:
        try:
            udp.recv(1)
        except OSError:
            return None
        return Outcome.ARRIVED, None
    for level, kind, data in ancillary:
        if level == socket.IPPROTO_IP and kind == _IP_RECVERR and len(data) >= _EXTENDED_ERROR.size + 8:
            _, origin, icmp_type, code, *_ = _EXTENDED_ERROR.unpack_from(data)
            if origin != _ORIGIN_ICMP:
                return (Outcome.TOO_BIG if icmp_type == 0 else Outcome.REFUSED), None
            reporter = IPv4Address(data[_EXTENDED_ERROR.size + 4 : _EXTENDED_ERROR.size + 8])
            if icmp_type == _TIME_EXCEEDED:
                return Outcome.EXPIRED, reporter
            if icmp_type == _UNREACHABLE and code == _PORT:
                return Outcome.ARRIVED, reporter
            if icmp_type == _UNREACHABLE and code == _FRAGMENTATION_NEEDED:
                return Outcome.TOO_BIG, reporter
            return Outcome.REFUSED, reporter
    return None
