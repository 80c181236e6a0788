"""The relay's frames: a clear header, and a message sealed under it.

::

     0  magic "lvr1" (4)    key id (4)     sender (4)    receiver (4)
    16  epoch (8)           sequence (8)
    32  the message, ChaCha20-Poly1305, tag (16) at the end

The header is the AEAD's additional data. A frame key belongs to one key of the key
file, one sender, one receiver and one epoch; the nonce is the sequence. So a nonce
repeats only if a director draws the same 64-bit epoch twice.

Source: ``proto/lvsha_relay_v1.md`` sections 2 and 3; RFC 5869, RFC 8439.
"""

import struct
from collections import OrderedDict
from collections.abc import Iterable
from typing import Final, NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from lvsha.core.errors import DecodeError, DropReason
from lvsha.wire.keys import KEY_SIZE, by_id

MAGIC: Final = b"lvr1"
HEADER_SIZE: Final = 32
TAG_SIZE: Final = 16
MAX_FRAME_KEYS: Final = 256
"""Derived keys that are kept; the one derived first goes."""

_HEADER = struct.Struct(">4s4sLLQQ")
_CONTEXT = struct.Struct(">LLQ")
_NONCE = struct.Struct(">4xQ")


class FrameHeader(NamedTuple):
    """The clear part of a frame, without its magic."""

    key_id: bytes
    """Four bytes."""
    sender: int
    receiver: int
    epoch: int
    sequence: int


def decode_header(frame: bytes) -> FrameHeader:
    """Read the clear part; nothing of it is true before ``FrameKeys.open`` says so.

    Raises:
        DecodeError: ``TRUNCATED``, ``BAD_MAGIC`` or ``BAD_VERSION``.
    """
    if len(frame) < HEADER_SIZE + TAG_SIZE:
        detail = f"{len(frame)} bytes, an empty frame has {HEADER_SIZE + TAG_SIZE}"
        raise DecodeError(DropReason.TRUNCATED, detail, offset=len(frame))
    magic, *rest = _HEADER.unpack_from(frame)
    if magic != MAGIC:
        if magic[:3] == MAGIC[:3]:
            raise DecodeError(DropReason.BAD_VERSION, f"relay version {magic[3:]!r}", offset=3)
        raise DecodeError(DropReason.BAD_MAGIC, "not a relay frame", offset=0)
    return FrameHeader(*rest)


class Keyring:
    """The keys of a key file: the first is sent with, all are accepted."""

    __slots__ = ("_keys",)

    def __init__(self, keys: Iterable[bytes]) -> None:
        """
        Raises:
            StateError: none or more than ``MAX_KEYS``, a key that is not 32 bytes, or two alike.
        """
        self._keys = by_id(keys, lambda key: _derive(key, b"lvsha relay v1 id", 4), name="relay key")

    def __repr__(self) -> str:
        return f"Keyring({', '.join(key_id.hex() for key_id in self._keys)})"

    def __contains__(self, key_id: bytes) -> bool:
        return key_id in self._keys

    @property
    def primary(self) -> bytes:
        """The id of the key that is sent with."""
        return next(iter(self._keys))

    @property
    def ids(self) -> tuple[bytes, ...]:
        return tuple(self._keys)

    def frame_key(self, key_id: bytes, *, sender: int, receiver: int, epoch: int) -> bytes:
        """The key of one direction of one life, 32 bytes.

        Raises:
            KeyError: there is no such key.
        """
        info = b"lvsha relay v1 frame" + _CONTEXT.pack(sender, receiver, epoch)
        return _derive(self._keys[key_id], info, KEY_SIZE)


class FrameKeys:
    """Seals and opens; keeps the frame keys that it derived (a derivation costs ten frames)."""

    def __init__(self, keyring: Keyring) -> None:
        self.keyring = keyring
        self._derived: OrderedDict[tuple[bytes, int, int, int], ChaCha20Poly1305] = OrderedDict()

    def replace(self, keyring: Keyring) -> None:
        """Other keys from now on."""
        self.keyring = keyring
        self._derived.clear()

    def seal(self, header: FrameHeader, message: bytes) -> bytes:
        """The datagram."""
        clear = _HEADER.pack(MAGIC, *header)
        aead = self._derived.get(header[:4]) or self._keep(header, self._derive(header))
        return clear + aead.encrypt(_NONCE.pack(header.sequence), message, clear)

    def open(self, header: FrameHeader, frame: bytes) -> bytes:
        """The message in ``frame``, whose clear part is ``header``.

        Raises:
            DecodeError: ``UNKNOWN_KEY`` or ``AUTH_FAILED``.
        """
        if header.key_id not in self.keyring:
            raise DecodeError(DropReason.UNKNOWN_KEY, f"key id {header.key_id.hex()}", offset=4)
        kept = self._derived.get(header[:4])
        aead = kept or self._derive(header)
        try:
            message = aead.decrypt(_NONCE.pack(header.sequence), frame[HEADER_SIZE:], frame[:HEADER_SIZE])
        except InvalidTag:
            raise DecodeError(DropReason.AUTH_FAILED, "the seal does not hold", offset=HEADER_SIZE) from None
        if kept is None:
            # Only now: a forger must not push out the keys that are in use.
            self._keep(header, aead)
        return message

    def _derive(self, header: FrameHeader) -> ChaCha20Poly1305:
        return ChaCha20Poly1305(
            self.keyring.frame_key(
                header.key_id, sender=header.sender, receiver=header.receiver, epoch=header.epoch
            )
        )

    def _keep(self, header: FrameHeader, aead: ChaCha20Poly1305) -> ChaCha20Poly1305:
        self._derived[header[:4]] = aead
        if len(self._derived) > MAX_FRAME_KEYS:
            self._derived.popitem(last=False)
        return aead


def _derive(key: bytes, info: bytes, length: int) -> bytes:
    return HKDF(algorithm=SHA256(), length=length, salt=None, info=info).derive(key)
