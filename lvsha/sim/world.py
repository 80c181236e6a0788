"""Virtual time: nothing happens between two things that happen.

The world holds what is to come, sorted by instant, and jumps from one to the
next. It has no clock and no dice; two things due at the same instant come in the
order in which they were asked for, so a run is a function of what is put in.
"""

import heapq
from collections.abc import Callable

from lvsha.core.instant import Instant

STUCK = 10_000
"""Things at one instant: by then something asks for now again and again."""


class World:
    def __init__(self) -> None:
        self.now = Instant(0)
        self.steps = 0
        """How many things have happened."""
        self.after_step: Callable[[], None] | None = None
        """Looks at the world after each of them: the invariants of a swarm."""
        self._to_come: list[tuple[Instant, int, Callable[[], None]]] = []
        self._tickets = 0

    def at(self, instant: Instant, happen: Callable[[], None]) -> None:
        """Ask for something; in the past means now, after what is due already."""
        self._tickets += 1
        heapq.heappush(self._to_come, (max(instant, self.now), self._tickets, happen))

    def advance(self, duration: int) -> None:
        """Let ``duration`` nanoseconds pass."""
        self.run_until(Instant(self.now + duration))

    def run_until(self, instant: Instant) -> None:
        """Everything due up to and including ``instant`` happens."""
        to_come = self._to_come
        at_once = 0
        while to_come and to_come[0][0] <= instant:
            before = self.now
            self.now, _, happen = heapq.heappop(to_come)
            at_once = at_once + 1 if self.now == before else 0
            assert at_once < STUCK, f"time stands still at {self.now}"
            happen()
            self.steps += 1
            if self.after_step is not None:
                self.after_step()
        self.now = max(self.now, instant)

    def __len__(self) -> int:
        """How much is to come."""
        return len(self._to_come)
