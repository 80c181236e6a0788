"""The trailer that authenticates an advert between directors that share a key.

::

     0  magic "lva1" (4)    key id (4)     number (8)
    16  code (16): HMAC-SHA-256 over addresses, message and the 16 bytes above

Source: ``proto/lvsha_vrrp_auth.md`` sections 2 and 3; RFC 2104, RFC 5869.
"""

import hmac
import struct
from collections.abc import Iterable
from typing import Final, NamedTuple

from lvsha.core.addr import Address
from lvsha.core.errors import DecodeError, DropReason
from lvsha.wire.keys import by_id
from lvsha.wire.vrrp import AUTH_DATA, CHECKSUM_OFFSET, HEADER

MAGIC: Final = b"lva1"
TRAILER: Final = 32
_HEAD = struct.Struct(">4s4sQ")
_CODE = 16


class Trailer(NamedTuple):
    """What stands behind a message; nothing of it is true before ``AuthKeys.check`` says so."""

    key_id: bytes
    """Four bytes."""
    number: int
    code: bytes
    """Sixteen bytes."""


def split(payload: bytes, *, family: int) -> tuple[bytes, Trailer | None]:
    """The message, as long as its header says, and its trailer; None: there is none.

    What is no message, or has other bytes behind it, is returned whole: ``decode_advertisement`` says why.
    """
    if len(payload) < HEADER + TRAILER:
        return payload, None
    end = HEADER + payload[3] * (4 if family == 4 else 16) + (AUTH_DATA if payload[0] >> 4 == 2 else 0)
    if len(payload) != end + TRAILER or payload[end : end + 4] != MAGIC:
        return payload, None
    _, key_id, number = _HEAD.unpack_from(payload, end)
    return payload[:end], Trailer(key_id, number, payload[-_CODE:])


class AuthKeys:
    """The keys of a key file: the first is sent with, all are accepted."""

    __slots__ = ("_codes",)

    def __init__(self, keys: Iterable[bytes]) -> None:
        """
        Raises:
            StateError: none or more than ``MAX_KEYS``, a key that is not 32 bytes, or two alike.
        """
        found = by_id(keys, lambda key: _derive(key, b"lvsha vrrp v1 id")[:4], name="key")
        # Keyed once: a copy of this costs half of what keying costs.
        self._codes = {
            key_id: hmac.new(_derive(key, b"lvsha vrrp v1 code"), digestmod="sha256")
            for key_id, key in found.items()
        }

    def __repr__(self) -> str:
        return f"AuthKeys({', '.join(key_id.hex() for key_id in self._codes)})"

    @property
    def primary(self) -> bytes:
        """The id of the key that is sent with."""
        return next(iter(self._codes))

    @property
    def ids(self) -> tuple[bytes, ...]:
        return tuple(self._codes)

    def seal(self, message: bytes, number: int, *, source: Address, destination: Address) -> bytes:
        """``message`` with its trailer."""
        head = _HEAD.pack(MAGIC, self.primary, number)
        return message + head + self._code(self.primary, message, head, source, destination)

    def check(self, message: bytes, trailer: Trailer, *, source: Address, destination: Address) -> None:
        """Whether a holder of one of our keys sent it there; how old it is, ``vrrp.replay`` asks.

        Raises:
            DecodeError: ``UNKNOWN_KEY`` or ``AUTH_FAILED``.
        """
        if trailer.key_id not in self._codes:
            raise DecodeError(
                DropReason.UNKNOWN_KEY,
                f"key {trailer.key_id.hex()} is not in our key file "
                f"({', '.join(each.hex() for each in self._codes)}): add it, then move it first",
            )
        head = _HEAD.pack(MAGIC, trailer.key_id, trailer.number)
        if not hmac.compare_digest(
            trailer.code, self._code(trailer.key_id, message, head, source, destination)
        ):
            raise DecodeError(
                DropReason.AUTH_FAILED, "the code does not hold: forged, or sent to somebody else"
            )

    def _code(
        self, key_id: bytes, message: bytes, head: bytes, source: Address, destination: Address
    ) -> bytes:
        code = self._codes[key_id].copy()
        code.update(
            b"".join(
                (
                    source.packed,
                    destination.packed,
                    message[:CHECKSUM_OFFSET],
                    b"\0\0",
                    message[CHECKSUM_OFFSET + 2 :],
                    head,
                )
            )
        )
        return code.digest()[:_CODE]


def _derive(key: bytes, info: bytes) -> bytes:
    """HKDF-SHA-256 without salt, one block: RFC 5869 section 2."""
    extracted = hmac.digest(bytes(32), key, "sha256")
    return hmac.digest(extracted, info + b"\x01", "sha256")
