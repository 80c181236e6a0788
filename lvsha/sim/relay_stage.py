"""One life of the relay's swarm: directors, the network between them, an attacker, and what must hold.

The invariants are listed in ``sim.relay_swarm``.
"""

from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address
from random import Random
from typing import Final

from lvsha.core.addr import Address
from lvsha.core.instant import MILLISECOND, SECOND, Instant, to_seconds
from lvsha.core.machine import Output
from lvsha.sim.network import CALM, Weather
from lvsha.sim.relay_node import TOMBSTONES, Broken, Node
from lvsha.sim.world import World
from lvsha.sync.conn_entry import normalize
from lvsha.sync.relay_outputs import InstallEntries, RowsEnded
from lvsha.sync.relay_settings import RELAY_PORT
from lvsha.sync.relay_window import MAX_WAITING, WINDOW
from lvsha.wire.ipvs_sync.names import ConnFlag, Protocol, TcpState
from lvsha.wire.ipvs_sync.records import SyncConn
from lvsha.wire.ipvs_sync.v1 import encode_entry
from lvsha.wire.relay_seal import Keyring

KEPT: Final = 60
"""Lines of the transcript's end that a failure shows."""
VIRTUALS: Final = 2
_UP_WITHIN: Final = 8 * SECOND
_CONVERGED_WITHIN: Final = SECOND

Version = tuple[int, int, bytes]


class Stage:
    def __init__(self, seed: int) -> None:
        self.dice = dice = Random(seed)
        self.seed = seed
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
        self.rotation: list[tuple[Node, list[int]]] = []
        self._serial = 0
        is_inet6 = dice.random() < 0.3
        count = dice.choice([2, 2, 3])
        self.nodes: list[Node] = []
        for number in range(count):
            address: Address = (
                IPv6Address(f"fd00::{number + 1}") if is_inet6 else IPv4Address(f"10.0.0.{number + 1}")
            )
            self.nodes.append(Node(self, "abc"[number], address))
        self.virtuals = [
            IPv6Address(f"fd00::10{n}") if is_inet6 else IPv4Address(f"10.0.0.10{n}") for n in range(VIRTUALS)
        ]
        self._changed = True

    def keyring(self, indices: list[int]) -> Keyring:
        return Keyring([self.keys[index] for index in indices])

    def log(self, node: Node, output: Output) -> None:
        text = f"{len(output.keys)} rows ended" if isinstance(output, RowsEnded) else str(output)
        self._note(f"{node.name} {text}")

    def _note(self, text: str) -> None:
        self.lines.append(f"{to_seconds(self.world.now):.4f} {text}")
        if len(self.lines) > 4 * KEPT:
            del self.lines[:-KEPT]

    def note_version(self, node: Node, key: bytes) -> None:
        held = node.store.get(key)
        assert held is not None, "what was spoken is held"
        self.spoken.add(held.entry)

    # The network

    def carry(self, source: Node, director: int, data: bytes) -> None:
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

    def _arrive_false(self, target: Node, data: bytes, source: Address, what: str) -> None:
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

    def _arrive_replayed(self, target: Node, data: bytes, source: Address) -> None:
        """An old frame: it may be one that never arrived, and then it is merely late."""
        if target.is_running and self._has_been_taken(target, data):
            self._arrive_false(target, data, source, "a replayed frame")
        else:
            target.receive(data, source)

    @staticmethod
    def _has_been_taken(target: Node, data: bytes) -> bool:
        """Whether the receiver's window says that it had this one, or that it is of another life."""
        epoch, sequence = int.from_bytes(data[16:24], "big"), int.from_bytes(data[24:32], "big")
        sender = int.from_bytes(data[8:12], "big")
        session = target.relay._sessions[sender]
        return epoch != session.life.theirs or not session.window.is_new(sequence)

    # Living

    def live(self, misfortunes: int, befall: Callable[["Stage"], str]) -> None:
        """All of it; ``befall`` does one misfortune and gives its line.

        Raises: Broken.
        """
        self.world.after_step = self._watch
        for node in self.nodes:
            node.start()
        self.take_over(self.nodes[0])
        for _ in range(misfortunes):
            for _ in range(self.dice.randrange(12)):
                self._traffic()
            if self.dice.random() < 0.4:
                self._note(befall(self))
            if self.dice.random() < 0.3:
                self.attack()
            self.world.advance(round(self.dice.expovariate(1 / (100 * MILLISECOND))))
        self._settle()

    def take_over(self, node: Node) -> None:
        for other in self.nodes:
            other.claim(frozenset(each.packed for each in self.virtuals) if other is node else frozenset())
        self.master = self.nodes.index(node)

    def _traffic(self) -> None:
        dice = self.dice
        # Mostly the master; a stray packet may go to another.
        node = self.nodes[self.master] if dice.random() < 0.97 else dice.choice(self.nodes)
        if not node.is_running:
            return
        node.expire()
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

    def _versions(self, node: Node, ending: set[bytes]) -> dict[bytes, Version]:
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
            node.expire()
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
