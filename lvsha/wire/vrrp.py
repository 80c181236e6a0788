"""VRRP advertisements: version 3 (RFC 9568) and version 2 (RFC 3768).

Version 3, RFC 9568 section 5.1; an address takes 4 bytes over IPv4, 16 over IPv6::

     0                   1                   2                   3
     0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
    +-------+-------+---------------+---------------+---------------+
    |Version| Type  | Virtual Rtr ID|    Priority   |IPvX Addr Count|
    +-------+-------+---------------+---------------+---------------+
    |Reserve| Max Advertise Interval|           Checksum            |
    +-------+-----------------------+-------------------------------+
    |                        IPvX Address(es)                       |
    +---------------------------------------------------------------+

Version 2, RFC 3768 section 5.1, IPv4 only::

    +-------+-------+---------------+---------------+---------------+
    |Version| Type  | Virtual Rtr ID|    Priority   | Count IP Addrs|
    +-------+-------+---------------+---------------+---------------+
    |   Auth Type   |   Adver Int   |           Checksum            |
    +---------------+---------------+-------------------------------+
    |                         IP Address(es)                        |
    +---------------------------------------------------------------+
    |                  Authentication Data (8 bytes)                |
    +---------------------------------------------------------------+

A decoder gives the record or raises ``DecodeError``. The checksum, the TTL and
whether the advert is for us are the caller's (``vrrp.endpoint``): the checksum
needs the IP addresses, and version 3 over IPv4 has two that are in use.
"""

from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from ipaddress import IPv4Address, IPv6Address

from lvsha.core.addr import Address
from lvsha.core.errors import DecodeError, DropReason, StateError
from lvsha.core.instant import MILLISECOND, SECOND
from lvsha.wire.checksum import checksum_holds, internet_checksum, pseudo_header

IP_PROTOCOL = 112
GROUP_IPV4 = IPv4Address("224.0.0.18")
"""RFC 9568 section 5.1.1.2."""
GROUP_IPV6 = IPv6Address("ff02::12")
"""RFC 9568 section 5.1.2.2."""
TTL = 255
"""RFC 9568 sections 5.1.1.3 and 5.1.2.3: nothing that came through a router arrives with it."""

TYPE_ADVERTISEMENT = 1
HEADER = 8
CHECKSUM_OFFSET = 6
AUTH_DATA = 8
MAX_INTERVAL_CS = 0x0FFF
CENTISECOND = 10 * MILLISECOND


class AuthType(IntEnum):
    """VRRPv2 only; RFC 3768 section 5.3.6 keeps 1 and 2 for RFC 2338's sake."""

    NONE = 0
    SIMPLE = 1
    AH = 2


class ChecksumForm(StrEnum):
    """What a version 3 checksum over IPv4 covers."""

    PSEUDO_HEADER = "pseudo-header"
    """RFC 5798 as deployed: keepalived's default, which refuses the other."""
    MESSAGE = "message"
    """RFC 9568 section 5.2.8: the VRRP message alone. Version 2 has only this one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Advertisement:
    """One ADVERTISEMENT, RFC 9568 section 5.1 or RFC 3768 section 5.1."""

    version: int
    """2 or 3."""
    vrid: int
    priority: int
    """0: the master is giving up the address. 255: its owner."""
    addresses: tuple[Address, ...]
    max_advertise_interval_cs: int = 0
    """Version 3: centiseconds, 1-4095, as on the wire."""
    advertisement_interval_s: int = 0
    """Version 2: seconds, 1-255."""
    auth_type: int = AuthType.NONE
    auth_data: bytes = field(default=b"", repr=False)
    """Version 2: up to eight bytes, without the zeros that fill them up."""

    @property
    def advert_interval(self) -> int:
        """What the sender says it waits between two adverts, nanoseconds."""
        if self.version == 2:
            return self.advertisement_interval_s * SECOND
        return self.max_advertise_interval_cs * CENTISECOND


def virtual_mac(*, family: int, vrid: int) -> bytes:
    """The hardware address of a virtual router: RFC 9568 section 7.3."""
    return bytes((0x00, 0x00, 0x5E, 0x00, 0x01 if family == 4 else 0x02, vrid))


def decode_advertisement(payload: bytes, *, family: int = 4) -> Advertisement:
    """Parse what an IP packet of ``family`` (4 or 6) carries; the checksum is the caller's.

    Raises:
        DecodeError: ``TRUNCATED``, ``BAD_VERSION``, ``BAD_TYPE``, ``NO_ADDRESSES``,
            ``BAD_INTERVAL`` or ``TRAILING_BYTES``.

    Source: RFC 9568 sections 5.2 and 7.1, RFC 3768 sections 5.3 and 7.1.
    """
    if len(payload) < HEADER:
        raise DecodeError(
            DropReason.TRUNCATED, f"{len(payload)} bytes, the header takes {HEADER}", offset=len(payload)
        )
    version, kind = payload[0] >> 4, payload[0] & 0x0F
    if version != 3 and not (version == 2 and family == 4):
        raise DecodeError(DropReason.BAD_VERSION, f"version {version} over IPv{family}", offset=0)
    if kind != TYPE_ADVERTISEMENT:
        raise DecodeError(DropReason.BAD_TYPE, f"type {kind}", offset=0)
    count = payload[3]
    if count == 0:
        # Erratum 8299 of RFC 9568: ignore it, whatever else it says.
        raise DecodeError(DropReason.NO_ADDRESSES, "address count 0", offset=3)

    width = 4 if family == 4 else 16
    end = HEADER + count * width
    size = end + AUTH_DATA if version == 2 else end
    if len(payload) < size:
        raise DecodeError(
            DropReason.TRUNCATED,
            f"{len(payload)} bytes, {count} addresses take {size}",
            offset=len(payload),
        )
    if len(payload) > size:
        raise DecodeError(
            DropReason.TRAILING_BYTES, f"{len(payload) - size} bytes after the message", offset=size
        )
    addresses = tuple(_address(payload[at : at + width]) for at in range(HEADER, end, width))

    if version == 2:
        if payload[5] == 0:
            raise DecodeError(DropReason.BAD_INTERVAL, "Adver Int 0", offset=5)
        return Advertisement(
            version=2,
            vrid=payload[1],
            priority=payload[2],
            addresses=addresses,
            advertisement_interval_s=payload[5],
            auth_type=payload[4],
            auth_data=payload[end:].rstrip(b"\0"),
        )
    # The four bits before the interval are ignored, section 5.2.6.
    interval_cs = int.from_bytes(payload[4:6], "big") & MAX_INTERVAL_CS
    if interval_cs == 0:
        raise DecodeError(DropReason.BAD_INTERVAL, "Max Advertise Interval 0", offset=4)  # erratum 8301
    return Advertisement(
        version=3,
        vrid=payload[1],
        priority=payload[2],
        addresses=addresses,
        max_advertise_interval_cs=interval_cs,
    )


def _address(packed: bytes) -> Address:
    return IPv4Address(packed) if len(packed) == 4 else IPv6Address(packed)


def encode_advertisement(
    advert: Advertisement,
    *,
    source: Address | None = None,
    destination: Address | None = None,
    checksum: ChecksumForm = ChecksumForm.PSEUDO_HEADER,
) -> bytes:
    """The bytes after the IP header, checksum included.

    ``source`` and ``destination`` are needed where a pseudo header is: version 3
    over IPv6, and over IPv4 unless ``checksum`` is ``MESSAGE``. Over IPv6 they may
    be left out for a socket with ``IPV6_CHECKSUM``, which fills the field.

    Raises:
        StateError: a field does not fit, or the addresses are of two families.

    Source: RFC 9568 sections 5.2 and 7.2, RFC 3768 sections 5.3 and 7.2.
    """
    _check(advert)
    if advert.version == 2:
        fields = bytes((advert.auth_type, advert.advertisement_interval_s))
        tail = advert.auth_data.ljust(AUTH_DATA, b"\0")
    else:
        fields = advert.max_advertise_interval_cs.to_bytes(2, "big")
        tail = b""
    head = bytes(
        (advert.version << 4 | TYPE_ADVERTISEMENT, advert.vrid, advert.priority, len(advert.addresses))
    )
    rest = b"".join(address.packed for address in advert.addresses) + tail
    message = head + fields + b"\0\0" + rest

    over_ipv6 = advert.addresses[0].version == 6
    if advert.version == 2 or (not over_ipv6 and checksum is ChecksumForm.MESSAGE):
        covered = message
    elif source is not None and destination is not None:
        header = pseudo_header(
            source=source, destination=destination, protocol=IP_PROTOCOL, length=len(message)
        )
        covered = header + message
    elif over_ipv6:
        return message
    else:
        raise StateError("a version 3 checksum over IPv4 needs source and destination")
    return head + fields + internet_checksum(covered).to_bytes(2, "big") + rest


def _check(advert: Advertisement) -> None:
    families = {address.version for address in advert.addresses}
    if advert.version not in (2, 3):
        raise StateError(f"VRRP version {advert.version}")
    if not 1 <= len(advert.addresses) <= 255:
        raise StateError(f"{len(advert.addresses)} addresses do not fit into an advert")
    if len(families) > 1 or (advert.version == 2 and families != {4}):
        raise StateError("the addresses of an advert are of its own family")  # section 5.2.9
    if not (0 <= advert.vrid <= 255 and 0 <= advert.priority <= 255):
        raise StateError(f"vrid {advert.vrid}, priority {advert.priority}: outside a byte")
    if advert.version == 3 and not 1 <= advert.max_advertise_interval_cs <= MAX_INTERVAL_CS:
        raise StateError(f"max_advertise_interval_cs {advert.max_advertise_interval_cs} is outside 1-4095")
    if advert.version == 2 and not 1 <= advert.advertisement_interval_s <= 255:
        raise StateError(f"advertisement_interval_s {advert.advertisement_interval_s} is outside 1-255")
    if not 0 <= advert.auth_type <= 255 or len(advert.auth_data) > AUTH_DATA:
        raise StateError("authentication does not fit")


def checksum_form(payload: bytes, *, source: Address, destination: Address) -> ChecksumForm | None:
    """Which checksum ``payload`` carries; None: neither holds.

    ``payload`` is a message that ``decode_advertisement`` takes. Version 2 knows
    only ``MESSAGE``, IPv6 only ``PSEUDO_HEADER``.
    """
    version = payload[0] >> 4
    if version == 3:
        header = pseudo_header(
            source=source, destination=destination, protocol=IP_PROTOCOL, length=len(payload)
        )
        if checksum_holds(header + payload):
            return ChecksumForm.PSEUDO_HEADER
    if (version == 2 or source.version == 4) and checksum_holds(payload):
        return ChecksumForm.MESSAGE
    return None
