"""Are we the slow one?

Whoever measures others has to know its own lateness. The shell tells this
meter, for every timer that fired, when it should have fired; the meter keeps

* ``total``, the lateness so far. A probe that remembers the total of its start
  knows at its end how much of its time we did not listen, at the cost of one
  subtraction;
* the distribution over the last ten to twenty seconds, for status and metrics;
* a state, late or on time, that changes with hysteresis and is an event.
"""

from dataclasses import dataclass

from lvsha.core.instant import MILLISECOND, SECOND, Instant, after
from lvsha.core.machine import Event, Output


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopBecameLate(Event):
    """Our own loop runs late; results that depend on time are doubted."""

    lateness: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopRecovered(Event):
    """Our own loop has been on time again for a while."""

    after: int
    """How long it was late, in nanoseconds."""
    worst: int


LATE = 100 * MILLISECOND
"""A timer that fires this much late makes the loop late."""

NOTICEABLE = 5 * MILLISECOND
"""Less is how any loop is, and does not count into the total."""

CALM = 5 * SECOND
"""On time for this long makes it recover."""

CREDIT_LIMIT = 4
"""Our lateness prolongs a time-out to at most this many times itself on top."""

WINDOW = 10 * SECOND

_BUCKETS = 48
"""Bucket n holds latenesses below 2**n ns; 2**47 ns are 39 hours."""


class LagMeter:
    """Lateness of one loop."""

    def __init__(self, now: Instant) -> None:
        self.total = 0
        """All lateness worth noticing so far, in nanoseconds. It only grows."""
        self.late_since: Instant | None = None
        self._last_late = now
        self._worst = 0
        self._window_end = after(now, WINDOW)
        self._current = [0] * _BUCKETS
        self._previous = [0] * _BUCKETS

    @property
    def is_late(self) -> bool:
        return self.late_since is not None

    def woke(self, *, due: Instant, now: Instant) -> list[Output]:
        """A timer that was due at ``due`` fired at ``now``."""
        lateness = max(now - due, 0)
        if lateness >= NOTICEABLE:
            self.total += lateness
        if now >= self._window_end:
            stale = now >= self._window_end + WINDOW
            self._previous = [0] * _BUCKETS if stale else self._current
            self._current = [0] * _BUCKETS
            self._window_end = after(now, WINDOW)
        self._current[min(lateness.bit_length(), _BUCKETS - 1)] += 1

        if lateness >= LATE:
            self._last_late = now
            self._worst = max(self._worst, lateness)
            if self.late_since is None:
                self.late_since = due
                return [LoopBecameLate(lateness=lateness)]
        elif self.late_since is not None and now - self._last_late >= CALM:
            lasted, worst = self._last_late - self.late_since, self._worst
            self.late_since, self._worst = None, 0
            return [LoopRecovered(after=lasted, worst=worst)]
        return []

    def percentile(self, share: float) -> int:
        """An upper bound, at most twice the true value, of the lateness that ``share`` of the
        timers of the last 10 to 20 s did not pass."""
        counts = [a + b for a, b in zip(self._current, self._previous, strict=True)]
        wanted = share * sum(counts)
        seen = 0
        for bucket, count in enumerate(counts):
            seen += count
            if seen >= wanted and seen:
                return 0 if bucket == 0 else 1 << bucket
        return 0
