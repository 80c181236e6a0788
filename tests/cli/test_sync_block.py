"""Captures by NumPy: byte for byte what goes through records, whatever is in the frames."""

import random
import struct
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lvsha.cli import main as lvsha
from lvsha.cli import sync_decode, sync_decoder
from lvsha.cli.sync_block import BlockDecoder
from lvsha.cli.sync_decoder import Decoder, Outcome
from lvsha.io.capture import ETHERNET, LINUX_COOKED, RAW_IP, pcap_form, pcap_part
from lvsha.wire.ipvs_sync.message import encode_message
from lvsha.wire.ipvs_sync.records import SyncConn
from tests.cli.sync_captures import CLOSING, MARKED, OTHER, TEMPLATE, WEB, frame, message, write_capture
from tests.conformance.ipvs_sync_vectors import load_vectors
from tests.conformance.sync_mutations import mutated
from tests.wire.frames import ethernet, ipv4, ipv6, udp

BASES = [vector.data for vector in load_vectors() if 4 <= len(vector.data) < 1500]
HEADER = {ETHERNET: b"", LINUX_COOKED: bytes(14) + b"\x08\x00", RAW_IP: b""}


class Lines:
    def __init__(self) -> None:
        self.text = b""

    def write(self, lines: bytes | memoryview) -> None:
        self.text += lines


def capture_of(records: list[tuple[int, int, bytes, int]], *, magic: bytes, link: int) -> bytes:
    """A pcap file of (seconds, fraction, frame, bytes of it that were not captured)."""
    order = ">" if magic[0] == 0xA1 else "<"
    head = magic + struct.pack(order + "HHlLLL", 2, 4, 0, 0, 65_535, link)
    return head + b"".join(
        struct.pack(order + "4L", seconds, fraction, len(data), len(data) + missing) + data
        for seconds, fraction, data, missing in records
    )


def both_ways(capture: bytes, *options: str) -> tuple[tuple[bytes, Outcome], tuple[bytes, Outcome]]:
    """Lines and figures, by NumPy and without."""
    arguments = sync_decode.parser().parse_args(["--json", *options, "-"])
    quick, slow = Lines(), Lines()
    quick_decoder, slow_decoder = Decoder(arguments, quick), Decoder(arguments, slow)
    BlockDecoder(quick_decoder, pcap_form(capture), arguments, quick).read(b"", capture[24:])
    for each in pcap_part(capture, 24, len(capture)):
        slow_decoder.read(each)
    return (quick.text, quick_decoder.outcome), (slow.text, slow_decoder.outcome)


def any_conn(dice: random.Random) -> SyncConn:
    """An IPv4 entry with numbers from all over their ranges, mostly one that is installed."""
    base = dice.choice((WEB, WEB, WEB, CLOSING, TEMPLATE))
    small = dice.choice((1, 8, 16))
    return base._replace(
        protocol=dice.choice((6, 6, 6, 17, 132, 50, 51, 0, 255)),
        flags=base.flags | dice.choice((0, 3, 0x80, 0x180, 0x10000, 0x3FFFF, dice.getrandbits(32))),
        state=dice.choice((0, 0, 1, 1, 7, 10, 13, 200, 300)),
        cport=dice.getrandbits(small),
        vport=dice.getrandbits(small),
        dport=dice.getrandbits(16),
        fwmark=dice.choice((0, 0, 5, 70_000)),
        timeout=dice.choice((900, 900, 0, 86_400, 1 << 20)),
        caddr=dice.choice((bytes(4), b"\xff" * 4, dice.randbytes(4))),
        vaddr=dice.randbytes(4),
        daddr=dice.randbytes(4),
    )


def any_message(dice: random.Random) -> bytes:
    kind = dice.randrange(8)
    if kind == 0:
        return mutated(dice, dice.choice(BASES), dice.getrandbits(16))
    if kind == 1:
        plain = [WEB._replace(timeout=0, cport=dice.getrandbits(16)), CLOSING._replace(timeout=0)]
        return encode_message(dice.getrandbits(8), plain * dice.randrange(1, 20), version=0)
    if kind == 2:
        return message(any_conn(dice), *dice.choices((OTHER, MARKED, WEB), k=3))
    return message(*(any_conn(dice) for _ in range(dice.choice((1, 2, 40)))), syncid=dice.randrange(256))


def any_frames(dice: random.Random, link: int) -> list[bytes]:
    """What carries a message: nearly always one plain frame."""
    body = udp(any_message(dice), port=dice.choice((8848, 8848, 8848, 8850, 53)))
    kind = dice.randrange(12)
    packets = [ipv4(body)]
    if kind == 0:
        packets = [ipv6(body)]
    elif kind == 1 and len(body) > 32:
        number = dice.getrandbits(16)
        packets = [ipv4(body[:16], identification=number, more=True)]
        packets.append(ipv4(body[16:], identification=number, offset=16))
    elif kind == 2:
        packets = [packets[0] + bytes(dice.randrange(9))]
    elif kind == 3:
        packets = [packets[0][: dice.randrange(len(packets[0]))]]
    elif kind == 4:
        spoiled = bytearray(packets[0])
        spoiled[dice.randrange(28)] ^= 1 << dice.randrange(8)
        packets = [bytes(spoiled)]
    if link != ETHERNET:
        return [HEADER[link] + packet for packet in packets]
    tags = (0x8100,) if kind == 5 else ()
    return [ethernet(packet, *tags) if packet else b"" for packet in packets]


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    magic=st.sampled_from([b"\xa1\xb2\xc3\xd4", b"\xd4\xc3\xb2\xa1", b"\x4d\x3c\xb2\xa1"]),
    link=st.sampled_from([ETHERNET, ETHERNET, LINUX_COOKED, RAW_IP]),
    options=st.sampled_from([[], [], ["--maxlen", "200"], ["--port", "53", "--port", "8848"]]),
    cut=st.integers(0, 40),
)
def test_any_capture_reads_the_same(seed: int, magic: bytes, link: int, options: list[str], cut: int) -> None:
    dice = random.Random(seed)
    records = [
        (
            dice.getrandbits(32),
            dice.choice((0, 999_999, 1_000_000, 123_456_789)),
            data,
            dice.choice((0, 0, 0, 9)),
        )
        for _ in range(25)
        for data in any_frames(dice, link)
    ]
    capture = capture_of(records, magic=magic, link=link)

    quick, slow = both_ways(capture[: len(capture) - cut], *options)

    assert quick == slow


@pytest.mark.parametrize("link", [ETHERNET, LINUX_COOKED])
@pytest.mark.parametrize("version", [0, 1])
def test_plain_messages_are_taken_by_columns(
    monkeypatch: pytest.MonkeyPatch, link: int, version: int
) -> None:
    """None of them goes the slow way, which would make the test above true of anything."""
    dice = random.Random(1)
    plain = [
        WEB._replace(cport=number, caddr=dice.randbytes(4), timeout=900 * version) for number in range(40)
    ]
    packet = ipv4(udp(encode_message(7, [*plain, CLOSING._replace(timeout=0)], version=version)))  # type: ignore[arg-type]
    data = ethernet(packet) if link == ETHERNET else HEADER[link] + packet
    capture = capture_of([(1, 2, data, 0)] * 3, magic=b"\xd4\xc3\xb2\xa1", link=link)
    _, slow = both_ways(capture)
    monkeypatch.setattr(Decoder, "read", lambda *_: pytest.fail("it went the slow way"))
    monkeypatch.setattr("tests.cli.test_sync_block.pcap_part", lambda *_: ())

    quick, _ = both_ways(capture)

    assert quick == slow
    assert quick[1].messages == 3


def test_the_shortest_line_is_not_run_over() -> None:
    """Each text is copied as wide as its table is; the texts behind it must reach as far."""
    least = WEB._replace(
        flags=0, cport=0, vport=0, dport=0, timeout=0, caddr=bytes(4), vaddr=bytes(4), daddr=bytes(4), state=0
    )
    most = CLOSING._replace(
        flags=0x10181, cport=65_535, timeout=99_999, fwmark=60_000, caddr=b"\xff" * 4, daddr=b"\xff" * 4
    )
    frames = [(1, 2, frame(message(least, most, least, least)), 0), (1, 2, frame(message(least)), 0)]

    quick, slow = both_ways(capture_of(frames, magic=b"\xd4\xc3\xb2\xa1", link=ETHERNET))

    assert quick == slow


def test_a_file_without_numpy_gives_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    path = write_capture(tmp_path / "sync.pcap", [frame(message(WEB, CLOSING)), frame(message(OTHER))] * 20)
    monkeypatch.setattr(sync_decoder, "SHARE_FROM", 0)
    monkeypatch.setattr(sync_decoder, "CHUNK", 700)
    answers = []
    for jobs in ("1", "2"):
        for module in (sys.modules["lvsha.cli.sync_block"], None):
            monkeypatch.setitem(sys.modules, "lvsha.cli.sync_block", module)
            status = lvsha.main(["sync", "decode", "--json", "--jobs", jobs, str(path)])
            answers.append((status, *capfdbinary.readouterr()))

    assert answers[0][1].count(b"\n") == 60
    assert answers == answers[:1] * 4


@pytest.mark.parametrize("missing", [3, 70])
def test_a_file_that_ends_in_a_record_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes], missing: int
) -> None:
    path = write_capture(tmp_path / "sync.pcap", [frame(message(WEB))] * 9)
    path.write_bytes(path.read_bytes()[:-missing])
    monkeypatch.setattr(sync_decoder, "SHARE_FROM", 0)

    lvsha.main(["sync", "decode", "--json", str(path)])

    out, err = capfdbinary.readouterr()
    assert out.count(b"\n") >= 8
    assert b"ends in the middle of a record" in err


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_what_comes_before_damage_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes], jobs: str
) -> None:
    path = write_capture(tmp_path / "sync.pcap", [frame(message(WEB))] * 9)
    data = bytearray(path.read_bytes())
    record = 16 + len(frame(message(WEB)))
    struct.pack_into("<L", data, 24 + 7 * record + 8, 1 << 30)
    path.write_bytes(data)
    monkeypatch.setattr(sync_decoder, "SHARE_FROM", 0)
    monkeypatch.setattr(sync_decoder, "CHUNK", 3 * record)

    status = lvsha.main(["sync", "decode", "--json", "--jobs", jobs, str(path)])

    out, err = capfdbinary.readouterr()
    assert (status, out.count(b"\n")) == (1, 7)
    assert b"the file is damaged there" in err
    assert err.count(b"\n") == 1
