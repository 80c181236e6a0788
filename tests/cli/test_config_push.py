"""``lvsha config push`` and its kin: on all directors or on none, whatever fails where."""

import json
from pathlib import Path
from typing import Any

import pytest

from lvsha.cli import config
from lvsha.cli.client import Agent, AgentRefused, AgentUnreachable


class Directors:
    """lb1 is here, lb2 is the other one; ``trouble`` by director and path."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        self.bodies: list[dict[str, Any]] = []
        self.trouble: dict[tuple[str, str], Exception] = {}
        self.trial: dict[str, Any] | None = None
        self.peers = ["lb2"]
        self.plan = {"ok": True, "problems": [], "warnings": [], "changes": [{"text": "~ web"}]}

    def ask(self, agent: Agent, _method: str, path: str, *, body: Any = None, **_: Any) -> Any:
        name = agent.peer or "lb1"
        if path == "/v1/status":
            return {
                "node": "lb1",
                "config": {"trial": self.trial},
                "peers": [{"name": peer} for peer in self.peers],
            }
        what = path.rpartition("/")[2]
        self.asked.append((name, what))
        self.bodies.append(body)
        if (name, what) in self.trouble:
            raise self.trouble[name, what]
        answers: dict[str, dict[str, Any]] = {
            "diff": self.plan,
            "apply": {"applied": "abc", "until": 1e9},
            "confirm": {"confirmed": "abc", "file": "/etc/lvsha/lvsha.toml", "written": True},
            "rollback": {"rolled_back": "abc"},
        }
        return dict(answers[what])


@pytest.fixture
def directors(monkeypatch: pytest.MonkeyPatch) -> Directors:
    found = Directors()
    monkeypatch.setattr(Agent, "ask", lambda agent, *words, **more: found.ask(agent, *words, **more))
    return found


@pytest.fixture
def file(tmp_path: Path) -> str:
    (tmp_path / "new.toml").write_text("x = 1\n")
    return str(tmp_path / "new.toml")


def test_every_director_is_asked_before_any_is_changed(directors: Directors, file: str, capsys: Any) -> None:
    assert config.main(["push", file, "--confirm-within", "5m"]) == 0

    assert directors.asked == [("lb2", "diff"), ("lb1", "diff"), ("lb2", "apply"), ("lb1", "apply")]
    assert directors.bodies[-1]["confirm_within_s"] == 300
    assert directors.bodies[-1]["pair"] is True
    assert "configuration abc runs on both, on trial until" in capsys.readouterr().out


@pytest.mark.parametrize("why", [AgentRefused({"error": "no"}), AgentUnreachable("lb2 is not connected")])
def test_a_director_that_cannot_be_asked_stops_it_before_it_begins(
    directors: Directors, file: str, why: Exception, capsys: Any
) -> None:
    directors.trouble["lb2", "diff"] = why

    assert config.main(["push", file]) == 1

    assert directors.asked == [("lb2", "diff")]
    assert "nothing has changed anywhere" in capsys.readouterr().err


def test_one_that_finds_problems_stops_it_too(directors: Directors, file: str, capsys: Any) -> None:
    directors.plan = {"ok": False, "problems": ["line 3: bad"], "warnings": [], "changes": []}

    assert config.main(["push", file, "--json"]) == 1

    out, err = capsys.readouterr()
    assert directors.asked == [("lb2", "diff")]
    assert json.loads(out)["directors"]["lb2"]["problems"] == ["line 3: bad"]
    assert "lb2 refuses it" in err


def test_where_the_second_fails_the_first_goes_back(directors: Directors, file: str, capsys: Any) -> None:
    directors.trouble["lb1", "apply"] = AgentUnreachable("no supervisor")

    assert config.main(["push", file]) == 1

    assert directors.asked[-2:] == [("lb1", "apply"), ("lb2", "rollback")]
    assert "lb1: no supervisor; lb2 is rolled back" in capsys.readouterr().err


def test_a_plan_changes_nothing(directors: Directors, file: str, capsys: Any) -> None:
    assert config.main(["push", file, "--plan", "--json"]) == 0

    assert [what for _, what in directors.asked] == ["diff", "diff"]
    assert json.loads(capsys.readouterr().out)["directors"]["lb2"]["changes"]


def test_without_a_trial_it_is_confirmed_when_both_run_it(directors: Directors, file: str) -> None:
    assert config.main(["push", file, "--confirm-within", "0"]) == 0

    assert directors.asked[-2:] == [("lb2", "confirm"), ("lb1", "confirm")]


def test_apply_is_for_one_director(directors: Directors, file: str) -> None:
    assert config.main(["apply", file]) == 0

    assert directors.asked == [("lb1", "diff"), ("lb1", "apply")]
    assert directors.bodies[-1]["pair"] is False


@pytest.mark.parametrize("verb", ["confirm", "rollback"])
def test_a_trial_of_the_pair_ends_on_both_and_one_of_its_own_here(directors: Directors, verb: str) -> None:
    directors.trial = {"pair": True}
    assert config.main([verb]) == 0
    assert directors.asked == [("lb2", verb), ("lb1", verb)]

    directors.asked.clear()
    assert config.main([verb, "--here"]) == 0
    directors.trial = {"pair": False}
    assert config.main([verb]) == 0
    assert directors.asked == [("lb1", verb)] * 2


def test_nothing_is_kept_here_that_the_other_cannot_be_told(directors: Directors, capsys: Any) -> None:
    directors.trial = {"pair": True}
    directors.trouble["lb2", "confirm"] = AgentUnreachable("lb2 is not connected")

    assert config.main(["confirm"]) == 1

    assert directors.asked == [("lb2", "confirm")]
    assert "nothing is kept: the trial ends by itself; --here" in capsys.readouterr().err


def test_without_a_trial_or_another_director_it_is_said(directors: Directors, file: str, capsys: Any) -> None:
    assert config.main(["confirm"]) == 1
    directors.peers = []
    assert config.main(["push", file]) == 1

    err = capsys.readouterr().err
    assert "no configuration is on trial here" in err
    assert "there is no other director" in err
