"""Which of many like events are worth a line.

The 1st, 10th, 100th ... of an episode; a new episode begins when a complaint has
not been heard for ``QUIET``, so that a peer misconfigured again next month is
not lost between the hundredth and the thousandth line. Keys come from small
closed sets (a ``DropReason``, a VRID, a router's name), never from a peer's
addresses: nothing here grows with what is received.
"""

from lvsha.core.bounded import ReasonCounter
from lvsha.core.instant import SECOND, Instant

QUIET = 60 * SECOND


class Complaints:
    def __init__(self) -> None:
        self._episodes: dict[str, tuple[ReasonCounter, Instant]] = {}
        self._totals = ReasonCounter()

    def count(self, key: str, now: Instant) -> int | None:
        """Add one. The number in this episode when it deserves a line, else None."""
        self._totals.count(key)
        episode, last = self._episodes.get(key, (ReasonCounter(), now))
        if now - last > QUIET:
            episode = ReasonCounter()
        self._episodes[key] = (episode, now)
        return episode.totals()[key] if episode.count(key) else None

    def totals(self) -> dict[str, int]:
        """Counts since the start, by key."""
        return self._totals.totals()
