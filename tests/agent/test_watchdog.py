"""The device that restarts the machine: a pipe in its place says what was written to it."""

import errno
import os
import socket
from pathlib import Path

import pytest

from lvsha.agent.journal import Journal
from lvsha.agent.vrrpd.watchdog import PETS, Watchdog
from lvsha.config.settings import AgentSettings
from lvsha.core.instant import SECOND, Instant
from lvsha.io.watchdog import WatchdogDevice

TIMEOUT = 15 * SECOND


class Story:
    """What the journal was told."""

    def __init__(self) -> None:
        self.journal = Journal("vrrpd", AgentSettings())
        self.events: list[str] = []
        self.journal.listeners.append(lambda entry: self.events.append(str(entry["event"])))


class Pipe:
    def __init__(self, folder: Path) -> None:
        self.path = str(folder / "watchdog")
        os.mkfifo(self.path)
        self._fd = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK)

    def read(self) -> bytes:
        try:
            return os.read(self._fd, 64)
        except BlockingIOError:
            return b""


@pytest.fixture
def story(capfd: pytest.CaptureFixture[str]) -> Story:
    return Story()


@pytest.fixture
def pipe(tmp_path: Path) -> Pipe:
    return Pipe(tmp_path)


def watchdog(path: str | None, story: Story, *, is_well: bool = True) -> Watchdog:
    return Watchdog(path, TIMEOUT, is_well=lambda: is_well, journal=story.journal)


def test_it_is_petted_in_time_and_told_at_a_clean_stop(pipe: Pipe, story: Story) -> None:
    dog = watchdog(pipe.path, story)
    dog.begin(Instant(0))

    for _ in range(2 * PETS):
        assert dog.deadline is not None
        dog.on_deadline(Instant(dog.deadline - 1))
        dog.on_deadline(dog.deadline)
    assert pipe.read() == b"\0" * 2 * PETS
    assert dog.deadline == TIMEOUT // PETS * (2 * PETS + 1)
    dog.close()

    assert pipe.read() == b"V"
    assert story.events == ["vrrp.watchdog_started", "vrrp.watchdog_stopped"]


def test_who_is_not_well_lets_it_starve(pipe: Pipe, story: Story) -> None:
    healthy = [True, True, False, False, True]
    dog = Watchdog(pipe.path, TIMEOUT, is_well=lambda: healthy.pop(0), journal=story.journal)
    dog.begin(Instant(0))

    for turn in range(1, 5):
        dog.on_deadline(Instant(turn * TIMEOUT))

    assert pipe.read() == b"\0\0"
    assert story.events == ["vrrp.watchdog_started", "vrrp.watchdog_starved", "vrrp.watchdog_fed"]


def test_one_that_cannot_be_opened_is_said_and_tried_again(tmp_path: Path, story: Story) -> None:
    dog = watchdog(str(tmp_path / "watchdog"), story)
    dog.begin(Instant(0))
    assert story.events == ["vrrp.watchdog_failed"]

    pipe = Pipe(tmp_path)
    dog.on_deadline(Instant(TIMEOUT))
    dog.on_deadline(Instant(2 * TIMEOUT))

    assert pipe.read() == b"\0"
    assert story.events == ["vrrp.watchdog_failed", "vrrp.watchdog_started"]


def test_there_is_none_unless_it_is_configured(story: Story) -> None:
    dog = watchdog(AgentSettings().watchdog, story)
    dog.begin(Instant(0))
    dog.close()

    assert dog.deadline is None
    assert story.events == []


def test_whoever_dies_leaves_it_running(pipe: Pipe) -> None:
    device = WatchdogDevice(pipe.path, 15)
    device.close(stop=False)

    assert pipe.read() == b""


def test_a_device_without_a_watchdog_driver_says_so(pipe: Pipe) -> None:
    facts = WatchdogDevice(pipe.path, 15).facts

    assert (facts.identity, facts.timeout_s, facts.can_stop) == ("no watchdog", 15, True)


def test_a_socket_is_no_watchdog(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        with pytest.raises(OSError, match=os.strerror(errno.ENXIO)):
            WatchdogDevice(path, 15)
