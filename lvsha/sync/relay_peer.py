"""One peer of the relay: life, queue, acknowledgements, resync, digests.

A session is up when we have the peer's epoch by an answer to our challenge, and the
peer speaks to our epoch. Then the store keeps a queue of keys for it; what is sent is
each key's newest version, at the moment of sending. A session that is lost drops
its queue: when the peer returns, everything that is ours to send is sent again.

Source: ``proto/lvsha_relay_v1.md`` sections 4 and 6 to 9.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from lvsha.core.errors import DropReason
from lvsha.core.instant import MILLISECOND, SECOND, Instant, after, earliest
from lvsha.core.machine import Output
from lvsha.sync.relay_outputs import (
    BarrierReached,
    Direction,
    Install,
    InstallEntries,
    PeerConnected,
    PeerLost,
    PeerView,
    ResyncFinished,
    ResyncStarted,
    SendDatagram,
)
from lvsha.sync.relay_settings import RelayPeer, RelaySettings
from lvsha.sync.relay_window import ACK_DELAY, WINDOW, Flight, ReceiveWindow, SendWindow
from lvsha.sync.store import Store, Verdict, Waiting, with_timeout
from lvsha.wire.ipvs_sync.v1 import INET_SIZE
from lvsha.wire.relay import (
    BUCKETS,
    MAX_RECORDS,
    PREFIX_SIZE,
    RECORD_SIZE,
    Ack,
    Bye,
    Digests,
    Entries,
    Envelope,
    Hello,
    Holdings,
    Message,
    MessageFlag,
    Range,
    Readiness,
    Status,
    Welcome,
    encode_entries,
    encode_message,
    pack_record,
)
from lvsha.wire.relay_seal import HEADER_SIZE, TAG_SIZE, FrameHeader, FrameKeys

KEEPALIVE: Final = 200 * MILLISECOND
DEAD: Final = 2 * SECOND
HELLO_LEAST: Final = 50 * MILLISECOND
HELLO_SOON: Final = 200 * MILLISECOND
HELLO_LATER: Final = SECOND
HELLOS_SOON: Final = 10
WELCOME_LEAST: Final = 20 * MILLISECOND
ACK_FRAMES: Final = 16
ROUND_QUIET: Final = 100 * MILLISECOND
ROUND_BUSY: Final = SECOND
ROUNDS_SOON: Final = 20
"""After so many rounds something is wrong that rounds do not mend, a full table for one."""
HOLDINGS_MOST: Final = 256
"""Buckets told about in ``ROUND_QUIET``."""
HOLDINGS_BUSY: Final = 16
"""The same while entries are on their way, which explain most differences."""
UNKNOWN_EPOCHS_MOST: Final = 1000
"""Frames of epochs that are not accepted, in a second: each costs a key derivation."""
ENDS_SOON: Final = SECOND
"""Rows that end within this are not worth a resend: every director forgets them at its own moment."""
BARRIERS_MOST: Final = 8
OVERHEAD: Final = HEADER_SIZE + TAG_SIZE + PREFIX_SIZE
_MASK64: Final = (1 << 64) - 1
_ASK_LIMIT: Final = 1 << 16


@dataclass(slots=True)
class _Barrier:
    """Keys that must be installed there."""

    pending: set[bytes]
    token: int | None
    """None: it is the answer to a peer's ``asked``."""
    entries: int
    started: Instant


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
        rows_to_send: Callable[[int], Iterable[bytes]],
        now: Instant,
    ) -> None:
        """``rows_to_send``: the keys that a peer which we just met should get from us."""
        self.peer = peer
        self.settings = settings
        self._store = store
        self._keys = keys
        self._epoch = epoch
        self._rows_to_send = rows_to_send
        self._sequence = 0
        # Life
        self.their_epoch = 0
        self.window = ReceiveWindow(0)
        self.connected = False
        self._hears_us = False
        self._challenge = 1
        self._is_asking = True
        self._since = now
        self._heard = now
        self._hello_at: Instant | None = now
        self._hellos = 0
        self._hello_last: Instant | None = None
        self._welcome_last: Instant | None = None
        self._unknown_budget = UNKNOWN_EPOCHS_MOST
        self._unknown_until = now
        # Sending
        self._send_window = SendWindow()
        self._flush_at: Instant | None = None
        self._status_at: Instant | None = None
        # Receiving
        self._ack_at: Instant | None = None
        self._unacked = 0
        # Resync and digests
        self.readiness = Readiness(0)
        """What the peer says of itself."""
        self.own_readiness = Readiness(0)
        """What we say of ourselves."""
        self._barriers: list[_Barrier] = []
        self._theirs: Status | None = None
        self._asked = 1
        self._asked_at = now
        self._is_resynced = False
        self._serving = 0
        self._answered = 0
        self._round_at: Instant | None = None
        self._round_first = 0
        self._rounds = 0
        self._holdings_budget = HOLDINGS_MOST
        self._holdings_until = now
        # Figures
        self.sent_frames = self.sent_bytes = self.received_frames = self.received_bytes = self.resent = 0
        self.key_id = b""

    # Life

    @property
    def deadline(self) -> Instant | None:
        if not self.connected:
            return self._hello_at
        return earliest(
            after(self._heard, DEAD),
            self._status_at,
            self._flush_at if self._send_window.is_open else None,
            self._ack_at,
            self._send_window.probe_at,
            self._round_at,
        )

    def on_deadline(self, now: Instant) -> list[Output]:
        if not self.connected:
            return self._hello(now) if self._hello_at is not None and self._hello_at <= now else []
        if after(self._heard, DEAD) <= now:
            return [*self._disconnect("nothing heard", now), *self._hello(now)]
        outputs: list[Output] = []
        if self._flush_at is not None and self._flush_at <= now:
            outputs += self._flush(now)
        if self._ack_at is not None and self._ack_at <= now:
            outputs += self._ack(now)
        outputs += self._forsake(now)
        if self._send_window.probe_at is not None and self._send_window.probe_at <= now:
            self._send_window.probe(now)
            outputs += self._status(now, MessageFlag.ACK_NOW)
        if self._status_at is not None and self._status_at <= now:
            outputs += self._status(now)
        if self._round_at is not None and self._round_at <= now:
            outputs += self._round(now)
        return outputs

    def allows_unknown(self, now: Instant) -> bool:
        """Whether a frame of an epoch that is not accepted may cost a try to open it."""
        if now >= self._unknown_until:
            self._unknown_budget = UNKNOWN_EPOCHS_MOST
            self._unknown_until = after(now, SECOND)
        self._unknown_budget -= 1
        return self._unknown_budget >= 0

    def leave(self, now: Instant) -> list[Output]:
        """We stop: say so."""
        if not self.connected:
            return []
        return [self._send(Bye()), *self._disconnect("we leave", now)]

    def receive(
        self, header: FrameHeader, envelope: Envelope, size: int, now: Instant
    ) -> tuple[list[Output], DropReason | None]:
        """Take an authentic frame: what follows, and why it was refused if it was."""
        message = envelope.message
        if isinstance(message, Hello):
            return self._on_hello(header, envelope, message, now), None
        if isinstance(message, Welcome):
            return self._on_welcome(header, envelope, message, now)
        if header.epoch != self.their_epoch:
            return self._hello_again(now), DropReason.UNKNOWN_EPOCH
        if envelope.peer_epoch != self._epoch:
            # Sequences of this life count, so that this cannot be had twice.
            self.window.take(header.sequence, waits=False)
            return self._hello_again(now), DropReason.STALE_EPOCH
        is_entries = isinstance(message, Entries)
        if is_entries and self.window.is_full:
            return [], DropReason.WINDOW_FULL
        has_gap = self.window.take(header.sequence, waits=is_entries)
        self.window.settle(envelope.settled)
        self._count(header, size, now)
        self._hears_us = True
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
        if header.epoch == self.their_epoch:
            self.window.take(header.sequence, waits=False)
            self.window.settle(envelope.settled)
            self._count(header, size=0, now=now)
        outputs: list[Output] = []
        if self._welcome_last is None or now - self._welcome_last >= WELCOME_LEAST:
            self._welcome_last = now
            answer = Welcome(epoch=header.epoch, challenge=hello.challenge)
            outputs.append(self._send(answer, pad=True))
        if header.epoch != self.their_epoch:
            outputs += self._hello_again(now)
        return outputs

    def _on_welcome(
        self, header: FrameHeader, envelope: Envelope, welcome: Welcome, now: Instant
    ) -> tuple[list[Output], DropReason | None]:
        if not self._is_asking or (welcome.epoch, welcome.challenge) != (self._epoch, self._challenge):
            return [], DropReason.BAD_ECHO
        outputs: list[Output] = []
        if header.epoch != self.their_epoch:
            if self.connected:
                outputs += self._disconnect("it has started again", now)
            self.their_epoch = header.epoch
            self.window = ReceiveWindow(header.sequence)
            self._hears_us = False
        else:
            self.window.take(header.sequence, waits=False)
        self._is_asking = False
        self._count(header, size=0, now=now)
        self._hears_us = self._hears_us or envelope.peer_epoch == self._epoch
        # The status lets the peer see that we have its epoch now.
        return [*outputs, *self._connect(now), *self._status(now)], None

    def _connect(self, now: Instant) -> list[Output]:
        if self.connected or not self._hears_us or not self.their_epoch:
            return []
        self.connected = True
        self._since = self._heard = now
        self._hello_at = None
        self._hellos = 0
        self._send_window = SendWindow()
        self._theirs = None
        self._is_resynced = False
        self._serving = self._answered = 0
        self._asked_at = now
        self._status_at = now
        self._store.waiting[self.peer.director] = Waiting()
        self.enqueue(self._rows_to_send(self.peer.director), now, missing=True)
        return [PeerConnected(self.peer.director, self.their_epoch)]

    def _disconnect(self, reason: str, now: Instant) -> list[Output]:
        self.connected = self._hears_us = False
        self._since = now
        self._store.waiting.pop(self.peer.director, None)
        self._send_window = SendWindow()
        self._barriers.clear()
        self._flush_at = self._status_at = self._ack_at = self._round_at = None
        self._unacked = 0
        self._theirs = None
        self.readiness = Readiness(0)
        self._is_resynced = False
        self._ask(now)
        return [PeerLost(self.peer.director, reason)]

    def _ask(self, now: Instant) -> None:
        """Look for the peer from now on."""
        self._hellos = 0
        self._hello_at = now

    def _hello_again(self, now: Instant) -> list[Output]:
        """Somebody speaks whom we do not know, or not to us: ask who it is."""
        if self._hello_last is not None and now - self._hello_last < HELLO_LEAST:
            return []
        return self._hello(now)

    def _hello(self, now: Instant) -> list[Output]:
        if not self._is_asking:
            # One challenge until it is answered, however long the answer takes; never one twice.
            self._is_asking = True
            self._challenge += 1
        self._hello_last = now
        self._hellos += 1
        if not self.connected:
            self._hello_at = after(now, HELLO_SOON if self._hellos <= HELLOS_SOON else HELLO_LATER)
        return [self._send(Hello(challenge=self._challenge), pad=True)]

    # Sending

    def _send(self, message: Message, flags: int = 0, *, pad: bool = False) -> SendDatagram:
        data = encode_message(
            message,
            flags=flags,
            peer_epoch=self.their_epoch,
            settled=self._send_window.settled(self._sequence),
            pad=self.settings.datagram - HEADER_SIZE - TAG_SIZE if pad else 0,
        )
        return self._seal(data)

    def _seal(self, message: bytes) -> SendDatagram:
        self._sequence += 1
        header = FrameHeader(
            self._keys.keyring.primary,
            self.settings.director,
            self.peer.director,
            self._epoch,
            self._sequence,
        )
        frame = self._keys.seal(header, message)
        self.sent_frames += 1
        self.sent_bytes += len(frame)
        return SendDatagram(self.peer.director, frame)

    def on_changes(self, now: Instant) -> list[Output]:
        """Something was put into the queue."""
        waiting = self._store.waiting.get(self.peer.director)
        if waiting is None or not len(waiting):
            return []
        if len(waiting) >= self._frame_room // (RECORD_SIZE + INET_SIZE) or waiting.bulk:
            return self._flush(now)
        if self._flush_at is None:
            self._flush_at = after(now, self.settings.linger)
        return []

    @property
    def _frame_room(self) -> int:
        return self.settings.datagram - OVERHEAD - 2

    def _flush(self, now: Instant) -> list[Output]:
        """Send what waits, as far as the window allows."""
        waiting = self._store.waiting[self.peer.director]
        outputs: list[Output] = []
        while len(waiting) and self._send_window.is_open:
            records, keys, since, outputs_of_barriers = self._fill(waiting, now)
            outputs += outputs_of_barriers
            if not records:
                continue
            settled = self._send_window.settled(self._sequence)
            outputs.append(self._seal(encode_entries(records, peer_epoch=self.their_epoch, settled=settled)))
            self._send_window.depart(self._sequence, Flight(tuple(keys), now, since))
        # With a closed window, the next acknowledgement goes on.
        self._flush_at = now if len(waiting) else None
        return outputs

    def _fill(self, waiting: Waiting, now: Instant) -> tuple[list[bytes], list[bytes], Instant, list[Output]]:
        """Records for one frame, their keys, and since when the oldest waits."""
        room = self._frame_room
        records: list[bytes] = []
        keys: list[bytes] = []
        gone: list[bytes] = []
        oldest = now
        get, tombstone = self._store.get, self._store.tombstone
        while len(waiting) and room >= RECORD_SIZE + INET_SIZE and len(records) < MAX_RECORDS:
            queue = waiting.fresh if len(waiting.fresh) else waiting.bulk
            key, since = queue.pop()
            held = get(key)
            if held is not None:
                left = (held.expires - now) // MILLISECOND
                if left <= 0:
                    waiting.missing.discard(key)
                    gone.append(key)
                    continue
                record = pack_record(held.generation, held.origin, left, held.entry)
            elif (buried := tombstone(key)) is not None:
                record = pack_record(buried.generation, buried.origin, 0, buried.entry)
            else:
                gone.append(key)
                continue
            if len(record) > room:
                if records:
                    queue.add(key, since)
                    break
                # Persistence data longer than a frame: it goes alone, as long as it is.
                room = len(record)
            room -= len(record)
            records.append(record)
            keys.append(key)
            oldest = min(oldest, since)
        return records, keys, oldest, self._pass_barriers(gone, now) if gone else []

    def _status(self, now: Instant, flags: int = 0) -> list[Output]:
        waiting = self._store.waiting.get(self.peer.director)
        self._status_at = after(now, KEEPALIVE) if self.connected else None
        status = Status(
            readiness=self.own_readiness,
            asked=self._asked,
            answered=self._answered,
            rows=len(self._store),
            digest=self._store.top,
            missing=len(waiting.missing) if waiting is not None else 0,
        )
        return [self._send(status, flags)]

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
                return self._on_digests(message, now)
            case Holdings():
                return self._on_holdings(message, now, is_answer=bool(flags & MessageFlag.ANSWER))
            case Bye():
                self.their_epoch = 0
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
        if self._barriers:
            # What the peer sends it has, and so it left the queue without being sent.
            outputs += self._pass_barriers(self._at_rest(keys), now)
        # A stale record was answered with a newer one into the queue.
        return outputs + self.on_changes(now)

    def _at_rest(self, keys: Iterable[bytes]) -> list[bytes]:
        """Those that neither wait nor are on their way."""
        waiting, window = self._store.waiting[self.peer.director], self._send_window
        return [
            key for key in keys if key not in waiting.fresh and key not in waiting.bulk and key not in window
        ]

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
        return [self._send(Ack(installed=installed, missing=missing))]

    def _forsake(self, now: Instant) -> list[Output]:
        """Frames that the peer's window has left behind are not reported any more: send them again."""
        behind = self._sequence - WINDOW
        if self._send_window.settled(self._sequence) >= behind:
            return []
        return self._again(((0, behind),), now)

    def _again(self, ranges: tuple[Range, ...], now: Instant) -> list[Output]:
        """These frames are lost: their keys wait again, and go when the window allows."""
        waiting = self._store.waiting[self.peer.director]
        before = len(self._send_window.flights)
        for key, since in self._send_window.lose(ranges, now):
            waiting.fresh.add(key, since)
        self.resent += before - len(self._send_window.flights)
        if len(waiting):
            return self._flush(now) if self._flush_at is None or self._flush_at <= now else []
        return []

    def _on_ack(self, ack: Ack, now: Instant) -> list[Output]:
        waiting = self._store.waiting[self.peer.director]
        outputs: list[Output] = []
        arrived = self._send_window.arrive(ack.installed, now)
        if arrived:
            waiting.missing.difference_update(arrived)
            outputs += self._pass_barriers(self._at_rest(arrived), now)
        outputs += self._again(ack.missing, now)
        if len(waiting):
            return outputs
        if self._round_at is not None and not self._send_window.flights:
            # Quiet now: what still differs is not on its way.
            self._round_at = min(self._round_at, after(now, ROUND_QUIET))
        return outputs

    # Resync

    def _on_status(self, status: Status, now: Instant) -> list[Output]:
        self._theirs = status
        self.readiness = status.readiness
        outputs: list[Output] = []
        if status.asked != self._serving and status.asked and self._store.is_complete:
            outputs += self._serve(status.asked, now)
        if not self._is_resynced and status.answered == self._asked:
            self._is_resynced = True
            took = now - self._asked_at
            outputs.append(ResyncFinished(self.peer.director, Direction.IN, status.rows, took))
        if self._round_at is None and status.digest != self._store.top:
            self._round_at = after(now, ROUND_QUIET)
        return outputs

    def _serve(self, asked: int, now: Instant) -> list[Output]:
        """The peer wants everything."""
        self._serving = asked
        waiting = self._store.waiting[self.peer.director]
        self._barriers = [barrier for barrier in self._barriers if barrier.token is not None]
        pending = {*waiting.fresh, *waiting.bulk, *self._send_window.keys}
        self._barriers.append(_Barrier(pending, None, len(pending), now))
        started = ResyncStarted(self.peer.director, Direction.OUT, len(pending))
        return [started, *self._pass_barriers((), now), *self.on_changes(now)]

    def enqueue(self, keys: Iterable[bytes], now: Instant, *, missing: bool) -> None:
        """Put keys into the queue: what a peer that we just met has to get, or all again by hand."""
        waiting = self._store.waiting[self.peer.director]
        for key in keys:
            waiting.bulk.add(key, now)
            if missing:
                waiting.missing.add(key)
        self._flush_at = now

    def ask_everything(self, now: Instant) -> list[Output]:
        """Ask the peer for everything that it has."""
        self._asked = self._asked % (_ASK_LIMIT - 1) + 1
        self._asked_at = now
        self._is_resynced = False
        return self._status(now) if self.connected else []

    def barrier(self, token: int, now: Instant) -> list[Output]:
        waiting = self._store.waiting.get(self.peer.director)
        if waiting is None:
            return []
        if len(self._barriers) >= BARRIERS_MOST:
            self._barriers.pop(0)
        pending = {*waiting.fresh, *waiting.bulk, *self._send_window.keys}
        self._barriers.append(_Barrier(pending, token, len(pending), now))
        return [*self._pass_barriers((), now), *(self._flush(now) if len(waiting) else ())]

    def _pass_barriers(self, keys: Iterable[bytes], now: Instant) -> list[Output]:
        """These keys have nothing more to wait for."""
        outputs: list[Output] = []
        for barrier in list(self._barriers):
            barrier.pending.difference_update(keys)
            if barrier.pending:
                continue
            self._barriers.remove(barrier)
            if barrier.token is not None:
                outputs.append(BarrierReached(self.peer.director, barrier.token))
            else:
                self._answered = self._serving
                took = now - barrier.started
                outputs.append(ResyncFinished(self.peer.director, Direction.OUT, barrier.entries, took))
                outputs += self._status(now)
        return outputs

    # Digests

    def _round(self, now: Instant) -> list[Output]:
        """Tell the peer our buckets' digests, if the tables seem to differ."""
        waiting = self._store.waiting[self.peer.director]
        if self._theirs is None or self._theirs.digest == self._store.top:
            self._round_at = None
            self._rounds = 0
            return []
        self._rounds += 1
        is_soon = self._is_quiet(waiting) and self._rounds <= ROUNDS_SOON
        self._round_at = after(now, ROUND_QUIET if is_soon else ROUND_BUSY)
        per_frame = (self.settings.datagram - OVERHEAD - 4) // 8
        digests = self._store.bucket_digests
        chunks = [(first, digests[first : first + per_frame]) for first in range(0, BUCKETS, per_frame)]
        # The peer answers for so many buckets only: begin elsewhere each time.
        self._round_first = (self._round_first + 1) % len(chunks)
        chunks = chunks[self._round_first :] + chunks[: self._round_first]
        return [self._send(Digests(first=first, digests=tuple(chunk))) for first, chunk in chunks]

    def _is_quiet(self, waiting: Waiting) -> bool:
        """Nothing is on its way, either way: what differs now differs by mistake."""
        known = self._theirs.missing if self._theirs is not None else 0
        return not len(waiting) and not self._send_window.flights and not known

    def _on_digests(self, message: Digests, now: Instant) -> list[Output]:
        ours = self._store.bucket_digests
        outputs: list[Output] = []
        for number, theirs in enumerate(message.digests, message.first):
            if theirs != ours[number]:
                outputs += self._tell_holdings(number, now)
        return outputs

    def _tell_holdings(self, number: int, now: Instant, flags: int = 0) -> list[Output]:
        if now >= self._holdings_until:
            is_quiet = self._is_quiet(self._store.waiting[self.peer.director])
            self._holdings_budget = HOLDINGS_MOST if is_quiet else HOLDINGS_BUSY
            self._holdings_until = after(now, ROUND_QUIET)
        if not self._holdings_budget:
            return []
        self._holdings_budget -= 1
        items = sorted(held.digest for held in self._store.bucket(number).values())
        per_frame = (self.settings.datagram - OVERHEAD - 20) // 8
        outputs: list[Output] = []
        least = 0
        for at in range(0, max(len(items), 1), per_frame):
            part = items[at : at + per_frame]
            most = part[-1] if at + per_frame < len(items) else _MASK64
            outputs.append(
                self._send(Holdings(bucket=number, least=least, most=most, items=tuple(part)), flags)
            )
            least = most + 1
        return outputs

    def _on_holdings(self, message: Holdings, now: Instant, *, is_answer: bool) -> list[Output]:
        """Queue what the peer does not have, know what it has, and say so if it has what we have not."""
        waiting = self._store.waiting[self.peer.director]
        has = set(message.items)
        soon = after(now, ENDS_SOON)
        for held in self._store.bucket(message.bucket).values():
            if not message.least <= held.digest <= message.most:
                continue
            key = held.key
            if held.digest in has:
                has.discard(held.digest)
                waiting.missing.discard(key)
            elif key not in waiting.fresh and key not in self._send_window and held.expires > soon:
                waiting.bulk.add(key, now)
                waiting.missing.add(key)
        outputs = self.on_changes(now)
        if has and not is_answer:
            outputs += self._tell_holdings(message.bucket, now, MessageFlag.ANSWER)
        return outputs

    # What there is to see

    def view(self, now: Instant) -> PeerView:
        waiting = self._store.waiting.get(self.peer.director)
        rows = len(self._store)
        missing = len(waiting.missing) if waiting is not None else rows
        on_its_way = 0
        if waiting is not None and missing and self._send_window.flights:
            on_its_way = sum(key in waiting.missing for key in self._send_window.keys)
        oldest = (
            earliest(waiting.fresh.oldest, waiting.bulk.oldest, self._send_window.oldest)
            if waiting is not None
            else None
        )
        return PeerView(
            peer=self.peer.director,
            name=self.peer.name,
            connected=self.connected,
            since=self._since,
            epoch=self.their_epoch,
            readiness=self.readiness,
            live=self._theirs.rows if self._theirs is not None else 0,
            missing=missing,
            coverage=max(0.0, 1 - missing / rows) if rows else 1.0,
            missing_here=self._theirs.missing if self._theirs is not None else None,
            resynced=self._is_resynced,
            lag=max(0, now - oldest) if oldest is not None else 0,
            rtt=self._send_window.rtt,
            waiting=len(waiting) if waiting is not None else 0,
            in_flight=len(self._send_window.flights),
            in_flight_keys=self._send_window.key_count,
            on_its_way=on_its_way,
            sent_frames=self.sent_frames,
            sent_bytes=self.sent_bytes,
            received_frames=self.received_frames,
            received_bytes=self.received_bytes,
            resent=self.resent,
            key_id=self.key_id.hex(),
            uses_primary_key=self.key_id == self._keys.keyring.primary,
        )
