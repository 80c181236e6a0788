"""What a director adds on a shared group to what its own kernel announces.

A kernel that takes an address over announces nothing of what it learned before, one that
hears late is told nothing, a lost datagram is not said again, and a copy may end up to a
refresh period before its original. So whoever *holds* an address says its rows again:
at once what a takeover inherited, all when somebody new listens to the group, and every row from
time to time, each with what is left of it.

The protocol has neither order nor owner, so what may be said is bounded by the kernel's
own rule, who forwards announces:

* rows of virtual addresses that we hold, and of nothing else; a director that holds none is silent;
* as our own kernel has them: its announcements as captured, or its table read after the takeover.

Then a director that is shown these rows either does not forward them, and an older state does it
no harm (the next packet after a takeover puts it right); or two hold one address, and then their
kernels' own messages collide in the same way.

Nothing is said of who has heard it: a group does not answer.
"""

from collections import OrderedDict
from collections.abc import Iterable
from typing import Final, NamedTuple

from lvsha.core.instant import MILLISECOND, SECOND, Instant, after
from lvsha.core.machine import Output
from lvsha.sync.conn_entry import key_of, normalize, vaddr_of, with_timeout
from lvsha.sync.mirror import DEFAULT_WINDOW, entries_of, is_nudge, timeout_of
from lvsha.sync.producer import SendMessage
from lvsha.sync.resync import pack
from lvsha.wire.ipvs_sync.names import ConnFlag, Protocol

AGAIN: Final = 3 * SECOND
"""After so long a row is said again; later where there are more than ``AT_ONCE`` a ``PACE`` carry."""
PACE: Final = 10 * MILLISECOND
AT_ONCE: Final = 40
"""Rows in ``PACE``, one full message: 4,000 a second, 150 kB."""
URGENT_AT_ONCE: Final = 400
"""The same of what a takeover inherited, or a newcomer lacks: ten messages; a plain kernel's socket holds
ninety."""
NEWCOMER_LEAST: Final = SECOND
"""Everything is said at once for newcomers no more often: anybody can say that he has joined."""
LIMIT: Final = 1_000_000

_NEVER: Final = Instant(-(1 << 62))


class _Row(NamedTuple):
    entry: bytes
    expires: Instant
    """Our kernel's row may live so long."""
    said: Instant


class Announcer:
    """See above. ``window``: the kernel's refresh period in force, nanoseconds."""

    def __init__(self, *, syncid: int, window: int = DEFAULT_WINDOW, limit: int = LIMIT) -> None:
        self.claims: frozenset[bytes] = frozenset()
        """Virtual addresses that we hold."""
        self.deadline: Instant | None = None
        self.heard = 0
        """Entries that our kernel has announced."""
        self.inherited = 0
        """Rows that a takeover brought and that were said for the first time."""
        self.repeated = 0
        self.refused = 0
        """Rows past the limit: they are not said again."""
        self._syncid = syncid
        self._window = window
        self._limit = limit
        self._urgent_before = Instant(_NEVER + 1)
        """Rows that were said before are due."""
        self._newcomer_at = _NEVER
        self._rows: OrderedDict[bytes, _Row] = OrderedDict()
        """The one said longest ago first."""

    def __len__(self) -> int:
        return len(self._rows)

    def claim(self, vaddrs: frozenset[bytes]) -> bool:
        """From now on exactly these addresses are ours; True: some are new, read the table (``inherit``)."""
        gained = not vaddrs <= self.claims
        self.claims = vaddrs
        if not vaddrs:
            self._rows.clear()
            self.deadline = None
        return gained

    def hear(self, message: bytes, now: Instant) -> None:
        """Our own kernel has just announced this."""
        for entry in entries_of(message):
            if is_nudge(entry):
                continue
            self.heard += 1
            entry = normalize(entry)
            key = key_of(entry)
            if vaddr_of(key) not in self.claims:
                continue
            life = timeout_of(entry) + (0 if _is_closing(entry) else self._window)
            if key in self._rows or self._has_room():
                self._rows[key] = _Row(entry, after(now, life), now)
                self._rows.move_to_end(key)
        if self._rows and self.deadline is None:
            self.deadline = after(now, AGAIN)

    def newcomer(self, now: Instant) -> None:
        """Somebody new listens to the group: say everything."""
        if now - self._newcomer_at >= NEWCOMER_LEAST:
            self._newcomer_at = self._urgent_before = now
            if self._rows:
                self.deadline = now

    def inherit(self, table: Iterable[tuple[bytes, int]], now: Instant) -> int:
        """Our kernel's table, entries and what is left of them in nanoseconds; how many are to be said."""
        taken = 0
        for entry, left in table:
            entry = normalize(entry)
            key = key_of(entry)
            if vaddr_of(key) not in self.claims or key in self._rows or not self._has_room():
                continue
            self._rows[key] = _Row(entry, after(now, left), _NEVER)
            self._rows.move_to_end(key, last=False)
            taken += 1
        if taken:
            self.deadline = now
        return taken

    def on_deadline(self, now: Instant) -> list[Output]:
        """What is to be said now."""
        if self.deadline is None or now < self.deadline:
            return []
        rows = self._rows
        entries: list[bytes] = []
        while rows:
            key, row = next(iter(rows.items()))
            is_urgent = row.said < self._urgent_before
            most = URGENT_AT_ONCE if is_urgent else AT_ONCE
            if len(entries) >= most or not (is_urgent or after(row.said, AGAIN) <= now):
                break
            left = row.expires - now
            if left <= 0 or vaddr_of(key) not in self.claims:
                del rows[key]
                continue
            entries.append(with_timeout(row.entry, -(-left // SECOND)))
            if row.said == _NEVER:
                self.inherited += 1
            else:
                self.repeated += 1
            rows[key] = row._replace(said=now)
            rows.move_to_end(key)
        self.deadline = self._next(now)
        return [SendMessage(message) for message in pack(self._syncid, entries)]

    def _next(self, now: Instant) -> Instant | None:
        if not self._rows:
            return None
        first = next(iter(self._rows.values()))
        due = now if first.said < self._urgent_before else after(first.said, AGAIN)
        return max(due, after(now, PACE))

    def _has_room(self) -> bool:
        if len(self._rows) < self._limit:
            return True
        self.refused += 1
        return False


def _is_closing(entry: bytes) -> bool:
    """A TCP connection that ends: its timer is not prolonged by packets that nobody announces."""
    return entry[1] == Protocol.TCP and bool(int.from_bytes(entry[4:8], "big") & ConnFlag.INACTIVE)
