"""ARP for IPv4 over Ethernet, RFC 826: what announces an address, and what betrays a second holder.

::

     0                   1                   2                   3
     0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
    +-------------------------------+-------------------------------+
    |    Hardware type (1)          |    Protocol type (0x0800)     |
    +---------------+---------------+-------------------------------+
    | HW length (6) | PR length (4) |          Operation            |
    +---------------+---------------+-------------------------------+
    |  Sender hardware (6 bytes), sender protocol (4)               |
    |  Target hardware (6 bytes), target protocol (4)               |
    +---------------------------------------------------------------+

A frame is padded to 60 bytes by Ethernet, so bytes after the packet are no error.
"""

from dataclasses import dataclass
from enum import IntEnum, StrEnum
from ipaddress import IPv4Address

from lvsha.core.errors import DecodeError, DropReason, StateError

ETHERTYPE = 0x0806
BROADCAST = b"\xff" * 6
NO_MAC = b"\0" * 6
SIZE = 28
_ETHERNET_IPV4 = bytes((0, 1, 8, 0, 6, 4))


class Operation(IntEnum):
    REQUEST = 1
    REPLY = 2


class ArpForm(StrEnum):
    """The two shapes of a gratuitous ARP; hosts exist that believe only one of them."""

    REQUEST = "request"
    """RFC 5227 section 2.3: target hardware address zero."""
    REPLY = "reply"
    """RFC 9568 section 6.4.2: target hardware address the one being announced."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArpPacket:
    operation: int
    sender_mac: bytes
    sender_address: IPv4Address
    target_mac: bytes
    target_address: IPv4Address

    @property
    def is_gratuitous(self) -> bool:
        """Says where an address is without having been asked."""
        return self.sender_address == self.target_address

    @property
    def is_probe(self) -> bool:
        """Asks whether an address is free, RFC 5227 section 1.1: claims nothing."""
        return self.sender_address == IPv4Address(0)


def decode_arp(packet: bytes) -> ArpPacket:
    """Parse an ARP packet, without the Ethernet header; bytes after it are padding.

    Raises:
        DecodeError: ``TRUNCATED``, or ``BAD_TYPE`` for anything but IPv4 over Ethernet.
    """
    if len(packet) < SIZE:
        raise DecodeError(DropReason.TRUNCATED, f"{len(packet)} bytes, ARP takes {SIZE}", offset=len(packet))
    if packet[:6] != _ETHERNET_IPV4:
        raise DecodeError(DropReason.BAD_TYPE, f"not IPv4 over Ethernet: {packet[:6].hex()}", offset=0)
    return ArpPacket(
        operation=int.from_bytes(packet[6:8], "big"),
        sender_mac=packet[8:14],
        sender_address=IPv4Address(packet[14:18]),
        target_mac=packet[18:24],
        target_address=IPv4Address(packet[24:28]),
    )


def encode_arp(arp: ArpPacket) -> bytes:
    """The packet, without an Ethernet header.

    Raises:
        StateError: a hardware address that is not six bytes long.
    """
    if len(arp.sender_mac) != 6 or len(arp.target_mac) != 6:
        raise StateError("a hardware address has six bytes")
    return b"".join(
        (
            _ETHERNET_IPV4,
            arp.operation.to_bytes(2, "big"),
            arp.sender_mac,
            arp.sender_address.packed,
            arp.target_mac,
            arp.target_address.packed,
        )
    )


def gratuitous_arp(*, mac: bytes, address: IPv4Address, form: ArpForm) -> bytes:
    """A whole Ethernet frame, to be broadcast, that says ``address`` is at ``mac``."""
    request = form is ArpForm.REQUEST
    packet = ArpPacket(
        operation=Operation.REQUEST if request else Operation.REPLY,
        sender_mac=mac,
        sender_address=address,
        target_mac=NO_MAC if request else mac,
        target_address=address,
    )
    return BROADCAST + mac + ETHERTYPE.to_bytes(2, "big") + encode_arp(packet)


def arp_request(*, mac: bytes, sender: IPv4Address | None, target: IPv4Address) -> bytes:
    """A whole Ethernet frame, to be broadcast, that asks for ``target``.

    ``sender`` None: an ARP probe, RFC 5227 section 2.1.1, which claims nothing.
    """
    packet = ArpPacket(
        operation=Operation.REQUEST,
        sender_mac=mac,
        sender_address=sender or IPv4Address(0),
        target_mac=NO_MAC,
        target_address=target,
    )
    return BROADCAST + mac + ETHERTYPE.to_bytes(2, "big") + encode_arp(packet)


def mac_text(mac: bytes) -> str:
    """``02:00:5e:10:00:01``."""
    return mac.hex(":")
