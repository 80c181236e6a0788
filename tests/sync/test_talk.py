"""Whole messages over datagrams that get lost, come twice and out of order; bounds and ends."""

import random

import pytest

from lvsha.core.instant import MILLISECOND, SECOND, Instant
from lvsha.core.machine import Output
from lvsha.sync.talk import (
    IDLE,
    PATIENCE,
    TRANSFERS_MOST,
    WINDOW,
    Arrived,
    Delivered,
    SendWord,
    Talk,
    TooMuch,
    Undelivered,
)
from lvsha.wire.relay_talk import MAX_PARTS, Got, Part, Purpose

A, B = 1, 2
ROOM = 100


class Wire:
    """Two ends; what is sent arrives in some order after up to 5 ms, or not at all."""

    def __init__(self, *, seed: int = 0, loss: float = 0.0, twice: float = 0.0) -> None:
        self.random = random.Random(seed)
        self.loss, self.twice = loss, twice
        self.now = Instant(0)
        self.ends = {A: Talk(), B: Talk()}
        self.wire: list[tuple[Instant, int, Part | Got]] = []
        self.said: dict[int, list[Output]] = {A: [], B: []}
        self.connect()

    def connect(self, epoch: int = 7) -> None:
        self.ends[A].connect(B, epoch)
        self.ends[B].connect(A, epoch)

    def take(self, end: int, outputs: list[Output]) -> None:
        for output in outputs:
            if not isinstance(output, SendWord):
                self.said[end].append(output)
                continue
            assert isinstance(output.word, (Part, Got))
            for _ in range(1 + (self.random.random() < self.twice)):
                if self.random.random() >= self.loss:
                    at = Instant(self.now + self.random.randrange(1, 6) * MILLISECOND)
                    self.wire.append((at, output.peer, output.word))

    def send(self, data: bytes, end: int = A) -> int:
        other = A + B - end
        number, outputs = self.ends[end].send(other, Purpose.QUESTION, data, self.now, room=ROOM)
        self.take(end, outputs)
        return number

    def run(self, duration: int) -> None:
        until = self.now + duration
        while self.now < until:
            self.now = Instant(self.now + MILLISECOND)
            due = [each for each in self.wire if each[0] <= self.now]
            self.wire = [each for each in self.wire if each[0] > self.now]
            for _, end, word in due:
                self.take(end, self.ends[end].receive(A + B - end, word, self.now))
            for end, talk in self.ends.items():
                if talk.deadline is not None and talk.deadline <= self.now:
                    self.take(end, talk.on_deadline(self.now))

    def arrived(self, end: int = B) -> list[bytes]:
        return [each.data for each in self.said[end] if isinstance(each, Arrived)]


@pytest.mark.parametrize("size", [0, 1, ROOM, ROOM + 1, 77 * ROOM + 3])
def test_a_message_arrives_whole_and_the_sender_hears_of_it(size: int) -> None:
    wire = Wire()
    data = random.Random(size).randbytes(size)

    number = wire.send(data)
    wire.run(SECOND)

    assert wire.arrived() == [data]
    assert wire.said[A] == [Delivered(B, Purpose.QUESTION, number)]
    assert wire.ends[A].deadline is None
    assert wire.ends[B].deadline is None


@pytest.mark.parametrize("seed", range(5))
def test_it_arrives_once_however_bad_the_wire_is(seed: int) -> None:
    wire = Wire(seed=seed, loss=0.2, twice=0.2)
    data = [random.Random(number).randbytes(50 * ROOM) for number in range(4)]

    for each in data:
        wire.send(each)
    wire.run(30 * SECOND)

    assert sorted(wire.arrived()) == sorted(data)
    assert sum(isinstance(each, Delivered) for each in wire.said[A]) == 4


def test_no_more_than_a_window_is_on_its_way() -> None:
    wire = Wire()

    wire.send(bytes(1000 * ROOM))

    assert len(wire.wire) == WINDOW


def test_a_peer_that_says_nothing_is_given_up() -> None:
    wire = Wire(loss=1.0)

    number = wire.send(b"data")
    wire.run(PATIENCE + SECOND)

    (end,) = wire.said[A]
    assert isinstance(end, Undelivered)
    assert (end.transfer, end.reason) == (number, "nothing heard for 10 s")
    assert wire.ends[A].deadline is None


def test_a_lost_session_ends_what_is_on_its_way_and_half_of_it_is_forgotten() -> None:
    wire = Wire()
    wire.send(bytes(1000 * ROOM))
    wire.run(3 * MILLISECOND)

    wire.take(A, wire.ends[A].lose(B, "it has left"))
    wire.take(B, wire.ends[B].lose(A, "it has left"))

    assert [type(each) for each in wire.said[A]] == [Undelivered]
    assert wire.ends[B].deadline is None


def test_half_a_message_is_forgotten_when_it_does_not_go_on() -> None:
    talk = Talk()
    talk.connect(A, 7)
    talk.receive(A, Part(purpose=Purpose.QUESTION, transfer=1, parts=2, index=0, data=b"x"), Instant(0))

    assert talk.deadline == IDLE
    talk.on_deadline(Instant(IDLE))

    assert talk.deadline is None


def test_a_life_is_told_nothing_twice_also_across_a_lost_session() -> None:
    """A's end hears that all is there only after the session was lost on B's side alone."""
    talk = Talk()
    talk.connect(A, 7)
    part = Part(purpose=Purpose.QUESTION, transfer=1, parts=1, index=0, data=b"x")
    assert any(isinstance(each, Arrived) for each in talk.receive(A, part, Instant(0)))

    talk.lose(A, "nothing heard")
    talk.connect(A, 7)
    again = talk.receive(A, part, Instant(SECOND))

    assert again == [SendWord(A, Got(purpose=Purpose.QUESTION, transfer=1, following=1))]

    talk.lose(A, "it has started again")
    talk.connect(A, 8)
    assert any(isinstance(each, Arrived) for each in talk.receive(A, part, Instant(SECOND)))


def test_what_is_too_much_is_refused_before_anything_is_sent() -> None:
    talk = Talk()
    with pytest.raises(TooMuch, match="not connected"):
        talk.send(A, Purpose.ORDERS, b"", Instant(0), room=ROOM)
    talk.connect(A, 7)
    with pytest.raises(TooMuch, match="more than"):
        talk.send(A, Purpose.ORDERS, bytes(MAX_PARTS * ROOM + 1), Instant(0), room=ROOM)
    for _ in range(TRANSFERS_MOST):
        talk.send(A, Purpose.ORDERS, b"x", Instant(0), room=ROOM)
    with pytest.raises(TooMuch, match="on their way"):
        talk.send(A, Purpose.ORDERS, b"x", Instant(0), room=ROOM)


def test_a_peer_that_begins_without_end_fills_nothing() -> None:
    talk = Talk()
    talk.connect(A, 7)
    answered = 0
    for number in range(1, 1000):
        part = Part(purpose=Purpose.QUESTION, transfer=number, parts=9, index=3, data=bytes(1000))
        answered += len(talk.receive(A, part, Instant(0)))

    assert answered == TRANSFERS_MOST
