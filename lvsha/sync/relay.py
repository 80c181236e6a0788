"""The relay: connection entries between directors, sealed, numbered, acknowledged.

A machine for datagrams: what comes in is checked, opened, and taken to its peer's
session; what goes out is sealed already. Nothing that does not open under a key of
the key file, from the address of a configured peer, from a life that answered a
challenge of ours, in a sequence not seen before, changes anything.

Source: ``proto/lvsha_relay_v1.md``.
"""

from collections import Counter
from itertools import chain, islice

from lvsha.core.addr import Address
from lvsha.core.bounded import ReasonCounter
from lvsha.core.errors import DecodeError, DropReason
from lvsha.core.instant import Instant, earliest
from lvsha.core.machine import Output
from lvsha.sync.relay_outflow import OVERHEAD
from lvsha.sync.relay_outputs import FrameRefused, PathTooNarrow, PeerView, RowsEnded, StoreFull
from lvsha.sync.relay_peer import PeerSession
from lvsha.sync.relay_settings import RelaySettings
from lvsha.sync.relay_view import view_of
from lvsha.sync.store import Held, Store
from lvsha.wire.relay import Readiness, decode_envelope
from lvsha.wire.relay_seal import FrameHeader, FrameKeys, Keyring, decode_header
from lvsha.wire.relay_talk import PART_HEAD, Word

_EMSGSIZE = 90


class Relay:
    """See above. ``counts`` holds refused frames by ``DropReason``."""

    def __init__(self, settings: RelaySettings, store: Store, keyring: Keyring, *, epoch: int) -> None:
        """``epoch``: 64 random bits, others in every life of the process."""
        assert 0 < epoch < 1 << 64, "an epoch is 64 bits and not 0"
        assert settings.director == store.director, "the store is ours"
        self.settings = settings
        self.store = store
        self.counts: Counter[DropReason] = Counter()
        self.readiness = Readiness(0)
        self._keys = FrameKeys(keyring)
        self._epoch = epoch
        self._reasons = ReasonCounter()
        self._sessions: dict[int, PeerSession] = {}
        self._narrow: set[int] = set()
        self._said_full = False

    # Inputs

    def start(self, now: Instant) -> list[Output]:
        """Look for the peers."""
        return self.reconfigure(self.settings, now)

    def reconfigure(self, settings: RelaySettings, now: Instant) -> list[Output]:
        """Other settings. Sessions of peers that stay go on."""
        self.settings = settings
        outputs: list[Output] = []
        wanted = {peer.director: peer for peer in settings.peers}
        for director in self._sessions.keys() - wanted.keys():
            outputs += self._sessions.pop(director).leave(now)
        for director, peer in wanted.items():
            session = self._sessions.get(director)
            if session is None:
                session = PeerSession(
                    peer,
                    settings,
                    self.store,
                    self._keys,
                    epoch=self._epoch,
                    is_ours_to_send=self._is_ours_to_send,
                    now=now,
                )
                session.own_readiness = self.readiness
                self._sessions[director] = session
            session.peer, session.outflow.settings = peer, settings
        self._narrow.clear()
        return outputs + self._due(now)

    def rekey(self, keyring: Keyring, now: Instant) -> list[Output]:
        """Another key file. Sessions go on."""
        self._keys.replace(keyring)
        return []

    def stop(self, now: Instant) -> list[Output]:
        """Tell the peers that we leave."""
        return [output for session in self._sessions.values() for output in session.leave(now)]

    def receive(self, data: bytes, source: tuple[Address, int], now: Instant) -> list[Output]:
        """Take a datagram."""
        try:
            header = decode_header(data)
            session = self._admit(header, source[0], now)
            envelope = decode_envelope(self._keys.open(header, data))
        except DecodeError as error:
            return self._refuse(source[0], error.reason, error.detail)
        outputs, refused = session.receive(header, envelope, len(data), now)
        if refused is not None:
            outputs += self._refuse(source[0], refused, f"from {session.peer.name}")
        # What one peer says may be news that we have to give to the others.
        return outputs + self.on_changes(now)

    def on_changes(self, now: Instant) -> list[Output]:
        """The store was changed from our side: send what is due."""
        outputs = [output for session in self._sessions.values() for output in session.on_changes(now)]
        return outputs + self._fullness()

    @property
    def deadline(self) -> Instant | None:
        return earliest(self.store.deadline, *(session.deadline for session in self._sessions.values()))

    def on_deadline(self, now: Instant) -> list[Output]:
        outputs: list[Output] = []
        ended = self.store.on_deadline(now)
        if ended:
            outputs.append(RowsEnded(tuple(held.key for held in ended)))
        return outputs + self._due(now)

    def installed(self, peer: int, token: int, now: Instant) -> list[Output]:
        """The ``InstallEntries`` of this token is in our kernel, or our kernel has refused it."""
        session = self._sessions.get(peer)
        return session.installed(token, now) if session is not None else []

    def set_ready(self, readiness: Readiness, now: Instant) -> list[Output]:
        """What we tell the peers of ourselves."""
        if readiness == self.readiness:
            return []
        self.readiness = readiness
        return [
            output for session in self._sessions.values() for output in session.set_readiness(readiness, now)
        ]

    def resync(self, now: Instant, *, peer: int | None = None) -> list[Output]:
        """By hand: ask this peer, or all, for everything, and send everything of ours again."""
        outputs: list[Output] = []
        for director, session in self._sessions.items():
            if peer in (None, director):
                outputs += session.ask_everything(now)
                outputs += session.send_everything(now)
        return outputs

    def barrier(self, peer: int, token: int, now: Instant) -> list[Output]:
        """``BarrierReached`` once all that waits for this peer now is in its kernel.

        Nothing comes of it if the peer is not connected or gets lost.
        """
        session = self._sessions.get(peer)
        return session.barrier(token, now) if session is not None else []

    def talk(self, peer: int, word: Word) -> list[Output]:
        """Say it to this peer, once; nothing if it is not connected or would not understand."""
        session = self._sessions.get(peer)
        return session.talk(word) if session is not None else []

    @property
    def part_room(self) -> int:
        """Bytes of data in a PART that fills a datagram."""
        return self.settings.datagram - OVERHEAD - PART_HEAD

    def on_send_failed(self, peer: int, errno: int, now: Instant) -> list[Output]:
        """A datagram to this peer could not be sent; whatever was in it will be asked for again."""
        if errno != _EMSGSIZE or peer in self._narrow:
            return []
        self._narrow.add(peer)
        return [PathTooNarrow(peer, self.settings.datagram)]

    # What there is to see

    def peers(self, now: Instant) -> tuple[PeerView, ...]:
        return tuple(view_of(session, self.store, now) for session in self._sessions.values())

    def would_lose(self, peer: int, limit: int = 1000) -> tuple[bytes, ...]:
        """Keys of which the peer has no copy: what we would lose if it took over now."""
        waiting = self.store.waiting.get(peer)
        if waiting is None:
            return tuple(held.key for held in islice(self.store, limit))
        unmet = (held.key for sweep in waiting.sweeps if sweep.misses_rest for held in sweep.rest())
        return tuple(islice(chain(waiting.missing, unmet), limit))

    # Within

    def _due(self, now: Instant) -> list[Output]:
        return [
            output
            for session in self._sessions.values()
            if session.deadline is not None and session.deadline <= now
            for output in session.on_deadline(now)
        ]

    def _admit(self, header: FrameHeader, source: Address, now: Instant) -> PeerSession:
        """Refuse whatever can be refused without cryptography.

        Raises:
            DecodeError: why.
        """
        if header.sender == self.settings.director:
            raise DecodeError(DropReason.OWN_PACKET)
        session = self._sessions.get(header.sender)
        if session is None or session.peer.address != source:
            raise DecodeError(DropReason.UNKNOWN_PEER, f"director {header.sender:#010x}")
        if header.receiver != self.settings.director:
            raise DecodeError(DropReason.WRONG_RECEIVER, f"for director {header.receiver:#010x}")
        if header.key_id not in self._keys.keyring:
            raise DecodeError(DropReason.UNKNOWN_KEY, f"key id {header.key_id.hex()}")
        if header.epoch == session.life.theirs:
            if not session.window.is_new(header.sequence):
                raise DecodeError(DropReason.REPLAYED, f"sequence {header.sequence}")
        elif not session.life.allows_unknown(now):
            raise DecodeError(DropReason.FLOODED)
        return session

    def _refuse(self, source: Address, reason: DropReason, detail: str) -> list[Output]:
        self.counts[reason] += 1
        return [FrameRefused(source, reason, detail)] if self._reasons.count(reason) else []

    def _is_ours_to_send(self, peer: int, held: Held) -> bool:
        """What is ours to tell a peer that we meet: our own, and what nobody else connected speaks for."""
        origin = held.origin
        if origin in (self.store.director, peer) or origin not in self._sessions:
            return True
        return not self._sessions[origin].connected or self.store.owns(held)

    def _fullness(self) -> list[Output]:
        full = len(self.store) >= self.store.limit
        if full == self._said_full:
            return []
        self._said_full = full
        return [StoreFull(self.store.limit)] if full else []
