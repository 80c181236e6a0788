"""A worker that does not answer is killed; one that nobody has listened to is not."""

import os
import time
from collections.abc import Iterator

import pytest

from lvsha.agent import supervisor as module
from lvsha.agent.control import ControlEnd
from lvsha.agent.journal import Journal
from lvsha.agent.notify import Notifier
from lvsha.agent.supervisor import Loaded, Supervisor, WorkerSpec
from lvsha.config.load import loads

SETTINGS = loads('[directors]\nlb1 = { address = "10.0.0.1" }\n', "test", "lb1")
SILENCE_S = 3.0


class Watched:
    """A supervisor with one worker, and its clock."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        self.killed: list[int] = []
        monkeypatch.setattr(time, "monotonic", lambda: self.now)
        monkeypatch.setattr(os, "kill", lambda pid, number: self.killed.append(pid))
        monkeypatch.setattr(module.Supervisor, "_keep_spares", lambda self, now: None)
        ours, self.worker = ControlEnd.pair()
        spec = WorkerSpec(name="vrrpd", main=lambda settings, control: 0, silence_s=SILENCE_S)
        self.supervisor = Supervisor(
            specs=(spec,),
            loaded=Loaded(settings=SETTINGS),
            load=lambda: Loaded(settings=SETTINGS),
            journal=Journal("agent", SETTINGS.agent),
            notifier=Notifier(None),
        )
        child = module._Child(spec=spec, pid=4711, control=ours, started=self.now, heard=self.now, ready=True)
        self.supervisor._children["vrrpd"] = child
        self.turn()

    def turn(self, after_s: float = 0.0, *, between_s: float = 0.0) -> None:
        """The supervisor wakes, listens, is held up, and looks."""
        self.now += after_s
        self.supervisor._hear()
        self.now += between_s
        self.supervisor._watch()

    def close(self) -> None:
        self.worker.close()
        self.supervisor._children["vrrpd"].control.close()


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Iterator[Watched]:
    assert os.getpid() != 4711
    watched = Watched(monkeypatch)
    yield watched
    watched.close()


def test_a_worker_that_does_not_answer_is_killed(watched: Watched) -> None:
    for _ in range(7):
        watched.turn(0.5)

    assert watched.killed == [4711]


def test_a_supervisor_that_was_held_up_blames_nobody(watched: Watched) -> None:
    """After it has listened, and before it looks."""
    watched.turn(0.5, between_s=2 * SILENCE_S)

    assert watched.killed == []
    watched.worker.send("alive")
    watched.turn()
    assert watched.killed == []


def test_a_machine_that_stood_still_is_nobodys_silence(watched: Watched) -> None:
    watched.turn(2 * SILENCE_S)

    assert watched.killed == []
    for _ in range(7):
        watched.turn(0.5)
    assert watched.killed == [4711], "but it has to answer afterwards"
