"""``lvsha sync decode``: what it shows, leaves out and complains about."""

import io
import json
import os
import sys
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from lvsha.cli import main as lvsha
from lvsha.cli import sync_decoder
from lvsha.wire.ipvs_sync.names import flag_names
from lvsha.wire.ipvs_sync.options import SequenceData, SequenceDelta
from lvsha.wire.ipvs_sync.records import SyncConn
from tests.cli.sync_captures import (
    BAD_STATE,
    CLOSING,
    MARKED,
    OTHER,
    START_NS,
    TEMPLATE,
    WEB,
    frame,
    message,
    write_capture,
)
from tests.wire.frames import ethernet, ipv4, ipv6, udp

ENTRIES = (WEB, CLOSING, TEMPLATE, OTHER, MARKED)
KEYS = {*SyncConn._fields, "version", "syncid", "seq", "pe_name", "pe_data"} - {"options"}
"""The contract: checks outside this repository read these."""

Run = Callable[..., tuple[int, list[Any], str]]


@pytest.fixture
def decode(capfdbinary: pytest.CaptureFixture[bytes]) -> Run:
    """Runs it: status, decoded lines of output, standard error."""

    def run(*argv: object, text: bool = False) -> tuple[int, list[Any], str]:
        arguments = ["sync", "decode", *map(str, argv), *([] if text else ["--json"])]
        status = lvsha.main(arguments)
        out, err = capfdbinary.readouterr()
        lines = out.decode().splitlines()
        return status, lines if text else [json.loads(line) for line in lines], err.decode()

    return run


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    """One message of one entry each."""
    return write_capture(tmp_path / "sync.pcap", (frame(message(entry)) for entry in ENTRIES))


def test_every_field_of_an_entry(decode: Run, tmp_path: Path) -> None:
    sequence = SequenceData(SequenceDelta(1, 2, 3), SequenceDelta(4, 5, 6))
    conn = SyncConn.build(
        protocol=6,
        client=(ip_address("192.0.2.1"), 1),
        virtual=(ip_address("10.0.0.10"), 2),
        destination=(ip_address("10.1.0.1"), 3),
        state=1,
        flags=0x1600,
        timeout=900,
        fwmark=5,
        sequence=sequence,
        pe_name=b"sip",
        pe_data=b"call 1",
    )
    path = write_capture(tmp_path / "one.pcap", [frame(message(conn, syncid=9))])

    status, (entry,), err = decode(path)

    assert (status, err) == (0, "")
    assert entry == {
        "time": START_NS / 1e9,
        "source": "10.0.0.1",
        "port": 8848,
        "version": 1,
        "syncid": 9,
        "type": 0,
        "protocol": 6,
        "protocol_name": "TCP",
        "state": 1,
        "state_name": "ASSURED",
        "flags": 0x1600,
        "flag_names": list(flag_names(0x1600)),
        "caddr": "192.0.2.1",
        "cport": 1,
        "vaddr": "10.0.0.10",
        "vport": 2,
        "daddr": "10.1.0.1",
        "dport": 3,
        "fwmark": 5,
        "timeout": 900,
        "seq": {
            "in": {"init_seq": 1, "delta": 2, "previous_delta": 3},
            "out": {"init_seq": 4, "delta": 5, "previous_delta": 6},
        },
        "pe_name": "sip",
        "pe_data": "call 1",
    }


def test_the_fast_path_prints_what_the_slow_one_does(decode: Run, tmp_path: Path) -> None:
    """A message all alike is printed by columns; a filter that lets all pass makes it go the other way."""
    path = write_capture(
        tmp_path / "alike.pcap",
        [frame(message(WEB, CLOSING, TEMPLATE)), frame(message(OTHER, OTHER._replace(cport=1)))],
    )

    _, fast, _ = decode(path)
    _, slow, _ = decode(path, "--where", "fwmark=0")

    assert [list(entry) for entry in fast] == [list(entry) for entry in slow]
    assert fast == slow
    assert set(fast[0]) >= KEYS


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        (["--vip", "10.0.0.10"], [WEB, CLOSING, TEMPLATE]),
        (["--vip", "[fd00::100]:53"], [OTHER]),
        (["--vip", "10.0.0.10:81"], []),
        (["--rs", "10.1.0.2"], [MARKED]),
        (["--rs", "10.1.0.1:8080"], [WEB, CLOSING, TEMPLATE]),
        (["--client", "192.0.2.1:40002"], [CLOSING]),
        (["--follow", "192.0.2.1:40001"], [WEB, TEMPLATE]),
        (["--syncid", "8"], []),
        (["--syncid", "7"], list(ENTRIES)),
        (["--state", "fin_wait"], [CLOSING]),
        (["--state", "assured"], [TEMPLATE, MARKED]),
        (["--protocol", "udp"], [OTHER]),
        (["--template"], [TEMPLATE, MARKED]),
        (["--template", "--protocol", "TCP"], [TEMPLATE]),
        (["--where", "timeout=120"], [CLOSING]),
        (["--where", "pe_name=sip"], [MARKED]),
        (["--where", "daddr=fd00:9:0::1"], [OTHER]),
        (["--where", "syncid=7", "--where", "version=1"], list(ENTRIES)),
        (["--where", "version=0"], []),
        (["--where", "source=10.0.0.1", "--where", "port=8848", "--state", "fin_wait"], [CLOSING]),
        (["--where", "source=10.0.0.2"], []),
        (["--errors"], []),
    ],
    ids=lambda value: " ".join(value) if value and isinstance(value[0], str) else "",
)
def test_filters(decode: Run, capture: Path, options: list[str], wanted: list[SyncConn]) -> None:
    status, entries, _ = decode(capture, *options)

    assert [(entry["caddr"], entry["cport"]) for entry in entries] == [
        (str(conn.client), conn.cport) for conn in wanted
    ]
    assert status == 0


def test_an_error_is_shown_where_it_is_and_decoding_goes_on(decode: Run, tmp_path: Path) -> None:
    path = write_capture(
        tmp_path / "bad.pcap", [frame(message(WEB, BAD_STATE, CLOSING)), frame(message(WEB)[:-1])]
    )

    status, entries, _ = decode(path)

    assert status == 1
    assert [(entry.get("cport"), entry.get("error")) for entry in entries] == [
        (40_001, None),
        (40_003, "bad_state"),
        (40_002, None),
        (None, "bad_message_size"),
        (None, "entry_truncated"),
    ]
    assert (entries[1]["loses"], entries[1]["entry"], entries[1]["offset"]) == ("entry", 1, 52)


def test_errors_alone(decode: Run, tmp_path: Path) -> None:
    path = write_capture(tmp_path / "bad.pcap", [frame(message(WEB, BAD_STATE, CLOSING))])

    _, entries, _ = decode(path, "--errors")

    assert [entry["error"] for entry in entries] == ["bad_state"]


def test_the_receivers_maxlen_decides(decode: Run, capture: Path) -> None:
    status, entries, _ = decode(capture, "--maxlen", "60")

    assert status == 1
    assert "bad_message_size" in [entry.get("error") for entry in entries]


def test_text_says_the_same_in_columns(decode: Run, capture: Path) -> None:
    status, (heading, *lines), _ = decode(capture, text=True)

    assert status == 0
    assert heading.split()[:3] == ["TIME", "(UTC)", "FROM"]
    assert " ".join(lines[0].split()) == (
        "10:34:21.000000 10.0.0.1 id 7 v1 TCP 192.0.2.1:40001 10.0.0.10:80 10.1.0.1:8080 ESTABLISHED 900 MASQ"
    )
    assert "[fd00::1]:53000" in lines[3]
    assert "fwmark 5" in lines[4]
    assert "sip=call\\xff1" in lines[4]


def test_a_bad_entry_in_text_says_what_it_costs(decode: Run, tmp_path: Path) -> None:
    path = write_capture(tmp_path / "bad.pcap", [frame(message(BAD_STATE))])

    _, (_, line), _ = decode(path, text=True)

    assert line.endswith("! entry 0 at byte 16: bad_state (TCP state 77): loses this entry")


@pytest.mark.parametrize(
    "data",
    [
        ethernet(ipv4(udp(message(WEB))), 0x8100),
        ethernet(ipv6(udp(message(WEB)))),
        ethernet(ipv4(udp(message(WEB), port=8850))),
    ],
    ids=["vlan", "ipv6-group", "another-sync-port"],
)
def test_whatever_carries_it(decode: Run, tmp_path: Path, data: bytes) -> None:
    status, entries, _ = decode(write_capture(tmp_path / "one.pcap", [data]))

    assert (status, len(entries)) == (0, 1)


def test_fragments_are_put_together(decode: Run, tmp_path: Path) -> None:
    body = udp(message(*[WEB] * 40))
    pieces = [(0, True), (800, False)]
    frames = [ethernet(ipv4(body[start : start + 800], offset=start, more=more)) for start, more in pieces]

    status, entries, _ = decode(write_capture(tmp_path / "cut.pcap", frames))

    assert (status, len(entries)) == (0, 40)


def test_a_port_that_nobody_named_is_not_looked_at(decode: Run, tmp_path: Path) -> None:
    path = write_capture(tmp_path / "far.pcap", [frame(message(WEB), port=9000)])

    status, entries, err = decode(path)

    assert (status, entries) == (1, [])
    assert err == "lvsha sync decode: no sync message found (UDP ports 8848-8911); --port names others\n"
    assert decode(path, "--port", "9000-9001")[0] == 0


@pytest.mark.parametrize(
    "text", ["{}", "# from a log\n{}\n\n", "{}".upper()], ids=["bare", "comment", "upper case"]
)
def test_hex_in_a_file(decode: Run, tmp_path: Path, text: str) -> None:
    path = tmp_path / "sync.hex"
    path.write_text(text.format(message(WEB).hex()))

    status, entries, _ = decode(path)

    assert (status, [entry["cport"] for entry in entries]) == (0, [40_001])


def test_hex_on_the_command_line(decode: Run) -> None:
    status, entries, _ = decode(message(WEB, syncid=3).hex())

    assert (status, entries[0]["syncid"], entries[0]["cport"]) == (0, 3, 40_001)


def test_standard_input(decode: Run, capture: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(capture.read_bytes()))))

    status, entries, _ = decode("-")

    assert (status, len(entries)) == (0, len(ENTRIES))


def test_several_processes_print_what_one_prints(
    decode: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = udp(message(*[WEB._replace(cport=1)] * 40))
    frames = [frame(message(WEB._replace(cport=number + 2))) for number in range(50)]
    # A datagram whose fragments lie on both sides of a cut.
    frames[20:20] = [ethernet(ipv4(body[:800], offset=0, more=True))]
    frames[24:24] = [ethernet(ipv4(body[800:], offset=800))]
    frames[30:30] = [frame(message(BAD_STATE))]
    path = write_capture(tmp_path / "long.pcap", frames)
    alone = decode(path, "--jobs", "1")
    monkeypatch.setattr(sync_decoder, "SHARE_FROM", 0)
    monkeypatch.setattr(sync_decoder, "CHUNK", 700)
    monkeypatch.setattr(sync_decoder, "OVERLAP", 6_000)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})

    together = decode(path, "--jobs", "3")

    assert len(alone[1]) == 91
    assert together == alone


def test_a_summary(decode: Run, capture: Path) -> None:
    status, (data,), _ = decode(capture, "--summary")

    assert status == 0
    assert (data["messages"], data["entries"], data["lost_entries"]) == (5, 5, 0)
    assert [sender["source"] for sender in data["senders"]] == ["10.0.0.1"]
    assert {service["service"] for service in data["services"]} == {
        "TCP 10.0.0.10:80",
        "UDP [fd00::100]:53",
        "fwmark 5",
    }


def test_a_summary_as_a_page(decode: Run, capture: Path) -> None:
    _, lines, _ = decode(capture, "--summary", text=True)

    assert lines[0].startswith("5 messages, 5 entries,")


def test_a_capture_that_is_cut_says_so_and_counts(decode: Run, tmp_path: Path, capture: Path) -> None:
    path = tmp_path / "cut.pcap"
    path.write_bytes(capture.read_bytes()[:-3])

    _, entries, err = decode(path)

    assert len(entries) >= 4
    assert "ends in the middle of a record" in err


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"\x7fELF" + bytes(90), "not a capture"),
        (b"", "not a capture"),
        (b"00 01 zz", "not a capture"),
        (b"0007 002", "line 1 is no message in hex"),
    ],
)
def test_what_is_no_capture_is_refused_in_one_line(
    decode: Run, tmp_path: Path, content: bytes, says: str
) -> None:
    path = tmp_path / "thing"
    path.write_bytes(content)

    status, _, err = decode(path)

    assert status == 1
    assert says in err.splitlines()[0]


def test_a_missing_file_is_wrong_usage(decode: Run, tmp_path: Path) -> None:
    status, _, err = decode(tmp_path / "none.pcap")

    assert status == 2
    assert err == f"lvsha sync decode: {tmp_path}/none.pcap: No such file or directory\n"


@pytest.mark.parametrize(
    "options",
    [
        ["--vip", "here"],
        ["--port", "0"],
        ["--where", "colour=red"],
        ["--protocol", "gre"],
        ["--where", "cport=x"],
    ],
    ids=" ".join,
)
def test_wrong_options(decode: Run, capture: Path, options: list[str]) -> None:
    with pytest.raises(SystemExit) as refusal:
        decode(capture, *options)

    assert refusal.value.code == 2
