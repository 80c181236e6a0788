"""Version 1, Linux 2.6.39 and later.

::

    message                                   entry (IPv4; IPv6 has 16-byte addresses)
     0  reserved = 0                           0  type        bit 0: IPv6
     1  syncid                                 1  protocol
     2  size (2)    of the whole message       2  version (4 bits) = 0, size (12 bits)
     4  nr_conns    entries                    4  flags (4)
     5  version = 1                            8  state (2)
     6  spare (2) = 0                         10  cport (2)  vport (2)  dport (2)
     8  first entry                           16  fwmark (4)
                                              20  timeout (4)   seconds
                                              24  caddr (4)  vaddr (4)  daddr (4)
                                              36  options

All numbers are big endian. An entry's size covers its options and not the padding
that brings the *next* entry to a multiple of four from the start of the message.
"""

import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Final

from lvsha.core.errors import DropReason
from lvsha.wire.ipvs_sync import options as tlv
from lvsha.wire.ipvs_sync.names import STATE_COUNT, protocol_name
from lvsha.wire.ipvs_sync.receiver import Receiver
from lvsha.wire.ipvs_sync.records import TYPE_INET6, Loses, Problem, SyncConn

HEADER_SIZE: Final = 8
INET_SIZE: Final = 36
INET6_SIZE: Final = 72
SIZE_MASK: Final = 0x0FFF
VERSION_SHIFT: Final = 12
MAX_ENTRIES: Final = 255
"""The count has eight bits. The kernel's master does not check; see ``Loses`` and the reference."""

Row = tuple[int, int, int, int, int, int, int, int, int, bytes, bytes, bytes, bytes]
"""A ``SyncConn`` without its class: half the time to make, the same order."""

_HEADER = struct.Struct(">BBHBBH")
# 0s: the options of an entry that has none. The size is set apart from the rest.
_INET = struct.Struct(">BBxxLHHHHLL4s4s4s0s")
_INET6 = struct.Struct(">BBxxLHHHHLL16s16s16s0s")
_INET_PIECES = struct.Struct(">10sH12sBBBB8s")
_INET6_PIECES = struct.Struct(">10sH12s16s32s")
_INET_SERVICES = struct.Struct(">xB4xHH2xH14x4s4x")
_INET6_SERVICES = struct.Struct(">xB4xHH2xH26x16s16x")
_INET_CONNECTIONS = struct.Struct(">xB8xHH10x4s4s4x")
_INET6_CONNECTIONS = struct.Struct(">xB8xHH10x16s16s16x")
_SIZE = struct.Struct(">H")
_VALID_STATES: Final = tuple(bytes(range(STATE_COUNT.get(protocol, 0))) for protocol in range(256))
_make: Callable[[Row], SyncConn] = partial(tuple.__new__, SyncConn)


def uniform_stride(data: bytes, receiver: Receiver) -> int:
    """The size of an entry in a message that is all alike and all good; 0 if it is not, or may not be.

    A kernel's message nearly always is: one family, no options, known states. The
    checks read whole columns, so that they cost little beside the unpacking. The
    caller has seen that it is v1 and that the receiver does not refuse it whole.
    """
    count = data[4]
    body = len(data) - HEADER_SIZE
    if count and body == count * INET_SIZE:
        stride, kind, size = INET_SIZE, b"\0", b"\x24"
    elif count and body == count * INET6_SIZE and receiver.inet6:
        stride, kind, size = INET6_SIZE, b"\1", b"\x48"
    else:
        return 0
    zeros = bytes(count)
    if (
        data[8::stride] != kind * count
        or data[10::stride] != zeros
        or data[11::stride] != size * count
        or data[16::stride] != zeros
    ):
        return 0
    protocols, states = data[9::stride], data[17::stride]
    if receiver.refuses_template_state or (
        states.translate(None, _VALID_STATES[protocols[0]])
        if protocols.count(protocols[0]) == count
        else max(states) >= min(STATE_COUNT.get(protocol, 0) for protocol in set(protocols))
    ):
        flags = data[14::stride]
        for protocol, flag, state in set(zip(protocols, flags, states, strict=True)):
            if not receiver.accepts_state(protocol, flag << 8, state):
                return 0
    return stride


def fast_rows(data: bytes, receiver: Receiver) -> Iterator[Row] | None:
    """The entries of a message that ``uniform_stride`` finds uniform; None of any other."""
    stride = uniform_stride(data, receiver)
    if not stride:
        return None
    return (_INET if stride == INET_SIZE else _INET6).iter_unpack(memoryview(data)[HEADER_SIZE:])


def inet_pieces(data: bytes) -> Iterator[tuple[bytes, int, bytes, int, int, int, int, bytes]]:
    """Each entry of a uniform IPv4 message, cut where printing it wants it cut.

    type to state, client port, virtual port to time-out, the client's address byte by
    byte, the other addresses: all but the client's repeat a great deal, and their texts
    can be looked up whole.
    """
    return _INET_PIECES.iter_unpack(memoryview(data)[HEADER_SIZE:])


def inet6_pieces(data: bytes) -> Iterator[tuple[bytes, int, bytes, bytes, bytes]]:
    """The same of IPv6, but for the client's address, which comes whole."""
    return _INET6_PIECES.iter_unpack(memoryview(data)[HEADER_SIZE:])


def service_columns(data: bytes, stride: int) -> Iterator[tuple[int, int, int, int, bytes]]:
    """(protocol, low half of flags, state, vport, vaddr) of each entry of a uniform message."""
    columns = _INET_SERVICES if stride == INET_SIZE else _INET6_SERVICES
    return columns.iter_unpack(memoryview(data)[HEADER_SIZE:])


def connection_columns(data: bytes, stride: int) -> Iterator[tuple[int, int, int, bytes, bytes]]:
    """(protocol, cport, vport, caddr, vaddr): what makes a connection that one."""
    columns = _INET_CONNECTIONS if stride == INET_SIZE else _INET6_CONNECTIONS
    return columns.iter_unpack(memoryview(data)[HEADER_SIZE:])


def state_column(data: bytes, stride: int) -> bytes:
    """The state of each entry of a uniform message: one byte holds it."""
    return data[17::stride]


def decode_entries(
    data: bytes, receiver: Receiver, lost_to: DropReason | None = None
) -> tuple[tuple[SyncConn, ...], list[Problem]]:
    """What the receiver installs of a v1 message, and what is wrong with the rest.

    With ``lost_to`` the whole message is refused for that reason, and every entry
    becomes a problem of that name.

    Source: the kernel's order of checks, docs/reference/sync-protocol.md#what-a-receiver-checks.
    """
    if lost_to is None and (rows := fast_rows(data, receiver)) is not None:
        return tuple(map(_make, rows)), []
    entries: list[SyncConn] = []
    problems: list[Problem] = []
    count, offset, index = data[4], HEADER_SIZE, 0
    while offset < len(data):
        left = len(data) - offset
        if index >= count and lost_to is None:
            lost_to = DropReason.TRAILING_BYTES
        if left < INET_SIZE:
            if index >= count:
                problems.append(_problem(DropReason.TRAILING_BYTES, Loses.NOTHING, offset, f"{left} bytes"))
            break
        conn, problem, size = _decode_entry(data, offset, index, receiver)
        if problem is not None:
            problems.append(problem)
            if problem.loses is Loses.REST:
                lost_to = lost_to or DropReason.AFTER_BAD_ENTRY
        elif lost_to is not None:
            problems.append(Problem(reason=lost_to, loses=Loses.ENTRY, offset=offset, entry=index, conn=conn))
        else:
            assert conn is not None, "an entry without a problem has been read"
            entries.append(conn)
        index += 1
        # A size below the fixed part is not believed: stepping by it would read the same bytes again.
        offset += max(size + 3 & ~3, INET_SIZE)
    if index < count:
        if not any(problem.reason is DropReason.ENTRY_OVERRUN for problem in problems):
            detail = f"the message says {count} entries and ends in number {index}"
            problems.append(
                Problem(
                    reason=DropReason.ENTRY_TRUNCATED,
                    loses=Loses.REST,
                    offset=min(offset, len(data)),
                    entry=index,
                    detail=detail,
                )
            )
    elif index > count:
        detail = f"the message says {count} entries and holds {index}"
        if (index - count) % (MAX_ENTRIES + 1) == 0:
            detail += ": the sender's 8-bit count overflowed, lower its sync_maxlen to 9188 or less"
        first = next(place for place, problem in enumerate(problems) if (problem.entry or 0) >= count)
        problems.insert(
            first, _problem(DropReason.TRAILING_BYTES, Loses.NOTHING, problems[first].offset, detail)
        )
    return tuple(entries), problems


def _problem(reason: DropReason, loses: Loses, offset: int, detail: str) -> Problem:
    return Problem(reason=reason, loses=loses, offset=offset, detail=detail)


Refused = tuple[SyncConn | None, Problem, int]


def _decode_entry(
    data: bytes, offset: int, index: int, receiver: Receiver
) -> tuple[SyncConn, None, int] | Refused:
    """One entry, the first thing wrong with it in the kernel's order, and its size.

    At least ``INET_SIZE`` bytes are there.
    """
    (version_size,) = _SIZE.unpack_from(data, offset + 2)
    size = version_size & SIZE_MASK
    kind = data[offset]
    inet6 = bool(kind & TYPE_INET6)
    fixed, unpacker = (INET6_SIZE, _INET6) if inet6 else (INET_SIZE, _INET)
    end = offset + size
    conn: SyncConn | None = None
    if size >= fixed and offset + fixed <= len(data):
        conn = SyncConn._make(unpacker.unpack_from(data, offset))
        if size > fixed:
            conn = conn._replace(options=data[offset + fixed : end])

    def refuse(reason: DropReason, loses: Loses, at: int, detail: str) -> Refused:
        problem = Problem(
            reason=reason, loses=loses, offset=offset + at, entry=index, detail=detail, conn=conn
        )
        return conn, problem, size

    if end > len(data):
        detail = f"size {size}, but {len(data) - offset} bytes are left"
        return refuse(DropReason.ENTRY_OVERRUN, Loses.REST, 2, detail)
    if version := version_size >> VERSION_SHIFT:
        return refuse(DropReason.BAD_ENTRY_VERSION, Loses.REST, 2, f"version {version}, not 0")
    if inet6 and not receiver.inet6:
        return refuse(DropReason.NO_INET6, Loses.ENTRY, 0, "the receiver's kernel has no IPv6")
    if kind and not inet6:
        return refuse(DropReason.BAD_ENTRY_TYPE, Loses.REST, 0, f"type {kind:#x}")
    if conn is None:
        detail = f"size {size}, the fixed part alone has {fixed}"
        return refuse(DropReason.ENTRY_TOO_SMALL, Loses.REST, 2, detail)
    if conn.options and (fault := _options_fault(conn.options)) is not None:
        reason, loses, at, detail = fault
        return refuse(reason, loses, fixed + at, detail)
    if not conn.is_template and conn.protocol not in STATE_COUNT:
        return refuse(DropReason.UNKNOWN_PROTOCOL, Loses.ENTRY, 1, f"protocol {conn.protocol}")
    if not receiver.accepts_state(conn.protocol, conn.flags, conn.state):
        name = "template" if conn.is_template else protocol_name(conn.protocol)
        return refuse(DropReason.BAD_STATE, Loses.ENTRY, 8, f"{name} state {conn.state}")
    if conn.options and conn.pe_data and not (conn.pe_name and receiver.has_engine(conn.pe_name)):
        detail = f"engine {conn.pe_name!r} is not loaded" if conn.pe_name else "data without an engine's name"
        return refuse(DropReason.PE_INCOMPLETE, Loses.ENTRY, fixed, detail)
    return conn, None, size


def _options_fault(options: bytes) -> tuple[DropReason, Loses, int, str] | None:
    """The first thing wrong with the options, as the kernel walks them; the offset is into ``options``."""
    seen: set[int] = set()
    at = 0
    while at < len(options):
        if at + 2 > len(options):
            return DropReason.OPTION_TRUNCATED, Loses.REST, at, "one byte is no option"
        kind, length = options[at] & ~tlv.OPTIONAL, options[at + 1]
        if not length or at + 2 + length > len(options):
            left = len(options) - at - 2
            return DropReason.BAD_OPTION_LENGTH, Loses.REST, at, f"length {length}, {left} bytes are left"
        again = "it is the second of its kind" if kind in seen else ""
        if kind == tlv.SEQUENCE:
            if again or length != tlv.SEQUENCE_SIZE:
                return DropReason.BAD_SEQUENCE_OPTION, Loses.REST, at, again or f"length {length}, not 24"
        elif kind == tlv.PE_DATA:
            if again:
                return DropReason.BAD_PE_DATA, Loses.REST, at, again
        elif kind == tlv.PE_NAME:
            if again or length > tlv.PE_NAME_MAXLEN:
                return DropReason.BAD_PE_NAME, Loses.REST, at, again or f"length {length}, over 16"
        elif not options[at] & tlv.OPTIONAL:
            return DropReason.UNKNOWN_OPTION, Loses.ENTRY, at, f"mandatory option {kind}"
        seen.add(kind)
        at += 2 + length
    return None


def encode_entry(conn: SyncConn) -> bytes:
    """One entry, without padding.

    Raises:
        ValueError: a number or an address that does not fit, or over 4095 bytes.
    """
    unpacker, width = (_INET6, 16) if conn.is_inet6 else (_INET, 4)
    if not len(conn.caddr) == len(conn.vaddr) == len(conn.daddr) == width:
        raise ValueError(f"type {conn.type} needs three addresses of {width} bytes")
    try:
        fixed = unpacker.pack(*conn[:-1], b"")
    except struct.error as error:
        raise ValueError(f"{conn}: {error}") from error
    size = len(fixed) + len(conn.options)
    if size > SIZE_MASK:
        raise ValueError(f"an entry of {size} bytes: the size field ends at {SIZE_MASK}")
    return b"".join((fixed[:2], _SIZE.pack(size), fixed[4:], conn.options))


def assemble(syncid: int, encoded: Sequence[bytes]) -> bytes:
    """A message around encoded entries, padded between them as the kernel does.

    Raises:
        ValueError: more entries or bytes than a message can say, or a syncid outside 0-255.
    """
    if len(encoded) > MAX_ENTRIES:
        raise ValueError(f"{len(encoded)} entries: the count ends at {MAX_ENTRIES}")
    parts: list[bytes] = []
    for entry in encoded:
        parts += (entry, bytes(-len(entry) % 4))
    if parts:
        parts.pop()
    body = b"".join(parts)
    try:
        return _HEADER.pack(0, syncid, HEADER_SIZE + len(body), len(encoded), 1, 0) + body
    except struct.error as error:
        raise ValueError(f"syncid {syncid} or a size of {HEADER_SIZE + len(body)}: {error}") from error


def encode_message(syncid: int, entries: Iterable[SyncConn]) -> bytes:
    """A v1 message.

    Raises:
        ValueError: as ``encode_entry`` and ``assemble``.
    """
    return assemble(syncid, [encode_entry(conn) for conn in entries])
