"""The object store of the relay: every connection in its newest version, wherever it came from.

A row is known by its key, and a version replaces another only if it is larger in
(generation, origin, entry). So stores that hear the same records in any order, once
or twice, end up equal, and a late record never undoes a newer one. A generation is a
term and a count: the origin's next word adds one to the count, the first word of
another director, because packets flow through it now, adds one to the term.

A row lives until its connection's timer ends; every holder forgets it by itself. A
deletion is a version too, and is remembered for as long as the row could have lived.

What a peer has not got yet is written down per peer (``Waiting``), as keys: what is
sent is the newest version when its turn comes.

Digests: each row has one, each of 1,024 buckets the sum of its rows', the table the
sum of all. A change costs one hash; comparing two tables costs nothing that grows.

Source: ``proto/lvsha_relay_v1.md`` sections 6 and 9.
"""

import heapq
import struct
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from enum import StrEnum
from hashlib import blake2b
from typing import Final, NamedTuple
from zlib import crc32

from lvsha.core.instant import MILLISECOND, SECOND, Instant, after
from lvsha.sync.conn_entry import key_of, normalize, timeout_s, vaddr_of
from lvsha.sync.key_queue import Waiting
from lvsha.sync.sweep import SLICE, Sweep
from lvsha.wire.relay import BUCKETS, Record

DEFAULT_LIMIT: Final = 1_000_000
DEFAULT_TOMBSTONES: Final = 65_536
TOMBSTONE_LIFETIME: Final = 60 * SECOND
"""How long at least a deletion is remembered: longer than any record of the row can be on its way."""
LIFETIME_LIMIT: Final = ((1 << 32) - 1) * MILLISECOND
LOOK_S: Final = 60
"""Every row's timer is looked at so often."""
SEED_GENERATION: Final = 1
"""Of a row that was there before us: any word of anybody is newer."""

_TERM_SHIFT: Final = 32
_MASK64: Final = (1 << 64) - 1
_VERSION: Final = struct.Struct(">QL")


class Held:
    """One live row. Read only for everybody else."""

    __slots__ = (
        "digest",
        "entry",
        "expires",
        "generation",
        "is_seen",
        "is_withheld",
        "key",
        "origin",
        "slot",
    )

    def __init__(
        self, *, key: bytes, entry: bytes, generation: int, origin: int, expires: Instant, is_seen: bool
    ) -> None:
        self.key = key
        self.entry = entry
        self.generation = generation
        self.origin = origin
        self.expires = expires
        self.is_seen = is_seen
        """Our own kernel showed it, in this life of ours."""
        self.is_withheld = False
        """A newer version came than our kernel has, and was not given to it because the row is ours."""
        self.digest = _digest(generation, origin, entry)
        self.slot = 0


class Tombstone(NamedTuple):
    """A connection that is gone."""

    generation: int
    origin: int
    entry: bytes
    forget: Instant


class Verdict(StrEnum):
    """What became of a peer's record."""

    INSTALL = "install"
    """Taken; give it to the kernel."""
    WITHHELD = "withheld"
    """Taken; the row is ours, so the kernel knows better."""
    SAME = "same"
    STALE = "stale"
    REASSERTED = "reasserted"
    """Our words of an earlier life, or the end of what our kernel goes on with: our kernel knows better,
    and everybody is told."""
    GONE = "gone"
    """A deletion, taken; tell the kernel."""
    FULL = "full"


class Store:
    """See above. ``deadline`` is the next second in which a row may end."""

    def __init__(
        self, *, director: int, limit: int = DEFAULT_LIMIT, tombstones: int = DEFAULT_TOMBSTONES
    ) -> None:
        self.director = director
        self.limit = limit
        self.claims: frozenset[bytes] = frozenset()
        """Virtual addresses of which we are MASTER."""
        self.is_complete = True
        """Everything that our kernel has is here; not while its table is being read. No peer is told before
        that it has got everything."""
        self.waiting: dict[int, Waiting] = {}
        """By peer; the relay puts in whoever is connected."""
        self.counts: Counter[str] = Counter()
        """created, updated, deleted, expired, refused, and verdicts by name."""
        self.top = 0
        """The table's digest."""
        self.bucket_digests = [0] * BUCKETS
        self._buckets: list[dict[bytes, Held]] = [{} for _ in range(BUCKETS)]
        self._count = 0
        self._tombstones: OrderedDict[bytes, Tombstone] = OrderedDict()
        self._tombstone_limit = tombstones
        # Rows by the second in which to look at their timers; a longer life moves nothing.
        self._slots: dict[int, list[bytes]] = {}
        self._withheld: set[bytes] = set()
        """Keys of rows that are, or were, withheld."""
        self._due: list[int] = []

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Held]:
        for bucket in self._buckets:
            yield from bucket.values()

    def get(self, key: bytes) -> Held | None:
        return self._buckets[crc32(key) % BUCKETS].get(key)

    def tombstone(self, key: bytes) -> Tombstone | None:
        return self._tombstones.get(key)

    @property
    def tombstone_count(self) -> int:
        return len(self._tombstones)

    def bucket(self, number: int) -> dict[bytes, Held]:
        """The rows of one bucket; read only."""
        return self._buckets[number]

    def owns(self, held: Held) -> bool:
        """Our kernel spoke of it last, in this life of ours, or it belongs to an address that we hold."""
        return (held.origin == self.director and held.is_seen) or vaddr_of(held.key) in self.claims

    # What our own kernel says

    def observe(self, entry: bytes, now: Instant, *, lifetime: int | None = None) -> bool:
        """Our kernel announced the connection: a new version, ours.

        Args:
            entry: a v1 entry without padding.
            lifetime: nanoseconds until it ends; None: the entry's time-out.

        Returns:
            False: the table is full.
        """
        entry = normalize(entry)
        return self._speak(key_of(entry), entry, now, lifetime)

    def observe_normal(self, key: bytes, entry: bytes, now: Instant, *, lifetime: int) -> bool:
        """The same of an entry that has been through ``normalize``, and its key."""
        return self._speak(key, entry, now, lifetime)

    def seed(self, entry: bytes, now: Instant, *, lifetime: int | None = None) -> bool:
        """Our kernel had the row before we started. Does nothing to a row that is held; False: full."""
        entry = normalize(entry)
        key = key_of(entry)
        if (held := self.get(key)) is not None:
            held.is_seen = True
            return True
        if key in self._tombstones:
            return True
        return self._create(key, entry, SEED_GENERATION, self.director, _end(entry, lifetime, now), now)

    def refresh(self, key: bytes, now: Instant, *, lifetime: int) -> bool:
        """The same row lives longer: a new version, ours. False: it is not held."""
        held = self.get(key)
        return held is not None and self._speak(key, held.entry, now, lifetime)

    def delete(self, key: bytes, now: Instant) -> bool:
        """Our kernel's row is gone. False: it was not held."""
        held = self.get(key)
        if held is None:
            return False
        self._bury(held, self._next_generation(held.generation, held.origin), self.director, now)
        for waiting in self.waiting.values():
            waiting.fresh.add(key, now)
        self.counts["deleted"] += 1
        return True

    def claim(self, vaddrs: frozenset[bytes], now: Instant) -> list[Held]:
        """From now on exactly these virtual addresses are ours.

        Rows that become ours by it go to all peers, without waiting for their packets.

        Returns:
            Rows that were ours, and whose newest version was withheld from the kernel meanwhile.
        """
        taken, given = vaddrs - self.claims, self.claims - vaddrs
        self.claims = vaddrs
        if taken:
            for peer, waiting in self.waiting.items():
                waiting.sweep(self._sweep_of_taken(taken, peer, now))
        released = []
        if given:
            for key in tuple(self._withheld):
                held = self.get(key)
                if held is not None and held.is_withheld:
                    if self.owns(held):
                        continue
                    held.is_withheld = False
                    released.append(held)
                self._withheld.discard(key)
        return released

    def _sweep_of_taken(self, taken: frozenset[bytes], peer: int, now: Instant) -> Sweep:
        def wants(held: Held) -> bool:
            if held.origin == peer:
                return False  # it was the peer itself who told us
            return vaddr_of(held.key) in taken and not (held.origin == self.director and held.is_seen)

        return self.sweep(wants, now, marks=True)

    def sweep(
        self,
        wants: Callable[[Held], bool],
        now: Instant,
        *,
        marks: bool = False,
        misses_rest: bool = False,
    ) -> Sweep:
        """A walk over all rows; see ``Sweep``."""
        return Sweep(self._buckets, wants, now, marks=marks, misses_rest=misses_rest)

    def _speak(self, key: bytes, entry: bytes, now: Instant, lifetime: int | None) -> bool:
        expires = _end(entry, lifetime, now)
        held = self.get(key)
        if held is None:
            tombstone = self._tombstones.get(key)
            generation = 1 << _TERM_SHIFT
            if tombstone is not None:
                generation = ((tombstone.generation >> _TERM_SHIFT) + 1) << _TERM_SHIFT
            return self._create(key, entry, generation, self.director, expires, now)
        generation = self._next_generation(held.generation, held.origin)
        self._change(held, entry, generation, self.director, expires, now)
        held.is_seen, held.is_withheld = True, False
        for waiting in self.waiting.values():
            waiting.fresh.add(key, now)
            waiting.bulk.discard(key)
        self.counts["updated"] += 1
        return True

    def _next_generation(self, generation: int, origin: int) -> int:
        if origin == self.director:
            return generation + 1
        return ((generation >> _TERM_SHIFT) + 1) << _TERM_SHIFT

    def _create(
        self, key: bytes, entry: bytes, generation: int, origin: int, expires: Instant, now: Instant
    ) -> bool:
        if self._count >= self.limit:
            self.counts["refused"] += 1
            return False
        held = Held(key=key, entry=entry, generation=generation, origin=origin, expires=expires, is_seen=True)
        self._insert(held, now)
        for waiting in self.waiting.values():
            waiting.fresh.add(key, now)
            waiting.missing.add(key)
        self.counts["created"] += 1
        return True

    # What peers say

    def accept(self, record: Record, now: Instant, *, peer: int) -> tuple[Verdict, bytes]:
        """Take a peer's record if it is newer. Gives the verdict and the key."""
        key = key_of(record.entry)
        waiting = self.waiting.get(peer)
        verdict = self._weigh(key, self.get(key), record, now)
        if waiting is None:
            pass
        elif verdict is Verdict.STALE:
            # It does not know what we know; unless that waits already, it should be told.
            if key not in waiting.fresh:
                waiting.bulk.add(key, now)
        elif verdict is not Verdict.REASSERTED:
            # What it sends it has.
            waiting.settle(key)
        if verdict is Verdict.INSTALL and record.origin == self.director:
            # Ours, of an earlier life: the others leave it to us to tell the others.
            for other, waiting in self.waiting.items():
                if other != peer:
                    waiting.bulk.add(key, now)
                    waiting.missing.add(key)
        self.counts[verdict._value_] += 1  # an enum is hashed by a function in Python
        return verdict, key

    def _weigh(self, key: bytes, held: Held | None, record: Record, now: Instant) -> Verdict:
        generation, origin, lifetime_ms, entry = record
        if held is None:
            buried = self._tombstones.get(key)
            if buried is not None and (generation, origin) < buried[:2]:
                return Verdict.STALE
            if not lifetime_ms:
                # Remembered, so that an older record that is still on its way does not bring it back.
                self._remember(key, Tombstone(generation, origin, entry, after(now, TOMBSTONE_LIFETIME)))
                return Verdict.SAME
            if self._count >= self.limit:
                return Verdict.FULL
            expires = after(now, lifetime_ms * MILLISECOND)
            held = Held(
                key=key, entry=entry, generation=generation, origin=origin, expires=expires, is_seen=False
            )
            self._insert(held, now)
            # Also where the address is ours: a row that comes late is better than none.
            return Verdict.INSTALL
        # Not ``owns``: where we spoke last and do not hold the address any more, the peer carries on.
        is_ours = vaddr_of(key) in self.claims
        ours, theirs = (held.generation, held.origin, held.entry), (generation, origin, entry)
        if not lifetime_ms:
            if (generation, origin) <= ours[:2]:
                return Verdict.STALE
            if is_ours:
                # Gone for the peer, not for us: our kernel goes on with it.
                self._reassert(held, ((generation >> _TERM_SHIFT) + 1) << _TERM_SHIFT, now)
                return Verdict.REASSERTED
            self._bury(held, generation, origin, now)
            return Verdict.GONE
        if theirs <= ours:
            return Verdict.SAME if theirs == ours else Verdict.STALE
        expires = after(now, lifetime_ms * MILLISECOND)
        if origin == self.director and held.origin == self.director and held.is_seen:
            # Our own words of an earlier life, while our kernel shows us the row as it is now.
            if entry == held.entry and held.expires <= after(expires, SECOND):
                held.is_withheld = False
                if expires > after(held.expires, SECOND):
                    self._withhold(held)
                self._change(held, entry, generation, origin, expires, now)
                return Verdict.WITHHELD
            self._reassert(held, generation + 1, now)
            return Verdict.REASSERTED
        self._change(held, entry, generation, origin, expires, now)
        held.is_seen = held.is_withheld = False
        if is_ours:
            self._withhold(held)
        return Verdict.WITHHELD if is_ours else Verdict.INSTALL

    def _withhold(self, held: Held) -> None:
        held.is_withheld = True
        self._withheld.add(held.key)

    def _reassert(self, held: Held, generation: int, now: Instant) -> None:
        """Our kernel knows better than what came: everybody is told."""
        self._change(held, held.entry, generation, self.director, held.expires, now)
        # A version that was withheld our kernel has not shown: it gets it when the address goes.
        held.is_seen = held.is_seen or not held.is_withheld
        for waiting in self.waiting.values():
            waiting.fresh.add(held.key, now)

    # Time

    @property
    def deadline(self) -> Instant | None:
        return Instant(self._due[0] * SECOND) if self._due else None

    def on_deadline(self, now: Instant) -> list[Held]:
        """Rows whose life has ended; they are forgotten, and nobody is told. A slice: past ``SLICE`` rows the
        deadline stays as it is."""
        ended: list[Held] = []
        looked = 0
        while self._due and self._due[0] * SECOND <= now and looked < SLICE:
            second = self._due[0]
            keys = self._slots[second]
            part, keys[-SLICE:] = keys[-SLICE:], []
            looked += len(part)
            if not keys:
                heapq.heappop(self._due)
                del self._slots[second]
            for key in part:
                held = self.get(key)
                if held is None or held.slot != second:
                    continue
                if held.expires > now:
                    self._place(held, now)
                    continue
                self._remove(held)
                for waiting in self.waiting.values():
                    waiting.missing.discard(key)
                ended.append(held)
        while self._tombstones:
            key, tombstone = next(iter(self._tombstones.items()))
            if tombstone.forget > now:
                break
            del self._tombstones[key]
        self.counts["expired"] += len(ended)
        return ended

    # Within

    def _bury(self, held: Held, generation: int, origin: int, now: Instant) -> None:
        self._remove(held)
        for waiting in self.waiting.values():
            waiting.missing.discard(held.key)
        forget = max(held.expires, after(now, TOMBSTONE_LIFETIME))
        self._remember(held.key, Tombstone(generation, origin, held.entry, forget))

    def _remember(self, key: bytes, tombstone: Tombstone) -> None:
        self._tombstones[key] = tombstone
        self._tombstones.move_to_end(key)
        if len(self._tombstones) > self._tombstone_limit:
            self._tombstones.popitem(last=False)
            self.counts["tombstones_forgotten"] += 1

    def _insert(self, held: Held, now: Instant) -> None:
        number = crc32(held.key) % BUCKETS
        self._buckets[number][held.key] = held
        self._count += 1
        self.bucket_digests[number] = (self.bucket_digests[number] + held.digest) & _MASK64
        self.top = (self.top + held.digest) & _MASK64
        self._tombstones.pop(held.key, None)
        self._place(held, now)

    def _remove(self, held: Held) -> None:
        number = crc32(held.key) % BUCKETS
        del self._buckets[number][held.key]
        self._withheld.discard(held.key)
        self._count -= 1
        self.bucket_digests[number] = (self.bucket_digests[number] - held.digest) & _MASK64
        self.top = (self.top - held.digest) & _MASK64

    def _change(
        self, held: Held, entry: bytes, generation: int, origin: int, expires: Instant, now: Instant
    ) -> None:
        digest = _digest(generation, origin, entry)
        number = crc32(held.key) % BUCKETS
        difference = digest - held.digest
        self.bucket_digests[number] = (self.bucket_digests[number] + difference) & _MASK64
        self.top = (self.top + difference) & _MASK64
        if entry != held.entry:
            held.entry = entry
        held.generation, held.origin, held.digest = generation, origin, digest
        held.expires = expires
        if _slot(expires) < held.slot:
            self._place(held, now)

    def _place(self, held: Held, now: Instant) -> None:
        """Look at the row when it ends, and at least once in ``LOOK_S``: rows that end early, as most of a
        busy service do, would otherwise leave their keys in the slots of a quarter of an hour later."""
        second, latest = held.expires // SECOND + 1, now // SECOND + 1 + LOOK_S
        held.slot = second = second if second < latest else latest
        slot = self._slots.get(second)
        if slot is None:
            self._slots[second] = [held.key]
            heapq.heappush(self._due, second)
        else:
            slot.append(held.key)


def _digest(generation: int, origin: int, entry: bytes) -> int:
    return int.from_bytes(blake2b(_VERSION.pack(generation, origin) + entry, digest_size=8).digest(), "big")


def _end(entry: bytes, lifetime: int | None, now: Instant) -> Instant:
    life = timeout_s(entry) * SECOND if lifetime is None else lifetime
    return after(now, min(max(life, MILLISECOND), LIFETIME_LIMIT))


def _slot(expires: Instant) -> int:
    return expires // SECOND + 1
