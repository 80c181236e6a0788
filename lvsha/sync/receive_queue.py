"""How far a kernel's backup daemon is behind the wire.

Nothing tells when the kernel has made a row of an entry. But its daemon takes
messages in their order, so when the queue of its socket is found empty, all that had
come before are in the table: the time from the oldest message that was not known to
be taken until then is the most that any of them waited.
"""

from lvsha.core.instant import Instant


class ReceiveQueue:
    """Show it messages with ``heard`` and the socket's counters with ``sampled``."""

    def __init__(self) -> None:
        self._first_drops: int | None = None
        self._oldest: Instant | None = None
        self.bytes = 0
        """In the queue at the last look, accounting included."""
        self.drops = 0
        """Messages that found it full since the first look."""
        self.lag: int | None = None
        """Nanoseconds, at most: from the wire to the table. None: nothing has been taken yet."""
        self.worst_lag = 0

    @property
    def is_waiting(self) -> bool:
        """Something was heard that is not known to be in the table."""
        return self._oldest is not None

    def heard(self, now: Instant) -> None:
        """A message came in."""
        if self._oldest is None:
            self._oldest = now

    def sampled(self, *, queued: int, drops: int, now: Instant) -> None:
        """The socket was looked at, at ``now`` or a little later."""
        if self._first_drops is None or drops < self._first_drops:
            # The first look, or the daemon was started anew and counts from 0.
            self._first_drops = drops
        self.bytes = queued
        self.drops = drops - self._first_drops
        if self._oldest is None:
            return
        self.lag = max(0, now - self._oldest)
        self.worst_lag = max(self.worst_lag, self.lag)
        if not queued:
            self._oldest = None
