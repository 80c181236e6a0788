"""Letters to oneself, and who waits for them."""

from collections.abc import Callable
from contextlib import closing

import pytest

from lvsha.agent.vrrpd import catching_up
from lvsha.agent.vrrpd.catching_up import TRIPS, CatchingUp
from lvsha.io.loopback import LoopbackSocket
from lvsha.io.reactor import Reactor


class Letters:
    """``lo``, by hand."""

    def __init__(self) -> None:
        self.posted: list[int] = []
        self.is_down = False
        self.came: int | None = None

    def __call__(self) -> "Letters":
        return self

    def fileno(self) -> int:
        return 99

    def send(self, number: int) -> None:
        if self.is_down:
            raise OSError(100, "Network is down")
        self.posted.append(number)

    def receive(self) -> int | None:
        came, self.came = self.came, None
        return came


class OneReader(Reactor):
    def __init__(self) -> None:
        self.readable: Callable[[], object] = list

    def watch(self, fd: int, callback: Callable[[], None]) -> None:
        self.readable = callback


@pytest.fixture
def letters(monkeypatch: pytest.MonkeyPatch) -> Letters:
    letters = Letters()
    monkeypatch.setattr(catching_up, "LoopbackSocket", letters)
    return letters


def come_back(letters: Letters, reactor: OneReader, number: int) -> None:
    letters.came = number
    reactor.readable()


def test_a_router_is_told_when_its_letter_has_come_back_often_enough(letters: Letters) -> None:
    reactor, told = OneReader(), list[str]()
    catching = CatchingUp(reactor, told.append)
    assert catching.begin() == ""
    come_back(letters, reactor, 0)

    assert catching.ask("a", again=False)
    for trip in range(1, TRIPS + 1):
        assert told == []
        assert catching.ask("a", again=True), "as often as somebody wants: it begins no new round"
        come_back(letters, reactor, trip)
    assert told == ["a"]

    assert catching.ask("b", again=False)
    letters.is_down = True
    come_back(letters, reactor, TRIPS + 1)

    assert told == ["a", "b"], "it cannot be asked any further"
    assert letters.posted == [0, 1, 1, 2, 2, 3, 3, 4, 4, 5]


def test_nobody_waits_where_no_letter_has_ever_come_back(letters: Letters) -> None:
    catching = CatchingUp(OneReader(), lambda router: None)
    catching.begin()

    assert not catching.ask("a", again=False)


def test_a_loopback_that_is_down_is_said_and_not_waited_for(letters: Letters) -> None:
    reactor = OneReader()
    catching = CatchingUp(reactor, lambda router: None)
    catching.begin()
    come_back(letters, reactor, 0)
    letters.is_down = True

    assert not catching.ask("a", again=False)
    assert "ip link set lo up" in CatchingUp(OneReader(), lambda router: None).begin()


def test_a_letter_comes_back_through_the_kernel() -> None:
    try:
        ours, others = LoopbackSocket(), LoopbackSocket()
    except PermissionError:
        pytest.skip("packet sockets need CAP_NET_RAW")
    with closing(ours), closing(others):
        others.send(7)
        ours.send(8)
        ours.send(9)

        came = None
        while came != 9:
            came = ours.receive()

        assert ours.receive() is None
