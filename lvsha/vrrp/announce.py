"""Telling the neighbours where the addresses are, without ever making an advert late.

Think of somebody who has five hundred letters to post and must also wave to a
friend every tenth of a second: a few letters at a time, a look at the clock, and
again. Every address has a number of rounds to go (``GarpSettings.repeat`` after a
takeover), perhaps one more at the end of the former MASTER's lease, then one round
per ``refresh``. In a round, every address is told in one form before any is told in the
other: most neighbours need only one of them. What is due is sent in bursts of
``packets_per_millisecond`` x 2, at least 2 ms apart; a burst that comes late is longer by
what was missed of up to ``MISSED``, for timers of 10 ms. An advert that falls due
during a burst waits for the burst, never for the schedule.

Announcing what is being announced already does not start again from the first
address: it only gives the rounds back. So a peer that provokes a re-announcement
with every advert (rule 5 of ``vrrp.router``) gets each address repeated at
``interval``, not faster.

The queue is bounded by the number of addresses: one entry each.
"""

import heapq
from dataclasses import dataclass
from ipaddress import IPv4Address

from lvsha.core.addr import Address
from lvsha.core.instant import MILLISECOND, Instant, after
from lvsha.core.machine import Output
from lvsha.vrrp.outputs import SendGratuitousArp, SendNeighborAdvertisement
from lvsha.vrrp.settings import GarpSettings

BURST = 2 * MILLISECOND
"""Between two bursts: what an epoll timer can keep, give or take one."""
MISSED = 8 * MILLISECOND
"""Of lateness that a burst makes up for."""


@dataclass(slots=True)
class _Entry:
    interface: str
    address: Address
    garp: GarpSettings
    due: Instant
    rounds: int
    """To go before only the refresh is left."""
    again: Instant | None = None
    """When one round more is due, once the others are out."""
    ticket: int = 0
    """Of its one live item in the queue."""
    form: int = 0
    """Which packet of the round is next."""


class Announcer:
    """One per process: the schedule of every router's addresses. Keys are router and address."""

    def __init__(self) -> None:
        self._entries: dict[tuple[str, Address], _Entry] = {}
        self._queue: list[tuple[Instant, int, tuple[str, Address]]] = []
        self._first: Instant | None = None
        """When the first of them is due, while ``_is_known``: it is asked for after every packet."""
        self._is_known = True
        self._tickets = 0
        self._not_before = Instant(0)

    def __len__(self) -> int:
        return len(self._entries)

    def announce(
        self,
        *,
        router: str,
        interface: str,
        addresses: tuple[Address, ...],
        rounds: int,
        garp: GarpSettings,
        now: Instant,
        again: int = 0,
    ) -> None:
        """Begin, or give the rounds back; ``rounds`` 0: only the refresh."""
        later = after(now, again) if again else None
        for address in addresses:
            key = (router, address)
            entry = self._entries.get(key)
            if entry is not None and entry.rounds > 0:
                entry.rounds = max(entry.rounds, rounds)
                entry.again = later or entry.again
                continue
            due = now if rounds else after(now, garp.refresh)
            if entry is None and not rounds and not garp.refresh:
                continue
            self._put(key, _Entry(interface, address, garp, due, rounds, later))

    def stop(self, *, router: str, addresses: tuple[Address, ...]) -> None:
        """Forget these, at once."""
        self._is_known = False
        for address in addresses:
            self._entries.pop((router, address), None)
        if len(self._queue) > 2 * len(self._entries) + 64:
            # What stop left behind in the queue is bounded too.
            self._queue = [item for item in self._queue if self._is_live(item)]
            heapq.heapify(self._queue)

    @property
    def deadline(self) -> Instant | None:
        if not self._is_known:
            while self._queue and not self._is_live(self._queue[0]):
                heapq.heappop(self._queue)
            self._first = max(self._queue[0][0], self._not_before) if self._queue else None
            self._is_known = True
        return self._first

    def on_deadline(self, now: Instant) -> list[Output]:
        """One burst of what is due."""
        outputs: list[Output] = []
        if now < self._not_before:
            return outputs
        self._is_known = False
        missed = 0
        if self._queue:
            missed = min(MISSED, max(0, now - max(self._queue[0][0], self._not_before)))
        while self._queue and self._queue[0][0] <= now:
            if not self._is_live(self._queue[0]):
                heapq.heappop(self._queue)
                continue
            key = self._queue[0][2]
            entry = self._entries[key]
            burst = entry.garp.packets_per_millisecond * (BURST + missed) // MILLISECOND
            if outputs and len(outputs) >= burst:
                break
            heapq.heappop(self._queue)
            outputs.append(_packet(entry))
            entry.form += 1
            if entry.form < _forms(entry):
                entry.due = now  # behind all that are due already
                self._put(key, entry)
                continue
            entry.form = 0
            entry.rounds = max(0, entry.rounds - 1)
            wait = entry.garp.interval if entry.rounds else entry.garp.refresh
            if not entry.rounds and entry.again is not None:
                again, entry.again = entry.again, None
                wait = max(again - now, entry.garp.interval)
            if wait:
                entry.due = after(now, wait)
                self._put(key, entry)
            else:
                del self._entries[key]
        if outputs:
            self._not_before = after(now, BURST)
        return outputs

    def _put(self, key: tuple[str, Address], entry: _Entry) -> None:
        self._is_known = False
        self._tickets += 1
        entry.ticket = self._tickets
        self._entries[key] = entry
        heapq.heappush(self._queue, (entry.due, entry.ticket, key))

    def _is_live(self, item: tuple[Instant, int, tuple[str, Address]]) -> bool:
        entry = self._entries.get(item[2])
        return entry is not None and entry.ticket == item[1]


def _forms(entry: _Entry) -> int:
    return len(entry.garp.forms) if isinstance(entry.address, IPv4Address) else 1


def _packet(entry: _Entry) -> Output:
    if isinstance(entry.address, IPv4Address):
        return SendGratuitousArp(entry.interface, entry.address, entry.garp.forms[entry.form])
    return SendNeighborAdvertisement(entry.interface, entry.address)
