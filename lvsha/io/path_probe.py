"""One UDP datagram down a path, and the ICMP message that it provokes.

The kernel hands ICMP errors to the socket that caused them (``IP_RECVERR``, ``IPV6_RECVERR``), so this needs
no raw socket and no privilege. Sent to a port where nobody listens, *port unreachable* proves that a packet
of that size came through; with a small TTL the router at that distance names itself.
"""

import errno
import select
import socket
import struct
import time
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import ip_address
from typing import Final

from lvsha.core.addr import Address
from lvsha.core.errors import KernelError


@dataclass(frozen=True, slots=True, kw_only=True)
class _Family:
    """What a socket of IPv4 or IPv6 has to be told, and what its ICMP says."""

    family: int
    level: int
    mtu_discover: int
    receive_errors: int
    hops: int
    origin: int
    expired: int
    unreachable: int
    port: int
    too_big: tuple[int, int | None]
    """Type and code; None: any."""
    headers: int
    """Bytes of an IP and a UDP header."""
    address_at: int
    """Where the reporter stands in its ``sockaddr``."""


_FAMILIES: Final = {
    4: _Family(
        family=socket.AF_INET,
        level=socket.IPPROTO_IP,
        mtu_discover=10,
        receive_errors=11,
        hops=socket.IP_TTL,
        origin=2,
        expired=11,
        unreachable=3,
        port=3,
        too_big=(3, 4),
        headers=28,
        address_at=4,
    ),
    6: _Family(
        family=socket.AF_INET6,
        level=socket.IPPROTO_IPV6,
        mtu_discover=23,
        receive_errors=25,
        hops=socket.IPV6_UNICAST_HOPS,
        origin=3,
        expired=3,
        unreachable=1,
        port=4,
        too_big=(2, None),
        headers=48,
        address_at=8,
    ),
}
"""Sources: linux/in.h, linux/in6.h, linux/errqueue.h, RFC 792, RFC 4443."""
_PMTUDISC_PROBE: Final = 3
_EXTENDED_ERROR: Final = struct.Struct("=IBBBBII")


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
    target: Address, port: int, *, size: int = 64, ttl: int = 64, timeout_s: float = 0.3
) -> tuple[Outcome, Address | None]:
    """What came of a packet of ``size`` bytes that may not be fragmented, and who said so.

    Raises:
        KernelError: no socket.
    """
    own = _FAMILIES[target.version]
    try:
        udp = socket.socket(own.family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    except OSError as error:
        raise KernelError("open a UDP socket", error.errno or 0, error.strerror or "") from None
    with udp:
        udp.setsockopt(own.level, own.hops, ttl)
        udp.setsockopt(own.level, own.mtu_discover, _PMTUDISC_PROBE)
        udp.setsockopt(own.level, own.receive_errors, 1)
        try:
            udp.connect((str(target), port))
            udp.send(bytes(max(0, size - own.headers)))
        except OSError as error:
            is_long = error.errno == errno.EMSGSIZE
            return (Outcome.TOO_BIG if is_long else Outcome.REFUSED), None
        poll = select.poll()
        poll.register(udp.fileno(), select.POLLIN)
        end = time.monotonic() + timeout_s
        while (left := end - time.monotonic()) > 0:
            if not poll.poll(left * 1000):
                break
            if (answer := _read(udp, own)) is not None:
                return answer
    return Outcome.SILENCE, None


def _read(udp: socket.socket, own: _Family) -> tuple[Outcome, Address | None] | None:
    try:
        _, ancillary, _, _ = udp.recvmsg(0, 512, socket.MSG_ERRQUEUE)
    except BlockingIOError:
        try:
            udp.recv(1)
        except OSError:
            return None
        return Outcome.ARRIVED, None
    length = 4 if own.family == socket.AF_INET else 16
    for level, kind, data in ancillary:
        end = _EXTENDED_ERROR.size + own.address_at + length
        if level == own.level and kind == own.receive_errors and len(data) >= end:
            _, origin, icmp_type, code, *_ = _EXTENDED_ERROR.unpack_from(data)
            if origin != own.origin:
                return (Outcome.TOO_BIG if icmp_type == 0 else Outcome.REFUSED), None
            reporter = ip_address(data[end - length : end])
            if icmp_type == own.expired:
                return Outcome.EXPIRED, reporter
            if icmp_type == own.unreachable and code == own.port:
                return Outcome.ARRIVED, reporter
            if icmp_type == own.too_big[0] and own.too_big[1] in (None, code):
                return Outcome.TOO_BIG, reporter
            return Outcome.REFUSED, reporter
    return None
