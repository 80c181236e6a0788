"""What a peer of the relay has not got yet, as keys of connections."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from lvsha.core.instant import Instant
from lvsha.sync.sweep import Sweep

SWEEPS_MOST: Final = 8


class KeyQueue:
    """Keys in the order in which they came, each once, and since when."""

    __slots__ = ("_order", "_since")

    def __init__(self) -> None:
        self._since: dict[bytes, Instant] = {}
        # A plain dict would do, but taking from its front walks over everything taken before.
        self._order: deque[bytes] = deque()

    def __len__(self) -> int:
        return len(self._since)

    def __contains__(self, key: bytes) -> bool:
        return key in self._since

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._since)

    @property
    def since(self) -> dict[bytes, Instant]:
        """By key; read only. For questions about many keys at once."""
        return self._since

    def add(self, key: bytes, since: Instant) -> None:
        """Nothing happens to a key that is in already."""
        if key not in self._since:
            self._since[key] = since
            self._order.append(key)
            if len(self._order) > 2 * len(self._since) + 64:
                self._order = deque(key for key in dict.fromkeys(self._order) if key in self._since)

    def discard(self, key: bytes) -> None:
        self._since.pop(key, None)

    def take(self) -> tuple[bytes, Instant] | None:
        """The first key, and since when it is in; None: the queue is empty."""
        order, pop = self._order, self._since.pop
        while order:
            key = order.popleft()
            since = pop(key, None)
            if since is not None:
                return key, since
        return None

    @property
    def oldest(self) -> Instant | None:
        """Since when the first key is in."""
        while self._order and self._order[0] not in self._since:
            self._order.popleft()
        return self._since[self._order[0]] if self._order else None


@dataclass(slots=True)
class Waiting:
    """What one connected peer has not got yet."""

    fresh: KeyQueue = field(default_factory=KeyQueue)
    """Keys that changed: sent before the others."""
    bulk: KeyQueue = field(default_factory=KeyQueue)
    """Keys of a resync, or found missing."""
    sweeps: deque[Sweep] = field(default_factory=deque)
    """Walks over the table that are for it, one after another, when nothing else waits."""
    missing: set[bytes] = field(default_factory=set)
    """Keys of which it has no copy at all, as far as we know; without those that a sweep has not met."""

    def __len__(self) -> int:
        return len(self.fresh) + len(self.bulk) + sum(sweep.left for sweep in self.sweeps)

    @property
    def is_empty(self) -> bool:
        return not (self.sweeps or len(self.fresh) or len(self.bulk))

    @property
    def missing_count(self) -> int:
        """Rows of which it has no copy, at the most."""
        return len(self.missing) + sum(sweep.left for sweep in self.sweeps if sweep.misses_rest)

    def sweep(self, sweep: Sweep) -> None:
        """One walk more; past ``SWEEPS_MOST`` the oldest is given up, and digests find the rest."""
        if len(self.sweeps) >= SWEEPS_MOST:
            self.sweeps.popleft()
        self.sweeps.append(sweep)

    def settle(self, key: bytes) -> None:
        """It has this row as new as we have it."""
        self.missing.discard(key)
        self.fresh.discard(key)
        self.bulk.discard(key)
        for sweep in self.sweeps:
            sweep.skip.add(key)
