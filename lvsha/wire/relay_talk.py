"""What directors tell each other besides connections: the body of the relay's TALK message.

::

    NEWS   1   digest of the orders (8)   orders (2)   lengths (1, 1)   generation, version of lvsha
    PART   2   purpose (1)   transfer (4)   parts (2)   index (2)   size (2)   data
    GOT    3   purpose (1)   transfer (4)   following (2)

Nothing here is resent by the relay: NEWS comes again each second, and ``sync.talk``
repeats parts until they are GOT.

Source: ``proto/lvsha_relay_v1.md`` section 11.
"""

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import ClassVar, Final

from lvsha.core.errors import DecodeError, DropReason

PART_HEAD: Final = 12
"""Bytes of a PART before its data."""
MAX_PARTS: Final = 4096
TEXT_LIMIT: Final = 64
"""Characters of a generation or a version, ASCII."""

_NEWS = struct.Struct(">BQHBB")
_PART = struct.Struct(">BBLHHH")
_GOT = struct.Struct(">BBLH")


class Purpose(IntEnum):
    """What a transfer is."""

    ORDERS = 1
    """All orders of operators that the sender knows, and those that are over."""
    QUESTION = 2
    """A request to the receiver's API."""
    ANSWER = 3
    """Of the question whose number the transfer bears."""


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """What the sender is like now."""

    kind: ClassVar = 1
    digest: int
    """Of its orders; equal ones need not be told."""
    orders: int
    generation: str
    """Hash of what directors must have alike in the configuration in force."""
    version: str
    """Of lvsha."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A piece of a transfer."""

    kind: ClassVar = 2
    purpose: Purpose
    transfer: int
    """The sender counts them; of an answer the question's."""
    parts: int
    index: int
    """From 0."""
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Got:
    """What came of a transfer."""

    kind: ClassVar = 3
    purpose: Purpose
    transfer: int
    following: int
    """All parts before this one are there."""


Word = News | Part | Got


def encode_word(word: Word) -> bytes:
    match word:
        case News():
            generation, version = word.generation.encode("ascii"), word.version.encode("ascii")
            head = _NEWS.pack(word.kind, word.digest, word.orders, len(generation), len(version))
            return head + generation + version
        case Part():
            counts = (word.parts, word.index, len(word.data))
            return _PART.pack(word.kind, word.purpose, word.transfer, *counts) + word.data
        case Got():
            return _GOT.pack(word.kind, word.purpose, word.transfer, word.following)


def decode_word(data: bytes, *, offset: int = 0) -> Word:
    """``data[offset:]``, all of it.

    Raises:
        DecodeError: ``TRUNCATED``, ``TRAILING_BYTES``, ``BAD_TYPE``, ``BAD_COUNT`` or ``BAD_RANGE``.
    """
    body = memoryview(data)[offset:]
    kind = body[0] if body else -1
    if kind == News.kind:
        return _news(body, offset)
    if kind == Part.kind:
        return _part(body, offset)
    if kind == Got.kind:
        _require(body, _GOT.size, offset)
        _, purpose, transfer, following = _GOT.unpack_from(body)
        if len(body) > _GOT.size:
            raise DecodeError(DropReason.TRAILING_BYTES, "after a GOT", offset=offset + _GOT.size)
        if following > MAX_PARTS:
            raise DecodeError(DropReason.BAD_RANGE, f"part {following}", offset=offset + 6)
        return Got(purpose=_purpose(purpose, offset), transfer=transfer, following=following)
    if kind < 0:
        raise DecodeError(DropReason.TRUNCATED, "an empty TALK", offset=offset)
    raise DecodeError(DropReason.BAD_TYPE, f"talk of kind {kind}", offset=offset)


def _news(body: memoryview, offset: int) -> News:
    _require(body, _NEWS.size, offset)
    _, digest, orders, *lengths = _NEWS.unpack_from(body)
    if max(lengths) > TEXT_LIMIT:
        raise DecodeError(DropReason.BAD_COUNT, f"a text of {max(lengths)}", offset=offset + 11)
    end = _NEWS.size + sum(lengths)
    _require(body, end, offset)
    if len(body) > end:
        raise DecodeError(DropReason.TRAILING_BYTES, "after a NEWS", offset=offset + end)
    text = bytes(body[_NEWS.size :])
    if not all(0x20 <= byte < 0x7F for byte in text):
        raise DecodeError(DropReason.BAD_RANGE, "a text that is not ASCII", offset=offset + _NEWS.size)
    words = text.decode("ascii")
    return News(digest=digest, orders=orders, generation=words[: lengths[0]], version=words[lengths[0] :])


def _part(body: memoryview, offset: int) -> Part:
    _require(body, _PART.size, offset)
    _, purpose, transfer, parts, index, size = _PART.unpack_from(body)
    _require(body, _PART.size + size, offset)
    if len(body) > _PART.size + size:
        raise DecodeError(DropReason.TRAILING_BYTES, "after a PART", offset=offset + _PART.size + size)
    if not 1 <= parts <= MAX_PARTS:
        raise DecodeError(DropReason.BAD_COUNT, f"{parts} parts", offset=offset + 6)
    if index >= parts:
        raise DecodeError(DropReason.BAD_RANGE, f"part {index} of {parts}", offset=offset + 8)
    return Part(
        purpose=_purpose(purpose, offset),
        transfer=transfer,
        parts=parts,
        index=index,
        data=bytes(body[_PART.size :]),
    )


def _purpose(number: int, offset: int) -> Purpose:
    try:
        return Purpose(number)
    except ValueError:
        raise DecodeError(DropReason.BAD_TYPE, f"purpose {number}", offset=offset + 1) from None


def _require(body: memoryview, size: int, offset: int) -> None:
    if len(body) < size:
        raise DecodeError(
            DropReason.TRUNCATED, f"{len(body)} bytes, at least {size} needed", offset=offset + len(body)
        )
