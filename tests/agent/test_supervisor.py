"""Who may run in a run directory, and what a worker that cannot start means."""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from lvsha.agent.control import ControlEnd
from lvsha.agent.supervisor import AlreadyRunning, WorkerSpec, lock_run_dir, stand_by
from lvsha.checker.pool import PoolSettings
from lvsha.config.load import loads
from lvsha.config.settings import ServiceSettings, Settings
from lvsha.core.errors import LvshaError
from lvsha.ipvs.model import Service, ServiceKey


def test_a_second_agent_is_refused_with_the_first_ones_pid(tmp_path: Path) -> None:
    first = lock_run_dir(tmp_path, "vrrpd")

    with pytest.raises(AlreadyRunning, match=rf"pid {os.getpid()}.*stop it first") as refusal:
        lock_run_dir(tmp_path, "vrrpd")

    assert "\n" not in str(refusal.value)
    os.close(first)


def test_the_lock_of_an_agent_that_is_gone_holds_nobody_up(tmp_path: Path) -> None:
    os.close(lock_run_dir(tmp_path, "vrrpd"))

    os.close(lock_run_dir(tmp_path, "vrrpd"))


def test_a_run_directory_without_room_for_a_socket_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LvshaError, match="shorter"):
        lock_run_dir(tmp_path / ("x" * 120), "vrrpd")


SETTINGS = loads(
    """
    sync = { interface = "eth0", syncid = 1 }
    [directors]
    lb1 = { address = "10.0.0.1", priority = 200 }
    lb2 = { address = "10.0.0.2", priority = 100 }
    """,
    "test",
    "lb1",
)


Line = tuple[ControlEnd, ControlEnd]


@pytest.fixture
def line() -> Iterator[Line]:
    """From the supervisor to a spare."""
    ends = ControlEnd.pair()
    yield ends
    for end in ends:
        end.close()


class Life:
    """A worker that notes what it was given."""

    def __init__(self) -> None:
        self.steps: list[object] = []
        self.spec = WorkerSpec(
            name="vrrpd", main=self.main, silence_s=1.0, warm=lambda: self.steps.append("warm")
        )

    def main(self, settings: Settings, _control: ControlEnd) -> int:
        self.steps.append(settings)
        return 7


def test_a_spare_gets_warm_and_becomes_the_worker_when_it_is_told_to(line: Line) -> None:
    ours, theirs = line
    life = Life()
    ours.send("go", SETTINGS)

    status = stand_by(life.spec, SETTINGS, theirs)

    assert life.steps == ["warm", SETTINGS]
    assert status == 7


def test_a_reload_right_behind_is_not_lost_on_the_spare(line: Line) -> None:
    ours, theirs = line
    life = Life()
    newer = replace(SETTINGS, node="lb2")
    ours.send("go", SETTINGS)
    ours.send("reload", newer)

    stand_by(life.spec, SETTINGS, theirs)

    assert life.steps == ["warm", newer]


@pytest.mark.parametrize("end", ["stop", "gone"])
def test_a_spare_that_is_not_needed_ends_without_a_life(end: str, line: Line) -> None:
    ours, theirs = line
    life = Life()
    if end == "stop":
        ours.send("stop")
    else:
        ours.close()

    status = stand_by(life.spec, SETTINGS, theirs)

    assert life.steps == ["warm"]
    assert status == 0


def test_what_both_ends_know_does_not_travel_again(line: Line) -> None:
    def service(number: int) -> ServiceSettings:
        name = f"s{number}"
        key = ServiceKey.of_fwmark(number, 2)
        return ServiceSettings(
            name=name,
            service=Service(key=key),
            realservers=(),
            pool=PoolSettings(name=name, members=()),
        )

    first = replace(SETTINGS, services=tuple(service(number) for number in range(1, 101)))
    ours, theirs = line
    ours.send("go", first)
    (known,) = theirs.receive()

    newer = replace(first, services=(service(7), *first.services[1:]))
    ours.send("reload", newer)
    (message,) = theirs.receive()

    assert message.payload == newer
    assert all(
        one is other
        for one, other in zip(message.payload.services[1:], known.payload.services[1:], strict=True)
    )
