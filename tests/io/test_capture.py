"""Capture files of every kind give the same frames; what is written can be read."""

import contextlib
import gzip
import io
import itertools
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvsha.io.capture import (
    CaptureError,
    CaptureFile,
    CaptureWriter,
    Frame,
    PcapChunks,
    is_capture,
    open_input,
    pcap_part,
)

SECOND = 1_000_000_000
FRAMES = [
    Frame(17 * SECOND + number * 1_000, 1, bytes([number]) * (20 + number), 20 + number)
    for number in range(9)
]


def pcap(frames: list[Frame] = FRAMES) -> bytes:
    file = io.BytesIO()
    writer = CaptureWriter(file)
    for frame in frames:
        writer.write(frame.time_ns, frame.data, frame.length)
    return file.getvalue()


def block(order: str, kind: int, body: bytes) -> bytes:
    body += bytes(-len(body) % 4)
    total = struct.pack(order + "L", 12 + len(body))
    return struct.pack(order + "L", kind) + total + body + total


def pcapng(order: str, *, resolution: bytes = b"", scale: int = 1_000) -> bytes:
    options = struct.pack(order + "HH", 9, 1) + resolution + bytes(3) + bytes(4) if resolution else b""
    mark = struct.pack(order + "LHHq", 0x1A2B3C4D, 1, 0, -1)
    parts = [block(order, 0x0A0D0D0A, mark), block(order, 1, struct.pack(order + "HHL", 1, 0, 0) + options)]
    for frame in FRAMES:
        stamp = frame.time_ns // scale
        head = struct.pack(order + "5L", 0, stamp >> 32, stamp & 0xFFFF_FFFF, len(frame.data), frame.length)
        parts += [block(order, 6, head + frame.data + bytes(-len(frame.data) % 4)), block(order, 77, b"?")]
    return b"".join(parts)


def frames_of(data: bytes) -> list[Frame]:
    return list(CaptureFile(io.BytesIO(data)))


def test_what_is_written_is_read() -> None:
    assert frames_of(pcap()) == FRAMES


@pytest.mark.parametrize(
    ("magic", "order", "unit"),
    [(0xA1B2C3D4, "<", 1_000), (0xA1B2C3D4, ">", 1_000), (0xA1B23C4D, "<", 1), (0xA1B23C4D, ">", 1)],
)
def test_pcap_in_either_byte_order_and_unit(magic: int, order: str, unit: int) -> None:
    data = struct.pack(order + "LHHlLLL", magic, 2, 4, 0, 0, 65_535, 1)
    for frame in FRAMES:
        fraction = frame.time_ns % SECOND // unit
        head = struct.pack(order + "4L", frame.time_ns // SECOND, fraction, len(frame.data), frame.length)
        data += head + frame.data

    assert frames_of(data) == FRAMES


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("resolution", "scale"), [(b"", 1_000), (b"\x09", 1), (b"\x03", 1_000_000)])
def test_pcapng_in_either_byte_order_and_any_resolution(order: str, resolution: bytes, scale: int) -> None:
    expected = [frame._replace(time_ns=frame.time_ns // scale * scale) for frame in FRAMES]

    assert frames_of(pcapng(order, resolution=resolution, scale=scale)) == expected


def test_sections_of_either_byte_order_in_one_file() -> None:
    assert frames_of(pcapng("<") + pcapng(">")) == FRAMES * 2


def test_gzip_is_undone(tmp_path: Path) -> None:
    path = tmp_path / "sync.pcap.gz"
    path.write_bytes(gzip.compress(pcap()))

    with open_input(path) as file:
        assert list(CaptureFile(file)) == FRAMES


def test_a_gzip_file_that_is_cut_gives_what_it_holds(tmp_path: Path) -> None:
    path = tmp_path / "sync.pcap.gz"
    path.write_bytes(gzip.compress(pcap())[:-20])

    with open_input(path) as file:
        capture = CaptureFile(file)
        frames = list(capture)

    assert capture.is_cut
    assert frames == FRAMES[: len(frames)]


@pytest.mark.parametrize("keep", [3, 11])
def test_a_gzip_file_without_contents_is_refused(keep: int, tmp_path: Path) -> None:
    path = tmp_path / "sync.pcap.gz"
    path.write_bytes(gzip.compress(pcap())[:keep])

    with pytest.raises(CaptureError, match="cut"), open_input(path) as file:
        file.peek(64)  # type: ignore[attr-defined]  # it has one


def test_a_damaged_gzip_file_is_refused_and_never_a_traceback(tmp_path: Path) -> None:
    data = bytearray(gzip.compress(pcap(), mtime=0))
    data[20:30] = bytes(10)
    path = tmp_path / "sync.pcap.gz"
    path.write_bytes(data)

    with pytest.raises(CaptureError, match="damaged"), open_input(path) as file:
        list(CaptureFile(file))


def test_captures_are_told_from_other_files() -> None:
    assert is_capture(pcap())
    assert is_capture(pcapng(">"))
    assert not is_capture(b"0007002c")


@pytest.mark.parametrize("data", [pcap(), pcapng("<")], ids=["pcap", "pcapng"])
def test_a_file_cut_anywhere_gives_what_it_holds(data: bytes) -> None:
    for length in range(60, len(data)):
        capture = CaptureFile(io.BytesIO(data[:length]))
        whole = [frame for frame in capture if len(frame.data) == frame.length]
        assert whole == FRAMES[: len(whole)]
        assert capture.is_cut or length in (len(data), *ends_of_records(data))


def ends_of_records(data: bytes) -> list[int]:
    ends, at = [], 24
    if data[:4] == b"\x0a\x0d\x0d\x0a":
        at = 0
        while at < len(data):
            at += int.from_bytes(data[at + 4 : at + 8], "little")
            ends.append(at)
        return ends
    while at < len(data):
        at += 16 + int.from_bytes(data[at + 8 : at + 12], "little")
        ends.append(at)
    return ends


@pytest.mark.parametrize("data", [b"", b"GIF89a", b"\xd4\xc3\xb2\xa1\0\0"])
def test_anything_else_is_refused_in_one_line(data: bytes) -> None:
    with pytest.raises(CaptureError, match="not a capture") as refused:
        frames_of(data)

    assert "\n" not in str(refused.value)


def test_a_length_that_cannot_be_is_damage() -> None:
    damaged = pcap()[:24] + struct.pack("<4L", 1, 1, 1 << 30, 1 << 30) + bytes(100)

    with pytest.raises(CaptureError, match="damaged"):
        frames_of(damaged)


@pytest.mark.parametrize("chunk", [1, 60, 100, 10_000])
@pytest.mark.parametrize("overlap", [0, 40, 1_000])
def test_parts_together_are_the_whole(chunk: int, overlap: int) -> None:
    data = pcap()
    parts = list(PcapChunks(data, chunk, overlap))

    assert [frame for _, start, end in parts for frame in pcap_part(data, start, end)] == FRAMES
    for (_, _, end), (before, start, _) in itertools.pairwise(parts):
        assert start == end
        assert 24 <= before <= start
        assert all(frame in FRAMES for frame in pcap_part(data, before, start))


@given(st.binary(max_size=300), st.sampled_from([pcap()[:24], pcapng("<")[:60], pcapng(">")[:60], b""]))
def test_any_bytes_are_frames_or_a_capture_error(data: bytes, head: bytes) -> None:
    with contextlib.suppress(CaptureError):
        frames_of(head + data)
