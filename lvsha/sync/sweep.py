"""A walk over a whole table, a few rows at a time.

What concerns every row (a peer that joins, an address that comes to us, rows to be given to the kernel
once more) must not hold up the next change: 100,000 rows are a tenth of a second. So such work walks
bucket by bucket when there is room for it. A row that comes meanwhile goes its own way, and may be met
once more; one that ends is not met.
"""

from collections.abc import Callable, Iterator, Sequence
from operator import length_hint
from typing import TYPE_CHECKING, Final

from lvsha.core.instant import Instant

if TYPE_CHECKING:
    from lvsha.sync.store import Held

SLICE: Final = 2_000
"""Rows looked at in one go: about a millisecond."""


class Sweep:
    """One walk. Whoever walks it asks for ``take`` until ``is_over``."""

    __slots__ = (
        "_bucket",
        "_buckets",
        "_next",
        "_rows",
        "_wants",
        "began",
        "budget",
        "is_over",
        "marks",
        "misses_rest",
        "skip",
    )

    def __init__(
        self,
        buckets: "Sequence[dict[bytes, Held]]",
        wants: "Callable[[Held], bool]",
        now: Instant,
        *,
        marks: bool = False,
        misses_rest: bool = False,
    ) -> None:
        """``marks``: the peer has no copy of what is met; ``misses_rest``: nor perhaps of what is not."""
        self._buckets = buckets
        self._wants = wants
        self._next = 0
        self._bucket: dict[bytes, Held] = {}
        self._rows: Iterator[Held] = iter(())
        self.began = now
        self.budget = SLICE
        """Rows that may still be looked at in this slice."""
        self.is_over = False
        self.marks = marks
        self.misses_rest = misses_rest
        self.skip: set[bytes] = set()
        """Keys that need not be met any more."""

    @property
    def left(self) -> int:
        """Rows that have not been looked at."""
        return sum(map(len, self._buckets[self._next :])) + length_hint(self._rows)

    def rest(self) -> "Iterator[Held]":
        """Rows of the buckets that have not been begun; without walking."""
        for bucket in self._buckets[self._next :]:
            yield from bucket.values()

    def take(self) -> "Held | None":
        """The next row that is wanted; None: the walk is over, or the budget is."""
        while self.budget > 0:
            for held in self._rows:
                self.budget -= 1
                if held.key in self.skip:
                    self.skip.discard(held.key)
                elif self._bucket.get(held.key) is held and self._wants(held):
                    return held
                if self.budget <= 0:
                    return None
            if self._next >= len(self._buckets):
                self.is_over = True
                return None
            self._bucket = self._buckets[self._next]
            self._rows = iter(tuple(self._bucket.values()))
            self._next += 1
            self.budget -= 1
        return None
