"""``lvsha sync table``, ``diff``, ``stats`` and ``replay`` on files."""

import json
from pathlib import Path
from typing import Any

import pytest

from lvsha.cli import main as lvsha
from lvsha.cli import sync_replay
from lvsha.ipvs.model import Daemon, DaemonRole
from tests.cli.sync_captures import (
    BAD_STATE,
    CLOSING,
    MARKED,
    OTHER,
    TEMPLATE,
    WEB,
    frame,
    message,
    write_capture,
)

HEADING = "Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Expires PEName PEData\n"
PROC = HEADING + (
    "TCP C0000201 9C41 0A00000A 0050 0A010001 1F90 ESTABLISHED     880\n"
    "TCP C0000201 9C42 0A00000A 0050 0A010002 1F90 FIN_WAIT         90\n"
    "TCP C0000201 0000 0000FFFF FFFF 0A010001 FFFF NONE             50\n"
)


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    """A second apart: three rows, then one of them again in another state."""
    frames = [frame(message(WEB, TEMPLATE)), frame(message(OTHER)), frame(message(WEB._replace(state=4)))]
    return write_capture(tmp_path / "sync.pcap", frames)


def run(capsys: pytest.CaptureFixture[str], *argv: object) -> tuple[int, str, str]:
    status = lvsha.main(["sync", *map(str, argv)])
    out, err = capsys.readouterr()
    return status, out, err


def objects(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_a_table_holds_the_newest_of_each_with_age_and_origin(
    capsys: pytest.CaptureFixture[str], capture: Path
) -> None:
    status, out, _ = run(capsys, "table", capture, "--json")

    rows = {row["cport"]: row for row in objects(out)}
    assert (status, set(rows)) == (0, {40_001, 0, 53_000})
    web = rows[40_001]
    assert (web["state_name"], web["age_s"], web["heard_s"], web["entries"]) == ("FIN_WAIT", 2.0, 0.0, 2)
    assert (web["origin"], web["expires_s"]) == ("10.0.0.1", 900.0)
    assert rows[53_000]["expires_s"] == 299.0


def test_a_table_forgets_what_has_expired(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    short = WEB._replace(cport=1, timeout=1)
    path = write_capture(
        tmp_path / "a.pcap", [frame(message(short)), frame(message(WEB)), frame(message(WEB))]
    )

    _, out, _ = run(capsys, "table", path, "--json")

    assert [row["cport"] for row in objects(out)] == [40_001]


def test_a_table_filtered_and_as_text(capsys: pytest.CaptureFixture[str], capture: Path) -> None:
    _, out, _ = run(capsys, "table", capture, "--template")

    heading, line = out.splitlines()
    assert heading.split()[:3] == ["AGE", "HEARD", "EXPIRES"]
    assert "ASSURED" in line


def test_a_difference_between_wire_and_kernel(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    wire = write_capture(tmp_path / "a.pcap", [frame(message(WEB, CLOSING, TEMPLATE, MARKED))])
    kernel = tmp_path / "ip_vs_conn"
    kernel.write_text(PROC)

    status, out, _ = run(capsys, "diff", wire, kernel, "--json")

    assert status == 1
    assert [(row["difference"], row["caddr"], row["cport"]) for row in objects(out)] == [
        ("other_server", "192.0.2.1", 40_002),
        ("template_lost", "192.0.2.1", 0),
        ("template_lost", "192.0.2.9", 0),
    ]
    assert objects(out)[0]["ours"]["daddr"] == "10.1.0.1"
    assert objects(out)[0]["theirs"] == {
        "daddr": "10.1.0.2",
        "dport": 8080,
        "state_name": "FIN_WAIT",
        "expires_s": 90,
        "pe_name": None,
        "pe_data": None,
    }


def test_no_difference_is_good(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    mine, yours = tmp_path / "a", tmp_path / "b"
    mine.write_text(PROC)
    yours.write_text(PROC.replace("880", "870"))

    status, out, _ = run(capsys, "diff", mine, yours)

    assert (status, out) == (0, "2 rows, 2 rows: no difference\n")


@pytest.mark.parametrize(("copy", "why"), [("", "it is empty"), ("no such file", "no heading")])
def test_a_copy_of_a_table_that_is_none_is_no_empty_table(
    copy: str, why: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, capture: Path
) -> None:
    (tmp_path / "table").write_text(copy)

    status, out, err = run(capsys, "diff", capture, tmp_path / "table")

    assert (status, out) == (1, "")
    assert why in err


@pytest.mark.parametrize("command", ["table", "stats"])
def test_a_cut_capture_and_one_without_messages_are_said(
    command: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, capture: Path
) -> None:
    data = capture.read_bytes()
    (tmp_path / "cut.pcap").write_bytes(data[:-3])
    (tmp_path / "none.pcap").write_bytes(data[:24])

    assert "ends in the middle of a record" in run(capsys, command, tmp_path / "cut.pcap")[2]
    assert "no sync message found (UDP ports 8848-8911)" in run(capsys, command, tmp_path / "none.pcap")[2]
    assert run(capsys, command, capture)[2] == ""


def test_a_difference_in_one_line_and_a_summary(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    mine, yours = tmp_path / "a", tmp_path / "b"
    mine.write_text(PROC)
    yours.write_text(HEADING)

    _, out, _ = run(capsys, "diff", mine, yours, "--limit", "1")
    first, last = out.splitlines()
    assert " ".join(first.split()) == (
        "missing TCP 192.0.2.1:40001 10.0.0.10:80 10.1.0.1:8080 ESTABLISHED 880 s / -"
    )
    assert last == "2 rows, 0 rows: 1 missing, 1 closing, missing"

    _, out, _ = run(capsys, "diff", mine, yours, "--summary", "--json")
    assert (
        objects(out)[0] | {"ours": 2, "theirs": 0, "connection_lost": 1, "closing_lost": 1} == objects(out)[0]
    )


def test_what_is_no_table_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    other, table = tmp_path / "notes", tmp_path / "ip_vs_conn"
    other.write_text("one\ntwo words\n")
    table.write_text(PROC)

    status, _, err = run(capsys, "diff", other, table)

    assert status == 1
    assert f"{other}: neither a capture nor a copy of /proc/net/ip_vs_conn" in err


def test_stats_of_a_capture(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = write_capture(
        tmp_path / "a.pcap", [frame(message(WEB, BAD_STATE)), frame(message(TEMPLATE, OTHER))]
    )

    status, out, _ = run(capsys, "stats", path)

    assert status == 0
    lines = out.splitlines()
    assert 'lvsha_sync_messages_total{syncid="7",source="10.0.0.1"} 2' in lines
    assert 'lvsha_sync_lost_entries_total{syncid="7",source="10.0.0.1"} 1' in lines
    assert 'lvsha_sync_service_entries_total{service="TCP 10.0.0.10:80",state="ESTABLISHED"} 1' in lines
    assert 'lvsha_sync_problems_total{reason="bad_state"} 1' in lines
    names = [line.split()[2] for line in lines if line.startswith("# TYPE")]
    assert len(names) == len(set(names))


def test_stats_take_files_or_an_interface(capsys: pytest.CaptureFixture[str]) -> None:
    status, _, err = run(capsys, "stats", "a.pcap", "-i", "eth0")

    assert (status, err.count("\n")) == (2, 1)


def test_replay_refuses_outside_the_lab(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, capture: Path
) -> None:
    monkeypatch.delenv(sync_replay.IN_GUEST, raising=False)

    status, out, err = run(capsys, "replay", capture)

    assert (status, out) == (1, "")
    assert "--yes" in err


@pytest.fixture
def backup(monkeypatch: pytest.MonkeyPatch) -> None:
    """The daemon that the kernel says it runs."""
    daemon = Daemon(role=DaemonRole.BACKUP, interface="s0", syncid=3, maxlen=1472)
    monkeypatch.setattr(sync_replay, "own_daemons", lambda: [daemon])


@pytest.mark.usefixtures("backup")
def test_replay_under_another_syncid_says_so(capsys: pytest.CaptureFixture[str], capture: Path) -> None:
    status, _, err = run(capsys, "replay", capture, "--dry-run")
    assert status == 1
    assert "3 messages have another syncid than the daemon here, 3: --syncid 3 sends them under it" in err

    status, out, _ = run(capsys, "replay", capture, "--dry-run", "--syncid", "3")
    assert (status, out) == (0, "3 messages, 4 entries would be sent on s0\n")


@pytest.mark.usefixtures("backup")
def test_replay_of_chosen_entries(capsys: pytest.CaptureFixture[str], capture: Path) -> None:
    status, out, _ = run(capsys, "replay", capture, "--dry-run", "--syncid", "3", "--template", "--json")

    assert (status, objects(out)[0]["messages"], objects(out)[0]["entries"]) == (0, 1, 1)


@pytest.mark.usefixtures("backup")
def test_replay_of_messages_that_are_too_long(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = write_capture(tmp_path / "a.pcap", [frame(message(*[WEB] * 60, syncid=3))])

    status, _, err = run(capsys, "replay", path, "--dry-run")

    assert status == 1
    assert "1 messages are longer than the daemon's sync_maxlen, 1472" in err


@pytest.mark.parametrize("command", ["watch", "decode", "table", "diff", "stats", "replay"])
def test_each_command_has_help_with_an_example(capsys: pytest.CaptureFixture[str], command: str) -> None:
    with pytest.raises(SystemExit) as left:
        lvsha.main(["sync", command, "--help"])

    out = capsys.readouterr().out
    assert left.value.code == 0
    assert f"lvsha sync {command}" in out.partition("example")[2]
    assert "exit status: 0" in out


def test_an_interface_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    status, _, err = run(capsys, "watch", "-i", "nowhere9", "--duration", "1")

    assert status == 1
    assert err.startswith("lvsha sync watch: listen on nowhere9:")
