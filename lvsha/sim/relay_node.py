"""One director of the relay's swarm: its store and relay while it runs, and its kernel's table."""

from random import Random
from typing import Final, Protocol

from lvsha.core.addr import Address
from lvsha.core.instant import Instant
from lvsha.core.machine import Output
from lvsha.sim.world import World
from lvsha.sync.conn_entry import key_of, vaddr_of
from lvsha.sync.relay import Relay
from lvsha.sync.relay_outputs import Install, InstallEntries, SendDatagram
from lvsha.sync.relay_settings import RELAY_PORT, RelayPeer, RelaySettings, director_id
from lvsha.sync.store import Store
from lvsha.wire.relay_seal import Keyring

TOMBSTONES: Final = 64


class Broken(Exception):
    """An invariant does not hold."""


class Surroundings(Protocol):
    """What a director lives in."""

    world: World
    dice: Random
    limit: int
    nodes: list["Node"]

    def keyring(self, indices: list[int]) -> Keyring: ...

    def carry(self, source: "Node", director: int, data: bytes) -> None: ...

    def log(self, node: "Node", output: Output) -> None: ...

    def note_version(self, node: "Node", key: bytes) -> None: ...


class Node:
    """One director: its store and relay while it runs, and its kernel's table, which may outlive them."""

    def __init__(self, life: Surroundings, name: str, address: Address) -> None:
        self.life = life
        self.name = name
        self.address = address
        self.director = director_id(name)
        self.kernel: dict[bytes, tuple[bytes, Instant]] = {}
        """Entry, and when its timer ends."""
        self.keys = [0]
        """Indices of the life's keys in this director's key file."""
        self.install_delay = 0
        self.was_slow = False
        """Rows may have reached the kernel long after they were decided on."""
        self.claims: frozenset[bytes] = frozenset()
        self.store: Store
        self.relay: Relay
        self.is_running = False
        self._start_number = 0
        self._installed_until = Instant(0)

    def start(self) -> None:
        life = self.life
        self.is_running = True
        self._start_number += 1
        self.store = Store(director=self.director, limit=life.limit, tombstones=TOMBSTONES)
        others = [node for node in life.nodes if node is not self]
        settings = RelaySettings(
            director=self.director,
            peers=tuple(
                RelayPeer(name=node.name, director=node.director, address=node.address) for node in others
            ),
            key_file="",
        )
        epoch = life.dice.getrandbits(63) + 1
        self.relay = Relay(settings, self.store, life.keyring(self.keys), epoch=epoch)
        self.store.claim(self.claims, life.world.now)
        now = life.world.now
        self.expire()
        for entry, expires in self.kernel.values():
            if self.store.seed(entry, now, lifetime=expires - now):
                life.note_version(self, key_of(entry))
        self.perform(self.relay.start(life.world.now))

    def stop(self, *, politely: bool, reboot: bool) -> None:
        if not self.is_running:
            return
        if politely:
            self.perform(self.relay.stop(self.life.world.now))
        self.is_running = False
        if reboot:
            self.kernel.clear()

    def expire(self) -> None:
        now = self.life.world.now
        for key in [key for key, (_, expires) in self.kernel.items() if expires <= now]:
            del self.kernel[key]

    def perform(self, outputs: list[Output]) -> None:
        life = self.life
        for output in outputs:
            if isinstance(output, SendDatagram):
                life.carry(self, output.peer, output.data)
            elif isinstance(output, InstallEntries):
                self._install_later(output)
            else:
                life.log(self, output)
        self._arm()

    def _install_later(self, work: InstallEntries) -> None:
        number, relay = self._start_number, self.relay

        def install() -> None:
            if not self.is_running or number != self._start_number:
                return
            for each in work.entries:
                self._install(each)
            self.perform(relay.installed(work.peer, work.token, self.life.world.now))

        # In the order of their coming, also where the kernel has become faster meanwhile.
        at = max(Instant(self.life.world.now + self.install_delay), self._installed_until)
        if at > self.life.world.now:
            self._installed_until = at
            self.life.world.at(at, install)
        else:
            install()

    def _install(self, install: Install) -> None:
        held = self.store.get(install.key)
        if install.deleted:
            self.kernel.pop(install.key, None)
            return
        row = self.kernel.get(install.key)
        lives = row is not None and row[1] > self.life.world.now
        if held is None:
            return  # it has ended since
        if lives and vaddr_of(install.key) in self.claims and not self.was_slow:
            raise Broken(f"{self.name} gives its kernel a row of an address that it holds")
        self.kernel[install.key] = (held.entry, held.expires)

    def receive(self, data: bytes, source: Address) -> None:
        if self.is_running:
            self.perform(self.relay.receive(data, (source, RELAY_PORT), self.life.world.now))

    def _arm(self) -> None:
        deadline, number = self.relay.deadline, self._start_number
        if not self.is_running or deadline is None:
            return

        def wake() -> None:
            now = self.life.world.now
            if self.is_running and number == self._start_number:
                due = self.relay.deadline
                if due is not None and due <= now:
                    self.perform(self.relay.on_deadline(now))

        self.life.world.at(deadline, wake)

    # What packets do

    def speak(self, entry: bytes, lifetime: int) -> None:
        """The kernel saw packets of this connection and announced it."""
        now = self.life.world.now
        key = key_of(entry)
        self.kernel[key] = (entry, Instant(now + lifetime))
        if self.store.observe(entry, now, lifetime=lifetime):
            self.life.note_version(self, key)
        self.perform(self.relay.on_changes(now))

    def end(self, key: bytes) -> None:
        now = self.life.world.now
        self.kernel.pop(key, None)
        self.store.delete(key, now)
        self.perform(self.relay.on_changes(now))

    def claim(self, vaddrs: frozenset[bytes]) -> None:
        self.claims = vaddrs
        if self.is_running:
            for held in self.store.claim(vaddrs, self.life.world.now):
                self.kernel[held.key] = (held.entry, held.expires)
            self.perform(self.relay.on_changes(self.life.world.now))
