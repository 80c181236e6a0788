"""Capture files: pcap and pcapng, read and written without help.

Reading yields frames as they were captured. It needs no more memory than one frame,
works on pipes, and takes a file that ends in the middle of a record for what it
holds: captures are cut when the machine they describe goes down.

Formats: draft-ietf-opsawg-pcap, draft-ietf-opsawg-pcapng.
"""

import contextlib
import gzip
import io
import mmap
import struct
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

from lvsha.core.errors import LvshaError

ETHERNET: Final = 1
RAW_IP: Final = 101
LINUX_COOKED: Final = 113

PCAP_HEADER_SIZE: Final = 24
RECORD_SIZE: Final = 16
"""Before each frame of a pcap file: seconds, fraction, captured and true length, in the file's byte order."""
MAX_FRAME: Final = 1 << 20
"""A record that claims more is not believed: the longest datagram has 65,535 bytes."""
READ_AHEAD: Final = 1 << 18

_PCAP_MAGIC: Final = {
    b"\xa1\xb2\xc3\xd4": (">", 1_000),
    b"\xd4\xc3\xb2\xa1": ("<", 1_000),
    b"\xa1\xb2\x3c\x4d": (">", 1),
    b"\x4d\x3c\xb2\xa1": ("<", 1),
}
"""Byte order, and nanoseconds in a unit of the second time field."""
_PCAPNG_MAGIC: Final = b"\x0a\x0d\x0d\x0a"
_GZIP_MAGIC: Final = b"\x1f\x8b"

_SECTION_HEADER: Final = 0x0A0D0D0A
_INTERFACE: Final = 1
_OLD_PACKET: Final = 2
_SIMPLE_PACKET: Final = 3
_ENHANCED_PACKET: Final = 6
_OPTION_TSRESOL: Final = 9
_OPTION_TSOFFSET: Final = 14


class CaptureError(LvshaError):
    """A file is no capture, or its insides contradict themselves. The text says what to do."""


class Frame(NamedTuple):
    """One captured frame."""

    time_ns: int
    """Since 1970; 0 where the file does not say."""
    link: int
    """What ``data`` begins with: a LINKTYPE_ number."""
    data: bytes
    length: int
    """On the wire; more than ``len(data)`` if the capture cut it."""


class CaptureFile:
    """Iterate over it for its frames.

    Raises (while iterating):
        CaptureError: not a capture, or a record that cannot be.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.is_cut = False
        """The file ended in the middle of a record."""
        self.bytes_read = 0

    def __iter__(self) -> Iterator[Frame]:
        try:
            with _gzip_errors():
                yield from self._frames()
        except EOFError:  # gzip that ends too soon: what could be undone has been read
            self.is_cut = True

    def _frames(self) -> Iterator[Frame]:
        magic = self._file.read(4)
        if magic in _PCAP_MAGIC:
            return self._pcap(*_PCAP_MAGIC[magic])
        if magic == _PCAPNG_MAGIC:
            return self._pcapng()
        raise CaptureError(
            f"not a capture: it begins with {magic.hex() or 'nothing'}; "
            "wanted is pcap or pcapng, as tcpdump -w writes it"
        )

    def _pcap(self, order: str, unit_ns: int) -> Iterator[Frame]:
        head = self._file.read(20)
        if len(head) < 20:
            raise CaptureError("not a capture: the header of the file is cut")
        link = struct.unpack_from(order + "L", head, 16)[0] & 0x0FFF_FFFF
        record = struct.Struct(order + "4L")
        unpack, read, size = record.unpack, self._file.read, record.size
        consumed = 24
        while header := read(size):
            if len(header) < size:
                self.is_cut = True
                return
            seconds, fraction, captured, length = unpack(header)
            if captured > MAX_FRAME:
                raise CaptureError(
                    f"a frame of {captured} bytes at byte {consumed}: the file is damaged there"
                )
            data = read(captured)
            consumed += size + captured
            self.bytes_read = consumed
            if len(data) < captured:
                self.is_cut = True
                if not data:
                    return
            yield Frame(seconds * 1_000_000_000 + fraction * unit_ns, link, data, length)

    def _pcapng(self) -> Iterator[Frame]:
        order = "<"
        interfaces: list[tuple[int, int, Callable[[int], int]]] = []
        kind_bytes = _PCAPNG_MAGIC
        consumed = 0
        while True:
            total_bytes = self._file.read(4)
            if len(total_bytes) < 4:
                self.is_cut = True
                return
            if kind_bytes == _PCAPNG_MAGIC:
                # The section's own byte order comes after the length that needs it.
                order_mark = self._file.read(4)
                order = ">" if order_mark == b"\x1a\x2b\x3c\x4d" else "<"
                interfaces = []
                already = 12
            else:
                already = 8
            kind = struct.unpack(order + "L", kind_bytes)[0]
            total = struct.unpack(order + "L", total_bytes)[0]
            if total < already + 4 or total % 4 or total > MAX_FRAME + 4096:
                raise CaptureError(f"a block of {total} bytes at byte {consumed}: the file is damaged there")
            body = self._file.read(total - already)
            consumed += total
            self.bytes_read = consumed
            if len(body) < total - already:
                self.is_cut = True
                return
            if kind == _ENHANCED_PACKET:
                yield from _enhanced_packet(body, order, interfaces)
            elif kind == _INTERFACE:
                interfaces.append(_interface(body, order))
            elif kind in (_SIMPLE_PACKET, _OLD_PACKET):
                yield from _older_packet(kind, body, order, interfaces)
            kind_bytes = self._file.read(4)
            if len(kind_bytes) < 4:
                self.is_cut = bool(kind_bytes)
                return


class PcapChunks:
    """A pcap file, as it lies in memory, in parts that can be read on their own.

    Each is (where to begin to read, where the part begins, where it ends), all at the
    beginning of a record: reading begins up to ``overlap`` bytes before the part, for
    fragments of datagrams that end in it.

    Raises (while iterating):
        CaptureError: as iterating over a ``CaptureFile``.
    """

    def __init__(self, data: bytes | mmap.mmap, chunk_size: int, overlap: int) -> None:
        self._data = data
        self._chunk_size = chunk_size
        self._overlap = overlap
        self.is_cut = False
        """The file ends in the middle of a record."""

    def __iter__(self) -> Iterator[tuple[int, int, int]]:
        order, _, _ = pcap_form(self._data)
        chunk_size, overlap = self._chunk_size, self._overlap
        captured_length = struct.Struct(order + "L").unpack_from
        at = before = start = next_before = PCAP_HEADER_SIZE
        until, remember = start + chunk_size, start + chunk_size - overlap
        with memoryview(self._data) as view:
            size = len(view)
            while at + RECORD_SIZE <= size:
                (captured,) = captured_length(view, at + 8)
                if captured > MAX_FRAME:
                    if at > start:
                        yield before, start, at
                    raise CaptureError(f"a frame of {captured} bytes at byte {at}: the file is damaged there")
                at += RECORD_SIZE + captured
                if at >= remember:
                    if next_before <= start:
                        next_before = at
                    if at >= until and at < size:
                        yield before, start, at
                        before, start, next_before = next_before, at, at
                        until, remember = start + chunk_size, start + chunk_size - overlap
        self.is_cut = at != size
        yield before, start, size


def pcap_form(data: bytes | mmap.mmap) -> tuple[str, int, int]:
    """Byte order, nanoseconds in a unit of the second time field, and link type of a pcap file."""
    order, unit_ns = _PCAP_MAGIC[data[:4]]
    return order, unit_ns, struct.unpack_from(order + "L", data, 20)[0] & 0x0FFF_FFFF


def pcap_records(block: bytes, order: str) -> list[int]:
    """Where each record begins in a block that begins with one; the last may be cut."""
    captured_length = struct.Struct(order + "L").unpack_from
    records, at, last = [], 0, len(block) - RECORD_SIZE
    while at <= last:
        records.append(at)
        at += RECORD_SIZE + captured_length(block, at + 8)[0]
    return records


def pcap_part(data: bytes | mmap.mmap, start: int, end: int) -> Iterator[Frame]:
    """The frames of such a part; the last frame of the file may be cut."""
    order, unit_ns, link = pcap_form(data)
    header = struct.Struct(order + "4L").unpack_from
    while start + 16 <= end:
        seconds, fraction, captured, length = header(data, start)
        stop = start + 16 + captured
        yield Frame(
            seconds * 1_000_000_000 + fraction * unit_ns, link, data[start + 16 : min(stop, end)], length
        )
        start = stop


def _enhanced_packet(
    body: bytes, order: str, interfaces: list[tuple[int, int, Callable[[int], int]]]
) -> Iterator[Frame]:
    if len(body) < 24:
        return
    interface, high, low, captured, length = struct.unpack_from(order + "5L", body)
    if interface < len(interfaces):
        link, _, to_ns = interfaces[interface]
        yield Frame(to_ns(high << 32 | low), link, body[20 : 20 + captured], length)


def _older_packet(
    kind: int, body: bytes, order: str, interfaces: list[tuple[int, int, Callable[[int], int]]]
) -> Iterator[Frame]:
    if kind == _SIMPLE_PACKET and interfaces and len(body) >= 8:
        link, snaplen, _ = interfaces[0]
        length = struct.unpack_from(order + "L", body)[0]
        captured = min(length, snaplen or length)
        yield Frame(0, link, body[4 : 4 + captured], length)
    elif kind == _OLD_PACKET and len(body) >= 24:
        interface, _, high, low, captured, length = struct.unpack_from(order + "HH4L", body)
        if interface < len(interfaces):
            link, _, to_ns = interfaces[interface]
            yield Frame(to_ns(high << 32 | low), link, body[20 : 20 + captured], length)


def _interface(body: bytes, order: str) -> tuple[int, int, Callable[[int], int]]:
    """Link type, snap length, and what turns the interface's time stamps into nanoseconds."""
    if len(body) < 12:
        raise CaptureError("an interface block is cut: the file is damaged")
    link, _, snaplen = struct.unpack_from(order + "HHL", body)
    resolution, offset_s = 6, 0
    at = 8
    while at + 4 <= len(body) - 4:
        code, length = struct.unpack_from(order + "HH", body, at)
        value = body[at + 4 : at + 4 + length]
        if code == _OPTION_TSRESOL and length == 1:
            resolution = value[0]
        elif code == _OPTION_TSOFFSET and length == 8:
            offset_s = struct.unpack(order + "q", value)[0]
        elif code == 0:
            break
        at += 4 + (length + 3 & ~3)
    units = 1 << (resolution & 0x7F) if resolution & 0x80 else 10**resolution
    offset_ns = offset_s * 1_000_000_000
    return link, snaplen, lambda stamp: stamp * 1_000_000_000 // units + offset_ns


@contextmanager
def open_input(path: Path | None) -> Iterator[BinaryIO]:
    """A file with a ``peek``, gzip undone; None: standard input.

    Raises:
        OSError: it cannot be read.
        CaptureError: also while it is read: gzip that cannot be undone.
    """
    with contextlib.ExitStack() as stack, _gzip_errors(), _cut_gzip():
        if path is None:
            file: io.BufferedReader = sys.stdin.buffer  # type: ignore[assignment]  # it is one
        else:
            file = stack.enter_context(io.BufferedReader(path.open("rb", buffering=0), READ_AHEAD))
        if file.peek(2)[:2] == _GZIP_MAGIC:
            yield stack.enter_context(gzip.GzipFile(fileobj=file))  # type: ignore[misc]  # reads as one
        else:
            yield file


@contextmanager
def _gzip_errors() -> Iterator[None]:
    try:
        yield
    except (zlib.error, gzip.BadGzipFile) as error:
        raise CaptureError(f"the gzip file is damaged: {str(error).rpartition(': ')[2]}") from None


@contextmanager
def _cut_gzip() -> Iterator[None]:
    try:
        yield
    except EOFError:
        raise CaptureError("the gzip file is cut before anything could be read of it") from None


def is_pcap(head: bytes) -> bool:
    """Whether a file that begins so is pcap; pcapng cannot be cut into parts."""
    return head[:4] in _PCAP_MAGIC


def is_capture(head: bytes) -> bool:
    """Whether a file that begins so is pcap or pcapng."""
    return is_pcap(head) or head[:4] == _PCAPNG_MAGIC


class CaptureWriter:
    """Writes pcap with nanoseconds, which every reader knows."""

    def __init__(self, file: BinaryIO, *, link: int = ETHERNET, snaplen: int = 262_144) -> None:
        self._file = file
        file.write(struct.pack("<LHHlLLL", 0xA1B23C4D, 2, 4, 0, 0, snaplen, link))

    def write(self, time_ns: int, data: bytes, length: int | None = None) -> None:
        """One frame; ``length``: on the wire, if ``data`` is not all of it."""
        seconds, fraction = divmod(time_ns, 1_000_000_000)
        self._file.write(struct.pack("<4L", seconds, fraction, len(data), length or len(data)))
        self._file.write(data)

    def flush(self) -> None:
        self._file.flush()
