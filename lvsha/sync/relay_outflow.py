"""What goes to one peer: frames, numbered and sealed; keys that wait, fly, get lost and go again.

Source: ``proto/lvsha_relay_v1.md`` sections 2, 6 and 7.
"""

from collections.abc import Iterable
from typing import Final, NamedTuple

from lvsha.core.instant import Instant, after
from lvsha.sync.key_queue import Waiting
from lvsha.sync.relay_cargo import load
from lvsha.sync.relay_life import Life
from lvsha.sync.relay_outputs import SendDatagram
from lvsha.sync.relay_settings import RelaySettings
from lvsha.sync.relay_window import WINDOW, Flight, SendWindow
from lvsha.sync.store import Store
from lvsha.sync.sweep import SLICE
from lvsha.wire.ipvs_sync.v1 import INET_SIZE
from lvsha.wire.relay import PREFIX_SIZE, RECORD_SIZE, Message, Range, encode_entries, encode_message
from lvsha.wire.relay_seal import HEADER_SIZE, TAG_SIZE, FrameHeader, FrameKeys

OVERHEAD: Final = HEADER_SIZE + TAG_SIZE + PREFIX_SIZE
FRAMES_AT_ONCE: Final = 16
"""Of entries, about two milliseconds: whoever has more to say comes again, and lets others go first."""


class Flushed(NamedTuple):
    """What a ``flush`` did."""

    frames: list[SendDatagram]
    gone: list[bytes]
    """Keys of which nothing is left to send."""
    swept: list[bytes]
    """Keys that a walk has met."""


class Outflow:
    """Ours to one peer. The numbering lasts as long as we do, the queue as long as a session."""

    def __init__(self, peer: int, settings: RelaySettings, store: Store, keys: FrameKeys, life: Life) -> None:
        self.settings = settings
        self.sequence = 0
        """Of the last frame."""
        self.window = SendWindow()
        self.flush_at: Instant | None = None
        """When what waits is to go."""
        self._flushed_at: Instant | None = None
        self.frames = self.bytes = self.resent = 0
        self._peer = peer
        self._store = store
        self._keys = keys
        self._life = life

    @property
    def deadline(self) -> Instant | None:
        """When to ``flush``; with a closed window, the next acknowledgement goes on."""
        return self.flush_at if self._may_go else None

    @property
    def _may_go(self) -> bool:
        """The window has room for something that waits."""
        if self.window.is_open:
            return True
        waiting = self.waiting
        return self.window.has_room and waiting is not None and len(waiting.fresh) > 0

    @property
    def room(self) -> int:
        """For a message's body."""
        return self.settings.datagram - OVERHEAD

    @property
    def waiting(self) -> Waiting | None:
        """The peer's queue; None while it is not connected."""
        return self._store.waiting.get(self._peer)

    def begin(self) -> None:
        """A session is up: an empty queue."""
        self.window = SendWindow()
        self._store.waiting[self._peer] = Waiting()

    def end(self) -> None:
        """The session is lost, and its queue with it."""
        self.window = SendWindow()
        self.flush_at = None
        self._store.waiting.pop(self._peer, None)

    def send(self, message: Message, flags: int = 0, *, pad: bool = False) -> SendDatagram:
        """One message that is not kept; with ``pad`` as long as the largest."""
        data = encode_message(
            message,
            flags=flags,
            peer_epoch=self._life.theirs,
            settled=self.window.settled(self.sequence),
            pad=self.settings.datagram - HEADER_SIZE - TAG_SIZE if pad else 0,
        )
        return self._seal(data)

    def is_due(self, now: Instant) -> bool:
        """Something was put into the queue: a frame is full, or waits for others until ``flush_at``.

        Changes go at once, but for what is more than one slice; the bulk waits for its turn.
        """
        waiting = self.waiting
        if waiting is None or waiting.is_empty:
            return False
        is_full = len(waiting.fresh) >= (self.room - 2) // (RECORD_SIZE + INET_SIZE)
        if is_full and self._flushed_at != now:
            return True
        at = now if is_full or len(waiting.bulk) or waiting.sweeps else after(now, self.settings.linger)
        self.flush_at = at if self.flush_at is None else min(self.flush_at, at)
        return False

    def flush(self, now: Instant) -> Flushed:
        """Send what waits, as far as the window and one slice allow."""
        waiting = self._store.waiting[self._peer]
        frames: list[SendDatagram] = []
        gone: list[bytes] = []
        swept: list[bytes] = []
        self._flushed_at = now
        for sweep in waiting.sweeps:
            sweep.budget = SLICE
        while len(frames) < FRAMES_AT_ONCE and self._may_go and not waiting.is_empty:
            is_open = self.window.is_open
            cargo = load(self._store, waiting, self.room - 2, now, flying=self.window, bulk=is_open)
            gone += cargo.gone
            swept += cargo.swept
            if not cargo.records:
                if waiting.sweeps and waiting.sweeps[0].budget <= 0:
                    break
                continue
            settled = self.window.settled(self.sequence)
            frame = encode_entries(cargo.records, peer_epoch=self._life.theirs, settled=settled)
            frames.append(self._seal(frame))
            self.window.depart(self.sequence, Flight(tuple(cargo.keys), now, cargo.since))
        self.flush_at = None if waiting.is_empty else now
        return Flushed(frames, gone, swept)

    def lose(self, ranges: tuple[Range, ...], now: Instant) -> bool:
        """These frames are lost: their keys wait again. True: something waits, and may go now."""
        waiting = self._store.waiting[self._peer]
        before = len(self.window.flights)
        for key, since in self.window.lose(ranges, now):
            waiting.fresh.add(key, since)
        self.resent += before - len(self.window.flights)
        return not waiting.is_empty and (self.flush_at is None or self.flush_at <= now)

    def forsake(self, now: Instant) -> bool:
        """Frames that the peer's window has left behind are not reported any more; as ``lose``."""
        behind = self.sequence - WINDOW
        return self.window.settled(self.sequence) < behind and self.lose(((0, behind),), now)

    def at_rest(self, keys: Iterable[bytes]) -> set[bytes]:
        """Those that neither wait nor are on their way."""
        waiting = self._store.waiting[self._peer]
        return set(keys).difference(waiting.fresh.since, waiting.bulk.since, self.window.flying)

    @property
    def pending(self) -> set[bytes]:
        """All keys that are not installed there yet."""
        waiting = self._store.waiting[self._peer]
        return {*waiting.fresh, *waiting.bulk, *self.window.keys}

    def _seal(self, message: bytes) -> SendDatagram:
        self.sequence += 1
        header = FrameHeader(
            self._keys.keyring.primary,
            self.settings.director,
            self._peer,
            self._life.epoch,
            self.sequence,
        )
        frame = self._keys.seal(header, message)
        self.frames += 1
        self.bytes += len(frame)
        return SendDatagram(self._peer, frame)
