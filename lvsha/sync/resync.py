"""What the peers' entries become in this director's kernel, and in which order.

The relay hands entries out faster than a kernel takes them: they wait here, and go in
as batches of messages, each batch after the one before has been taken (the barrier of
``io.sync_socket``). Rules:

* Nothing goes in before the services are in the kernel: a row made without its
  realserver stays unbound, and is not counted there, until it is sent once more. For
  the same reason ``again`` takes all rows in once more after services changed.
* What our own kernel has announced meanwhile is left out: it is newer.
* A row that was deleted elsewhere is told to expire, by an entry in state CLOSE with
  one second to live. The protocol has no delete.

The queue is bounded by the relay's flow control: it stops at so many frames that
have not been reported as installed.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from lvsha.core.instant import SECOND, Instant
from lvsha.sync.conn_entry import with_timeout
from lvsha.sync.relay_outputs import Install
from lvsha.sync.store import Held, Store
from lvsha.sync.sweep import SLICE, Sweep
from lvsha.wire.ipvs_sync.names import ConnFlag, Protocol, TcpState
from lvsha.wire.ipvs_sync.v1 import HEADER_SIZE, INET_SIZE, MAX_ENTRIES, assemble

BATCH_ENTRIES: Final = 2_000
"""At once: 8 messages of 9,188 bytes or 50 of 1,448, a burst and a barrier."""
MAXLEN: Final = 1_472
"""What every backup daemon takes."""
BULK_MAXLEN: Final = HEADER_SIZE + MAX_ENTRIES * INET_SIZE
"""The longest message of IPv4 entries: a sixth of the packets. Our own daemon, on the private interface,
is told to take it."""

Token = tuple[int, int]
"""Peer, and its number for a group of entries."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What goes in together."""

    messages: tuple[bytes, ...]
    tokens: tuple[Token, ...]
    """Complete once this batch is in."""
    entries: int


def pack(syncid: int, entries: Iterable[bytes], *, maxlen: int = MAXLEN) -> Iterator[bytes]:
    """Messages of at most ``maxlen`` bytes around encoded entries."""
    waiting: list[bytes] = []
    used = HEADER_SIZE
    for entry in entries:
        padded = (len(entry) + 3) & ~3
        if waiting and (used + padded > maxlen or len(waiting) == MAX_ENTRIES):
            yield assemble(syncid, waiting)
            waiting, used = [], HEADER_SIZE
        waiting.append(entry)
        used += padded
    if waiting:
        yield assemble(syncid, waiting)


def deletion(entry: bytes) -> bytes:
    """The entry that makes the kernel forget this row within a second."""
    flags = int.from_bytes(entry[4:8], "big") | ConnFlag.INACTIVE
    is_tcp = entry[1] == Protocol.TCP and not flags & ConnFlag.TEMPLATE
    state = int(TcpState.CLOSE).to_bytes(2, "big") if is_tcp else entry[8:10]
    return b"".join((entry[:4], flags.to_bytes(4, "big"), state, entry[10:20], b"\0\0\0\1", entry[24:]))


class Installer:
    """The queue of entries on their way into our kernel."""

    def __init__(self, store: Store, *, syncid: int) -> None:
        self._store = store
        self._syncid = syncid
        self._queue: deque[tuple[Install, Token | None]] = deque()
        self._sweep: Sweep | None = None
        """Rows that go in once more, when nothing else waits."""
        self.maxlen = MAXLEN
        """What the backup daemon that runs takes; a longer message would be dropped silently."""
        self.is_ready = False
        """The services are in the kernel and its backup daemon runs."""
        self.installed = 0
        self.skipped = 0
        """Our own kernel knew better."""

    def __len__(self) -> int:
        return len(self._queue) + (self._sweep.left if self._sweep is not None else 0)

    def add(self, peer: int, token: int, entries: Sequence[Install]) -> None:
        """Entries of a peer, to be answered for with ``token``."""
        last = len(entries) - 1
        for place, entry in enumerate(entries):
            self._queue.append((entry, (peer, token) if place == last else None))
        if not entries:
            self._queue.append((_NOTHING, (peer, token)))

    def again(self, rows: Iterable[Held], now: Instant) -> int:
        """Rows that must go in once more, but for those that are ours; how many do."""
        before = len(self._queue)
        owns = self._store.owns
        for held in rows:
            if owns(held):
                continue
            left = held.expires - now
            entry = with_timeout(held.entry, max(1, left // SECOND))
            install = Install(key=held.key, entry=entry, lifetime=max(SECOND, left), deleted=False)
            self._queue.append((install, None))
        return len(self._queue) - before

    def again_all(self, wants: Callable[[Held], bool], now: Instant) -> None:
        """The same with all rows that are wanted, a few at a time. One under way becomes one over all."""
        is_first, owns = self._sweep is None, self._store.owns
        self._sweep = self._store.sweep(lambda held: not owns(held) and (not is_first or wants(held)), now)

    def next_batch(self) -> Batch | None:
        """The next entries and whom to tell; None while there are none, or none may go in.

        One without messages says that there may be more.
        """
        if not self.is_ready or (not self._queue and self._sweep is None):
            return None
        tokens: list[Token] = []
        encoded: list[bytes] = []
        for _ in range(min(BATCH_ENTRIES, len(self._queue))):
            install, token = self._queue.popleft()
            if token is not None:
                tokens.append(token)
            if not install.entry:
                continue
            held = self._store.get(install.key)
            if held is not None and held.is_seen and held.origin == self._store.director:
                self.skipped += 1
                continue
            encoded.append(deletion(install.entry) if install.deleted else install.entry)
        encoded += self._swept(BATCH_ENTRIES - len(encoded))
        self.installed += len(encoded)
        messages = tuple(pack(self._syncid, encoded, maxlen=self.maxlen))
        return Batch(messages=messages, tokens=tuple(tokens), entries=len(encoded))

    def _swept(self, most: int) -> list[bytes]:
        """The next rows of the walk, with what was left of them when it began: it takes a few seconds."""
        encoded: list[bytes] = []
        sweep = self._sweep
        if sweep is None:
            return encoded
        sweep.budget = SLICE
        while len(encoded) < most and (held := sweep.take()) is not None:
            encoded.append(with_timeout(held.entry, max(1, (held.expires - sweep.began) // SECOND)))
        if sweep.is_over:
            self._sweep = None
        return encoded


_NOTHING: Final = Install(key=b"", entry=b"", lifetime=0, deleted=False)
