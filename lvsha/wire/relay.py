"""The relay's messages, as they are inside a frame.

::

     0  type   1  flags   2  reserved (2) = 0   4  peer epoch (8)   12  settled (8)   20  body

A decoder gives the message or raises ``DecodeError``; entries in it are entries
that a kernel installs.

Source: ``proto/lvsha_relay_v1.md`` section 5.
"""

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from typing import ClassVar, Final, NamedTuple

from lvsha.core.errors import DecodeError, DropReason
from lvsha.wire.ipvs_sync import v1
from lvsha.wire.ipvs_sync.message import decode_message
from lvsha.wire.ipvs_sync.receiver import ANYONE
from lvsha.wire.relay_talk import Word, decode_word, encode_word

PREFIX_SIZE: Final = 20
RECORD_SIZE: Final = 16
"""Of a record, before its entry."""
GENERATION_LIMIT: Final = 1 << 63
MAX_RANGES: Final = 32
BUCKETS: Final = 1024
MAX_RECORDS: Final = 255
"""As many as one message of the kernel's can hold, so that a frame's entries can be checked as one."""

_PREFIX = struct.Struct(">BBHQQ")
_RECORD = struct.Struct(">QLL")
_INET_RECORD = struct.Struct(">QLL36s")
_COUNT = struct.Struct(">H")
_RANGE = struct.Struct(">QQ")
_STATUS = struct.Struct(">LHHQQQ")
_DIGESTS = struct.Struct(">HH")
_HOLDINGS = struct.Struct(">HHQQ")
_U64 = struct.Struct(">Q")
_WELCOME = struct.Struct(">QQ")


class MessageType(IntEnum):
    HELLO = 1
    WELCOME = 2
    ENTRIES = 3
    ACK = 4
    STATUS = 5
    DIGESTS = 6
    HOLDINGS = 7
    BYE = 8
    TALK = 9


class MessageFlag(IntFlag):
    ACK_NOW = 1
    """Answer with an ACK at once."""
    ANSWER = 2
    """A HOLDINGS that answers a HOLDINGS: it is not answered with another."""


_FLAGS: Final = MessageFlag.ACK_NOW | MessageFlag.ANSWER


class Readiness(IntFlag):
    """What a director says of itself."""

    SERVICES = 1
    """Its kernel holds the configured services."""
    QUORUM = 2
    """Every service has its quorum, seen from there."""
    INJECTS = 4
    """Its kernel daemons run and take entries."""
    MASTER = 8
    """It holds an address."""
    TALKS = 16
    """It understands TALK."""


class Record(NamedTuple):
    """One version of one connection."""

    generation: int
    origin: int
    lifetime_ms: int
    """What is left of its timer; 0: the connection is gone."""
    entry: bytes
    """An entry of the kernel's protocol, version 1, unpadded."""


Range = tuple[int, int]
"""First and last sequence, both within."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    type: ClassVar = MessageType.HELLO
    challenge: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Welcome:
    type: ClassVar = MessageType.WELCOME
    epoch: int
    """The asker's."""
    challenge: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Entries:
    type: ClassVar = MessageType.ENTRIES
    records: tuple[Record, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ack:
    type: ClassVar = MessageType.ACK
    installed: tuple[Range, ...] = ()
    missing: tuple[Range, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    type: ClassVar = MessageType.STATUS
    readiness: Readiness
    asked: int
    answered: int
    rows: int
    digest: int
    missing: int
    """Rows of which the receiver has no copy, as the sender sees it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Digests:
    type: ClassVar = MessageType.DIGESTS
    first: int
    digests: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Holdings:
    type: ClassVar = MessageType.HOLDINGS
    bucket: int
    least: int
    most: int
    items: tuple[int, ...]
    """Digests of every item of the bucket from ``least`` to ``most``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bye:
    type: ClassVar = MessageType.BYE


@dataclass(frozen=True, slots=True, kw_only=True)
class Talk:
    type: ClassVar = MessageType.TALK
    word: Word


Message = Hello | Welcome | Entries | Ack | Status | Digests | Holdings | Bye | Talk


class Envelope(NamedTuple):
    """What stands before every body."""

    flags: MessageFlag
    peer_epoch: int
    settled: int
    message: Message


def encode_message(
    message: Message, *, flags: int = 0, peer_epoch: int = 0, settled: int = 0, pad: int = 0
) -> bytes:
    """One message; HELLO and WELCOME get zeros up to ``pad`` bytes."""
    head = _PREFIX.pack(message.type, flags, 0, peer_epoch, settled)
    match message:
        case Entries():
            return encode_entries(
                [_RECORD.pack(*record[:3]) + record.entry for record in message.records],
                flags=flags,
                peer_epoch=peer_epoch,
                settled=settled,
            )
        case Ack():
            ranges = [_RANGE.pack(*each) for each in (*message.installed, *message.missing)]
            return b"".join((head, bytes((len(message.installed), len(message.missing))), *ranges))
        case Status():
            return head + _STATUS.pack(
                message.readiness,
                message.asked,
                message.answered,
                message.rows,
                message.digest,
                message.missing,
            )
        case Digests():
            count = len(message.digests)
            return head + _DIGESTS.pack(message.first, count) + struct.pack(f">{count}Q", *message.digests)
        case Holdings():
            count = len(message.items)
            body = _HOLDINGS.pack(message.bucket, count, message.least, message.most)
            return head + body + struct.pack(f">{count}Q", *message.items)
        case Hello():
            return (head + _U64.pack(message.challenge)).ljust(pad, b"\0")
        case Welcome():
            return (head + _WELCOME.pack(message.epoch, message.challenge)).ljust(pad, b"\0")
        case Bye():
            return head
        case Talk():
            return head + encode_word(message.word)


def encode_entries(
    records: Sequence[bytes], *, flags: int = 0, peer_epoch: int = 0, settled: int = 0
) -> bytes:
    """An ENTRIES message of records that ``pack_record`` made."""
    head = _PREFIX.pack(MessageType.ENTRIES, flags, 0, peer_epoch, settled)
    return b"".join((head, _COUNT.pack(len(records)), *records))


def pack_record(generation: int, origin: int, lifetime_ms: int, entry: bytes) -> bytes:
    """One record's bytes: the bulk path's ``Record``."""
    return _RECORD.pack(generation, origin, lifetime_ms) + entry


def decode_envelope(data: bytes) -> Envelope:
    """Read one message.

    Raises:
        DecodeError: ``TRUNCATED``, ``TRAILING_BYTES``, ``BAD_TYPE``, ``BAD_RESERVED``, ``BAD_RANGE``,
            ``BAD_GENERATION``, ``BAD_COUNT``, or why a kernel would not install one of the entries.
    """
    if len(data) < PREFIX_SIZE:
        raise DecodeError(
            DropReason.TRUNCATED, f"{len(data)} bytes, a message has {PREFIX_SIZE}", offset=len(data)
        )
    kind, flags, reserved, peer_epoch, settled = _PREFIX.unpack_from(data)
    if reserved:
        raise DecodeError(DropReason.BAD_RESERVED, f"reserved bytes {reserved:#06x}", offset=2)
    decode = _DECODERS.get(kind)
    if decode is None:
        raise DecodeError(DropReason.BAD_TYPE, f"message type {kind}", offset=0)
    return Envelope(MessageFlag(flags & _FLAGS), peer_epoch, settled, decode(data))


def _hello(data: bytes) -> Hello:
    _require(data, PREFIX_SIZE + _U64.size)
    _only_zeros(data, PREFIX_SIZE + _U64.size)
    return Hello(challenge=_U64.unpack_from(data, PREFIX_SIZE)[0])


def _welcome(data: bytes) -> Welcome:
    _require(data, PREFIX_SIZE + _WELCOME.size)
    _only_zeros(data, PREFIX_SIZE + _WELCOME.size)
    epoch, challenge = _WELCOME.unpack_from(data, PREFIX_SIZE)
    return Welcome(epoch=epoch, challenge=challenge)


def _entries(data: bytes) -> Entries:
    at = PREFIX_SIZE + _COUNT.size
    _require(data, at)
    (count,) = _COUNT.unpack_from(data, PREFIX_SIZE)
    if count > MAX_RECORDS:
        raise DecodeError(DropReason.BAD_COUNT, f"{count} records, at most {MAX_RECORDS}", offset=PREFIX_SIZE)
    if len(data) - at == count * _INET_RECORD.size and data[at + RECORD_SIZE + 3 :: _INET_RECORD.size] == (
        b"\x24" * count
    ):
        records = tuple(map(Record._make, _INET_RECORD.iter_unpack(memoryview(data)[at:])))
    else:
        records = _odd_records(data, at, count)
    _check_entries(records)
    return Entries(records=records)


def _odd_records(data: bytes, at: int, count: int) -> tuple[Record, ...]:
    """Records of any sizes."""
    records = []
    for _ in range(count):
        entry_at = at + RECORD_SIZE
        _require(data, entry_at + 4)
        size = _COUNT.unpack_from(data, entry_at + 2)[0] & v1.SIZE_MASK
        if size < v1.INET_SIZE:
            raise DecodeError(DropReason.ENTRY_TOO_SMALL, f"an entry of {size} bytes", offset=entry_at + 2)
        _require(data, entry_at + size)
        generation, origin, lifetime_ms = _RECORD.unpack_from(data, at)
        records.append(Record(generation, origin, lifetime_ms, data[entry_at : entry_at + size]))
        at = entry_at + size
    _exactly(data, at)
    return tuple(records)


def _check_entries(records: Sequence[Record]) -> None:
    """Every entry is one that a kernel installs; checked together, as one of the kernel's messages."""
    if not records:
        return
    if max(records)[0] >= GENERATION_LIMIT:
        raise DecodeError(DropReason.BAD_GENERATION, f"generation {max(records)[0]:#x}", offset=PREFIX_SIZE)
    try:
        together = v1.assemble(0, [record[3] for record in records])
    except ValueError as error:
        # With their padding more than one of the kernel's messages can hold.
        raise DecodeError(DropReason.BAD_COUNT, str(error), offset=PREFIX_SIZE) from None
    if not v1.uniform_stride(together, ANYONE):
        decode_message(together, ANYONE).require_clean()


def _ack(data: bytes) -> Ack:
    at = PREFIX_SIZE + 2
    _require(data, at)
    installed, missing = data[PREFIX_SIZE], data[PREFIX_SIZE + 1]
    if max(installed, missing) > MAX_RANGES:
        raise DecodeError(DropReason.BAD_COUNT, f"{installed} and {missing} ranges", offset=PREFIX_SIZE)
    _exactly(data, at + (installed + missing) * _RANGE.size)
    ranges = tuple(_RANGE.iter_unpack(memoryview(data)[at:]))
    for first, last in ranges:
        if first > last:
            raise DecodeError(DropReason.BAD_RANGE, f"from {first} to {last}", offset=at)
    return Ack(installed=ranges[:installed], missing=ranges[installed:])


def _status(data: bytes) -> Status:
    _exactly(data, PREFIX_SIZE + _STATUS.size)
    readiness, asked, answered, rows, digest, missing = _STATUS.unpack_from(data, PREFIX_SIZE)
    return Status(
        readiness=Readiness(readiness & _READINESS),
        asked=asked,
        answered=answered,
        rows=rows,
        digest=digest,
        missing=missing,
    )


_READINESS: Final = Readiness(sum(Readiness))


def _digests(data: bytes) -> Digests:
    at = PREFIX_SIZE + _DIGESTS.size
    _require(data, at)
    first, count = _DIGESTS.unpack_from(data, PREFIX_SIZE)
    _exactly(data, at + 8 * count)
    if first + count > BUCKETS:
        raise DecodeError(
            DropReason.BAD_RANGE, f"buckets {first} to {first + count}, there are {BUCKETS}", offset=at
        )
    return Digests(first=first, digests=struct.unpack_from(f">{count}Q", data, at))


def _holdings(data: bytes) -> Holdings:
    at = PREFIX_SIZE + _HOLDINGS.size
    _require(data, at)
    bucket, count, least, most = _HOLDINGS.unpack_from(data, PREFIX_SIZE)
    _exactly(data, at + 8 * count)
    if bucket >= BUCKETS or least > most:
        raise DecodeError(
            DropReason.BAD_RANGE, f"bucket {bucket}, items {least} to {most}", offset=PREFIX_SIZE
        )
    items = struct.unpack_from(f">{count}Q", data, at)
    return Holdings(bucket=bucket, least=least, most=most, items=items)


def _bye(data: bytes) -> Bye:
    _exactly(data, PREFIX_SIZE)
    return Bye()


def _talk(data: bytes) -> Talk:
    return Talk(word=decode_word(data, offset=PREFIX_SIZE))


_DECODERS: Final[dict[int, Callable[[bytes], Message]]] = {
    MessageType.HELLO: _hello,
    MessageType.WELCOME: _welcome,
    MessageType.ENTRIES: _entries,
    MessageType.ACK: _ack,
    MessageType.STATUS: _status,
    MessageType.DIGESTS: _digests,
    MessageType.HOLDINGS: _holdings,
    MessageType.BYE: _bye,
    MessageType.TALK: _talk,
}


def _require(data: bytes, size: int) -> None:
    if len(data) < size:
        raise DecodeError(
            DropReason.TRUNCATED, f"{len(data)} bytes, at least {size} needed", offset=len(data)
        )


def _exactly(data: bytes, size: int) -> None:
    _require(data, size)
    if len(data) > size:
        raise DecodeError(DropReason.TRAILING_BYTES, f"{len(data) - size} bytes too many", offset=size)


def _only_zeros(data: bytes, at: int) -> None:
    if data.count(0, at) != len(data) - at:
        raise DecodeError(DropReason.TRAILING_BYTES, "the padding is not zeros", offset=at)
