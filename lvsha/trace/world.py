"""What the rules of ``lvsha trace`` look at, and what they say."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from lvsha.trace.catalogue import WARNINGS
from lvsha.trace.conversation import Conversation
from lvsha.trace.gather import Gatherer, Place
from lvsha.trace.hosts import Host, Hosts
from lvsha.trace.packet import Packet, address_text, endpoint_text, flags_text
from lvsha.trace.passages import Offset, Passage


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something that is wrong."""

    id: str
    what: str
    """One sentence."""
    evidence: str
    """The packets that show it."""
    host: str
    """On which machine it is to be put right; empty: not known."""
    connection: int | None = None
    """Its number; None: it concerns several."""

    @property
    def severity(self) -> str:
        return "warning" if self.id in WARNINGS else "error"


@dataclass(slots=True, kw_only=True)
class World:
    """What the rules look at."""

    gathered: Gatherer
    hosts: Hosts
    clocks: dict[int, Offset]
    talks: list[Conversation]

    @property
    def places(self) -> list[Place]:
        return self.gathered.places

    def frame(self, packet: Packet, place: int) -> str:
        """``frame 12 of lb.pcap``."""
        return f"frame {packet.number} of {self.places[place].name}"

    def receiver(self, packet: Packet) -> Host | None:
        """Who a packet that nobody forwards goes to; captures of any interface do not say it."""
        return self.hosts.of(packet.destination_mac) or self.hosts.speaker(packet.destination.address)

    def sight(self, way: Passage, hop: int = 0) -> str:
        """Where a hop of a packet is to be found: where it arrived, if somebody listened there."""
        seen = way.hops[hop].seen
        target = self.hosts.ends(way.hops[hop])[1]
        place = next((place for place in seen if target is not None and place in target.places), min(seen))
        return self.frame(seen[place], place)


def name(host: Host | None) -> str:
    """For a sentence."""
    return host.name if host is not None else "a machine that no capture names"


Found = tuple[str, str, str, Host | None]
"""Id, what, evidence, where."""
Rule = Callable[[World, Conversation], Iterator[Found]]


def flags_of(way: Passage) -> str:
    return flags_text(way.packet)


def service_text(talk: Conversation) -> str:
    return endpoint_text(talk.virtual) if talk.virtual is not None else "the service"


def vip_text(talk: Conversation) -> str:
    return address_text(talk.virtual.address) if talk.virtual is not None else "the virtual address"
