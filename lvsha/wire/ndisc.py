"""ICMPv6 Neighbor Advertisements, RFC 4861 section 4.4, and the solicitations that ask for them.

::

     0                   1                   2                   3
     0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
    +---------------+---------------+-------------------------------+
    |  Type (136)   |    Code (0)   |           Checksum            |
    +-+-+-+---------+---------------+-------------------------------+
    |R|S|O|                       Reserved                          |
    +-+-+-+---------------------------------------------------------+
    |                   Target Address (16 bytes)                   |
    +---------------------------------------------------------------+
    |  Options: type, length in units of 8 bytes, value             |
    +---------------------------------------------------------------+
"""

from dataclasses import dataclass
from ipaddress import IPv6Address

from lvsha.core.errors import DecodeError, DropReason, StateError
from lvsha.wire.checksum import checksum_holds, internet_checksum, pseudo_header

IP_PROTOCOL = 58
TYPE = 136
HOP_LIMIT = 255
"""RFC 4861 section 7.1.2: receivers refuse anything else."""
ALL_NODES = IPv6Address("ff02::1")
SIZE = 24
_SOLICITATION = 135
_SOURCE_LINK_LAYER, _TARGET_LINK_LAYER = 1, 2
_SOLICITED_NODE = int(IPv6Address("ff02::1:ff00:0"))
_ROUTER, _SOLICITED, _OVERRIDE = 0x80, 0x40, 0x20


@dataclass(frozen=True, slots=True, kw_only=True)
class NeighborAdvertisement:
    target: IPv6Address
    router: bool
    solicited: bool
    override: bool
    mac: bytes | None
    """Target link-layer address option; None: absent."""


def decode_neighbor_advertisement(
    message: bytes, *, source: IPv6Address, destination: IPv6Address
) -> NeighborAdvertisement:
    """Parse an ICMPv6 message. The hop limit is the caller's: it must be 255.

    Raises:
        DecodeError: ``TRUNCATED``, ``BAD_TYPE``, ``BAD_CHECKSUM`` or ``BAD_OPTION_LENGTH``.
    """
    if len(message) < SIZE:
        raise DecodeError(
            DropReason.TRUNCATED, f"{len(message)} bytes, an advertisement takes {SIZE}", offset=len(message)
        )
    if message[0] != TYPE or message[1] != 0:
        raise DecodeError(DropReason.BAD_TYPE, f"ICMPv6 type {message[0]} code {message[1]}", offset=0)
    header = pseudo_header(source=source, destination=destination, protocol=IP_PROTOCOL, length=len(message))
    if not checksum_holds(header + message):
        raise DecodeError(DropReason.BAD_CHECKSUM, "ICMPv6 checksum", offset=2)
    mac = None
    at = SIZE
    while at < len(message):
        size = message[at + 1] * 8 if at + 1 < len(message) else 0
        if size == 0 or at + size > len(message):
            # RFC 4861 section 4.6: an option of length 0 would never end.
            raise DecodeError(DropReason.BAD_OPTION_LENGTH, f"option of {size} bytes", offset=at)
        if message[at] == _TARGET_LINK_LAYER and size == 8:
            mac = message[at + 2 : at + 8]
        at += size
    return NeighborAdvertisement(
        target=IPv6Address(message[8:24]),
        router=bool(message[4] & _ROUTER),
        solicited=bool(message[4] & _SOLICITED),
        override=bool(message[4] & _OVERRIDE),
        mac=mac,
    )


def encode_neighbor_advertisement(
    advert: NeighborAdvertisement, *, source: IPv6Address, destination: IPv6Address
) -> bytes:
    """The ICMPv6 message, checksum included; it is to leave with hop limit 255.

    Raises:
        StateError: a hardware address that is not six bytes long.
    """
    if advert.mac is not None and len(advert.mac) != 6:
        raise StateError("a hardware address has six bytes")
    flags = (
        (_ROUTER if advert.router else 0)
        | (_SOLICITED if advert.solicited else 0)
        | (_OVERRIDE if advert.override else 0)
    )
    option = bytes((_TARGET_LINK_LAYER, 1)) + advert.mac if advert.mac is not None else b""
    rest = bytes((flags, 0, 0, 0)) + advert.target.packed + option
    message = bytes((TYPE, 0, 0, 0)) + rest
    header = pseudo_header(source=source, destination=destination, protocol=IP_PROTOCOL, length=len(message))
    return bytes((TYPE, 0)) + internet_checksum(header + message).to_bytes(2, "big") + rest


def unsolicited_advertisement(*, mac: bytes, address: IPv6Address) -> bytes:
    """The ICMPv6 message that tells ``ALL_NODES`` that ``address`` is at ``mac``; sent from ``address``.

    Router and Override set, Solicited clear, as RFC 9568 section 6.4.2 wants it.
    """
    advert = NeighborAdvertisement(target=address, router=True, solicited=False, override=True, mac=mac)
    return encode_neighbor_advertisement(advert, source=address, destination=ALL_NODES)


def solicited_node(address: IPv6Address) -> IPv6Address:
    """The group in which whoever has ``address`` listens: RFC 4291 section 2.7.1."""
    return IPv6Address(_SOLICITED_NODE | int(address) & 0xFFFFFF)


def neighbor_solicitation(*, mac: bytes, source: IPv6Address | None, target: IPv6Address) -> bytes:
    """The ICMPv6 message that asks ``solicited_node(target)`` for ``target``, and says where ``source`` is.

    ``source`` None: from the unspecified address, as duplicate address detection asks.
    RFC 4861 section 4.3, RFC 4862 section 5.4.2.
    """
    option = bytes((_SOURCE_LINK_LAYER, 1)) + mac if source is not None else b""
    message = bytes((_SOLICITATION, 0, 0, 0, 0, 0, 0, 0)) + target.packed + option
    header = pseudo_header(
        source=source or IPv6Address(0),
        destination=solicited_node(target),
        protocol=IP_PROTOCOL,
        length=len(message),
    )
    return message[:2] + internet_checksum(header + message).to_bytes(2, "big") + message[4:]
