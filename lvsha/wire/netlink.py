"""Netlink framing: messages, attributes, acknowledgements. Bytes only; the socket is ``lvsha.io.netlink``.

::

    message    length u32 | type u16 | flags u16 | sequence u32 | port u32 | payload, padded to 4
    attribute  length u16 | type u16 | payload, padded to 4        (length without the padding)
    error      errno i32 (negative; 0 acknowledges) | header of the request | its payload unless
               CAPPED | attributes when ACK_TLVS: 1 message, 2 offset of what was wrong

All in the machine's own byte order. The command line lists a table with this
module, so it imports nothing that takes long to import: ``_collections_abc`` is in
every interpreter from its start on, ``collections.abc`` loads five modules more.

Sources: RFC 3549; Documentation/userspace-api/netlink of the kernel.
"""

from _collections_abc import Iterator, Sequence
from struct import Struct

REQUEST = 0x001
ACK = 0x004
DUMP = 0x300
REPLACE = 0x100
EXCL = 0x200
CREATE = 0x400
DUMP_INTR = 0x010
"""In an answer: the table changed while it was dumped."""
_CAPPED = 0x100
_ACK_TLVS = 0x200

NOOP = 1
ERROR = 2
DONE = 3
OVERRUN = 4

_TYPE_MASK = 0x3FFF
"""Without NLA_F_NESTED and NLA_F_NET_BYTEORDER."""
_ERROR_MESSAGE = 1
_ERROR_OFFSET = 2

HEADER = Struct("=IHHII")
HEADER_SIZE = HEADER.size
_ATTRIBUTE = Struct("=HH")
_ERRNO = Struct("=i")

Span = tuple[int, int, int, int, int]
"""A message in a buffer: type, flags, sequence, start and end of its payload."""


def _malformed(detail: str) -> Exception:
    # Imported when it happens: see the module's text.
    from lvsha.core.errors import DecodeError, DropReason

    return DecodeError(DropReason.TRUNCATED, detail)


def message(kind: int, flags: int, sequence: int, payload: bytes) -> bytes:
    """One message, padded so that another may follow."""
    length = HEADER_SIZE + len(payload)
    return HEADER.pack(length, kind, flags, sequence, 0) + payload + bytes(-length & 3)


def attribute(kind: int, payload: bytes) -> bytes:
    """One attribute, padded so that another may follow."""
    length = 4 + len(payload)
    return _ATTRIBUTE.pack(length, kind) + payload + bytes(-length & 3)


def nest(kind: int, *parts: bytes) -> bytes:
    """An attribute made of attributes."""
    return attribute(kind, b"".join(parts))


def string(kind: int, text: str) -> bytes:
    """A NUL-terminated string."""
    return attribute(kind, text.encode() + b"\0")


def messages(buffer: bytes) -> Iterator[Span]:
    """The messages of one datagram.

    Raises:
        DecodeError: ``TRUNCATED``.
    """
    offset, end = 0, len(buffer)
    while offset < end:
        if end - offset < HEADER_SIZE:
            raise _malformed(f"netlink: {end - offset} bytes where a header should be")
        length, kind, flags, sequence, _port = HEADER.unpack_from(buffer, offset)
        if length < HEADER_SIZE or offset + length > end:
            raise _malformed(f"netlink: a message of {length} bytes, {end - offset} left")
        yield kind, flags, sequence, offset + HEADER_SIZE, offset + length
        offset += (length + 3) & ~3


def attributes(buffer: bytes, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Type, start and end of the payload of each attribute in ``buffer[start:end]``.

    Raises:
        DecodeError: ``TRUNCATED``.
    """
    while end - start >= 4:
        length, kind = _ATTRIBUTE.unpack_from(buffer, start)
        if length < 4 or start + length > end:
            raise _malformed(f"netlink: an attribute of {length} bytes, {end - start} left")
        yield kind & _TYPE_MASK, start + 4, start + length
        start += (length + 3) & ~3


def attribute_map(buffer: bytes, start: int, end: int) -> dict[int, bytes]:
    """The attributes by type; of two of one type the last."""
    return {kind: buffer[first:last] for kind, first, last in attributes(buffer, start, end)}


def acknowledgement(buffer: bytes, flags: int, start: int, end: int) -> tuple[int, str]:
    """Errno (0: done) and the kernel's own words, if any, of an ERROR message or of the end of a dump.

    Raises:
        DecodeError: ``TRUNCATED``.
    """
    if end - start < 4:
        raise _malformed(f"netlink: an answer of {end - start} bytes")
    errno = -_ERRNO.unpack_from(buffer, start)[0]
    if not flags & _ACK_TLVS:
        return errno, ""
    offset = start + 4
    if end - offset >= HEADER_SIZE and flags & _CAPPED:
        offset += HEADER_SIZE
    elif end - offset >= HEADER_SIZE:
        offset += (HEADER.unpack_from(buffer, offset)[0] + 3) & ~3
    for kind, first, last in attributes(buffer, offset, end):
        if kind == _ERROR_MESSAGE:
            return errno, buffer[first:last].rstrip(b"\0").decode(errors="replace")
    return errno, ""


Path = tuple[int, ...]
"""Attribute types from the top down to a leaf."""

Leaf = tuple[Sequence[tuple[str, Path]], object]
"""One value to read: where it may be, best first, each with its ``struct`` letter (``s``: bytes of any
length), and what to say when it is nowhere."""

_MAX_LAYOUTS = 64
"""A family has a handful of shapes (one per length of a name); a forgotten one is learned again."""


class Layouts:
    """Reads messages of one kind into tuples: slowly once for each shape, then with one ``Struct``.

    The kernel lays equal kinds of object out equally, so the place of each
    value is learned from the first message of a length and reused for every
    message whose attribute headers are the same (compared with one mask, so
    a message of another shape is never misread). 5,000 realservers: 4 ms
    where a walk over the attributes takes 37.
    """

    def __init__(self, leaves: Sequence[Leaf], *, skip: int = 0) -> None:
        """What to read; ``skip``: bytes of fixed header before the first attribute."""
        self._leaves = leaves
        self._skip = skip
        self._known: dict[int, list[tuple[int, int, Struct, tuple[int, ...], tuple[object, ...]]]] = {}

    def read(self, buffer: bytes, start: int, end: int) -> tuple[object, ...]:
        """The values of one message, in the order of ``leaves``.

        Raises:
            DecodeError: ``TRUNCATED``.
        """
        length = end - start
        bits = int.from_bytes(buffer[start:end], "little")
        for mask, headers, layout, order, defaults in self._known.get(length, ()):
            if bits & mask == headers:
                values = layout.unpack_from(buffer, start) + defaults
                return tuple([values[i] for i in order])
        return self._learn(buffer, start, end, bits)

    def _learn(self, buffer: bytes, start: int, end: int, bits: int) -> tuple[object, ...]:
        places: dict[Path, tuple[int, int]] = {}
        mask = bytearray(end - start)
        nests = {path[:depth] for where, _ in self._leaves for _, path in where for depth in range(len(path))}

        def walk(prefix: Path, first: int, last: int) -> None:
            for kind, begin, stop in attributes(buffer, first, last):
                mask[begin - 4 - start : begin - start] = b"\xff\xff\xff\xff"
                path = (*prefix, kind)
                places[path] = (begin - start, stop - begin)
                if path in nests:
                    walk(path, begin, stop)

        walk((), start + self._skip, end)
        found: list[tuple[int, str, int]] = []
        defaults: list[object] = []
        order: list[int] = []
        for index, (alternatives, default) in enumerate(self._leaves):
            for letter, path in alternatives:
                begin, size = places.get(path, (0, -1))
                if size >= 0 and (letter == "s" or size == Struct("=" + letter).size):
                    found.append((begin, f"{size}s" if letter == "s" else letter, index))
                    order.append(index)
                    break
            else:
                order.append(-1 - len(defaults))
                defaults.append(default)
        found.sort()
        text, offset = "=", 0
        for place_start, letter, _ in found:
            text += f"{place_start - offset}x{letter}"
            offset = place_start + Struct("=" + letter).size
        layout = Struct(text)
        position = {index: at for at, (_, _, index) in enumerate(found)}
        indices = tuple(position[i] if i >= 0 else len(found) - 1 - i for i in order)
        mask_bits = int.from_bytes(mask, "little")
        if sum(map(len, self._known.values())) >= _MAX_LAYOUTS:
            self._known.clear()
        self._known.setdefault(end - start, []).append(
            (mask_bits, bits & mask_bits, layout, indices, tuple(defaults))
        )
        values = layout.unpack_from(buffer, start) + tuple(defaults)
        return tuple([values[i] for i in indices])
