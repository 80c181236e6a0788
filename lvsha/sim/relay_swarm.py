"""Many short lives of the relay, each from one seed, each watched at every step.

A life: two or three directors, connections that begin, change and end wherever the
packets go, and misfortunes at random times: loss, delay, reordering, duplication,
one-way cuts, crashes with and without the kernel's table, takeovers, keys being
changed, a slow kernel; and somebody on the network who invents frames, spoils them,
and sends old ones again. Then the changes stop.

Invariants, looked at after every step:

1. A datagram that its sender did not make, or made before, changes no store and
   installs nothing.
2. Every entry in a store is one that a director saw in its kernel.
3. No kernel is given a row of an address that its director holds, unless it lacks it.
4. Nothing grows beyond its bound.

And at the end, while the network still loses up to a fifth: within a second after all
sessions are up and nothing changes any more, all stores hold the same versions, every
kernel holds every connection, and every director knows so (coverage 1).
"""

from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from random import Random
from typing import Final

from lvsha.core.addr import Address
from lvsha.core.instant import MICROSECOND, MILLISECOND, SECOND, Instant, to_seconds
from lvsha.core.machine import Output
from lvsha.sim.network import CALM, Weather
from lvsha.sim.world import World
from lvsha.sync.conn_entry import key_of, normalize, vaddr_of
from lvsha.sync.relay import Relay
from lvsha.sync.relay_outputs import Install, InstallEntries, RowsEnded, SendDatagram
from lvsha.sync.relay_settings import RELAY_PORT, RelayPeer, RelaySettings, director_id
from lvsha.sync.relay_window import MAX_WAITING, WINDOW
from lvsha.sync.store import Store
from lvsha.wire.ipvs_sync.names import ConnFlag, Protocol, TcpState
from lvsha.wire.ipvs_sync.records import SyncConn
from lvsha.wire.ipvs_sync.v1 import encode_entry
from lvsha.wire.relay_seal import Keyring

KEPT = 60
"""Lines of the transcript's end that a failure shows."""
TOMBSTONES: Final = 64
VIRTUALS: Final = 2
_UP_WITHIN: Final = 8 * SECOND
_CONVERGED_WITHIN: Final = SECOND

Version = tuple[int, int, bytes]


class Broken(Exception):
    """An invariant does not hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayLife:
    """What became of one seed."""

    seed: int
    simulated: int
    """Nanoseconds of virtual time."""
    steps: int
    datagrams: int
    forged: int
    """Datagrams that the attacker sent."""
    entries: int
    """Different ones that directors spoke of."""
    broken: str
    """Empty: all held."""
    end: tuple[str, ...]
    """The last lines before it broke."""

    @property
    def figures(self) -> dict[str, int]:
        """What there is to count of it."""
        return {"datagrams": self.datagrams, "of them false": self.forged, "entries": self.entries}


class _Node:
    """One director: its store and relay while it runs, and its kernel's table, which may outlive them."""

    def __init__(self, life: "_Life", name: str, address: Address) -> None:
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
        self._expire()
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

    def _expire(self) -> None:
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

        if self.install_delay:
            self.life.world.at(Instant(self.life.world.now + self.install_delay), install)
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


class _Life:
    def __init__(self, seed: int, misfortunes: int) -> None:
        self.dice = dice = Random(seed)
        self.seed = seed
        self.misfortunes = misfortunes
        self.world = World()
        self.weather = CALM
        self.cuts: set[tuple[str, str]] = set()
        self.lines: list[str] = []
        self.datagrams = self.forged = 0
        self.limit = 100_000
        self.lifetime = 1000 * SECOND
        self.master = 0
        self.spoken: set[bytes] = set()
        self.keys = [bytes([number]) * 31 + b"k" for number in range(8)]
        self.recorded: list[tuple[Address, int, bytes]] = []
        self.key = 0
        self.rotation: list[tuple[_Node, list[int]]] = []
        self._serial = 0
        is_inet6 = dice.random() < 0.3
        count = dice.choice([2, 2, 3])
        self.nodes: list[_Node] = []
        for number in range(count):
            address: Address = (
                IPv6Address(f"fd00::{number + 1}") if is_inet6 else IPv4Address(f"10.0.0.{number + 1}")
            )
            self.nodes.append(_Node(self, "abc"[number], address))
        self.virtuals = [
            IPv6Address(f"fd00::10{n}") if is_inet6 else IPv4Address(f"10.0.0.10{n}") for n in range(VIRTUALS)
        ]
        self._changed = True

    def keyring(self, indices: list[int]) -> Keyring:
        return Keyring([self.keys[index] for index in indices])

    def log(self, node: _Node, output: Output) -> None:
        text = f"{len(output.keys)} rows ended" if isinstance(output, RowsEnded) else str(output)
        self._note(f"{node.name} {text}")

    def _note(self, text: str) -> None:
        self.lines.append(f"{to_seconds(self.world.now):.4f} {text}")
        if len(self.lines) > 4 * KEPT:
            del self.lines[:-KEPT]

    def note_version(self, node: _Node, key: bytes) -> None:
        held = node.store.get(key)
        assert held is not None, "what was spoken is held"
        self.spoken.add(held.entry)

    # The network

    def carry(self, source: _Node, director: int, data: bytes) -> None:
        self.datagrams += 1
        if self.dice.random() < 0.05 and len(self.recorded) < 400:
            self.recorded.append((source.address, director, data))
        target = next(node for node in self.nodes if node.director == director)
        if (source.name, target.name) in self.cuts:
            return
        weather = self.weather
        if weather.loss and self.dice.random() < weather.loss:
            return
        copies = 2 if weather.duplication and self.dice.random() < weather.duplication else 1
        for copy in range(copies):
            spread = weather.delay_most - weather.delay_least
            delay = weather.delay_least + (self.dice.randrange(spread + 1) if spread else 0)
            at = Instant(self.world.now + delay)
            if copy:
                self.world.at(at, lambda: self._arrive_false(target, data, source.address, "a copy"))
            else:
                self.world.at(at, lambda: target.receive(data, source.address))

    def _arrive_false(self, target: _Node, data: bytes, source: Address, what: str) -> None:
        """A datagram that must not change anything; a copy may be first, and is then the true one."""
        if not target.is_running:
            return
        if what == "a copy":
            target.receive(data, source)
            return
        self.forged += 1
        before = target.store.top, len(target.store), target.store.tombstone_count
        outputs = target.relay.receive(data, (source, RELAY_PORT), self.world.now)
        if (target.store.top, len(target.store), target.store.tombstone_count) != before:
            raise Broken(f"{target.name} took {what}")
        if any(isinstance(output, InstallEntries) for output in outputs):
            raise Broken(f"{target.name} installs from {what}")
        target.perform(outputs)

    def attack(self) -> None:
        dice = self.dice
        target = dice.choice(self.nodes)
        if not self.recorded:
            return
        if dice.random() < 0.5:
            # Old frames again, in their order: whole conversations.
            at = dice.randrange(len(self.recorded))
            for source, director, data in self.recorded[at : at + 40]:
                if director == target.director:
                    self._arrive_replayed(target, data, source)
            return
        source, _, data = dice.choice(self.recorded)
        spoilt = bytearray(data)
        kind = dice.randrange(4)
        if kind == 0:
            spoilt[dice.randrange(len(spoilt))] ^= 1 << dice.randrange(8)
        elif kind == 1:
            spoilt[24:32] = dice.randbytes(8)
        elif kind == 2:
            spoilt = spoilt[: dice.randrange(len(spoilt))]
        else:
            spoilt[32:] = dice.randbytes(len(spoilt) - 32)
        if bytes(spoilt) != data:
            self._arrive_false(target, bytes(spoilt), source, "a forged frame")

    def _arrive_replayed(self, target: _Node, data: bytes, source: Address) -> None:
        """An old frame: it may be one that never arrived, and then it is merely late."""
        if target.is_running and self._has_been_taken(target, data):
            self._arrive_false(target, data, source, "a replayed frame")
        else:
            target.receive(data, source)

    @staticmethod
    def _has_been_taken(target: _Node, data: bytes) -> bool:
        """Whether the receiver's window says that it had this one, or that it is of another life."""
        epoch, sequence = int.from_bytes(data[16:24], "big"), int.from_bytes(data[24:32], "big")
        sender = int.from_bytes(data[8:12], "big")
        session = target.relay._sessions[sender]
        return epoch != session.life.theirs or not session.window.is_new(sequence)

    # Living

    def live(self) -> None:
        self.world.after_step = self._watch
        for node in self.nodes:
            node.start()
        self._take_over(self.nodes[0])
        for _ in range(self.misfortunes):
            for _ in range(self.dice.randrange(12)):
                self._traffic()
            if self.dice.random() < 0.4:
                self._note(self.dice.choice(_MISFORTUNES)(self))
            if self.dice.random() < 0.3:
                self.attack()
            self.world.advance(round(self.dice.expovariate(1 / (100 * MILLISECOND))))
        self._settle()

    def _take_over(self, node: _Node) -> None:
        for other in self.nodes:
            other.claim(frozenset(each.packed for each in self.virtuals) if other is node else frozenset())
        self.master = self.nodes.index(node)

    def _traffic(self) -> None:
        dice = self.dice
        # Mostly the master; a stray packet may go to another.
        node = self.nodes[self.master] if dice.random() < 0.97 else dice.choice(self.nodes)
        if not node.is_running:
            return
        node._expire()
        what = dice.random()
        if what < 0.6 or not node.kernel:
            for _ in range(dice.choice([1, 1, 1, 1, 1, 5, 60])):
                self._serial += 1
                node.speak(self._entry(self._serial, TcpState.ESTABLISHED), self._life())
        elif what < 0.9:
            key = dice.choice(list(node.kernel))
            entry, _ = node.kernel[key]
            state = dice.choice([TcpState.ESTABLISHED, TcpState.FIN_WAIT, TcpState.TIME_WAIT])
            entry = entry[:8] + int(state).to_bytes(2, "big") + entry[10:]
            node.speak(entry, self._life())
        else:
            node.end(dice.choice(list(node.kernel)))

    def _life(self) -> int:
        return self.dice.choice([self.lifetime] * 9 + [3 * SECOND])

    def _entry(self, serial: int, state: TcpState) -> bytes:
        virtual = self.dice.choice(self.virtuals)
        client = type(virtual)(int(virtual) + 0x10000 + serial // 50_000)
        template = self.dice.random() < 0.05
        entry = encode_entry(
            SyncConn.build(
                protocol=Protocol.TCP,
                client=(client, 0 if template else 1024 + serial % 50_000),
                virtual=(virtual, 80),
                destination=(type(virtual)(int(virtual) + 0x1000), 80),
                state=0 if template else state,
                flags=ConnFlag.TEMPLATE if template else 0,
                timeout=900,
            )
        )
        return normalize(entry)

    def _settle(self) -> None:
        """Nothing changes any more; the network still loses, up to a fifth."""
        self._note("settle")
        self.cuts.clear()
        self.weather = self.dice.choice(
            [
                CALM,
                Weather(loss=0.05, duplication=0.1, delay_most=3 * MILLISECOND),
                Weather(loss=0.2, delay_most=5 * MILLISECOND),
            ]
        )
        for node in self.nodes:
            node.install_delay = min(node.install_delay, MILLISECOND)
            if not node.is_running:
                node.start()
        until = Instant(self.world.now + _UP_WITHIN)
        while not self._all_up():
            if self.world.now >= until:
                raise Broken("not all sessions are up")
            self.world.advance(10 * MILLISECOND)
        self.world.advance(_CONVERGED_WITHIN)
        self._must_be_right()

    def _all_up(self) -> bool:
        return all(view.connected for node in self.nodes for view in node.relay.peers(self.world.now))

    # Watching

    def _watch(self) -> None:
        for node in self.nodes:
            if not node.is_running:
                continue
            store = node.store
            if len(store) > self.limit or store.tombstone_count > TOMBSTONES:
                raise Broken(f"{node.name}: {len(store)} rows, {store.tombstone_count} tombstones")
            for session in node.relay._sessions.values():
                if session.window.waiting > MAX_WAITING or len(session.window) > WINDOW + 1:
                    raise Broken(f"{node.name}: the receive window of {session.peer.name} overflows")
                if len(session.outflow.window.flights) > MAX_WAITING:
                    raise Broken(f"{node.name}: too much in flight to {session.peer.name}")

    def _versions(self, node: _Node, ending: set[bytes]) -> dict[bytes, Version]:
        return {
            held.key: (held.generation, held.origin, held.entry)
            for held in node.store
            if held.key not in ending
        }

    def _must_be_right(self) -> None:
        soon = self.world.now + 2 * SECOND
        ending = {held.key for node in self.nodes for held in node.store if held.expires <= soon}
        tables = {node.name: self._versions(node, ending) for node in self.nodes}
        first = tables["a"]
        for node in self.nodes:
            table = tables[node.name]
            if strange := [held.key.hex() for held in node.store if held.entry not in self.spoken]:
                raise Broken(f"{node.name} holds what nobody said: {strange[:3]}")
            if table != first:
                lacks = [key.hex() for key in first if key not in table]
                more = [key.hex() for key in table if key not in first]
                other = [key.hex() for key in table if key in first and table[key] != first[key]]
                raise Broken(
                    f"a and {node.name} differ after {_CONVERGED_WITHIN} ns: {node.name} lacks {len(lacks)}, "
                    f"has {len(more)} more, {len(other)} otherwise: {(lacks + more + other)[:3]}"
                )
            node._expire()
            for key in table:
                held = node.store.get(key)
                # A row that was withheld is our kernel's own affair.
                if key not in node.kernel and held is not None and not held.is_withheld:
                    raise Broken(f"{node.name}'s kernel lacks {key.hex()}")
            for view in node.relay.peers(self.world.now):
                if not view.resynced:
                    raise Broken(f"{node.name} does not know that {view.name} has given everything")
                if view.missing or view.coverage < 1:
                    raise Broken(f"{node.name} believes that {view.name} lacks {view.missing}")


def _weather(life: _Life) -> str:
    dice = life.dice
    life.weather = Weather(
        loss=dice.choice([0.0, 0.05, 0.2, 0.5]),
        duplication=dice.choice([0.0, 0.2]),
        delay_least=100 * MICROSECOND,
        delay_most=dice.choice([1, 5, 50]) * MILLISECOND,
    )
    return f"{life.weather}"


def _calm(life: _Life) -> str:
    life.weather = CALM
    life.cuts.clear()
    return "calm"


def _cut(life: _Life) -> str:
    one, other = life.dice.sample(life.nodes, 2)
    life.cuts.add((one.name, other.name))
    return f"cut {one.name} {other.name}"


def _partition(life: _Life) -> str:
    one, other = life.dice.sample(life.nodes, 2)
    life.cuts |= {(one.name, other.name), (other.name, one.name)}
    return f"partition {one.name} {other.name}"


def _crash(life: _Life) -> str:
    node = life.dice.choice(life.nodes)
    politely, reboot = life.dice.random() < 0.3, life.dice.random() < 0.5
    node.stop(politely=politely, reboot=reboot)
    return f"stop {node.name} politely={politely} reboot={reboot}"


def _start(life: _Life) -> str:
    for node in life.nodes:
        if not node.is_running:
            node.start()
            return f"start {node.name}"
    return "nothing"


def _restart(life: _Life) -> str:
    node = life.dice.choice(life.nodes)
    reboot = life.dice.random() < 0.3
    node.stop(politely=False, reboot=reboot)
    node.start()
    return f"restart {node.name} reboot={reboot}"


def _takeover(life: _Life) -> str:
    node = life.dice.choice(life.nodes)
    life._take_over(node)
    return f"takeover {node.name}"


def _split(life: _Life) -> str:
    """Two hold the addresses at once."""
    node = life.dice.choice(life.nodes)
    node.claim(frozenset(each.packed for each in life.virtuals))
    return f"split {node.name}"


def _rotate(life: _Life) -> str:
    """The next step of changing the keys by the book: the new one last everywhere, first, the old one out."""
    if not life.rotation:
        old, new = life.key, life.key + 1
        life.key = new % len(life.keys)
        for keys in ([old, life.key], [life.key, old], [life.key]):
            life.rotation += [(node, keys) for node in life.nodes]
    node, keys = life.rotation.pop(0)
    node.keys = keys
    if node.is_running:
        node.perform(node.relay.rekey(life.keyring(node.keys), life.world.now))
    return f"keys of {node.name} {node.keys}"


def _slow(life: _Life) -> str:
    node = life.dice.choice(life.nodes)
    node.install_delay = life.dice.choice([0, 1, 20, 300]) * MILLISECOND
    node.was_slow = True
    return f"{node.name} installs in {to_seconds(node.install_delay)}"


def _by_hand(life: _Life) -> str:
    node = life.dice.choice(life.nodes)
    if node.is_running:
        node.perform(node.relay.resync(life.world.now))
    return f"resync {node.name}"


_MISFORTUNES: tuple[Callable[[_Life], str], ...] = (
    *(_weather, _weather, _calm, _cut, _partition, _crash, _start, _start, _restart, _restart),
    *(_takeover, _takeover, _split, _rotate, _rotate, _rotate, _slow, _by_hand),
)


def live(seed: int, *, misfortunes: int = 40) -> RelayLife:
    """One life, from its seed; the same every time."""
    life = _Life(seed, misfortunes)
    broken = ""
    try:
        life.live()
    except Broken as error:
        broken = str(error)
    except Exception as error:  # a machine that raises is a finding like any other: with its seed
        broken = f"{type(error).__name__}: {error}"
    return RelayLife(
        seed=seed,
        simulated=life.world.now,
        steps=life.world.steps,
        datagrams=life.datagrams,
        forged=life.forged,
        entries=len(life.spoken),
        broken=broken,
        end=tuple(life.lines[-KEPT:]) if broken else (),
    )
