"""``lvsha trace`` as it is called: exit status, text, JSON, picture, and captures that are bad."""

import gzip
import io
import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from lvsha.cli import trace
from lvsha.doctor import catalogue
from lvsha.trace import catalogue as of_trace
from tests.trace.stories import files, told

KEYS = {"ok", "captures", "hosts", "neighbours", "connections", "findings", "limits"}
CONNECTION_KEYS = {
    "number",
    "protocol",
    "client",
    "virtual",
    "realserver",
    "method",
    "tunnel",
    "client_host",
    "director_host",
    "realserver_host",
    "outcome",
    "ok",
    "packets",
    "bytes_to_server",
    "bytes_to_client",
    "retransmissions",
    "duration_ms",
    "headline",
    "events",
    "events_left_out",
    "packets_left_out",
    "findings",
}


def run(*words: object) -> int:
    return trace.main([str(word) for word in words])


def test_a_connection_that_went_well_exits_0(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*files("dr")) == 0

    out = capsys.readouterr().out
    assert "direct routing (DR) to 10.0.0.11:80: went well" in out
    assert "|----------------- SYN" in out
    assert out.endswith("The connection went well.\n")


def test_a_finding_exits_1_and_says_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*files("nat-one-network-direct")) == 1

    out = capsys.readouterr().out
    assert "error: direct-route-to-client: realserver answers client directly" in out
    assert "do: delete the realserver's route to the local network" in out


def test_json_has_the_documented_keys(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--json", *files("nat-two-networks")) == 0

    document = json.loads(capsys.readouterr().out)
    assert document.keys() == KEYS
    (connection,) = document["connections"]
    assert connection.keys() == CONNECTION_KEYS
    assert connection["method"] == "nat"
    assert connection["virtual"] == "10.0.0.10:80"
    assert connection["realserver"] == "10.1.0.11:8080"
    hops = connection["events"][2]["hops"]
    assert [(hop["from"], hop["to"], hop["change"]) for hop in hops] == [
        ("client", "director", None),
        ("director", "realserver", "rewritten-destination"),
    ]
    reference = (Path(__file__).parents[2] / "docs/reference/trace.md").read_text()
    for key in KEYS | CONNECTION_KEYS | document["captures"][0].keys() | document["hosts"][0].keys():
        assert f"`{key}`" in reference, key


def test_the_picture_is_sound_xml_that_a_screen_reader_can_use(tmp_path: Path) -> None:
    picture = tmp_path / "flow.svg"

    run("--svg", picture, *files("tun-gre"))

    root = ElementTree.parse(picture).getroot()
    name = "{http://www.w3.org/2000/svg}"
    assert root.get("role") == "img"
    labelled = (root.get("aria-labelledby") or "").split()
    assert [root.find(f"{name}{tag}[@id='{tag}']") is not None for tag in labelled] == [True, True]
    words = root.findtext(f"{name}desc") or ""
    assert "wrapped in gre, 10.0.0.1 -> 10.0.0.11" in words
    assert "prefers-color-scheme:dark" in (root.findtext(f"{name}style") or "")
    assert len(root.findall(f"{name}path[@class]")) >= 20


def test_follow_and_vip_choose_connections(capsys: pytest.CaptureFixture[str]) -> None:
    captures = files("dr")

    assert run("--json", "--follow", "10.0.0.100:40001", *captures) == 0
    assert run("--json", "--follow", "10.0.0.100", "--vip", "10.0.0.10", *captures) == 0
    assert run("--json", "--follow", "10.0.0.100:1", *captures) == 1
    assert run("--json", "--vip", "10.0.0.10:81", *captures) == 1

    decoder = json.JSONDecoder()
    text, found = capsys.readouterr().out, []
    while text := text.strip():
        document, end = decoder.raw_decode(text)
        found.append(len(document["connections"]))
        text = text[end:]
    assert found == [1, 1, 0, 0]


def test_machines_can_be_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = []
    for path, name in zip(files("dr-no-service", "client", "lb"), ("me", "lb1"), strict=True):
        copy = tmp_path / f"{name}-x.pcap"
        copy.write_bytes(path.read_bytes())
        words.append(f"{'client' if name == 'me' else 'director'}={copy}")

    assert run(*words) == 1
    assert "director answers with RST itself" in capsys.readouterr().out


def test_what_is_bad_is_said_and_the_rest_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    client, director, realserver = files("dr")
    cut, nothing, packed = tmp_path / "cut.lb.pcap", tmp_path / "nothing.pcap", tmp_path / "rs.pcap.gz"
    cut.write_bytes(director.read_bytes()[:-7])
    nothing.write_text("no capture at all")
    packed.write_bytes(gzip.compress(realserver.read_bytes()))

    assert run(client, cut, nothing, packed, tmp_path / "missing.pcap") == 1

    out, err = capsys.readouterr()
    assert "connection 1: TCP 10.0.0.100:40001 -> 10.0.0.10:80, direct routing (DR)" in out
    assert "cut.lb.pcap: it ends in the middle of a frame" in err
    assert "nothing.pcap: not a capture" in err
    assert "missing.pcap: No such file" in err


def test_a_broken_gzip_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    packed = tmp_path / "lb.pcap.gz"
    packed.write_bytes(gzip.compress(files("dr", "lb")[0].read_bytes())[:-40])

    assert run(packed) == 1
    assert "ends in the middle of a frame" in capsys.readouterr().err


def test_standard_input(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    data = files("dr", "lb")[0].read_bytes()
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(data))))

    assert run("-") == 0
    assert "standard input" in capsys.readouterr().out


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["--follow", "nobody", "x"],
        ["--vip", "1.2.3.4:99999", "x"],
        ["--connections", "0", "x"],
        ["-", "-"],
    ],
)
def test_wrong_usage_exits_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    try:
        status = run(*words)
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else 1

    assert status == 2
    assert capsys.readouterr().err


def test_no_readable_file_at_all_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("/nowhere/a.pcap") == 2
    assert "/nowhere/a.pcap: No such file" in capsys.readouterr().err


def test_every_id_has_a_page_and_a_remedy() -> None:
    ids = {value for name, value in vars(of_trace).items() if name.isupper() and type(value) is str}
    known = set(catalogue.BY_ID)
    pages = Path(__file__).parents[2] / "docs/failures"
    index = (pages / "README.md").read_text()

    assert ids - known == of_trace.REMEDIES.keys()
    for id in of_trace.REMEDIES:
        assert (pages / f"{id}.md").exists(), id
        assert f"({id}.md)" in index, id


def test_a_plain_capture_with_no_connection_exits_1(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*files("nobody-has-the-vip")) == 1
    assert "no-vip-holder" in capsys.readouterr().out


def test_many_connections_are_told_in_one_line_each_unless_something_is_wrong() -> None:
    explanation = told("dr")
    from lvsha.trace.report import report

    explanation.talks.extend(explanation.talks * 30)

    lines = list(report(explanation, remedies={}))

    assert sum(line.startswith("connection ") for line in lines) == 31
    assert not any("SYN" in line for line in lines)
