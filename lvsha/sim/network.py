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
Receive = Callable[[Frame], None]
Route = list[tuple[str, Receive]]


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
        self._nodes: dict[str, Receive] = {}
        self._addresses: dict[Address, str] = {}

    def attach(self, node: str, address: Address, receive: Receive) -> None:
        self._nodes[node] = receive
        self._addresses[address] = node

    @property
    def attached(self) -> int:
        """How many there are on it."""
        return len(self._nodes)

    @property
    def is_regular(self) -> bool:
        """Whatever is sent arrives, or does not, as if there were no chance."""
        weather = self.weather
        return not (weather.loss or weather.duplication or weather.delay_most > weather.delay_least)

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

    def route(self, node: str, destination: Address) -> Route:
        """To whom goes what ``node`` sends there: the one whose address it is, or everybody else."""
        only = self._addresses.get(destination)
        return [
            (other, receive)
            for other, receive in self._nodes.items()
            if other != node and only in (None, other)
        ]

    def send(self, node: str, frame: Frame) -> None:
        """To the others, or to the one whose address it is for."""
        if isinstance(frame, Datagram):
            self.post(node, frame, self.route(node, frame.destination))
            return
        self.carried += 1
        for other, receive in self._nodes.items():
            if other != node:
                self._carry(node, other, receive, frame)
        self._carry(node, GATEWAY, self._believe, frame)

    def post(self, node: str, frame: Datagram, route: Route) -> None:
        """Send along a ``route`` of ``frame``'s destination, while nobody is attached."""
        self.carried += 1
        if self.tap is not None:
            self.tap(frame)
        for other, receive in route:
            self._carry(node, other, receive, frame)

    def forge(self, frame: Datagram) -> None:
        """Somebody else's frame reaches everybody whom it is for; nobody but its source knows that it is not
        the source's."""
        source = self._addresses.get(frame.source)
        for _, receive in self.route(source or "", frame.destination):
            self._world.at(self._world.now, receive, frame)

    def _carry(self, source: str, destination: str, receive: Receive, frame: Frame) -> None:
        if self.cuts and (source, destination) in self.cuts:
            return
        weather = self.weather
        if weather.loss and self._dice.random() < weather.loss:
            return
        copies = 2 if weather.duplication and self._dice.random() < weather.duplication else 1
        for _ in range(copies):
            spread = weather.delay_most - weather.delay_least
            delay = weather.delay_least + (self._dice.randrange(spread + 1) if spread else 0)
            self._world.at(Instant(self._world.now + delay), receive, frame)

    def _believe(self, frame: Frame) -> None:
        """The gateway hears a claim."""
        if isinstance(frame, Claim):
            self.beliefs[frame.address] = frame.node
