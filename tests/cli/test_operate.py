"""Orders on the command line: what is sent, what is printed, how it ends."""

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lvsha.api.events import EventStream
from lvsha.api.port import Refused
from lvsha.api.server import ApiServer
from lvsha.cli import explain, operate, reload, role, token, words
from lvsha.cli.client import Agent
from lvsha.cli.main import VERBS
from lvsha.cli.main import main as lvsha
from tests.api.pretended import Pretended


@pytest.fixture
def port() -> Pretended:
    return Pretended()


@pytest.fixture
def run_dir(tmp_path: Path, port: Pretended) -> Iterator[str]:
    """Of an agent that serves ``port`` in a thread."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    async def begin() -> ApiServer:
        stream = EventStream("life")
        server = ApiServer(port, events=stream)
        await server.start(tmp_path / "directord.sock")
        stream.publish("change", CHANGE)
        return server

    server = asyncio.run_coroutine_threadsafe(begin(), loop).result()
    yield str(tmp_path)
    asyncio.run_coroutine_threadsafe(server.stop(), loop).result()
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


CHANGE = {
    "id": 1,
    "at": 1.0,
    "what": "weight",
    "subject": "rs12 in web",
    "service": "web",
    "realserver": "rs12",
    "before": 10,
    "after": None,
    "causes": [{"kind": "drain", "text": "drained: no connection was left", "evidence": {}}],
}


@pytest.mark.parametrize(
    ("command", "name", "fields"),
    [
        (
            "drain web/rs11 --deadline 10m --expires 1d --reason disk",
            "order",
            {
                "kind": "drain",
                "target": "web/rs11",
                "deadline_s": 600.0,
                "expires_s": 86400.0,
                "reason": "disk",
            },
        ),
        ("undrain web/rs11", "take_back", {"kinds": ["drain"]}),
        ("weight rs11 7 --owner ann", "order", {"kind": "weight", "weight": 7, "owner": "ann"}),
        ("weight rs11 default", "take_back", {"kinds": ["weight"]}),
        ("disable web", "order", {"kind": "disable", "target": "web"}),
        ("enable web", "take_back", {"kinds": ["disable"]}),
        ("maintenance on", "order", {"kind": "maintenance", "target": None}),
        ("maintenance off rs11", "take_back", {"kinds": ["maintenance"], "target": "rs11"}),
        ("pause --reason look", "order", {"kind": "pause", "reason": "look"}),
    ],
)
def test_a_verb_becomes_its_order(
    port: Pretended, run_dir: str, command: str, name: str, fields: dict[str, Any], capsys: Any
) -> None:
    verb, *rest = command.split()

    assert operate.main(verb, [*rest, "--run-dir", run_dir, "--json"]) == 0

    ((noted, said),) = port.orders
    assert noted == name
    assert {key: said[key] for key in fields} == fields
    assert json.loads(capsys.readouterr().out) == {"noted": name}


def test_a_refusal_is_one_line_on_stderr_and_1(port: Pretended, run_dir: str, capsys: Any) -> None:
    port.trouble = Refused("refused: lb2 lacks 1 connection", lost=["TCP a -> b"], lost_count=1)

    ended = operate.main("pause", ["--run-dir", run_dir])

    out, err = capsys.readouterr()
    assert (ended, out) == (1, "TCP a -> b\n")
    assert err == "lvsha pause: refused: lb2 lacks 1 connection\n"


@pytest.mark.parametrize(
    "command",
    [
        "drain",
        "drain rs11 --deadline soon",
        "weight rs11",
        "weight rs11 65536",
        "weight rs11 -1",
        "maintenance maybe",
    ],
)
def test_wrong_usage_ends_with_2(command: str, capsys: Any) -> None:
    with pytest.raises(SystemExit) as ended:
        operate.main(command.split()[0], command.split()[1:])

    assert ended.value.code == 2


def test_a_drain_that_is_waited_for_says_what_is_left_and_how_it_ended(
    port: Pretended, run_dir: str, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    port.bench.connections["10.0.0.12"] = 3
    port.bench.order("drain", "web/rs12", deadline_at=port.bench.at + 60)
    port.bench.look()

    async def order(_kind: str, target: str, **_fields: object) -> dict[str, Any]:
        return {"target": target, "destinations": [{"service": "web", "name": "rs12"}]}

    monkeypatch.setattr(port, "order", order)
    monkeypatch.setattr(time, "sleep", lambda _: port.bench.advance(70 * 10**9))

    ended = operate.main("drain", ["web/rs12", "--wait", "--run-dir", run_dir])

    assert ended == 1
    assert capsys.readouterr().out.splitlines() == [
        "3 connections left, about 60 s",
        "cut off with 3 connections left",
    ]


def test_a_planned_switchover_says_when(port: Pretended, run_dir: str, capsys: Any) -> None:
    assert role.main("switchover", ["--at", "2100-01-01T03:30", "--run-dir", run_dir, "--json"]) == 0

    ((name, fields),) = port.orders
    assert (name, fields["at"]) == ("switchover", words.future("2100-01-01T03:30"))


def test_events_are_followed_until_interrupted(capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """An agent that is restarted meanwhile is asked again, with the last id."""
    asked: list[str] = []

    def stream(_agent: object, _path: str, last_id: str) -> Iterator[tuple[str, str, dict[str, Any]]]:
        asked.append(last_id)
        if len(asked) == 3:
            raise KeyboardInterrupt
        yield "change", "life-1", CHANGE

    monkeypatch.setattr(Agent, "stream", stream)
    monkeypatch.setattr(time, "sleep", lambda _: None)

    assert lvsha(["events", "--follow"]) == 130

    assert asked == ["", "life-1", "life-1"]
    said = "rs12 in web: weight 10 -> -: drained: no connection was left"
    assert [line.endswith(said) for line in capsys.readouterr().out.splitlines()] == [True, True]


def test_a_stream_is_read_as_it_comes(port: Pretended, run_dir: str) -> None:
    found = next(Agent(run_dir=run_dir).stream("/v1/events", "life-0"))

    assert found == ("change", "life-1", CHANGE)


def test_a_target_and_a_time_are_asked_for(port: Pretended, run_dir: str, capsys: Any) -> None:
    with pytest.raises(KeyError):  # the pretended director's answer says nothing
        explain.main(["web/rs11", "--at", "2026-03-01T14:30", "--run-dir", run_dir])

    assert port.orders == [("explain", {"target": "web/rs11", "at": words.past("2026-03-01T14:30")})]


def test_an_explanation_shows_since_when_and_the_evidence() -> None:
    cause = {
        "kind": "probe",
        "text": "tcp 10.0.0.12:80 failed: refused",
        "evidence": {"failures": 3, "ok": False},
    }
    answer = {
        "subject": "rs12",
        "value": 0,
        "since": 1.0,
        "causes": [cause],
        "text": "weight of rs12 is 0 because tcp 10.0.0.12:80 failed: refused",
        "changes": [CHANGE],
    }

    text = explain.render({"answers": [answer], "more": 0})

    assert text.startswith("weight of rs12 is 0 because tcp 10.0.0.12:80 failed: refused (since 1970-01-01")
    assert "[failures=3]" in text


def test_a_plan_changes_nothing(port: Pretended, run_dir: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reload, "_plan", lambda found: "plan")

    assert reload.main(["--plan", "--run-dir", run_dir]) == 0

    assert port.orders == [("check_config", {"text": None})]


def test_a_token_is_shown_and_only_its_hash_is_to_be_kept(capsys: Any) -> None:
    import hashlib
    import tomllib

    assert token.main(["grafana", "--role", "operate", "--service", "web"]) == 0

    out = capsys.readouterr().out
    shown = out.splitlines()[0].rpartition(" ")[2]
    (entry,) = tomllib.loads(out[out.index("[[token]]") :])["token"]
    assert entry["sha256"] == hashlib.sha256(shown.encode()).hexdigest()
    assert (entry["role"], entry["services"]) == ("operate", ["web"])
    assert shown not in out[out.index("[[token]]") :]


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("90s", 90), ("1.5m", 90), ("2h", 7200), ("1d", 86400), ("500ms", 0.5)]
)
def test_durations_as_people_write_them(text: str, seconds: float) -> None:
    assert words.duration(text) == seconds


def test_a_clock_time_is_the_last_or_the_next() -> None:
    now = time.mktime((2026, 3, 1, 12, 0, 0, 0, 0, -1))

    def at(text: str, *, forward: bool) -> str:
        return time.strftime("%d %H:%M", time.localtime(words._moment(text, now, forward=forward)))

    assert at("14:30", forward=True) == "01 14:30"
    assert at("11:00", forward=True) == "02 11:00"
    assert at("14:30", forward=False) == "28 14:30"
    assert at("10m", forward=True) == "01 12:10"
    assert at("10m ago", forward=False) == "01 11:50"


@pytest.mark.parametrize("verb", ["drain", "history", "explain", "events", "reload", "token", "switchover"])
def test_every_verb_has_an_example(verb: str, capsys: Any) -> None:
    assert verb in VERBS
    with pytest.raises(SystemExit) as ended:
        lvsha([verb, "--help"])

    assert ended.value.code == 0
    assert f"example: lvsha {verb}" in capsys.readouterr().out
