"""Whole messages between directors, of any size within a bound, over the relay's TALK.

A transfer is cut into parts of one datagram. The sender keeps a window of them on their
way, begins again behind the last part that is known to be there when nothing is heard, and
gives up when that does not help. The receiver delivers a transfer once.

Source: ``proto/lvsha_relay_v1.md`` section 11.
"""

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Final

from lvsha.core.errors import LvshaError
from lvsha.core.instant import MILLISECOND, SECOND, Instant, after, earliest
from lvsha.core.machine import Action, Event, Output
from lvsha.wire.relay_talk import MAX_PARTS, Got, Part, Purpose, Word

WINDOW: Final = 32
AGAIN: Final = 100 * MILLISECOND
"""Without a GOT for so long: once more behind the last one."""
PATIENCE: Final = 10 * SECOND
"""Without progress for so long: it is given up."""
IDLE: Final = 30 * SECOND
"""Half a transfer that does not go on is forgotten."""
TRANSFERS_MOST: Final = 8
"""On their way at the same time, each way and peer."""
REMEMBERED: Final = 256
"""Transfers of a peer's life that are known to be delivered."""
GOT_EACH: Final = 4

Name = tuple[Purpose, int]


class TooMuch(LvshaError):
    """It cannot be sent: too long, or too much is on its way already."""


@dataclass(frozen=True, slots=True)
class SendWord(Action):
    peer: int
    word: Word


@dataclass(frozen=True, slots=True)
class Arrived(Event):
    """A transfer of the peer's is complete."""

    peer: int
    purpose: Purpose
    transfer: int
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Delivered(Event):
    """The peer has all of ours."""

    peer: int
    purpose: Purpose
    transfer: int


@dataclass(frozen=True, slots=True)
class Undelivered(Event):
    """It was given up; the peer may have it all the same."""

    peer: int
    purpose: Purpose
    transfer: int
    reason: str


@dataclass(slots=True)
class _Outgoing:
    data: bytes
    room: int
    parts: int
    progress: Instant
    again_at: Instant
    got: int = 0
    sent: int = 0


@dataclass(slots=True)
class _Incoming:
    parts: int
    heard: Instant
    found: dict[int, bytes] = field(default_factory=dict)
    following: int = 0


@dataclass(slots=True)
class _Peer:
    epoch: int
    outgoing: dict[Name, _Outgoing] = field(default_factory=dict)
    incoming: dict[Name, _Incoming] = field(default_factory=dict)
    done: OrderedDict[Name, int] = field(default_factory=OrderedDict)
    """Transfers that were delivered here, and their parts."""


class Talk:
    """All transfers of one director."""

    def __init__(self) -> None:
        self._peers: dict[int, _Peer] = {}
        self._lives: dict[int, _Peer] = {}
        """Of peers that are away: the same life must not be delivered anything twice."""
        self._count = 0

    # The session

    def connect(self, peer: int, epoch: int) -> None:
        """A session with this life of the peer is up."""
        known = self._lives.pop(peer, None)
        self._peers[peer] = known if known is not None and known.epoch == epoch else _Peer(epoch)

    def lose(self, peer: int, reason: str) -> list[Output]:
        gone = self._peers.pop(peer, None)
        if gone is None:
            return []
        outputs: list[Output] = [Undelivered(peer, *name, reason) for name in gone.outgoing]
        gone.outgoing.clear()
        gone.incoming.clear()
        self._lives[peer] = gone
        return outputs

    # Ours

    def send(
        self, peer: int, purpose: Purpose, data: bytes, now: Instant, *, room: int, answers: int | None = None
    ) -> tuple[int, list[Output]]:
        """Begin a transfer; its number, and what follows.

        Args:
            room: bytes of data in a part.
            answers: the number of the question.

        Raises:
            TooMuch: nothing is sent.
        """
        state = self._peers.get(peer)
        if state is None:
            raise TooMuch("it is not connected")
        parts = max(1, -(-len(data) // room))
        if parts > MAX_PARTS:
            raise TooMuch(f"{len(data)} bytes are more than {MAX_PARTS * room}")
        if len(state.outgoing) >= TRANSFERS_MOST:
            raise TooMuch(f"{TRANSFERS_MOST} messages to it are on their way already")
        if answers is None:
            self._count += 1
        transfer = self._count if answers is None else answers
        flight = _Outgoing(data, room, parts, progress=now, again_at=after(now, AGAIN))
        state.outgoing[purpose, transfer] = flight
        return transfer, self._go_on(peer, (purpose, transfer), flight)

    def _go_on(self, peer: int, name: Name, flight: _Outgoing) -> list[Output]:
        outputs: list[Output] = []
        while flight.sent < min(flight.parts, flight.got + WINDOW):
            at = flight.sent * flight.room
            data = flight.data[at : at + flight.room]
            part = Part(purpose=name[0], transfer=name[1], parts=flight.parts, index=flight.sent, data=data)
            outputs.append(SendWord(peer, part))
            flight.sent += 1
        return outputs

    def _on_got(self, peer: int, state: _Peer, got: Got, now: Instant) -> list[Output]:
        name = (got.purpose, got.transfer)
        flight = state.outgoing.get(name)
        if flight is None or got.following <= flight.got or got.following > flight.parts:
            return []
        flight.got = got.following
        flight.sent = max(flight.sent, flight.got)
        flight.progress = now
        flight.again_at = after(now, AGAIN)
        if flight.got == flight.parts:
            del state.outgoing[name]
            return [Delivered(peer, *name)]
        return self._go_on(peer, name, flight)

    # Theirs

    def receive(self, peer: int, word: Part | Got, now: Instant) -> list[Output]:
        state = self._peers.get(peer)
        if state is None:
            return []
        if isinstance(word, Got):
            return self._on_got(peer, state, word, now)
        name = (word.purpose, word.transfer)
        if name in state.done:
            return [_got(peer, name, state.done[name])]
        pile = state.incoming.get(name)
        if pile is None:
            if len(state.incoming) >= TRANSFERS_MOST:
                return []
            pile = state.incoming[name] = _Incoming(word.parts, now)
        if word.parts != pile.parts:
            return []  # not what it was: it will be given up
        pile.heard = now
        is_new = word.index not in pile.found
        in_order = word.index == pile.following
        pile.found.setdefault(word.index, word.data)
        while pile.following in pile.found:
            pile.following += 1
        if pile.following == pile.parts:
            del state.incoming[name]
            state.done[name] = pile.parts
            if len(state.done) > REMEMBERED:
                state.done.popitem(last=False)
            data = b"".join(pile.found[index] for index in range(pile.parts))
            return [_got(peer, name, pile.parts), Arrived(peer, *name, data)]
        if is_new and in_order and pile.following % GOT_EACH:
            return []
        return [_got(peer, name, pile.following)]

    # Time

    @property
    def deadline(self) -> Instant | None:
        dues = [flight.again_at for state in self._peers.values() for flight in state.outgoing.values()]
        ends = [after(pile.heard, IDLE) for state in self._peers.values() for pile in state.incoming.values()]
        return earliest(*dues, *ends)

    def on_deadline(self, now: Instant) -> list[Output]:
        outputs: list[Output] = []
        for peer, state in self._peers.items():
            for name, flight in list(state.outgoing.items()):
                if now - flight.progress >= PATIENCE:
                    del state.outgoing[name]
                    outputs.append(Undelivered(peer, *name, f"nothing heard for {PATIENCE // SECOND} s"))
                elif flight.again_at <= now:
                    flight.sent = flight.got
                    flight.again_at = after(now, AGAIN)
                    outputs += self._go_on(peer, name, flight)
            for name in [name for name, pile in state.incoming.items() if now - pile.heard >= IDLE]:
                del state.incoming[name]
        return outputs


def _got(peer: int, name: Name, following: int) -> SendWord:
    return SendWord(peer, Got(purpose=name[0], transfer=name[1], following=following))
