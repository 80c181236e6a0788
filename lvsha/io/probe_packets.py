"""Packets for a virtual address as IPVS hands them to a realserver: bare, or wrapped. Bytes only."""

import struct
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from lvsha.core.addr import Address
from lvsha.ipvs.model import TunnelType
from lvsha.wire.checksum import internet_checksum, pseudo_header

ETHERTYPES: Final = {4: 0x0800, 6: 0x86DD}
IPIP, TCP, UDP, IPV6, GRE = 4, 6, 17, 41, 47
ICMP: Final = {4: 1, 6: 58}
ECHO: Final = {4: 8, 6: 128}
ECHO_REPLY: Final = {4: 0, 6: 129}
SYN, RST = 0x02, 0x04
PORT: Final = 61_111
"""Ours: above what the kernel gives to clients by default."""
HEADER: Final = {4: 20, 6: 40}
_DF, _TTL = 0x4000, 64
_WITHOUT_CHECKSUM: Final = {TunnelType.IPIP: 0, TunnelType.GRE: 4, TunnelType.GUE: 12}


def overhead(tunnel: TunnelType, outer_version: int) -> int:
    """Bytes that a tunnel adds: its own header without checksum, and the outer IP header."""
    return HEADER[outer_version] + _WITHOUT_CHECKSUM[tunnel]


def tcp(source: Address, destination: Address, port: int, flags: int, sequence: int) -> bytes:
    """A TCP segment without data, IP header included."""
    head = struct.pack("!HHIIBBHHH", PORT, port, sequence, 0, 0x50, flags, 65535, 0, 0)
    return ip(source, destination, TCP, _summed(head, 16, source, destination, TCP))


def echo(source: Address, destination: Address, size: int) -> bytes:
    """An echo request of ``size`` bytes, IP header included."""
    version = source.version
    body = struct.pack("!BBHHH", ECHO[version], 0, 0, PORT, 1) + bytes(max(0, size - HEADER[version] - 8))
    if version == 4:
        body = body[:2] + internet_checksum(body).to_bytes(2, "big") + body[4:]
    else:
        body = _summed(body, 2, source, destination, ICMP[6])
    return ip(source, destination, ICMP[version], body)


def wrapped(packet: bytes, source: Address, destination: Address, tunnel: TunnelType, port: int = 0) -> bytes:
    """RFC 2003, RFC 2473, RFC 2784, and the GUE draft's version 0 without options."""
    version = packet[0] >> 4
    inner = IPIP if version == 4 else IPV6
    if tunnel is TunnelType.GRE:
        return ip(source, destination, GRE, struct.pack("!HH", 0, ETHERTYPES[version]) + packet)
    if tunnel is TunnelType.GUE:
        body = struct.pack("!BBH", 0, inner, 0) + packet
        head = struct.pack("!HHHH", PORT, port, 8 + len(body), 0)
        datagram = head + body
        if source.version == 6:  # RFC 8200 section 8.1: not without a checksum
            datagram = _summed(datagram, 6, source, destination, UDP)
        return ip(source, destination, UDP, datagram)
    return ip(source, destination, inner, packet)


def ip(source: Address, destination: Address, protocol: int, body: bytes) -> bytes:
    """Not to be fragmented: IPv4 says so with DF, with IPv6 no router does."""
    if isinstance(source, IPv6Address):
        head = struct.pack("!IHBB", 6 << 28, len(body), protocol, _TTL)
        return head + source.packed + destination.packed + body
    assert isinstance(source, IPv4Address)
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(body), 0, _DF, _TTL, protocol, 0)
    head += source.packed + destination.packed
    return head[:10] + internet_checksum(head).to_bytes(2, "big") + head[12:] + body


def _summed(body: bytes, at: int, source: Address, destination: Address, protocol: int) -> bytes:
    """With its checksum, which is zero there, and covers a pseudo header."""
    pseudo = pseudo_header(source=source, destination=destination, protocol=protocol, length=len(body))
    return body[:at] + internet_checksum(pseudo + body).to_bytes(2, "big") + body[at + 2 :]
