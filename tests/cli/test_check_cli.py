"""``lvsha check run``: words to a check, and a check explained."""

import json
import socket
import threading
from collections.abc import Iterator
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest

from lvsha.checker.explain import explain
from lvsha.checker.settings import OPTIONS_OF_KIND, CheckKind, CheckSettings
from lvsha.cli.check import main

ADDRESS = IPv4Address("10.0.0.1")


@pytest.fixture
def web() -> Iterator[int]:
    """A server that answers whatever it is asked, once per connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    client, _ = listener.accept()
                except OSError:
                    return
                with client:
                    client.recv(4096)
                    client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")

        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


def run(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, str, str]:
    try:
        status = main(["run", *argv])
    except SystemExit as ended:
        status = int(ended.code or 0)
    out, err = capsys.readouterr()
    return status, out, err


def test_a_good_answer_is_explained(web: int, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run(capsys, f"http://127.0.0.1:{web}/up", "body_regex=hel+o", "timeout=2s")

    assert status == 0
    assert "verdict: up" in out
    assert "GET /up" in out
    assert "< hello" in out


def test_json_has_phases_and_what_came(web: int, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run(
        capsys, f"http://localhost:{web}/", "-4", "--json", "username=me", "password=sesame", "status=204"
    )

    report: dict[str, Any] = json.loads(out)
    assert (status, report["ok"], report["reason"]) == (1, False, "bad_status")
    phases = report["phases_ms"]
    assert phases["dns"] is not None
    assert 0 <= phases["connect"] <= phases["total"]
    assert phases["first_byte"] >= 0
    assert phases["tls"] is None
    assert [entry["what"] for entry in report["exchange"]] == ["connected", "sent", "received"]
    assert f"Host: localhost:{web}" in report["exchange"][1]["text"]
    assert "Authorization: ********" in report["exchange"][1]["text"]
    assert report["expects"] == "status 204"


def test_nobody_listens(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        status, out, _ = run(capsys, f"tcp://127.0.0.1:{taken.getsockname()[1]}")

    assert status == 1
    assert "verdict: down (refused)" in out


def test_a_name_without_an_address_is_a_verdict(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(*_: object) -> object:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    status, out, _ = run(capsys, "http://nowhere.invalid/", "--json")

    report = json.loads(out)
    assert (status, report["reason"]) == (1, "unresolvable")
    assert "not known" in report["detail"]


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (("nonsense",), "TYPE://HOST"),
        (("http://127.0.0.1/", "statu=200"), 'did you mean "status"'),
        (("http://127.0.0.1/", "status"), "KEY=VALUE"),
        (("https://127.0.0.1/", "tls.verify=2"), "true or false"),
        (("gopher://127.0.0.1/",), "gopher"),
        (("udp://127.0.0.1",), "port"),
        (("tcp://127.0.0.1:70000",), "70000"),
    ],
)
def test_wrong_usage_says_what_to_write(
    argv: tuple[str, ...], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, err = run(capsys, *argv)

    assert (status, out) == (2, "")
    assert words in err


def test_a_check_of_a_file(web: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "lvsha.toml"
    file.write_text(
        '[[service]]\nname = "web"\naddress = "10.0.0.10:80"\nmethod = "nat"\n'
        f'check = {{ type = "http", port = {web}, body_regex = "hello" }}\nrealservers = ["127.0.0.1:80"]\n'
    )

    status, out, err = run(capsys, "-f", str(file), "--node", "lb1", "web/127.0.0.1:80")
    assert status == 0, err
    assert "verdict: up" in out

    status, _, err = run(capsys, "-f", str(file), "--node", "lb1", "web/127.0.0.2:80")
    assert status == 2
    assert "did you mean web/127.0.0.1:80" in err


@pytest.mark.parametrize("kind", CheckKind)
def test_every_kind_has_words(kind: CheckKind) -> None:
    made = OPTIONS_OF_KIND[kind]
    settings = CheckSettings(kind=kind, address=ADDRESS, port=1, options=made() if made is not None else None)

    asks, expects = explain(settings)

    assert isinstance(asks, str)
    assert expects
