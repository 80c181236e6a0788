"""The director's own view of its kernel's connections, fed by what the kernel announces.

The kernel offers no change feed, and reading its table is slow before Linux 6.14.
But its master daemon announces every connection at its handshake, at each change of
state, and again while it has traffic. Captured, those messages are the feed.

What the store must know is how long to believe a row. The kernel restarts a row's
timer with every packet, yet announces it again only when the announced end has moved
by the *window*: ``sync_refresh_period``, or half the time-out, at least 10 s. So a
row lives for its time-out and the window after each announcement, and is never
forgotten while the kernel has it.

A busy connection is announced every window, 100,000 of them 10,000 times a second.
The peer need not hear all that: a row is given an eighth of its time-out more than it
needs, and is passed on when that is used up or when something else changed. A copy
therefore outlives its original by an eighth of the time-out and a window at most.

Memory: the store's row, about 400 bytes (``tests/bench/bench_relay.py`` measures it); nothing here.
"""

import struct
from collections.abc import Iterator
from typing import Final

from lvsha.core.instant import SECOND, Instant
from lvsha.sync.conn_entry import key_of, normalize
from lvsha.sync.nudge import NUDGE_SERVICE
from lvsha.sync.store import Held, Store
from lvsha.wire.ipvs_sync.v1 import HEADER_SIZE, INET_SIZE, SIZE_MASK

DEFAULT_WINDOW: Final = 10 * SECOND
SLACK_DIVISOR: Final = 8
"""What a copy may live longer than its original, as a part of the time-out."""

_SIZE = struct.Struct(">H")
_TIMEOUT = struct.Struct(">L")
_TIMEOUT_OFFSET: Final = 20
_VADDR_OFFSET: Final = 28
_NUDGE = NUDGE_SERVICE[0].packed


def entries_of(message: bytes) -> Iterator[bytes]:
    """The entries of a v1 message of our own kernel, unpadded; none of any other version.

    A slice is enough: the kernel of this host is not an adversary, and who takes a
    message from elsewhere decodes it first.
    """
    if len(message) < HEADER_SIZE or message[0] or message[5] != 1:
        return
    at, end = HEADER_SIZE, len(message)
    while at + INET_SIZE <= end:
        size = _SIZE.unpack_from(message, at + 2)[0] & SIZE_MASK
        if size < INET_SIZE or at + size > end:
            return
        yield message[at : at + size]
        at += (size + 3) & ~3


def timeout_of(entry: bytes) -> int:
    """The announced time-out, nanoseconds."""
    return int(_TIMEOUT.unpack_from(entry, _TIMEOUT_OFFSET)[0]) * SECOND


def is_nudge(entry: bytes) -> bool:
    """An entry of ``sync.nudge``: means nothing, and belongs to no peer."""
    return entry[_VADDR_OFFSET : _VADDR_OFFSET + 4] == _NUDGE


class Mirror:
    """Takes our kernel's messages to the store."""

    def __init__(self, store: Store, *, window: int = DEFAULT_WINDOW) -> None:
        self._store = store
        self.window = window
        """Nanoseconds; ``sync_refresh_period`` in force."""
        self.heard = 0
        """Entries announced by our kernel, nudges not counted."""
        self.taken = 0
        """The same, nudges counted: how much work there was."""
        self.passed_on = 0
        """Of these, how many were news."""
        self.refused = 0
        """The store is full."""

    def hear(self, message: bytes, now: Instant) -> int:
        """Take one captured message; how many of its entries are news for the peers."""
        store, news = self._store, 0
        for entry in entries_of(message):
            self.taken += 1
            if is_nudge(entry):
                continue
            self.heard += 1
            entry = normalize(entry)
            timeout = timeout_of(entry)
            needed = timeout + self.window
            key = key_of(entry)
            held = store.get(key)
            if held is not None and self._is_known(held, entry) and held.expires - now >= needed:
                continue
            if store.observe_normal(key, entry, now, lifetime=needed + timeout // SLACK_DIVISOR):
                news += 1
            else:
                self.refused += 1
        self.passed_on += news
        return news

    def _is_known(self, held: Held, entry: bytes) -> bool:
        return held.entry == entry and held.is_seen and held.origin == self._store.director
