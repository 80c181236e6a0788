"""Finding where two tables differ: digests of buckets, then what a bucket holds.

Nothing here is resent: each round stands for itself, and the next one repeats what was lost.

Source: ``proto/lvsha_relay_v1.md`` section 9.
"""

from typing import Final

from lvsha.core.instant import MILLISECOND, SECOND, Instant, after
from lvsha.sync.store import Store
from lvsha.wire.relay import BUCKETS, Digests, Holdings

ROUND_QUIET: Final = 100 * MILLISECOND
ROUND_BUSY: Final = SECOND
ROUNDS_SOON: Final = 20
"""After so many rounds something is wrong that rounds do not mend, a full table for one."""
HOLDINGS_MOST: Final = 256
"""Buckets told about in ``ROUND_QUIET``."""
HOLDINGS_BUSY: Final = 16
"""The same while entries are on their way, which explain most differences."""
_MASK64: Final = (1 << 64) - 1


class DigestRounds:
    """Our side of the comparison with one peer."""

    def __init__(self, store: Store, now: Instant) -> None:
        self._store = store
        self.at: Instant | None = None
        """When the next round is due; None: the tables seem to be equal."""
        self._first = 0
        self._rounds = 0
        self._budget = HOLDINGS_MOST
        self._budget_until = now

    def begin(self, now: Instant) -> None:
        """The tables differ."""
        if self.at is None:
            self.at = after(now, ROUND_QUIET)

    def hasten(self, now: Instant) -> None:
        """Quiet now: what still differs is not on its way."""
        if self.at is not None:
            self.at = min(self.at, after(now, ROUND_QUIET))

    def end(self) -> None:
        """The tables are equal."""
        self.at = None
        self._rounds = 0

    def round(self, room: int, now: Instant, *, is_quiet: bool) -> list[Digests]:
        """Our buckets' digests, in messages whose bodies fit in ``room`` bytes."""
        self._rounds += 1
        is_soon = is_quiet and self._rounds <= ROUNDS_SOON
        self.at = after(now, ROUND_QUIET if is_soon else ROUND_BUSY)
        per_frame = (room - 4) // 8
        digests = self._store.bucket_digests
        chunks = [
            Digests(first=first, digests=tuple(digests[first : first + per_frame]))
            for first in range(0, BUCKETS, per_frame)
        ]
        # The peer answers for so many buckets only: begin elsewhere each time.
        self._first = (self._first + 1) % len(chunks)
        return chunks[self._first :] + chunks[: self._first]

    def differing(self, message: Digests) -> list[int]:
        """The buckets in which the peer has something else."""
        ours = self._store.bucket_digests
        return [
            number for number, theirs in enumerate(message.digests, message.first) if theirs != ours[number]
        ]

    def holdings(self, bucket: int, room: int, now: Instant, *, is_quiet: bool) -> list[Holdings]:
        """What we have in a bucket, in messages of at most ``room`` bytes; none past the budget."""
        if now >= self._budget_until:
            self._budget = HOLDINGS_MOST if is_quiet else HOLDINGS_BUSY
            self._budget_until = after(now, ROUND_QUIET)
        if not self._budget:
            return []
        self._budget -= 1
        items = sorted(held.digest for held in self._store.bucket(bucket).values())
        per_frame = (room - 20) // 8
        messages: list[Holdings] = []
        least = 0
        for at in range(0, max(len(items), 1), per_frame):
            part = items[at : at + per_frame]
            most = part[-1] if at + per_frame < len(items) else _MASK64
            messages.append(Holdings(bucket=bucket, least=least, most=most, items=tuple(part)))
            least = most + 1
        return messages
