"""A beat passes the bridge twice: what lies between is the director's."""

import struct
from pathlib import Path

from lvsha.io.capture import CaptureFile, CaptureWriter
from lvsha.lab.passage import beat, delays

MS = 1_000_000


def frame4(number: int, *, vip: bytes = b"\x0a\x00\x00\x0a", source: int = 1) -> bytes:
    ethernet = bytes(6) + bytes([2, 0, 0, 0, 0, source]) + b"\x08\x00"
    ip = b"\x45" + bytes(8) + b"\x11" + bytes(2) + b"\x0a\x00\x00\x64" + vip
    return ethernet + ip + struct.pack("!4H", 40_000, 8_000, 0, source) + b"%d" % number


def test_a_beat_is_known_again_whoever_sent_the_frame() -> None:
    assert beat(frame4(17, source=1)) == beat(frame4(17, source=2))
    assert beat(frame4(17)) != beat(frame4(18))
    assert beat(frame4(17)) != beat(frame4(17, vip=b"\x0a\x00\x00\x0b"))


def test_ipv6_has_its_address_and_number_elsewhere() -> None:
    ethernet = bytes(12) + b"\x86\xdd"
    vip = b"\xfd" + bytes(14) + b"\x0a"
    ip = b"\x60" + bytes(5) + b"\x11\x40" + bytes(16) + vip

    assert beat(ethernet + ip + bytes(8) + b"17") == vip + b"17"


def test_the_directors_part_is_told_from_the_clients() -> None:
    seen = [
        (0, b"0"),
        (1 * MS, b"0"),
        (10 * MS, b"1"),
        (12 * MS, b"1"),
        (60 * MS, b"2"),  # the client paused
        (65 * MS, b"3"),  # 2 was not passed on
        (90 * MS, b"3"),
        (500 * MS, b"4"),  # after the window
        (900 * MS, b"4"),
    ]

    assert delays(seen, 5 * MS, 100 * MS) == {
        "beats_seen": 3,
        "not_passed_on": 1,
        "director_delay_ms": 25.0,
        "client_pause_ms": 50.0,
    }
    assert delays([], 0, 1)["director_delay_ms"] is None


def test_a_recording_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "beats.pcap"
    with path.open("wb") as file:
        writer = CaptureWriter(file)
        writer.write(5 * MS, frame4(1))

    with path.open("rb") as file:
        assert [beat(frame.data) for frame in CaptureFile(file)] == [beat(frame4(1))]
