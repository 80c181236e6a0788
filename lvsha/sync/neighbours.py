"""Who else speaks on the sync interface, and what is wrong with it.

With the multicast transport the kernel's daemons check nothing and say nothing: a message
of another syncid, one longer than the backup's ``maxlen``, one to another port or one that a
packet filter swallowed is simply not there. A sample of what passes the interface,
beside what is delivered to a socket of the group, tells which.

Every trouble is said once, and once more when it has not been seen for a while.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple

from lvsha.core.addr import Address
from lvsha.core.instant import SECOND, Instant, after
from lvsha.core.machine import Event, Output

GONE_AFTER: Final = 30 * SECOND
"""A trouble that was not seen for so long is over."""
SURE_LOOKS: Final = 3
"""Looks in a row with messages on the wire and none delivered."""
TROUBLES_MOST: Final = 64
"""At once; whoever is on the network can invent sources."""


class Trouble(StrEnum):
    OTHER_SYNCID = "other_syncid"
    """Nothing of it is taken: the peer's syncid is wrong, or another cluster uses this interface."""
    SHARED_SYNCID = "shared_syncid"
    """More directors than the configuration has use our syncid: their connections come into our table."""
    TOO_LONG = "too_long"
    """The backup daemon cuts the message off, and drops it."""
    OTHER_PORT = "other_port"
    """Our group, but no daemon of ours listens there."""
    FILTERED = "filtered"
    """Messages arrive and are not delivered: a packet filter of this host swallows them."""


class Heard(NamedTuple):
    """A datagram to our group."""

    source: Address
    port: int
    syncid: int
    size: int
    """Of its UDP payload, bytes."""


@dataclass(frozen=True, slots=True)
class NeighbourTrouble(Event):
    trouble: Trouble
    source: str
    detail: str


@dataclass(frozen=True, slots=True)
class NeighbourWell(Event):
    """The trouble is over."""

    trouble: Trouble
    source: str


class Neighbours:
    """See above; ``look`` about once a second."""

    def __init__(self, *, syncid: int, port: int, maxlen: int, peers: int) -> None:
        """``maxlen``: the backup daemon's; ``peers``: how many other directors there are."""
        self.syncid = syncid
        self.port = port
        self.maxlen = maxlen
        self.peers = peers
        self._seen: dict[tuple[Trouble, str], tuple[Instant, str]] = {}
        self._speakers: dict[Address, Instant] = {}
        self._undelivered = 0

    @property
    def troubles(self) -> tuple[tuple[Trouble, str, str], ...]:
        """Trouble, source and detail of each that lasts."""
        return tuple((trouble, source, detail) for (trouble, source), (_, detail) in self._seen.items())

    def look(self, heard: Iterable[Heard], *, delivered: bool, now: Instant) -> list[Output]:
        """A sample of what passed since the last look, and whether a socket of the group got anything."""
        outputs: list[Output] = []
        good = 0
        for each in heard:
            source = str(each.source)
            if each.port != self.port:
                detail = f"to port {each.port}; ours is {self.port}"
                outputs += self._say(Trouble.OTHER_PORT, source, detail, now)
            elif each.syncid != self.syncid:
                detail = f"syncid {each.syncid}; ours is {self.syncid}"
                outputs += self._say(Trouble.OTHER_SYNCID, source, detail, now)
            else:
                good += 1
                if len(self._speakers) < TROUBLES_MOST or each.source in self._speakers:
                    self._speakers[each.source] = now
                if each.size > self.maxlen:
                    detail = f"{each.size} bytes; the backup daemon takes {self.maxlen}"
                    outputs += self._say(Trouble.TOO_LONG, source, detail, now)
        self._undelivered = self._undelivered + 1 if good and not delivered else 0
        if self._undelivered >= SURE_LOOKS:
            detail = f"UDP port {self.port} arrives, and is not delivered"
            outputs += self._say(Trouble.FILTERED, "this host", detail, now)
        self._speakers = {who: at for who, at in self._speakers.items() if now < after(at, GONE_AFTER)}
        if len(self._speakers) > self.peers:
            who = ", ".join(str(each) for each in list(self._speakers)[:8])
            detail = f"{len(self._speakers)} others use syncid {self.syncid}, there should be {self.peers}"
            outputs += self._say(Trouble.SHARED_SYNCID, who, detail, now)
        return outputs + self._over(now)

    def _say(self, trouble: Trouble, source: str, detail: str, now: Instant) -> list[Output]:
        key = (trouble, source)
        is_new = key not in self._seen
        if is_new and len(self._seen) >= TROUBLES_MOST:
            return []
        self._seen[key] = (now, detail)
        return [NeighbourTrouble(trouble, source, detail)] if is_new else []

    def _over(self, now: Instant) -> list[Output]:
        over = [key for key, (at, _) in self._seen.items() if now >= after(at, GONE_AFTER)]
        for key in over:
            del self._seen[key]
        return [NeighbourWell(*key) for key in over]
