"""Asking an agent of which one process, or none, is alive."""

import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lvsha.cli import role, status
from lvsha.cli.client import AgentUnreachable, ask_status, order_role

ROUTER = {
    "name": "eth0-51",
    "state": "MASTER",
    "since_s": 7.0,
    "priority": 200,
    "master": None,
    "addresses": ["10.0.0.10/24"],
}
STATUS = {
    "type": "status",
    "node": "lb1",
    "peers": [{"name": "lb2", "address": "10.0.0.2"}],
    "routers": [ROUTER],
    "process": {"pid": 7, "uptime_s": 90.0, "drops": {}},
}


class Vrrpd:
    """Answers one client as vrrpd does: a status at once, and one for each ``get``."""

    def __init__(self, path: Path) -> None:
        self.heard: list[dict[str, Any]] = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        line = json.dumps(STATUS).encode() + b"\n"
        client, _ = self._listener.accept()
        with client, client.makefile("rb") as lines:
            client.sendall(b'{"type":"event"}\n' + line)
            for asked in lines:
                self.heard.append(json.loads(asked))

    def close(self) -> None:
        self._thread.join()
        self._listener.close()


@pytest.fixture
def vrrpd(tmp_path: Path) -> Iterator[Vrrpd]:
    vrrpd = Vrrpd(tmp_path / "vrrpd.sock")
    yield vrrpd
    vrrpd.close()


def test_while_directord_is_away_vrrpd_says_what_it_knows(tmp_path: Path, vrrpd: Vrrpd) -> None:
    found = ask_status(str(tmp_path))

    assert (found["node"], found["ok"], found["directord"]) == ("lb1", False, False)
    assert found["vrrp"]["routers"] == [ROUTER]
    assert "directord does not answer" in found["problems"][0]


def test_the_screen_shows_the_half_that_is_known(
    tmp_path: Path, vrrpd: Vrrpd, capsys: pytest.CaptureFixture[str]
) -> None:
    ended = status.main(["--run-dir", str(tmp_path)])

    screen = capsys.readouterr().out
    assert ended == 1
    assert "eth0-51" in screen
    assert "MASTER" in screen
    assert "directord does not answer" in screen


def test_an_order_goes_to_vrrpd_while_directord_is_away(tmp_path: Path, vrrpd: Vrrpd) -> None:
    order_role(str(tmp_path), "release")
    vrrpd.close()

    assert vrrpd.heard[0] == {"type": "release"}


def test_without_any_process_there_is_one_line_that_says_what_to_start(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(AgentUnreachable, match="no agent runs here"):
        ask_status(str(tmp_path))

    assert role.main("switchover", ["--run-dir", str(tmp_path)]) == 1
    assert len(capsys.readouterr().err.splitlines()) == 1
