"""What a peer, an operator or a crash can grow is bounded here."""

from collections import Counter, OrderedDict
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class BoundedDict(Generic[K, V]):
    """A mapping that forgets its least recently written key at ``limit`` keys."""

    def __init__(self, limit: int) -> None:
        assert limit > 0, "a bound of nothing holds nothing"
        self._limit = limit
        self._items: OrderedDict[K, V] = OrderedDict()
        self.forgotten = 0
        """How many keys had to go."""

    def __len__(self) -> int:
        return len(self._items)

    def get(self, key: K) -> V | None:
        return self._items.get(key)

    def put(self, key: K, value: V) -> None:
        self._items[key] = value
        self._items.move_to_end(key)
        if len(self._items) > self._limit:
            self._items.popitem(last=False)
            self.forgotten += 1


class ReasonCounter:
    """Counts by reason, and says which counts are worth a log line.

    A reason is worth a line at its 1st, 10th, 100th ... time: a flood of bad
    packets costs a handful of lines, and none is ever silent.
    """

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def count(self, reason: str) -> bool:
        """Add one; True when this one deserves a log line."""
        self._counts[reason] += 1
        n = self._counts[reason]
        while n % 10 == 0:
            n //= 10
        return n == 1

    def totals(self) -> dict[str, int]:
        """Counts so far, by reason."""
        return dict(self._counts)
