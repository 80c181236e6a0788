"""A broken file costs a start nothing if there was a good one."""

import gc
from pathlib import Path
from typing import Any

import pytest

from lvsha.agent import last_good
from lvsha.agent.supervisor import Loaded, Supervisor
from lvsha.cli import agent

GOOD = '[agent]\nlog_level = "warning"\n[sync]\nenabled = false\n'


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Loaded]:
    """What each start of the agent would have run with; and what a reload gives, when asked."""
    found: list[Loaded] = []

    class Pretended:
        def __init__(self, *, loaded: Loaded, **_: Any) -> None:
            found.append(loaded)

        def run(self) -> int:
            return 0

    monkeypatch.setattr("lvsha.agent.supervisor.Supervisor", Pretended)
    monkeypatch.setattr("lvsha.io.realtime.run_ahead", lambda: None)
    monkeypatch.setattr(gc, "freeze", lambda: None)
    return found


def test_a_start_with_a_broken_file_runs_the_last_good_one(
    tmp_path: Path, started: list[Loaded], capsys: Any
) -> None:
    file = tmp_path / "lvsha.toml"
    words = ["-f", str(file), "--run-dir", str(tmp_path / "run")]
    file.write_text(GOOD)
    assert agent.main(words) == 0

    file.write_text(GOOD + "[[vrrp]\n")
    assert agent.main(words) == 0

    first, second = started
    assert first.refused is None
    assert second.settings == first.settings
    assert second.refused is not None
    assert "vrrp" in str(second.refused) or "line" in str(second.refused)
    assert capsys.readouterr().err == ""


def test_without_one_or_with_another_file_the_start_is_refused(
    tmp_path: Path, started: list[Loaded], capsys: Any
) -> None:
    good, other = tmp_path / "good.toml", tmp_path / "other.toml"
    good.write_text(GOOD)
    other.write_text("nonsense")
    run_dir = ["--run-dir", str(tmp_path / "run")]

    assert agent.main(["-f", str(good), *run_dir]) == 0
    assert agent.main(["-f", str(other), *run_dir]) == 1

    assert len(started) == 1
    assert "other.toml: line 1" in capsys.readouterr().err


def test_what_is_kept_is_its_owners_alone_and_written_once(tmp_path: Path) -> None:
    last_good.keep(tmp_path / "state", "x.toml", "a = 1\n")
    path = tmp_path / "state" / last_good.NAME
    before = path.stat()

    last_good.keep(tmp_path / "state", "x.toml", "a = 1\n")

    assert path.stat().st_ino == before.st_ino
    assert before.st_mode & 0o777 == 0o600
    assert [each.name for each in path.parent.iterdir()] == [last_good.NAME]
    kept = last_good.recall(tmp_path / "state", "x.toml")
    assert kept is not None
    assert kept.text == "a = 1\n"
    assert last_good.recall(tmp_path / "state", "y.toml") is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('[agent]\nstate_dir = "/srv/state"\n[[broken\n', "/srv/state"),
        ("state_dir='/srv/x'", "/srv/x"),
        ('# state_dir = "/srv/x"', "/default"),
        ("[[broken", "/default"),
    ],
)
def test_where_the_state_is_is_read_from_a_broken_file(text: str, expected: str) -> None:
    assert last_good.state_dir_of(text, "/default") == expected


class Ear:
    """A directord that listens."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def send(self, kind: str, payload: Any = None) -> None:
        self.said.append(f"{kind} {payload['event']}" if isinstance(payload, dict) else kind)


def test_directord_is_told_what_the_supervisor_warned_of_before_it_was_there(started: list[Loaded]) -> None:
    import io

    from lvsha.agent.journal import Journal
    from lvsha.agent.notify import Notifier
    from lvsha.agent.supervisor import WorkerSpec, _Child
    from lvsha.config.load import loads

    journal = Journal("agent", loads(GOOD).agent, stream=io.StringIO())
    spec = WorkerSpec(name="directord", main=lambda *_: 0, silence_s=1.0)
    loaded = Loaded(settings=loads(GOOD))
    supervisor = Supervisor(
        specs=(spec,), loaded=loaded, load=lambda: loaded, journal=journal, notifier=Notifier(None)
    )
    journal.listeners.append(supervisor._tell)
    journal.write("agent.reload_refused", problem="x")
    journal.write("agent.worker_started", worker="directord")
    lives = [Ear(), Ear(), Ear()]

    for number, ear in enumerate(lives):
        child = _Child(spec, 1, ear, started=0.0, heard=0.0, ready=True)  # type: ignore[arg-type]
        supervisor._children["directord"] = child
        supervisor._tell_all(child)
        if number == 0:
            journal.write("agent.worker_died", worker="vrrpd")
        if number == 1:
            supervisor._take(loaded)

    assert lives[0].said == ["said agent.reload_refused", "said agent.worker_died"]
    assert lives[1].said[0] == "said agent.reload_refused", "each life is told why the file is not in force"
    assert lives[2].said == []
