"""Whole messages, both versions: what a datagram holds, and how one is made.

A datagram is v1 if its first byte is 0, its version byte 1 and its spare bytes 0;
everything else is v0, whose first byte is the count. So the v1 header reads as "no
entries" to a receiver that only knows v0.

A decoder here answers two questions at once. ``SyncMessage.entries`` is *strict*: it
holds what the kernel described by ``Receiver`` installs, no more and no less.
``SyncMessage.problems`` is *lenient*: everything else that could be read, with the
reason why it is lost and how much is lost with it.
"""

import struct
from collections.abc import Iterable, Iterator
from typing import Final, Literal

from lvsha.core.errors import DecodeError, DropReason
from lvsha.wire.ipvs_sync import v0, v1
from lvsha.wire.ipvs_sync.names import DEFAULT_MAXLEN
from lvsha.wire.ipvs_sync.receiver import ANYONE, Receiver
from lvsha.wire.ipvs_sync.records import Loses, Problem, SyncConn, SyncMessage

MAX_SIZE: Final = 65507
"""The largest UDP payload over IPv4."""

_SIZE = struct.Struct(">H")


def decode_message(data: bytes, receiver: Receiver = ANYONE) -> SyncMessage:
    """Read one datagram as ``receiver`` would.

    Raises:
        DecodeError: ``TRUNCATED``, under four bytes: there is no header to speak of. Whatever else is
            wrong becomes a ``Problem`` of the message; ``SyncMessage.require_clean`` raises those.
    """
    if len(data) < v0.HEADER_SIZE:
        raise DecodeError(DropReason.TRUNCATED, f"{len(data)} bytes, a header has at least 4", offset=0)
    refusal = _refusal(data, receiver)
    problems = [] if refusal is None else [refusal]
    lost_to = None if refusal is None else refusal.reason
    if _is_v1(data):
        version = 1
        entries, found = v1.decode_entries(data, receiver, lost_to)
    elif data[0] == 0 and len(data) > v0.HEADER_SIZE:
        # A kernel hands this to its v0 parser, which sees no entries.
        version, entries, found = 0, (), []
        if len(data) < v1.HEADER_SIZE:
            problems.append(_whole(DropReason.TRUNCATED, 0, f"{len(data)} bytes, a v1 header has 8"))
        elif data[5] == 1:
            version = 1
            problems.append(_whole(DropReason.BAD_VERSION, 6, "the spare bytes of the header are not 0"))
            entries, found = v1.decode_entries(data, receiver, DropReason.BAD_VERSION)
        else:
            problems.append(_whole(DropReason.BAD_VERSION, 5, f"version {data[5]}"))
    else:
        version = 0
        entries, found = v0.decode_entries(data, receiver, lost_to)
    return SyncMessage(version=version, syncid=data[1], entries=entries, problems=(*problems, *found))


def decode_rows(data: bytes, receiver: Receiver = ANYONE) -> list[v1.Row]:
    """``decode_message(...).entries`` as plain tuples in the order of ``SyncConn``: the bulk path.

    Twice as fast for the kernel's usual messages. ``SyncConn._make(row)`` names the fields.

    Raises:
        DecodeError: as ``decode_message``.
    """
    if is_plain_v1(data, receiver) and (rows := v1.fast_rows(data, receiver)) is not None:
        return list(rows)
    return list(decode_message(data, receiver).entries)


def is_plain_v1(data: bytes, receiver: Receiver = ANYONE) -> bool:
    """A v1 message that the receiver does not refuse whole."""
    return len(data) >= v1.HEADER_SIZE and _is_v1(data) and _refusal(data, receiver) is None


def encode_message(
    syncid: int,
    entries: Iterable[SyncConn],
    *,
    version: Literal[0, 1] = 1,
    byteorder: Literal["little", "big"] = "little",
) -> bytes:
    """One datagram with all of ``entries``, at most 255.

    Args:
        syncid: 0-255.
        version: v0 says less: see ``v0.encode_entry``.
        byteorder: the receiver's, for the sequence data of v0.

    Raises:
        ValueError: something does not fit, named in one line.
    """
    if version == 0:
        return v0.assemble(syncid, [v0.encode_entry(conn, byteorder) for conn in entries])
    return v1.assemble(syncid, [v1.encode_entry(conn) for conn in entries])


def encode_messages(
    syncid: int, entries: Iterable[SyncConn], *, version: Literal[0, 1] = 1, maxlen: int = DEFAULT_MAXLEN
) -> Iterator[bytes]:
    """As many datagrams as it takes, each of at most ``maxlen`` bytes and 255 entries, in order.

    Raises:
        ValueError: as ``encode_message``; also an entry that does not fit in ``maxlen`` alone.
    """
    header, assemble = (v0.HEADER_SIZE, v0.assemble) if version == 0 else (v1.HEADER_SIZE, v1.assemble)
    batch: list[bytes] = []
    used = header
    for conn in entries:
        entry = v0.encode_entry(conn) if version == 0 else v1.encode_entry(conn)
        if header + len(entry) > maxlen:
            raise ValueError(f"an entry of {len(entry)} bytes does not fit in a maxlen of {maxlen}")
        start = used + 3 & ~3
        if batch and (start + len(entry) > maxlen or len(batch) == v1.MAX_ENTRIES):
            yield assemble(syncid, batch)
            batch, start = [], header
        batch.append(entry)
        used = start + len(entry)
    if batch:
        yield assemble(syncid, batch)


def _is_v1(data: bytes) -> bool:
    return data[0] == 0 and data[5:8] == b"\1\0\0"


def _refusal(data: bytes, receiver: Receiver) -> Problem | None:
    """Why the receiver does not look at the datagram at all, if it does not."""
    (size,) = _SIZE.unpack_from(data, 2)
    length = min(len(data), receiver.maxlen)
    if size != length:
        detail = f"size {size}, but the datagram has {len(data)} bytes"
        if length < len(data):
            detail += f" and the receiver's sync_maxlen is {receiver.maxlen}"
        return _whole(DropReason.BAD_MESSAGE_SIZE, 2, detail)
    if receiver.syncid and data[1] != receiver.syncid:
        return _whole(DropReason.SYNCID_MISMATCH, 1, f"syncid {data[1]}, the receiver's is {receiver.syncid}")
    return None


def _whole(reason: DropReason, offset: int, detail: str) -> Problem:
    return Problem(reason=reason, loses=Loses.MESSAGE, offset=offset, detail=detail)
