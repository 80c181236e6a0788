"""Keep of captures what the stories need, within bounds.

Packets are kept by the client's address and port: these stay the same from the client to the realserver,
whatever a director rewrites or wraps, so all captures of a connection meet in one bucket.
"""

from collections import Counter, deque
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Final

from lvsha.trace.packet import (
    ACK,
    ICMP,
    ICMP6,
    SCTP,
    SYN,
    TCP,
    UDP,
    Endpoint,
    Neighbour,
    Packet,
    is_redirect,
)

_ECHO: Final = frozenset({(ICMP, 0), (ICMP, 8), (ICMP6, 128), (ICMP6, 129)})
_MAX_MACS: Final = 1024
_MAX_SERVICES: Final = 4096
_EPHEMERAL: Final = 32768


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What is kept; the rest is counted."""

    connections: int = 2000
    """Clients' ports; the first that appear."""
    packets_at_start: int = 150
    """Of each connection, in each capture."""
    packets_at_end: int = 50
    packets: int = 200_000
    """In all: about 150 MB."""
    neighbours: int = 4096
    errors: int = 1024


@dataclass(slots=True, kw_only=True)
class Place:
    """Where frames were captured: a file, or an interface."""

    index: int
    name: str
    clock: int
    """Places with the same number share one."""
    hint: str = ""
    """What the caller calls the machine: ``director``."""
    own_macs: set[bytes] = field(default_factory=set)
    """Of the machine that captured, as far as they are certain."""
    frames: int = 0
    size: int = 0
    undecoded: int = 0
    first_ns: int = 0
    last_ns: int = 0
    problem: str = ""
    """Why the rest of the file could not be read."""
    unicast: int = 0
    macs: Counter[bytes] = field(default_factory=Counter)
    """In how many unicast frames each hardware address takes part."""


@dataclass(slots=True)
class _Kept:
    """One connection's packets in one capture."""

    start: list[Packet]
    end: deque[Packet]
    left_out: int = 0


@dataclass(slots=True)
class Bucket:
    """All that concerns one port of one client."""

    protocol: int
    client: Endpoint
    places: dict[int, _Kept] = field(default_factory=dict)
    errors: list[tuple[int, Packet]] = field(default_factory=list)
    """Place, and the ICMP error that quotes a packet of it."""

    def packets(self, place: int) -> Iterator[Packet]:
        """In the order of the capture."""
        kept = self.places.get(place)
        if kept is not None:
            yield from kept.start
            yield from kept.end

    @property
    def left_out(self) -> int:
        return sum(kept.left_out for kept in self.places.values())


class Gatherer:
    """Feed it every packet of every place."""

    def __init__(
        self,
        *,
        limits: Limits | None = None,
        follow: Collection[Endpoint] = (),
        vips: Collection[Endpoint] = (),
    ) -> None:
        """``follow``: only these clients; ``vips`` help to tell servers from clients. Port 0: any."""
        self.limits = limits or Limits()
        self.follow = frozenset(follow)
        self.vips = frozenset(vips)
        self.places: list[Place] = []
        self.buckets: dict[tuple[int, Endpoint], Bucket] = {}
        self.neighbours: list[tuple[int, Neighbour]] = []
        self.neighbours_left_out = 0
        self.redirects: list[tuple[int, Packet]] = []
        self.errors: list[tuple[int, Packet]] = []
        """ICMP errors about no connection that is kept."""
        self.packets_not_followed = 0
        """Of connections beyond the limit."""
        self._not_followed: set[tuple[int, Endpoint]] = set()
        self._services: set[tuple[int, Endpoint]] = set()
        self._kept = 0

    @property
    def connections_not_followed(self) -> int:
        """At most ``8 * limits.connections`` of them are told apart."""
        return len(self._not_followed)

    def place(
        self, name: str, *, clock: int | None = None, hint: str = "", own_macs: Collection[bytes] = ()
    ) -> Place:
        """A new one."""
        index = len(self.places)
        made = Place(
            index=index,
            name=name,
            clock=index if clock is None else clock,
            hint=hint,
            own_macs=set(own_macs),
        )
        self.places.append(made)
        return made

    def add(self, place: Place, packet: Packet | Neighbour) -> bool:
        """Whether it was kept."""
        if packet.is_outgoing and packet.source_mac:
            place.own_macs.add(packet.source_mac)
        if isinstance(packet, Neighbour):
            if len(self.neighbours) >= self.limits.neighbours:
                self.neighbours_left_out += 1
                return False
            self.neighbours.append((place.index, packet))
            return True
        self._note_macs(place, packet)
        protocol = packet.protocol
        if packet.icmp is not None and (protocol, packet.icmp.kind) not in _ECHO:
            return self._error(place.index, packet)
        if protocol not in (TCP, UDP, SCTP) and packet.icmp is None:
            return False
        if _is_multicast(packet.destination.address):
            return False
        client = self._client(packet)
        bucket = self._bucket(protocol, client)
        return bucket is not None and self._keep(bucket, place.index, packet)

    def _note_macs(self, place: Place, packet: Packet) -> None:
        source, destination = packet.source_mac, packet.destination_mac
        if destination and source and not destination[0] & 1:
            place.unicast += 1
            macs = place.macs
            if len(macs) < _MAX_MACS or (source in macs and destination in macs):
                macs[source] += 1
                macs[destination] += 1

    def _client(self, packet: Packet) -> Endpoint:
        """Which of the two asked."""
        source, destination, protocol = packet.source, packet.destination, packet.protocol
        if protocol == TCP and packet.flags & SYN:
            client, server = (destination, source) if packet.flags & ACK else (source, destination)
            if len(self._services) < _MAX_SERVICES:
                self._services.add((protocol, server))
            return client
        if packet.icmp is not None:
            return source if packet.icmp.kind in (8, 128) else destination
        buckets, services = self.buckets, self._services
        if (protocol, source) in buckets:
            return source
        if (protocol, destination) in buckets:
            return destination
        if (protocol, destination) in services or self._is_virtual(destination):
            return source
        if (protocol, source) in services or self._is_virtual(source):
            return destination
        if (source.port >= _EPHEMERAL) != (destination.port >= _EPHEMERAL):
            return max(source, destination, key=lambda each: each.port)
        if protocol == TCP:
            return max(source, destination, key=lambda each: each.port)
        return source  # a datagram: whoever spoke first

    def _is_virtual(self, endpoint: Endpoint) -> bool:
        return matches(endpoint, self.vips)

    def _bucket(self, protocol: int, client: Endpoint) -> Bucket | None:
        key = (protocol, client)
        found = self.buckets.get(key)
        if found is not None:
            return found
        if self.follow and not matches(client, self.follow):
            return None
        if len(self.buckets) >= self.limits.connections or self._kept >= self.limits.packets:
            self.packets_not_followed += 1
            if len(self._not_followed) < 8 * self.limits.connections:
                self._not_followed.add(key)
            return None
        made = self.buckets[key] = Bucket(protocol, client)
        return made

    def _keep(self, bucket: Bucket, place: int, packet: Packet) -> bool:
        kept = bucket.places.get(place)
        if kept is None:
            kept = bucket.places[place] = _Kept([], deque(maxlen=self.limits.packets_at_end))
        if self._kept >= self.limits.packets:
            kept.left_out += 1
            return False
        if len(kept.start) < self.limits.packets_at_start:
            kept.start.append(packet)
            self._kept += 1
        elif len(kept.end) < self.limits.packets_at_end:
            kept.end.append(packet)
            self._kept += 1
        else:
            kept.end.append(packet)
            kept.left_out += 1
        return True

    def _error(self, place: int, packet: Packet) -> bool:
        assert packet.icmp is not None, "only ICMP comes here"
        quoted = packet.icmp.quoted
        if is_redirect(packet.icmp, packet.protocol) and len(self.redirects) < self.limits.errors:
            self.redirects.append((place, packet))
        if quoted is not None:
            for client in (quoted.source, quoted.destination):
                bucket = self.buckets.get((quoted.protocol, client))
                if bucket is not None:
                    if len(bucket.errors) < self.limits.packets_at_start:
                        bucket.errors.append((place, packet))
                    return True
        if len(self.errors) < self.limits.errors:
            self.errors.append((place, packet))
        return True


def matches(endpoint: Endpoint, wanted: Collection[Endpoint]) -> bool:
    """Whether it is one of these; port 0 stands for every port."""
    return endpoint in wanted or Endpoint(endpoint.address, 0) in wanted


def _is_multicast(address: bytes) -> bool:
    return address[0] == 0xFF if len(address) == 16 else address[0] >= 224
