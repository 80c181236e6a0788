"""One network segment: loss, delay, duplication, reordering, and cuts in one direction.

Datagrams are whole VRRP messages, so the codec runs too. Announcements (ARP, ND)
travel the same way, to the other directors and to one ``gateway``, which stands for
every switch and neighbour cache: it believes whoever spoke last. All chance comes
from the one ``Random`` that the caller seeded.
"""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from lvsha.core.addr import Address
from lvsha.core.instant import MICROSECOND, Instant
from lvsha.sim.world import World

GATEWAY = "gateway"


@dataclass(frozen=True, slots=True)
class Datagram:
    """A VRRP message in its IP packet."""

    source: Address
    destination: Address
    ttl: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class Claim:
    """A gratuitous ARP or an unsolicited NA: ``address`` is at ``node``."""

    node: str
    address: Address


Frame = Datagram | Claim


@dataclass(frozen=True, slots=True, kw_only=True)
class Weather:
    """What the network does to what it carries."""

    loss: float = 0.0
    duplication: float = 0.0
    delay_least: int = 100 * MICROSECOND
    delay_most: int = 100 * MICROSECOND
    """Between the two, evenly: more than the time between two frames reorders them."""


CALM = Weather()


class Network:
    def __init__(self, world: World, dice: Random) -> None:
        self.weather = CALM
        self.beliefs: dict[Address, str] = {}
        """Where the gateway sends what is for an address."""
        self.cuts: set[tuple[str, str]] = set()
        """From, to."""
        self.carried = 0
        self.tap: Callable[[Datagram], None] | None = None
        """Hears every datagram that is sent."""
        self._world = world
        self._dice = dice
        self._nodes: dict[str, Callable[[Frame], None]] = {}
        self._addresses: dict[Address, str] = {}

    def attach(self, node: str, address: Address, receive: Callable[[Frame], None]) -> None:
        self._nodes[node] = receive
        self._addresses[address] = node

    def cut(self, source: str, destination: str) -> None:
        """Nothing passes any more from ``source`` to ``destination``; the other way it does."""
        self.cuts.add((source, destination))

    def partition(self, one: str, other: str) -> None:
        """Nothing passes between the two."""
        self.cut(one, other)
        self.cut(other, one)

    def heal(self) -> None:
        self.cuts.clear()

    def isolate(self, node: str) -> None:
        """Cut ``node`` off from everybody, the gateway too."""
        for other in (*self._nodes, GATEWAY):
            if other != node:
                self.partition(node, other)

    @property
    def is_clean(self) -> bool:
        """Whole, and losing nothing."""
        return not self.cuts and self.weather.loss == 0

    def send(self, node: str, frame: Frame) -> None:
        """To the others, or to the one whose address it is for."""
        self.carried += 1
        if self.tap is not None and isinstance(frame, Datagram):
            self.tap(frame)
        only = self._addresses.get(frame.destination) if isinstance(frame, Datagram) else None
        for other, receive in self._nodes.items():
            if other != node and only in (None, other):
                self._carry(node, other, lambda receive=receive: receive(frame))  # type: ignore[misc]
        if isinstance(frame, Claim):
            self._carry(node, GATEWAY, lambda: self.beliefs.__setitem__(frame.address, frame.node))

    def forge(self, frame: Datagram) -> None:
        """Somebody else's frame reaches everybody whom it is for; nobody but its source knows that it is not
        the source's."""
        only = self._addresses.get(frame.destination)
        source = self._addresses.get(frame.source)
        for other, receive in self._nodes.items():
            if only in (None, other) and other != source:
                self._world.at(self._world.now, lambda receive=receive: receive(frame))  # type: ignore[misc]

    def _carry(self, source: str, destination: str, arrive: Callable[[], None]) -> None:
        if (source, destination) in self.cuts:
            return
        weather = self.weather
        if weather.loss and self._dice.random() < weather.loss:
            return
        copies = 2 if weather.duplication and self._dice.random() < weather.duplication else 1
        for _ in range(copies):
            spread = weather.delay_most - weather.delay_least
            delay = weather.delay_least + (self._dice.randrange(spread + 1) if spread else 0)
            self._world.at(Instant(self._world.now + delay), arrive)
