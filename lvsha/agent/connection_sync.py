"""directord's part in the relay: our kernel's connections out to the peers, theirs into our kernel.

::

    kernel master daemon ─ private interface ─▶ SyncCapture ▶ Mirror ▶ Store ▶ Relay ─ UDP ─▶ peers
    kernel backup daemon ◀─ private interface ─ SyncInjector ◀ Installer ◀──── Relay ◀─ UDP ── peers

Everything that decides is in ``lvsha.sync``; here are descriptors, one timer and one
injection task. Of a directord that is killed the kernel's table and daemons stay; the
successor reads that table once, and resynchronises with the peers.
"""

import asyncio
import gc
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from ipaddress import ip_interface
from typing import Any

from lvsha.agent.injection import Injection
from lvsha.agent.journal import Journal
from lvsha.agent.kernel_ear import KernelEar
from lvsha.agent.peer_line import Datagram, PeerLine
from lvsha.agent.relay_status import coverage_status, describe
from lvsha.agent.seeding import seed, seed_handshakes
from lvsha.core.errors import ConfigErrors
from lvsha.core.instant import MILLISECOND, SECOND, Instant, earliest, to_seconds
from lvsha.core.machine import Event, Output
from lvsha.director.gate import Gate, GateClosed, GateOpened
from lvsha.io.ipvs_genl import IpvsSocket
from lvsha.io.private_link import PRIVATE_INTERFACE
from lvsha.io.reactor import monotonic
from lvsha.io.realtime import run_ahead
from lvsha.io.relay_keys import read_keyring
from lvsha.ipvs.model import ServiceKey, Table
from lvsha.sync.conn_entry import vaddr_of
from lvsha.sync.mirror import Mirror
from lvsha.sync.relay import Relay
from lvsha.sync.relay_outputs import (
    BarrierReached,
    Direction,
    InstallEntries,
    PeerLost,
    PeerTalks,
    ResyncFinished,
    ResyncStarted,
    RowsEnded,
    SendDatagram,
    TakeWord,
)
from lvsha.sync.relay_settings import RelaySettings
from lvsha.sync.resync import BULK_MAXLEN, MAXLEN, Installer, Token
from lvsha.sync.settings import SyncSettings, Transport
from lvsha.sync.store import Held, Store
from lvsha.wire.relay import Readiness
from lvsha.wire.relay_talk import Word

_WATCH_S = 1.0
_JOINED_LOOK_S = 0.02
_ANSWERS_WITHIN = 200 * MILLISECOND
"""A peer that is there answers a hello much earlier."""
_BUSY = SECOND
_BUSY_NUDGE = 10 * MILLISECOND
"""On the private interface a nudge costs no wire, only the sixteen packets."""
_LOOK_LEAST = 20 * MILLISECOND
"""Between two looks of the gate at the peers."""

Status = dict[str, Any]


def on_private_interface(settings: SyncSettings | None) -> SyncSettings | None:
    """The kernel's daemons as the relay wants them: on our own interface, out of everybody's reach."""
    if settings is None or settings.transport is not Transport.RELAY:
        return settings
    return replace(settings, interface=PRIVATE_INTERFACE, group=None, ttl=1, backup_maxlen=BULK_MAXLEN)


class ConnectionSync:
    """The relay of one director; made only where the configuration has one."""

    @classmethod
    def of(
        cls,
        settings: SyncSettings | None,
        *,
        ipvs: IpvsSocket,
        journal: Journal,
        allow_preemption: Callable[[bool], None],
    ) -> "ConnectionSync | None":
        """None: the configuration has no relay."""
        if settings is None or settings.relay is None:
            return None
        return cls(settings, ipvs=ipvs, journal=journal, allow_preemption=allow_preemption)

    def __init__(
        self,
        settings: SyncSettings,
        *,
        ipvs: IpvsSocket,
        journal: Journal,
        allow_preemption: Callable[[bool], None],
    ) -> None:
        """``allow_preemption`` hears whether our routers may take an address from a MASTER.

        Raises: ConfigErrors, when the key file is no good; KernelError, when the socket is refused.
        """
        assert settings.relay is not None, "a relay has settings"
        self._allow_preemption = allow_preemption
        self.settings: RelaySettings = settings.relay
        self._port = settings.port
        self._ipvs = ipvs
        self._journal = journal
        self.store = Store(director=self.settings.director, limit=self.settings.limit)
        self.mirror = Mirror(self.store)
        self.installer = Installer(self.store, syncid=settings.syncid)
        keyring = read_keyring(self.settings.key_file)
        self.relay = Relay(self.settings, self.store, keyring, epoch=secrets.randbits(64) or 1)
        self._peers = {peer.director: peer for peer in self.settings.peers}
        self._line = PeerLine(self.settings.address, self.settings.port, journal, take=self._on_datagrams)
        self._ear = KernelEar(self._port, self.mirror, journal, heard=self._on_news)
        self.gate = Gate(target=self.settings.coverage_target, patience=self.settings.gate_deadline)
        self._barriers: dict[tuple[int, int], asyncio.Future[None]] = {}
        self._next_token = 1
        self._injection = Injection(
            self.installer,
            journal,
            interface=PRIVATE_INTERFACE,
            port=self._port,
            on_installed=self._on_installed,
        )
        self.hear: Callable[[TakeWord | PeerTalks | PeerLost], None] = lambda _: None
        """Who talks with the peers."""
        self._timer: asyncio.TimerHandle | None = None
        self._armed: Instant | None = None
        self._bindings: frozenset[tuple[object, ...]] = frozenset()
        self._readiness = Readiness(0)
        self._marks: frozenset[int] = frozenset()
        self._is_master = False
        self._news_at = Instant(0)
        self._looked = Instant(0)
        self._wants_reading = False

    # Life

    async def run(self) -> None:
        """For ever; the daemons run already, and the services are in the kernel."""
        run_ahead()
        self._ear.open(retry_s=_WATCH_S)
        self.store.is_complete = False
        self._line.open()
        self._perform(self.gate.start(monotonic(), peers=len(self._peers)))
        self._perform(self.relay.start(monotonic()))
        tasks = [
            asyncio.create_task(self._injection.run()),
            asyncio.create_task(self._seed()),
            asyncio.create_task(self._watch()),
        ]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            self._line.close()
            self._ear.close()
            if self._timer is not None:
                self._timer.cancel()

    def reconfigure(self, settings: SyncSettings | None) -> None:
        """Other peers, another key, other limits. Address and port stay until a restart."""
        if settings is None or settings.relay is None:
            return
        now = monotonic()
        self.settings = settings.relay
        self._peers = {peer.director: peer for peer in settings.relay.peers}
        try:
            self.relay.rekey(read_keyring(settings.relay.key_file), now)
        except ConfigErrors as error:
            self._journal.write("relay.key_refused", problem=str(error), action="keeping the old keys")
        self._perform(self.relay.reconfigure(settings.relay, now))

    async def joined(self, within_s: float, *, leaves: Callable[[], bool]) -> None:
        """Until every peer that answers has given us everything, or ``leaves``; at most so long."""
        begun = monotonic()
        while not leaves() and (waited := monotonic() - begun) < within_s * SECOND:
            views = [view for view in self.relay.peers(monotonic()) if view.connected]
            if all(view.resynced for view in views) and (views or waited >= _ANSWERS_WITHIN):
                return
            await asyncio.sleep(_JOINED_LOOK_S)

    async def flush(self, deadline_s: float) -> bool:
        """Until every connected peer has in its kernel what ours has told so far; False: not in time.

        And, where the addresses have gone already, what it does not tell.
        """
        self.read_kernel()
        if not self._is_master:
            await self.tell_handshakes()
        waiting = [self.barrier(view.peer) for view in self.relay.peers(monotonic()) if view.connected]
        if not waiting:
            return False
        _, late = await asyncio.wait(waiting, timeout=deadline_s)
        for future in late:
            future.cancel()
        return not late

    async def tell_handshakes(self) -> int:
        """Pass on, once the address has moved, what our kernel announces to nobody; how many those are."""
        count = await seed_handshakes(self.store, self._ipvs)
        if count:
            self._perform(self.relay.on_changes(monotonic()))
        return count

    def nudge_interval(self, configured: int) -> int:
        """How often to push the kernel's buffer out: while it has much to say more often than configured."""
        is_busy = monotonic() - self._news_at < _BUSY
        return min(configured, _BUSY_NUDGE) if is_busy else configured

    def read_again(self) -> None:
        """Our kernel's master daemon was started anew: what happened meanwhile stands in its table alone."""
        self._wants_reading = True

    def takes_messages(self, maxlen: int) -> None:
        """What the backup daemon that runs now takes, bytes."""
        self.installer.maxlen = min(max(maxlen, MAXLEN), BULK_MAXLEN)

    def say(self, words: Iterable[tuple[int, Word]]) -> None:
        """Each to its peer, once; nothing comes of one that is not connected."""
        self._perform(output for peer, word in words for output in self.relay.talk(peer, word))

    def read_kernel(self) -> None:
        """Take what our kernel has sent up to now."""
        self._ear.read_all()

    def barrier(self, peer: int) -> "asyncio.Future[None]":
        """Done once all that waits for this peer now is in its kernel; never, if the peer gets lost."""
        token, self._next_token = self._next_token, self._next_token + 1
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._barriers = {key: other for key, other in self._barriers.items() if not other.done()}
        self._barriers[(peer, token)] = future
        self._perform(self.relay.barrier(peer, token, monotonic()))
        return future

    def describe(self, key: bytes) -> str:
        """A connection for people."""
        return describe(self.store.get(key))

    # The kernel speaks

    def _on_news(self) -> None:
        self._news_at = now = monotonic()
        self._perform(self.relay.on_changes(now))

    async def _seed(self) -> None:
        """Read the kernel's table: what was there before we were."""
        await seed(self.store, self._ipvs, self._journal)
        gc.freeze()
        self._perform(self.relay.on_changes(monotonic()))

    # The peers speak

    def _on_datagrams(self, datagrams: Sequence[Datagram]) -> None:
        now = monotonic()
        outputs: list[Output] = []
        for data, source in datagrams:
            outputs += self.relay.receive(data, source, now)
        self._perform(outputs)

    def _on_installed(self, tokens: Sequence[Token]) -> None:
        now = monotonic()
        self._perform(output for peer, token in tokens for output in self.relay.installed(peer, token, now))

    def _perform(self, outputs: Iterable[Output]) -> None:
        now = monotonic()
        frames: dict[int, list[bytes]] = {}
        for output in outputs:
            if isinstance(output, SendDatagram):
                frames.setdefault(output.peer, []).append(output.data)
            elif isinstance(output, InstallEntries):
                self.installer.add(output.peer, output.token, output.entries)
                self._injection.wake()
            elif isinstance(output, (GateOpened, GateClosed)):
                self._journal.record("director", output)
                self._allow_preemption(isinstance(output, GateOpened))
            elif isinstance(output, BarrierReached):
                barrier = self._barriers.pop((output.peer, output.token), None)
                if barrier is not None and not barrier.done():
                    barrier.set_result(None)
            elif isinstance(output, (TakeWord, PeerTalks)):
                self.hear(output)
            elif isinstance(output, Event) and not isinstance(output, RowsEnded):
                self._journal.record("relay", output)
                if isinstance(output, PeerLost):
                    self.hear(output)
                if isinstance(output, ResyncFinished):
                    gc.freeze()  # the rows stay, and refer to nothing that refers to them
                if isinstance(output, ResyncStarted) and output.direction is Direction.OUT:
                    # What we hold already, too: our kernel may have lost it. By hand that is what it is for.
                    self._install_everything(now)
        for director, data in frames.items():
            self._send(director, data, now)
        self._arm()

    def _send(self, director: int, frames: Sequence[bytes], now: Instant) -> None:
        peer = self._peers.get(director)
        if peer is None:
            return  # left the configuration a moment ago
        code = self._line.send(peer, frames)
        if code:
            self._perform(self.relay.on_send_failed(director, code, now))

    def _arm(self) -> None:
        """A timer that is early looks again; so only an earlier deadline makes another one."""
        deadline = earliest(self.relay.deadline, self.gate.deadline)
        if deadline is None or (self._armed is not None and self._armed <= deadline):
            return
        if self._timer is not None:
            self._timer.cancel()
        delay = max(0.0, to_seconds(deadline - monotonic()))
        self._armed = deadline
        self._timer = asyncio.get_running_loop().call_later(delay, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = self._armed = None
        now = monotonic()
        deadline = self.relay.deadline
        self._perform(self.relay.on_deadline(now) if deadline is not None and deadline <= now else [])
        if now - self._looked >= _LOOK_LEAST:
            self._look_at_peers(now)

    def _look_at_peers(self, now: Instant) -> None:
        """Let the gate see them: at timers, so a few times a second."""
        self._looked = now
        views = self.relay.peers(now)
        self._perform(self.gate.on_peers(views, now, is_master=self._is_master))
        self._perform(self.gate.on_deadline(now))

    # directord and vrrpd speak

    def on_routers(self, routers: Sequence[dict[str, Any]]) -> None:
        """vrrpd's picture changed: which addresses are ours now."""
        now = monotonic()
        masters = [router for router in routers if router.get("state") == "MASTER"]
        self._is_master = bool(masters)
        claims = {ip_interface(text).ip.packed for router in masters for text in router.get("addresses", ())}
        if masters:
            for mark in self._marks:
                claims |= {mark.to_bytes(4, "big"), mark.to_bytes(4, "big") + bytes(12)}
        self._look_at_peers(now)
        if claims != self.store.claims:
            released = self.store.claim(frozenset(claims), now)
            self._install_again(released, now)
            self._perform(self.relay.on_changes(now))
        self._tell_readiness()

    def on_table(self, table: Table, *, complete: bool, quorum: bool) -> None:
        """The kernel's services are as they are now.

        Args:
            table: the kernel's.
            complete: it holds all that the configuration wants.
            quorum: every service has its quorum here.
        """
        now = monotonic()
        self._marks = frozenset(key.fwmark for key in table if key.fwmark)
        bindings = frozenset((key, each) for key, state in table.items() for each in state.destinations)
        gained = bindings - self._bindings
        first = not self._bindings
        self._bindings = bindings
        if complete and not self.installer.is_ready:
            self.installer.is_ready = True
            self._injection.wake()
        elif gained and not first:
            addresses = {key.address.packed for key, _ in gained if key.address is not None}
            by_mark = any(key.fwmark for key, _ in gained)
            if len(self.store):
                self._journal.write("sync.installing_again", among=len(self.store), reason="services changed")
                self.installer.again_all(lambda held: by_mark or vaddr_of(held.key) in addresses, now)
                self._injection.wake()
        readiness = Readiness(0)
        if complete:
            readiness |= Readiness.SERVICES
        if quorum:
            readiness |= Readiness.QUORUM
        self._readiness = readiness
        self._tell_readiness()

    def resync(self) -> int:
        """By hand: everything once more, both ways, into both kernels; how many connections we hold."""
        now = monotonic()
        self._install_everything(now)
        self._perform(self.relay.resync(now))
        return len(self.store)

    def _install_everything(self, now: Instant) -> None:
        self.installer.again_all(lambda _: True, now)
        self._injection.wake()

    def _tell_readiness(self) -> None:
        readiness = self._readiness | Readiness.TALKS
        if self.installer.is_ready and self._ear.is_open:
            readiness |= Readiness.INJECTS
        if self._is_master:
            readiness |= Readiness.MASTER
        self._perform(self.relay.set_ready(readiness, monotonic()))

    def _install_again(self, rows: Iterable[Held], now: Instant) -> None:
        if self.installer.again(rows, now):
            self._injection.wake()

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(_WATCH_S)
            if not self._ear.is_open:
                self._injection.reopen()
                if self._ear.open(retry_s=_WATCH_S):
                    await self._seed()
            elif lost := self._ear.take_lost():
                self._journal.write("sync.capture_lost", datagrams=lost, action="reading the table")
                self._wants_reading = True
            if self._wants_reading:
                self._wants_reading = False
                await self._seed()
            self._tell_readiness()

    # What we look like

    def status(self, names: Mapping[ServiceKey, str]) -> Status:
        """``sync.relay`` of ``lvsha status --json``; ``names``: of the services."""
        return {
            "connections": len(self.store),
            "complete": self.store.is_complete,
            "heard": self.mirror.heard,
            "passed_on": self.mirror.passed_on,
            "installed": self.installer.installed,
            "waiting_to_install": len(self.installer),
            "dropped": self._injection.dropped,
            "capture_lost": self._ear.lost,
            "gate": {"open": self.gate.is_open, "reason": self.gate.reason},
            **coverage_status(self.relay, names, monotonic()),
        }
