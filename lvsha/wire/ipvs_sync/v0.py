"""Version 0, before Linux 2.6.39 and with ``net.ipv4.vs.sync_version=0``. IPv4 only.

::

    message                        entry
     0  nr_conns                    0  reserved = 0
     1  syncid                      1  protocol
     2  size (2)                    2  cport (2)  vport (2)  dport (2)
     4  first entry                 8  caddr (4)  vaddr (4)  daddr (4)
                                   20  flags (2)
                                   22  state (2)
                                   24  sequence data (24) if flags & 0x0600

Big endian, but for the sequence data, which keep their sender's byte order. No
fwmark, no time-out (the receiver takes the state's default), no padding.
"""

import struct
from collections.abc import Iterable
from typing import Final, Literal

from lvsha.core.errors import DropReason
from lvsha.wire.ipvs_sync import options as tlv
from lvsha.wire.ipvs_sync.names import SEQ_MASK, STATE_COUNT, ConnFlag, protocol_name
from lvsha.wire.ipvs_sync.receiver import Receiver
from lvsha.wire.ipvs_sync.records import Loses, Problem, SyncConn

HEADER_SIZE: Final = 4
ENTRY_SIZE: Final = 24
SEQUENCE_SIZE: Final = 24
MAX_ENTRIES: Final = 255

_HEADER = struct.Struct(">BBH")
_ENTRY = struct.Struct(">BBHHH4s4s4sHH")
_SEQUENCE = {"little": struct.Struct("<6L"), "big": struct.Struct(">6L")}
_SEQUENCE_BIG = _SEQUENCE["big"]


def decode_entries(
    data: bytes, receiver: Receiver, lost_to: DropReason | None = None
) -> tuple[tuple[SyncConn, ...], list[Problem]]:
    """What the receiver installs of a v0 message, and what is wrong with the rest, as v1's does."""
    entries: list[SyncConn] = []
    problems: list[Problem] = []
    count, offset, index = data[0], HEADER_SIZE, 0
    while index < count:
        left = len(data) - offset
        if left < ENTRY_SIZE:
            problems.append(
                Problem(
                    reason=DropReason.ENTRY_TRUNCATED,
                    loses=Loses.REST,
                    offset=offset,
                    entry=index,
                    detail=f"the message says {count} entries and ends in number {index}",
                )
            )
            break
        conn, size = _read(data, offset, receiver.byteorder)
        fault = _fault(conn, size, left, receiver)
        if fault is not None:
            reason, loses, at, detail = fault
            lost = None if loses is Loses.NOTHING else conn
            problems.append(
                Problem(reason=reason, loses=loses, offset=offset + at, entry=index, detail=detail, conn=lost)
            )
            if loses is Loses.NOTHING and lost_to is None:
                entries.append(conn)
            if loses is Loses.REST:
                break
        elif lost_to is not None:
            problems.append(Problem(reason=lost_to, loses=Loses.ENTRY, offset=offset, entry=index, conn=conn))
        else:
            entries.append(conn)
        index += 1
        offset += size
    if offset < len(data) and index == count:
        detail = f"{len(data) - offset} bytes after the last entry"
        problems.append(
            Problem(reason=DropReason.TRAILING_BYTES, loses=Loses.NOTHING, offset=offset, detail=detail)
        )
    return tuple(entries), problems


def _read(data: bytes, offset: int, byteorder: Literal["little", "big"]) -> tuple[SyncConn, int]:
    """One entry, of which the fixed part is there, and its size with sequence data."""
    kind, protocol, cport, vport, dport, caddr, vaddr, daddr, flags, state = _ENTRY.unpack_from(data, offset)
    size, options = ENTRY_SIZE, b""
    if flags & SEQ_MASK:
        size += SEQUENCE_SIZE
        if offset + size <= len(data):
            numbers = _SEQUENCE[byteorder].unpack_from(data, offset + ENTRY_SIZE)
            options = tlv.encode_option(tlv.SEQUENCE, _SEQUENCE_BIG.pack(*numbers))
    conn = SyncConn(kind, protocol, flags, state, cport, vport, dport, 0, 0, caddr, vaddr, daddr, options)
    return conn, size


def _fault(
    conn: SyncConn, size: int, left: int, receiver: Receiver
) -> tuple[DropReason, Loses, int, str] | None:
    """The first thing wrong with an entry in the kernel's order; the reserved byte is not looked at."""
    if size > left:
        detail = f"24 bytes of sequence data, {left - ENTRY_SIZE} left"
        return DropReason.ENTRY_OVERRUN, Loses.REST, ENTRY_SIZE, detail
    if not conn.is_template and conn.protocol not in STATE_COUNT:
        return DropReason.UNKNOWN_PROTOCOL, Loses.ENTRY, 1, f"protocol {conn.protocol}"
    if not receiver.accepts_state(conn.protocol, conn.flags, conn.state):
        name = "template" if conn.is_template else protocol_name(conn.protocol)
        return DropReason.BAD_STATE, Loses.ENTRY, 22, f"{name} state {conn.state}"
    if conn.flags & ConnFlag.ONE_PACKET:
        return DropReason.NEVER_HASHED, Loses.NOTHING, 20, "one-packet: a new row is found by nothing"
    return None


def encode_entry(conn: SyncConn, byteorder: Literal["little", "big"] = "little") -> bytes:
    """One entry.

    Raises:
        ValueError: what v0 cannot say: IPv6, a fwmark, a PE, sequence data without their flag or the
            flag without the data, or a number that does not fit. A time-out is left out without a word:
            the kernel's v0 master does the same.
    """
    if len(conn.caddr) != 4 or len(conn.vaddr) != 4 or len(conn.daddr) != 4:
        raise ValueError("v0 carries IPv4 only: use version 1")
    if conn.fwmark or conn.pe_name or conn.pe_data:
        raise ValueError("v0 carries neither fwmark nor persistence engine: use version 1")
    sequence = tlv.first_option(conn.options, tlv.SEQUENCE) or b""
    if bool(conn.flags & SEQ_MASK) != bool(sequence):
        raise ValueError("v0 carries sequence data if and only if flags has one of 0x0600")
    try:
        fixed = _ENTRY.pack(
            conn.type, conn.protocol, conn.cport, conn.vport, conn.dport,
            conn.caddr, conn.vaddr, conn.daddr, conn.flags, conn.state,
        )  # fmt: skip
        if sequence:
            fixed += _SEQUENCE[byteorder].pack(*_SEQUENCE_BIG.unpack(sequence))
    except struct.error as error:
        raise ValueError(f"{conn}: {error}") from error
    return fixed


def assemble(syncid: int, encoded: Iterable[bytes]) -> bytes:
    """A message around encoded entries.

    Raises:
        ValueError: more entries or bytes than a message can say, or a syncid outside 0-255.
    """
    parts = list(encoded)
    if not 1 <= len(parts) <= MAX_ENTRIES:
        raise ValueError(f"{len(parts)} entries: a v0 message has 1 to {MAX_ENTRIES}")
    body = b"".join(parts)
    try:
        return _HEADER.pack(len(parts), syncid, HEADER_SIZE + len(body)) + body
    except struct.error as error:
        raise ValueError(f"syncid {syncid} or a size of {HEADER_SIZE + len(body)}: {error}") from error
