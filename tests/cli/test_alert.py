"""``lvsha alert``."""

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lvsha.api.events import EventStream
from lvsha.api.port import Refused
from lvsha.api.server import ApiServer
from lvsha.cli import alert
from lvsha.cli.main import main as lvsha
from tests.api.pretended import Pretended


@pytest.fixture
def port() -> Pretended:
    return Pretended()


@pytest.fixture
def run_dir(tmp_path: Path, port: Pretended) -> Iterator[str]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    async def begin() -> ApiServer:
        server = ApiServer(port, events=EventStream("life"))
        await server.start(tmp_path / "directord.sock")
        return server

    server = asyncio.run_coroutine_threadsafe(begin(), loop).result()
    yield str(tmp_path)
    asyncio.run_coroutine_threadsafe(server.stop(), loop).result()
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


def test_a_test_says_what_came_back_and_ends_by_it(port: Pretended, run_dir: str, capsys: Any) -> None:
    good = lvsha(["alert", "test", "ops", "--run-dir", run_dir])
    said = capsys.readouterr().out
    bad = lvsha(["alert", "test", "deaf", "--run-dir", run_dir])
    port.trouble = Refused("refused: no [[alert]] is called 'x'")
    refused = lvsha(["alert", "test", "x", "--run-dir", run_dir])

    assert (good, bad, refused) == (0, 1, 1)
    assert said == "webhook ok  204 No Content  (3 ms)\n"
    assert "no [[alert]] is called" in capsys.readouterr().err
    assert port.orders[0][1]["alert"] == "ops"


def test_wrong_words_are_wrong_usage(capsys: Any) -> None:
    for words in (["test"], ["list", "x"], ["tset", "x"]):
        with pytest.raises(SystemExit) as end:
            lvsha(["alert", *words])
        assert end.value.code == 2


def test_the_list_shows_who_and_what_waits() -> None:
    rows = [
        {
            "name": "ops",
            "on": ["role"],
            "exec": [],
            "webhook": "https://h/********",
            "channels": [{"channel": "webhook", "waiting": 2, "attempt": 3}],
        }
    ]

    assert alert._listed(rows) == ("ops: on role\n  webhook https://h/********  (2 waiting, attempt 3)")
