"""Finding where two tables differ: digests of buckets, then what a bucket holds.

Nothing here is resent: each round stands for itself, and the next one repeats what was lost. A round may
concern every row of both tables, so it is answered in slices, and there is none while a resync explains the
difference.

Source: ``proto/lvsha_relay_v1.md`` section 9.
"""

from collections import deque
from typing import Final

from lvsha.core.instant import MILLISECOND, SECOND, Instant, after, earliest
from lvsha.core.machine import Output
from lvsha.sync.relay_outflow import Outflow
from lvsha.sync.relay_outputs import SendDatagram
from lvsha.sync.store import Store
from lvsha.wire.relay import BUCKETS, Digests, Holdings, MessageFlag, Status

ROUND_QUIET: Final = 100 * MILLISECOND
ROUND_BUSY: Final = SECOND
ROUNDS_SOON: Final = 20
"""After so many rounds something is wrong that rounds do not mend, a full table for one."""
HOLDINGS_MOST: Final = 256
"""Buckets told about in ``ROUND_QUIET``."""
HOLDINGS_BUSY: Final = 16
"""The same while entries are on their way, which explain most differences."""
ITEMS_AT_ONCE: Final = 1_000
FRAMES_AT_ONCE: Final = 8
"""Told in one slice: about a millisecond."""
ENDS_SOON: Final = SECOND
"""Rows that end within this are not worth a resend: every director forgets them at its own moment."""
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
        self._noted = 0
        """Our table's digest at the peer's last STATUS."""

    def look(self, digest: int, now: Instant) -> None:
        """The peer's table has this digest."""
        self._noted = self._store.top
        if digest != self._noted and self.at is None:
            self.at = after(now, ROUND_QUIET)

    @property
    def is_still(self) -> bool:
        """Our table is as it was when the peer spoke of its own: so the difference is no matter of time."""
        return self._noted == self._store.top

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


class Comparison:
    """Both sides of it with one peer, as messages."""

    def __init__(self, peer: int, store: Store, outflow: Outflow, now: Instant) -> None:
        self._peer = peer
        self._store = store
        self._outflow = outflow
        self.rounds = DigestRounds(store, now)
        self._theirs: Status | None = None
        self._to_tell: deque[int] = deque()
        """Buckets that the peer has otherwise."""
        self._tell_at: Instant | None = None

    @property
    def deadline(self) -> Instant | None:
        return earliest(self.rounds.at, self._tell_at)

    def end(self) -> None:
        """The session is lost, or another begins."""
        self.rounds.at = self._tell_at = self._theirs = None
        self._to_tell.clear()

    def on_status(self, status: Status, now: Instant) -> None:
        self._theirs = status
        self.rounds.look(status.digest, now)

    def on_acknowledged(self, now: Instant) -> None:
        if self.is_quiet:
            self.rounds.hasten(now)

    @property
    def is_quiet(self) -> bool:
        """Nothing is on its way, either way: what differs now differs by mistake."""
        waiting = self._store.waiting[self._peer]
        known = self._theirs.missing if self._theirs is not None else 0
        return waiting.is_empty and not self._outflow.window.flights and not known

    def on_deadline(self, now: Instant, *, is_resyncing: bool) -> list[Output]:
        """The next round, and the next slice of our answer to the peer's."""
        outputs: list[Output] = []
        if self.rounds.at is not None and self.rounds.at <= now:
            outputs += self._round(now, is_resyncing=is_resyncing)
        if self._tell_at is not None and self._tell_at <= now:
            outputs += self._tell_slice(now)
        return outputs

    def _round(self, now: Instant, *, is_resyncing: bool) -> list[SendDatagram]:
        """Tell the peer our buckets' digests, if the tables seem to differ."""
        if self._theirs is None or self._theirs.digest == self._store.top:
            self.rounds.end()
            return []
        if is_resyncing:
            self.rounds.at = after(now, ROUND_BUSY)
            return []
        is_quiet = self.is_quiet and self.rounds.is_still
        rounds = self.rounds.round(self._outflow.room, now, is_quiet=is_quiet)
        return [self._outflow.send(digests) for digests in rounds]

    def on_digests(self, message: Digests, now: Instant) -> None:
        """What is to be told of it follows in slices."""
        known = set(self._to_tell)
        self._to_tell += (number for number in self.rounds.differing(message) if number not in known)
        if self._to_tell and self._tell_at is None:
            self._tell_at = now

    def _tell_slice(self, now: Instant) -> list[SendDatagram]:
        frames: list[SendDatagram] = []
        items = 0
        while self._to_tell and items < ITEMS_AT_ONCE and len(frames) < FRAMES_AT_ONCE:
            number = self._to_tell.popleft()
            told = self._tell(number, now)
            if not told:
                self._to_tell.clear()  # so much for this time; the next round begins elsewhere
            frames += told
            items += len(self._store.bucket(number))
        self._tell_at = now if self._to_tell else None
        return frames

    def _tell(self, number: int, now: Instant, flags: int = 0) -> list[SendDatagram]:
        is_quiet = self.is_quiet and self.rounds.is_still
        holdings = self.rounds.holdings(number, self._outflow.room, now, is_quiet=is_quiet)
        return [self._outflow.send(each, flags) for each in holdings]

    def on_holdings(self, message: Holdings, now: Instant, *, is_answer: bool) -> list[SendDatagram]:
        """Queue what the peer does not have, know what it has, and say so if it has what we have not."""
        waiting = self._store.waiting[self._peer]
        has = set(message.items)
        soon = after(now, ENDS_SOON)
        for held in self._store.bucket(message.bucket).values():
            if not message.least <= held.digest <= message.most:
                continue
            key = held.key
            if held.digest in has:
                has.discard(held.digest)
                waiting.missing.discard(key)
            elif key not in waiting.fresh and key not in self._outflow.window and held.expires > soon:
                waiting.bulk.add(key, now)
                waiting.missing.add(key)
        return self._tell(message.bucket, now, MessageFlag.ANSWER) if has and not is_answer else []
