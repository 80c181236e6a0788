"""The raw sockets of a director: VRRP, ARP, neighbour advertisements, the nudge.

Bytes in, bytes out; nothing here knows what they mean.
"""

import contextlib
import errno
import socket
import struct
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from lvsha.core.addr import Address
from lvsha.core.errors import KernelError
from lvsha.core.instant import Instant
from lvsha.io.reactor import monotonic

IPPROTO_VRRP = 112
VRRP_GROUP_4 = "224.0.0.18"
VRRP_GROUP_6 = "ff02::12"

_ETH_P_ARP = 0x0806
_IP_PKTINFO = 8
_IP_MULTICAST_ALL = 49
_IPV6_MULTICAST_ALL = 29
_IPV6_FREEBIND = 78
_ICMP6_FILTER = 1
_NEIGHBOR_ADVERTISEMENT = 136
_RECEIVE_MAX = 2048
_DSCP_CS6 = 0xC0
"""RFC 9568 section 5.1.1.2 leaves the traffic class open; routers give network control its queue."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Datagram:
    """One received payload, and what the IP header said."""

    payload: bytes
    source: Address
    destination: Address
    """A group or our own address: part of what a checksum covers."""
    ttl: int
    """TTL or hop limit as it arrived."""
    at: Instant
    """When it was read."""


def _refused(operation: str, error: OSError) -> KernelError:
    hint = ""
    if error.errno in (errno.EPERM, errno.EACCES):
        hint = "raw sockets need CAP_NET_RAW: run as root, or through the systemd unit"
    elif error.errno == errno.ENODEV:
        hint = "there is no such interface; `ip link` lists those that are"
    return KernelError(operation, error.errno or 0, hint)


def _datagram_6(
    payload: bytes, ancillary: list[tuple[int, int, bytes]], host: str, at: Instant, *, otherwise: str
) -> Datagram:
    """``otherwise``: the destination where the kernel named none."""
    ttl, destination = 0, IPv6Address(otherwise)
    for level, kind, value in ancillary:
        if level != socket.IPPROTO_IPV6:
            continue
        if kind == socket.IPV6_HOPLIMIT:
            (ttl,) = struct.unpack("i", value[:4])
        elif kind == socket.IPV6_PKTINFO:
            destination = IPv6Address(value[:16])
    source = IPv6Address(host.partition("%")[0])
    return Datagram(payload=payload, source=source, destination=destination, ttl=ttl, at=at)


class VrrpSocket:
    """Adverts of one family on one interface, multicast and unicast."""

    def __init__(self, interface: str, index: int, family: int, *, listens: bool = True) -> None:
        """``listens`` False: for sending alone, and from addresses of other interfaces too.

        Raises:
            KernelError: with what to do about it.
        """
        self.interface = interface
        self._listens = listens
        self.family = family
        self._index = index
        self._ends: tuple[Address, Address] | None = None
        """Whom the last advert was from and to; the next one is, as a rule, too."""
        self._envelope: tuple[list[tuple[int, int, bytes]], tuple[object, ...]] = ([], ())
        af = socket.AF_INET if family == 4 else socket.AF_INET6
        try:
            self._socket = socket.socket(
                af, socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, IPPROTO_VRRP
            )
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode() + b"\0")
            if family == 4:
                self._prepare_4()
            else:
                self._prepare_6()
        except OSError as error:
            raise _refused(f"open a VRRP socket on {interface}", error) from None

    def fileno(self) -> int:
        return self._socket.fileno()

    def receive(self) -> list[Datagram]:
        """All that has come, at most 64 at once."""
        datagrams = []
        for _ in range(64):
            try:
                data, ancillary, _, address = self._socket.recvmsg(_RECEIVE_MAX, 256)
            except BlockingIOError:
                break
            except OSError:
                break  # e.g. ENETDOWN: the route monitor tells about the interface
            at = monotonic()
            host = address[0]
            if self.family == 4:
                header = (data[0] & 0x0F) * 4 if data else 0
                if len(data) < 20 or header < 20 or len(data) < header:
                    continue
                datagrams.append(
                    Datagram(
                        payload=data[header:],
                        source=IPv4Address(host),
                        destination=IPv4Address(data[16:20]),
                        ttl=data[8],
                        at=at,
                    )
                )
            else:
                datagrams.append(_datagram_6(data, ancillary, host, at, otherwise=VRRP_GROUP_6))
        return datagrams

    def send(self, payload: bytes, source: Address, destination: Address) -> None:
        """One advert, to the group or to a peer.

        Raises:
            OSError: the interface is down, the source address is gone ...
        """
        if self._ends != (source, destination):
            self._ends = (source, destination)
            self._envelope = self._envelope_of(source, destination)
        ancillary, to = self._envelope
        self._socket.sendmsg([payload], ancillary, 0, to)

    def close(self) -> None:
        self._socket.close()

    def _envelope_of(
        self, source: Address, destination: Address
    ) -> tuple[list[tuple[int, int, bytes]], tuple[object, ...]]:
        if self.family == 4:
            packet_info = struct.pack("@i4s4s", self._index, source.packed, b"\0\0\0\0")
            return [(socket.IPPROTO_IP, _IP_PKTINFO, packet_info)], (str(destination), 0)
        packet_info = struct.pack("@16si", source.packed, self._index)
        scope = self._index if destination.is_multicast or destination.is_link_local else 0
        ancillary = [(socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, packet_info)]
        return ancillary, (str(destination), 0, 0, scope)

    def _prepare_4(self) -> None:
        sock = self._socket
        membership = struct.pack("@4s4si", socket.inet_aton(VRRP_GROUP_4), b"\0\0\0\0", self._index)
        if self._listens:
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, membership)
        sock.setsockopt(socket.IPPROTO_IP, _IP_MULTICAST_ALL, 0)
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 255)
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 0)
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, membership)
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 255)
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, _DSCP_CS6)

    def _prepare_6(self) -> None:
        sock = self._socket
        membership = struct.pack("@16si", socket.inet_pton(socket.AF_INET6, VRRP_GROUP_6), self._index)
        if self._listens:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, membership)
        else:
            # A link-local source belongs to its interface; this lets another one send from it.
            sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_FREEBIND, 1)
        sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_MULTICAST_ALL, 0)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_LOOP, 0)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, self._index)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, 255)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVHOPLIMIT, 1)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, _DSCP_CS6)


class ArpSocket:
    """ARP frames in and out on one interface."""

    def __init__(self, interface: str) -> None:
        """Raises: KernelError."""
        try:
            self._socket = socket.socket(
                socket.AF_PACKET,
                socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC,
                socket.htons(_ETH_P_ARP),
            )
            self._socket.bind((interface, _ETH_P_ARP))
        except OSError as error:
            raise _refused(f"open an ARP socket on {interface}", error) from None

    def fileno(self) -> int:
        return self._socket.fileno()

    def send(self, frame: bytes) -> None:
        """A whole Ethernet frame. Raises: OSError."""
        self._socket.send(frame)

    def receive(self) -> list[bytes]:
        """ARP payloads that others sent, at most 64 at once (frames without their Ethernet header)."""
        frames = []
        for _ in range(64):
            try:
                data, address = self._socket.recvfrom(128)
            except OSError:
                break
            if address[2] != socket.PACKET_OUTGOING:
                frames.append(data[14:])
        return frames

    def close(self) -> None:
        self._socket.close()


class NeighborSocket:
    """Neighbour advertisements in and out on one interface."""

    def __init__(self, interface: str, index: int) -> None:
        """Raises: KernelError."""
        self._index = index
        try:
            self._socket = socket.socket(
                socket.AF_INET6,
                socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC,
                socket.IPPROTO_ICMPV6,
            )
            sock = self._socket
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode() + b"\0")
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_LOOP, 0)
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVHOPLIMIT, 1)
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
            # A set bit keeps that type out: only advertisements come in.
            keep_out = (1 << 256) - 1 & ~(1 << _NEIGHBOR_ADVERTISEMENT)
            words = ((keep_out >> 32 * word) & 0xFFFFFFFF for word in range(8))
            sock.setsockopt(socket.IPPROTO_ICMPV6, _ICMP6_FILTER, struct.pack("@8I", *words))
        except OSError as error:
            raise _refused(f"open a neighbour socket on {interface}", error) from None

    def fileno(self) -> int:
        return self._socket.fileno()

    def receive(self) -> list[Datagram]:
        """ICMPv6 messages that others sent, at most 64 at once; the kernel has checked their checksums."""
        messages = []
        for _ in range(64):
            try:
                data, ancillary, _, address = self._socket.recvmsg(256, 256)
            except OSError:
                break
            messages.append(_datagram_6(data, ancillary, address[0], monotonic(), otherwise="::"))
        return messages

    def send(self, payload: bytes, source: Address, destination: str = "ff02::1") -> None:
        """To all nodes, or to another group. The kernel fills the checksum in. Raises: OSError."""
        packet_info = struct.pack("@16si", source.packed, self._index)
        self._socket.sendmsg(
            [payload],
            [(socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, packet_info)],
            0,
            (destination, 0, 0, self._index),
        )

    def close(self) -> None:
        self._socket.close()


class NudgeSocket:
    """Sends whole IPv4 packets to the local machine."""

    def __init__(self) -> None:
        """Raises: KernelError."""
        try:
            self._socket = socket.socket(
                socket.AF_INET,
                socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC,
                socket.IPPROTO_RAW,
            )
        except OSError as error:
            raise _refused("open a raw socket", error) from None

    def send(self, packets: tuple[bytes, ...]) -> None:
        for packet in packets:
            with contextlib.suppress(OSError):  # lo is down: then nothing else works either
                self._socket.sendto(packet, (socket.inet_ntoa(packet[16:20]), 0))

    def close(self) -> None:
        self._socket.close()
