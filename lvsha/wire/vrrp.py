"""VRRP advertisements, version 2 (RFC 3768) and 3 (RFC 9568). In progress: signatures only."""

from dataclasses import dataclass, field
from enum import IntEnum

from lvsha.core.addr import Address

IP_PROTOCOL = 112


class AuthType(IntEnum):
    """VRRPv2 only; RFC 3768 section 5.3.6 keeps 1 and 2 for RFC 2338's sake."""

    NONE = 0
    SIMPLE = 1
    AH = 2


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


def decode_advertisement(payload: bytes, *, family: int = 4) -> Advertisement:
    raise NotImplementedError


def encode_advertisement(
    advert: Advertisement, *, source: Address | None = None, destination: Address | None = None
) -> bytes:
    raise NotImplementedError
