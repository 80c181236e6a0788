"""Virtual time: nothing happens between two things that happen.

The world holds what is to come, sorted by instant, and jumps from one to the
next. It has no clock and no dice; two things due at the same instant come in the
order in which they were asked for, so a run is a function of what is put in.

Whoever has a deadline that moves all the time (a BACKUP's moves with every advert)
joins as a party: the world looks at its ``due`` instead of keeping a queue of
deadlines that are none any more. What is asked for comes before a deadline of the
same instant, as ``io.reactor`` reads its descriptors first.
"""

import heapq
from collections.abc import Callable
from typing import Any, Protocol

from lvsha.core.instant import Instant

STUCK = 10_000
"""Things at one instant: by then something asks for now again and again."""
NEVER = Instant(1 << 62)
"""Later than anything: 146 years."""


class Party(Protocol):
    due: Instant
    """``NEVER``: only on input."""

    def on_due(self) -> None:
        """The instant has come; it sets ``due`` again."""


class World:
    def __init__(self) -> None:
        self.now = Instant(0)
        self.steps = 0
        """How many things have happened."""
        self.after_step: Callable[[], None] | None = None
        """Looks at the world after each of them: the invariants of a swarm."""
        self._to_come: list[tuple[Instant, int, Callable[..., None], tuple[Any, ...]]] = []
        self._tickets = 0
        self._parties: list[Party] = []

    def join(self, party: Party) -> None:
        """From now on its ``due`` counts; of several due at once, who joined first comes first."""
        self._parties.append(party)

    def at(self, instant: Instant, happen: Callable[..., None], *arguments: Any) -> None:
        """Ask for something; in the past means now, after what is due already."""
        self._tickets += 1
        heapq.heappush(
            self._to_come, (instant if instant > self.now else self.now, self._tickets, happen, arguments)
        )

    def advance(self, duration: int) -> None:
        """Let ``duration`` nanoseconds pass."""
        self.run_until(Instant(self.now + duration))

    def run_until(self, instant: Instant) -> None:
        """Everything due up to and including ``instant`` happens."""
        to_come, parties, after_step = self._to_come, self._parties, self.after_step
        at_once = 0
        while True:
            first = to_come[0][0] if to_come else NEVER
            whose = None
            for party in parties:
                if party.due < first:
                    first, whose = party.due, party
            if first > instant:
                break
            if first > self.now:
                self.now = first
                at_once = 0
            else:
                at_once += 1
                assert at_once < STUCK, f"time stands still at {self.now}"
            if whose is None:
                _, _, happen, arguments = heapq.heappop(to_come)
                happen(*arguments)
            else:
                whose.on_due()
            self.steps += 1
            if after_step is not None:
                after_step()
        if instant > self.now:
            self.now = instant

    @property
    def expected(self) -> tuple[tuple[Instant, int], ...]:
        """When something was asked for, and its number: what is to come, deadlines of parties left out."""
        return tuple((instant, ticket) for instant, ticket, _, _ in sorted(self._to_come))

    def __len__(self) -> int:
        """How much is to come."""
        return len(self._to_come)
