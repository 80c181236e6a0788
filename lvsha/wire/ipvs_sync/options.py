"""The options of a v1 entry.

::

    type (1)  length (1)  data (length)      no padding between options

    1  sequence data   24 bytes: in {init_seq, delta, previous_delta}, out {same}, u32 big endian
    2  PE data         1-255 bytes, the persistence engine's own
    3  PE name         1-16 bytes, without a NUL

Bit 6 of the type says that a receiver may skip the option if it does not know it.
Known types are recognised with that bit masked off.
"""

import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

SEQUENCE: Final = 1
PE_DATA: Final = 2
PE_NAME: Final = 3
OPTIONAL: Final = 0x40
"""May be skipped by a receiver that does not know the option."""

SEQUENCE_SIZE: Final = 24
PE_NAME_MAXLEN: Final = 16
PE_DATA_MAXLEN: Final = 255

_SEQUENCE = struct.Struct(">6L")


class SequenceDelta(NamedTuple):
    """How far NAT has shifted one direction's TCP sequence numbers, ``struct ip_vs_seq``."""

    init_seq: int
    """Add ``delta`` to numbers after this one, ``previous_delta`` to earlier ones."""
    delta: int
    previous_delta: int


class SequenceData(NamedTuple):
    """Both directions, ``struct ip_vs_sync_conn_options``."""

    in_seq: SequenceDelta
    out_seq: SequenceDelta


def pack_sequence(sequence: SequenceData) -> bytes:
    """24 bytes, big endian."""
    return _SEQUENCE.pack(*sequence.in_seq, *sequence.out_seq)


def unpack_sequence(data: bytes) -> SequenceData:
    """The inverse of ``pack_sequence``; ``data`` must be 24 bytes."""
    numbers = _SEQUENCE.unpack(data)
    return SequenceData(SequenceDelta(*numbers[:3]), SequenceDelta(*numbers[3:]))


def encode_option(kind: int, data: bytes) -> bytes:
    """One option.

    Raises:
        ValueError: nothing, or more than 255 bytes: the kernel refuses the first and cannot say the second.
    """
    if not 1 <= len(data) <= 255:
        raise ValueError(f"option {kind} has {len(data)} bytes; the protocol carries 1-255")
    return bytes((kind, len(data))) + data


def encode_options(
    *, sequence: SequenceData | None = None, pe_name: bytes = b"", pe_data: bytes = b""
) -> bytes:
    """The options of one entry in the order the kernel sends them: sequence data, PE data, PE name.

    Raises:
        ValueError: a PE name over 16 bytes, or PE data over 255.
    """
    if len(pe_name) > PE_NAME_MAXLEN:
        raise ValueError(f"PE name {pe_name!r} is longer than {PE_NAME_MAXLEN} bytes")
    parts = []
    if sequence is not None:
        parts.append(encode_option(SEQUENCE, pack_sequence(sequence)))
    if pe_data:
        parts.append(encode_option(PE_DATA, pe_data))
    if pe_name:
        parts.append(encode_option(PE_NAME, pe_name))
    return b"".join(parts)


def iterate_options(options: bytes) -> Iterator[tuple[int, bytes]]:
    """``(type, data)`` of each whole option; stops at the first that is not whole."""
    offset = 0
    while offset + 2 <= len(options):
        start = offset + 2
        offset = start + options[start - 1]
        if offset > len(options) or offset == start:
            return
        yield options[start - 2], options[start:offset]


def first_option(options: bytes, kind: int) -> bytes | None:
    """The data of the first option of this kind, marked skippable or not."""
    for type_, data in iterate_options(options):
        if type_ & ~OPTIONAL == kind:
            return data
    return None


def sequence_of(options: bytes) -> SequenceData | None:
    """The sequence data, if there is any of the right size."""
    data = first_option(options, SEQUENCE)
    return unpack_sequence(data) if data is not None and len(data) == SEQUENCE_SIZE else None
