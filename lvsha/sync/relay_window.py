"""Both ends of the relay's numbering: what came from a peer, and what is on its way to it.

Source: ``proto/lvsha_relay_v1.md`` section 7.
"""

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from lvsha.core.instant import MILLISECOND, Instant, after
from lvsha.wire.relay import MAX_RANGES, Range

WINDOW: Final = 4096
"""Sequences that are told apart; older ones are refused."""
MAX_WAITING: Final = 1024
"""Frames that may wait to be installed, and so frames in flight: what waits for room dies with the sender,
what lies in the receiver's socket does not."""
BULK_MOST: Final = 256
"""In flight while rows of a resync may still follow."""
REORDER: Final = 3
"""A sequence is missing when one this much higher has come; nearer ones may be on their way."""

OVERTAKEN: Final = 64
"""So many frames may be overtaken by a later one that says that they are settled: they are still taken."""

WINDOW_FIRST: Final = 128
WINDOW_LEAST: Final = 64
"""Of the bulk; changes go on up to ``MAX_WAITING``."""
PROBE_LEAST: Final = 50 * MILLISECOND
PROBE_MOST: Final = 200 * MILLISECOND
PROBES_SOON: Final = 4
"""So many before they become rarer: one in five may be lost, and so may its answer."""
ACK_DELAY: Final = 5 * MILLISECOND


class ReceiveWindow:
    """What has come from one life of a peer."""

    __slots__ = ("_seen", "_waiting", "base", "highest")

    def __init__(self, base: int) -> None:
        self.base = base
        """Up to here nothing is taken and nothing is reported any more."""
        self.highest = base
        self._seen: set[int] = set()
        self._waiting: set[int] = set()

    def is_new(self, sequence: int) -> bool:
        return sequence > self.base and sequence not in self._seen

    @property
    def is_full(self) -> bool:
        return len(self._waiting) >= MAX_WAITING

    @property
    def waiting(self) -> int:
        """Frames that are not installed yet."""
        return len(self._waiting)

    def __len__(self) -> int:
        return len(self._seen)

    def take(self, sequence: int, *, waits: bool) -> bool:
        """Count a frame that ``is_new``; True when one before it has not come."""
        self._seen.add(sequence)
        if waits:
            self._waiting.add(sequence)
        has_gap = sequence > self.highest + 1
        self.highest = max(self.highest, sequence)
        if self.highest - self.base > WINDOW:
            self.settle(self.highest - WINDOW)
        return has_gap

    def settle(self, upto: int) -> None:
        """The peer wants to know nothing more about sequences up to this one."""
        upto = min(upto, self.highest)
        if upto > self.base:
            self._seen = {sequence for sequence in self._seen if sequence > upto}
            self.base = upto

    def installed(self, sequence: int) -> None:
        self._waiting.discard(sequence)

    def report(self, *, everything: bool) -> tuple[tuple[Range, ...], tuple[Range, ...]]:
        """Ranges that are installed and ranges that are missing, lowest first.

        ``everything``: also what is missing just below the highest.
        """
        horizon = self.highest if everything else self.highest - REORDER
        seen = sorted(self._seen)
        installed = _ranges(sequence for sequence in seen if sequence not in self._waiting)
        missing: list[Range] = []
        last = self.base
        for sequence in seen:
            if last + 1 > horizon or len(missing) == MAX_RANGES:
                break
            if sequence > last + 1:
                missing.append((last + 1, min(sequence - 1, horizon)))
            last = sequence
        return installed, tuple(missing)


def _ranges(sequences: Iterable[int]) -> tuple[Range, ...]:
    ranges: list[Range] = []
    first = last = -1
    for sequence in sequences:
        if sequence == last + 1:
            last = sequence
            continue
        if first >= 0:
            ranges.append((first, last))
            if len(ranges) == MAX_RANGES:
                return tuple(ranges)
        first = last = sequence
    if first >= 0:
        ranges.append((first, last))
    return tuple(ranges)


class Flight(NamedTuple):
    """One ENTRIES frame that the peer has not installed."""

    keys: tuple[bytes, ...]
    sent: Instant
    since: Instant
    """The oldest change in it."""


class SendWindow:
    """What is in flight to a peer, and how much may be."""

    __slots__ = ("_flying", "_recovering", "flights", "probe_at", "probes", "rtt", "size")

    def __init__(self) -> None:
        self.flights: dict[int, Flight] = {}
        """By sequence, lowest first."""
        self._flying: dict[bytes, int] = {}
        self.size = WINDOW_FIRST
        self.rtt: int | None = None
        self.probe_at: Instant | None = None
        self.probes = 0
        self._recovering = Instant(0)

    @property
    def is_open(self) -> bool:
        """For everything."""
        return len(self.flights) < self.size

    @property
    def has_room(self) -> bool:
        """For changes."""
        return len(self.flights) < MAX_WAITING

    @property
    def keys(self) -> Iterable[bytes]:
        """Keys whose newest sent version is in flight."""
        return self._flying.keys()

    @property
    def flying(self) -> dict[bytes, int]:
        """The same, with the frame in which it is; read only."""
        return self._flying

    @property
    def key_count(self) -> int:
        return len(self._flying)

    def __contains__(self, key: bytes) -> bool:
        return key in self._flying

    @property
    def oldest(self) -> Instant | None:
        """The oldest change in flight."""
        return min((flight.since for flight in self.flights.values()), default=None)

    def settled(self, last: int) -> int:
        """Up to which sequence nothing is wanted to be known; ``last`` is the last one sent."""
        done = next(iter(self.flights)) - 1 if self.flights else last
        return max(0, min(done, last - OVERTAKEN))

    def depart(self, sequence: int, flight: Flight) -> None:
        self.flights[sequence] = flight
        for key in flight.keys:
            self._flying[key] = sequence
        if self.probe_at is None:
            self.probe_at = after(flight.sent, self._patience())

    def arrive(self, ranges: tuple[Range, ...], now: Instant) -> list[bytes]:
        """These frames are installed: the keys whose newest version that was."""
        keys: list[bytes] = []
        for sequence in list(_within(self.flights, ranges)):
            flight = self.flights.pop(sequence)
            took = now - flight.sent
            self.rtt = took if self.rtt is None else (7 * self.rtt + took) // 8
            self.size = min(self.size + 1, BULK_MOST)
            keys += self._landed(sequence, flight)
        if keys:
            self._progress(now)
        return keys

    def lose(self, ranges: tuple[Range, ...], now: Instant) -> list[tuple[bytes, Instant]]:
        """These frames are lost: the keys to send again, and since when they wait."""
        again: list[tuple[bytes, Instant]] = []
        lost = list(_within(self.flights, ranges))
        for sequence in lost:
            flight = self.flights.pop(sequence)
            again += ((key, flight.since) for key in self._landed(sequence, flight))
        if lost:
            if now >= self._recovering:
                self.size = max(self.size // 2, WINDOW_LEAST)
                self._recovering = after(now, self.rtt or PROBE_LEAST)
            self._progress(now)
        return again

    def probe(self, now: Instant) -> None:
        """The peer is being asked; ask again later."""
        self.probes += 1
        doubled = min(max(0, self.probes - PROBES_SOON), 4)
        self.probe_at = after(now, min(self._patience() << doubled, PROBE_MOST))

    def _landed(self, sequence: int, flight: Flight) -> Iterator[bytes]:
        for key in flight.keys:
            if self._flying.get(key) == sequence:
                del self._flying[key]
                yield key

    def _progress(self, now: Instant) -> None:
        self.probes = 0
        self.probe_at = after(now, self._patience()) if self.flights else None

    def _patience(self) -> int:
        return min(max(PROBE_LEAST, 2 * (self.rtt or 0) + ACK_DELAY), PROBE_MOST)


def _within(flights: Iterable[int], ranges: tuple[Range, ...]) -> Iterator[int]:
    """Those of rising numbers that lie in rising ranges."""
    remaining = iter(sorted(ranges))
    first, last = next(remaining, (0, -1))
    for sequence in flights:
        while sequence > last:
            following = next(remaining, None)
            if following is None:
                return
            first, last = following
        if sequence >= first:
            yield sequence
