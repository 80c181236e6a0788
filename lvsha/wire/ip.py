"""The IPv4 header in front of what a raw socket receives. (IPv6 raw sockets strip theirs.)

::

     0                   1                   2                   3
     0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
    +-------+-------+---------------+-------------------------------+
    |   4   |  IHL  |      TOS      |          Total Length         |
    +-------+-------+---------------+-----+-------------------------+
    |         Identification        |Flags|     Fragment Offset     |
    +---------------+---------------+-----+-------------------------+
    |      TTL      |    Protocol   |        Header Checksum        |
    +---------------+---------------+-------------------------------+
    |                         Source Address                        |
    +---------------------------------------------------------------+
    |                      Destination Address                      |
    +---------------------------------------------------------------+
"""

from dataclasses import dataclass
from ipaddress import IPv4Address

from lvsha.core.errors import DecodeError, DropReason

MIN_HEADER = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Ipv4Packet:
    source: IPv4Address
    destination: IPv4Address
    ttl: int
    protocol: int
    payload: bytes
    """What Total Length says, without the link layer's padding."""


def decode_ipv4(packet: bytes) -> Ipv4Packet:
    """Split what a raw IPv4 socket received; the kernel has checked the header's checksum.

    Raises:
        DecodeError: ``TRUNCATED`` or ``BAD_VERSION``.

    Source: RFC 791 section 3.1.
    """
    if len(packet) < MIN_HEADER:
        raise DecodeError(DropReason.TRUNCATED, f"{len(packet)} bytes hold no IPv4 header", offset=0)
    if packet[0] >> 4 != 4:
        raise DecodeError(DropReason.BAD_VERSION, f"IP version {packet[0] >> 4}", offset=0)
    header_length = (packet[0] & 0x0F) * 4
    total_length = int.from_bytes(packet[2:4], "big")
    if header_length < MIN_HEADER or total_length < header_length:
        raise DecodeError(DropReason.TRUNCATED, f"header {header_length} of {total_length} bytes", offset=0)
    if len(packet) < total_length:
        raise DecodeError(
            DropReason.TRUNCATED, f"{len(packet)} of {total_length} bytes received", offset=len(packet)
        )
    return Ipv4Packet(
        source=IPv4Address(packet[12:16]),
        destination=IPv4Address(packet[16:20]),
        ttl=packet[8],
        protocol=packet[9],
        payload=packet[header_length:total_length],
    )
