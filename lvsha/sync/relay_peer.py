"""One peer of the relay: life, queue, acknowledgements, resync, digests.

A session is up when we have the peer's epoch by an answer to our challenge, and the
peer speaks to our epoch. Then the store keeps a queue of keys for it; what is sent is
each key's newest version, at the moment of sending. A session that is lost drops
its queue: when the peer returns, everything that is ours to send is sent again.

Source: ``proto/lvsha_relay_v1.md`` sections 4 and 6 to 9.
"""

from collections.abc import Callable
from typing import Final

from lvsha.core.errors import DropReason
from lvsha.core.instant import MILLISECOND, SECOND, Instant, after, earliest
from lvsha.core.machine import Output
from lvsha.sync.conn_entry import with_timeout
from lvsha.sync.relay_digests import Comparison
from lvsha.sync.relay_life import Life
from lvsha.sync.relay_outflow import Outflow
from lvsha.sync.relay_outputs import (
    Install,
    InstallEntries,
    PeerConnected,
    PeerLost,
    PeerTalks,
    TakeWord,
)
from lvsha.sync.relay_resync import Resync
from lvsha.sync.relay_settings import RelayPeer, RelaySettings
from lvsha.sync.relay_window import ACK_DELAY, ReceiveWindow
from lvsha.sync.store import Held, Store, Verdict
from lvsha.wire.relay import (
    Ack,
    Bye,
    Digests,
    Entries,
    Envelope,
    Hello,
    Holdings,
    Message,
    MessageFlag,
    Readiness,
    Status,
    Talk,
    Welcome,
)
from lvsha.wire.relay_seal import FrameHeader, FrameKeys
from lvsha.wire.relay_talk import Word

KEEPALIVE: Final = 200 * MILLISECOND
DEAD: Final = 2 * SECOND
"""Without a frame."""
ACK_FRAMES: Final = 16


class PeerSession:
    """See above. Frames are opened and decoded by ``sync.relay``; they come in here as records."""

    def __init__(
        self,
        peer: RelayPeer,
        settings: RelaySettings,
        store: Store,
        keys: FrameKeys,
        *,
        epoch: int,
        is_ours_to_send: Callable[[int, Held], bool],
        now: Instant,
    ) -> None:
        """``is_ours_to_send``: a row to a peer that we have just met."""
        self.peer = peer
        self._store = store
        self.keys = keys
        # Life
        self.life = Life(epoch, now)
        self.window = ReceiveWindow(0)
        self.connected = False
        self.since = now
        self._heard = now
        # Sending
        self.outflow = Outflow(peer.director, settings, store, keys, self.life)
        self._status_at: Instant | None = None
        # Receiving
        self._ack_at: Instant | None = None
        self._unacked = 0
        # Resync and digests
        self.readiness = Readiness(0)
        """What the peer says of itself."""
        self.own_readiness = Readiness(0)
        """What we say of ourselves."""
        self.theirs: Status | None = None
        """What the peer said last."""
        self.resync = Resync(
            peer.director,
            store,
            self.outflow,
            is_ours_to_send=is_ours_to_send,
            tell=self._status,
            now=now,
        )
        self._comparison = Comparison(peer.director, store, self.outflow, now)
        # Figures
        self.received_frames = self.received_bytes = 0
        self.key_id = b""

    # Life

    @property
    def deadline(self) -> Instant | None:
        if not self.connected:
            return self.life.hello_at
        return earliest(
            after(self._heard, DEAD),
            self._status_at,
            self.outflow.deadline,
            self._ack_at,
            self.outflow.window.probe_at,
            self._comparison.deadline,
        )

    def on_deadline(self, now: Instant) -> list[Output]:
        if not self.connected:
            at = self.life.hello_at
            return self._hello(now) if at is not None and at <= now else []
        if after(self._heard, DEAD) <= now:
            return [*self._disconnect("nothing heard", now), *self._hello(now)]
        outputs: list[Output] = []
        if self.outflow.flush_at is not None and self.outflow.flush_at <= now:
            outputs += self._flush(now)
        if self._ack_at is not None and self._ack_at <= now:
            outputs += self._ack(now)
        if self.outflow.forsake(now):
            outputs += self._flush(now)
        if self.outflow.window.probe_at is not None and self.outflow.window.probe_at <= now:
            self.outflow.window.probe(now)
            outputs += self._status(now, MessageFlag.ACK_NOW)
        if self._status_at is not None and self._status_at <= now:
            outputs += self._status(now)
        return outputs + self._comparison.on_deadline(now, is_resyncing=self._is_resyncing)

    def leave(self, now: Instant) -> list[Output]:
        """We stop: say so."""
        if not self.connected:
            return []
        return [self.outflow.send(Bye()), *self._disconnect("we leave", now)]

    def receive(
        self, header: FrameHeader, envelope: Envelope, size: int, now: Instant
    ) -> tuple[list[Output], DropReason | None]:
        """Take an authentic frame: what follows, and why it was refused if it was."""
        message = envelope.message
        if isinstance(message, Hello):
            return self._on_hello(header, envelope, message, now), None
        if isinstance(message, Welcome):
            return self._on_welcome(header, envelope, message, now)
        if header.epoch != self.life.theirs:
            return self._hello_again(now), DropReason.UNKNOWN_EPOCH
        if envelope.peer_epoch != self.life.epoch:
            # Sequences of this life count, so that this cannot be had twice.
            self.window.take(header.sequence, waits=False)
            return self._hello_again(now), DropReason.STALE_EPOCH
        is_entries = isinstance(message, Entries)
        if is_entries and self.window.is_full:
            return [], DropReason.WINDOW_FULL
        has_gap = self.window.take(header.sequence, waits=is_entries)
        self.window.settle(envelope.settled)
        self._count(header, size, now)
        self.life.hears_us = True
        outputs = self._connect(now)
        outputs += self._on_message(header.sequence, message, envelope.flags, now)
        if not self.connected:
            return outputs, None
        if envelope.flags & MessageFlag.ACK_NOW:
            outputs += self._ack(now, everything=True)
        elif has_gap:
            self._ack_soon(now)
        return outputs, None

    def _count(self, header: FrameHeader, size: int, now: Instant) -> None:
        self._heard = now
        self.key_id = header.key_id
        self.received_frames += 1
        self.received_bytes += size

    def _on_hello(self, header: FrameHeader, envelope: Envelope, hello: Hello, now: Instant) -> list[Output]:
        is_known = header.epoch == self.life.theirs
        if is_known:
            self.window.take(header.sequence, waits=False)
            self.window.settle(envelope.settled)
            self._count(header, size=0, now=now)
        outputs: list[Output] = []
        if (answer := self.life.welcome(hello, header.epoch, now)) is not None:
            outputs.append(self.outflow.send(answer, pad=True))
        return outputs if is_known else outputs + self._hello_again(now)

    def _on_welcome(
        self, header: FrameHeader, envelope: Envelope, welcome: Welcome, now: Instant
    ) -> tuple[list[Output], DropReason | None]:
        if not self.life.is_answer(welcome):
            return [], DropReason.BAD_ECHO
        outputs: list[Output] = []
        if header.epoch == self.life.theirs:
            self.window.take(header.sequence, waits=False)
        else:
            if self.connected:
                outputs += self._disconnect("it has started again", now)
            self.window = ReceiveWindow(header.sequence)
        self.life.answered(header.epoch)
        self._count(header, size=0, now=now)
        self.life.hears_us = self.life.hears_us or envelope.peer_epoch == self.life.epoch
        # The status lets the peer see that we have its epoch now.
        return [*outputs, *self._connect(now), *self._status(now)], None

    def _connect(self, now: Instant) -> list[Output]:
        if self.connected or not self.life.is_mutual:
            return []
        self.connected = True
        self.since = self._heard = now
        self.life.settle()
        self.outflow.begin()
        self.theirs = None
        self._status_at = now
        self._comparison.end()
        self.resync.begin(now)
        return [PeerConnected(self.peer.director, self.life.theirs)]

    def _disconnect(self, reason: str, now: Instant) -> list[Output]:
        self.connected = False
        self.since = now
        self.outflow.end()
        self.resync.end()
        self._comparison.end()
        self._status_at = self._ack_at = None
        self._unacked = 0
        self.theirs = None
        self.readiness = Readiness(0)
        self.life.look_for(now)
        return [PeerLost(self.peer.director, reason)]

    def _hello_again(self, now: Instant) -> list[Output]:
        """Somebody speaks whom we do not know, or not to us: ask who it is."""
        return self._hello(now) if self.life.may_ask_again(now) else []

    def _hello(self, now: Instant) -> list[Output]:
        return [self.outflow.send(self.life.hello(now), pad=True)]

    # Sending

    def on_changes(self, now: Instant) -> list[Output]:
        """Something was put into the queue."""
        return self._flush(now) if self.outflow.is_due(now) else []

    def _flush(self, now: Instant) -> list[Output]:
        frames, gone, swept = self.outflow.flush(now)
        return [*frames, *self.resync.on_flushed(swept, gone, now)]

    def _status(self, now: Instant, flags: int = 0) -> list[Output]:
        waiting = self.outflow.waiting
        self._status_at = after(now, KEEPALIVE) if self.connected else None
        status = Status(
            readiness=self.own_readiness,
            asked=self.resync.asked,
            answered=self.resync.answered,
            rows=len(self._store),
            digest=self._store.top,
            missing=waiting.missing_count if waiting is not None else 0,
        )
        return [self.outflow.send(status, flags)]

    def talk(self, word: Word) -> list[Output]:
        """Say it once; nothing if the peer would not understand."""
        hears = self.connected and self.readiness & Readiness.TALKS
        return [self.outflow.send(Talk(word=word))] if hears else []

    def set_readiness(self, readiness: Readiness, now: Instant) -> list[Output]:
        self.own_readiness = readiness
        return self._status(now) if self.connected else []

    # Receiving

    def _on_message(self, sequence: int, message: Message, flags: MessageFlag, now: Instant) -> list[Output]:
        match message:
            case Entries():
                return self._on_entries(sequence, message, now)
            case Ack():
                return self._on_ack(message, now)
            case Status():
                return self._on_status(message, now)
            case Digests():
                self._comparison.on_digests(message, now)
                return []
            case Holdings():
                return self._on_holdings(message, now, is_answer=bool(flags & MessageFlag.ANSWER))
            case Talk():
                return [TakeWord(self.peer.director, message.word)]
            case Bye():
                self.life.theirs = 0
                return self._disconnect("it has left", now)
            case _:
                return []

    def _on_entries(self, sequence: int, message: Entries, now: Instant) -> list[Output]:
        director = self.peer.director
        accept = self._store.accept
        installs: list[Install] = []
        keys: list[bytes] = []
        for record in message.records:
            verdict, key = accept(record, now, peer=director)
            keys.append(key)
            if verdict is Verdict.INSTALL or verdict is Verdict.GONE:
                life = record[2] * MILLISECOND
                entry = with_timeout(record[3], max(1, record[2] // 1000))
                installs.append(Install(key, entry, life, verdict is Verdict.GONE))
        outputs: list[Output] = []
        if installs:
            outputs.append(InstallEntries(director, sequence, tuple(installs)))
        else:
            outputs += self.installed(sequence, now)
        # What the peer sends it has, and so it left the queue without being sent.
        outputs += self.resync.at_rest(keys, now)
        # A stale record was answered with a newer one into the queue.
        return outputs + self.on_changes(now)

    def installed(self, sequence: int, now: Instant) -> list[Output]:
        """The frame's entries are in our kernel."""
        self.window.installed(sequence)
        self._unacked += 1
        if not self.connected:
            return []
        if self._unacked >= ACK_FRAMES:
            return self._ack(now)
        self._ack_soon(now)
        return []

    def _ack_soon(self, now: Instant) -> None:
        at = after(now, ACK_DELAY)
        self._ack_at = at if self._ack_at is None else min(self._ack_at, at)

    def _ack(self, now: Instant, *, everything: bool = False) -> list[Output]:
        self._ack_at = None
        self._unacked = 0
        installed, missing = self.window.report(everything=everything)
        return [self.outflow.send(Ack(installed=installed, missing=missing))]

    def _on_ack(self, ack: Ack, now: Instant) -> list[Output]:
        waiting = self._store.waiting[self.peer.director]
        outputs: list[Output] = []
        arrived = self.outflow.window.arrive(ack.installed, now)
        if arrived:
            waiting.missing.difference_update(arrived)
            outputs += self.resync.at_rest(arrived, now)
        if self.outflow.lose(ack.missing, now):
            self.outflow.flush_at = now  # a slice for each acknowledgement would be too much at once
        self._comparison.on_acknowledged(now)
        return outputs

    # Resync and digests

    def _on_status(self, status: Status, now: Instant) -> list[Output]:
        outputs: list[Output] = []
        if status.readiness & ~self.readiness & Readiness.TALKS:
            outputs.append(PeerTalks(self.peer.director, self.life.theirs))
        self.theirs = status
        self.readiness = status.readiness
        outputs += self.resync.on_status(status, now)
        self._comparison.on_status(status, now)
        return outputs + self.on_changes(now)

    def _on_holdings(self, message: Holdings, now: Instant, *, is_answer: bool) -> list[Output]:
        answer = self._comparison.on_holdings(message, now, is_answer=is_answer)
        return [*answer, *self.on_changes(now)]

    @property
    def _is_resyncing(self) -> bool:
        """That explains what differs."""
        waiting = self.outflow.waiting
        return not self.resync.is_done or (waiting is not None and bool(waiting.sweeps))

    def send_everything(self, now: Instant) -> list[Output]:
        """By hand: what is ours to send, once more."""
        if not self.connected:
            return []
        self.resync.send_everything(now, is_missing=False)
        return self.on_changes(now)

    def ask_everything(self, now: Instant) -> list[Output]:
        """Ask the peer for everything that it has."""
        self.resync.ask(now)
        return self._status(now) if self.connected else []

    def barrier(self, token: int, now: Instant) -> list[Output]:
        waiting = self.outflow.waiting
        if waiting is None:
            return []
        reached = self.resync.barrier(token, now)
        return reached if waiting.is_empty else [*reached, *self._flush(now)]
