"""One packet, wherever it was seen: the same packet known again after each hop.

A hop changes hardware addresses and TTL (direct routing), addresses and ports (NAT) or puts a header
around all of it (a tunnel). It does not change TCP's sequence numbers, flags and time stamp, an ICMP
message's contents, the beginning of a datagram, or IPv4's identification: these tell packets apart.
A packet that was sent again is told from the first by its count at each place.

Hops are put in order by what cannot lie: the order within one capture, who sent to whom (the hardware
address that one hop went to is the one that the next came from), then the TTL. Clocks come last, because
captures of two machines have two.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from lvsha.trace.gather import Bucket, Place
from lvsha.trace.packet import TCP, Endpoint, Packet, Wrap

MAX_HOPS: Final = 16
"""Of one packet; a loop has more, and they say no more."""


@dataclass(slots=True)
class Hop:
    """One frame on one wire, as everybody who listened there saw it."""

    packet: Packet
    seen: dict[int, Packet] = field(default_factory=dict)
    """By place."""

    @property
    def source_mac(self) -> bytes:
        return self.packet.source_mac

    @property
    def destination_mac(self) -> bytes:
        return next(
            (each.destination_mac for each in self.seen.values() if each.destination_mac),
            self.packet.destination_mac,
        )

    def is_same(self, packet: Packet) -> bool:
        """Whether another capture's packet is this frame."""
        ours, theirs = self.destination_mac, packet.destination_mac
        return (
            _header(self.packet) == _header(packet)
            and self.packet.source_mac == packet.source_mac
            and (ours == theirs or not ours or not theirs)
        )


@dataclass(slots=True)
class Passage:
    """One packet's way, hop by hop as far as it was seen."""

    protocol: int
    hops: list[Hop]
    repeat: int
    """0: the first of its kind; else it was sent again, unchanged, so often before."""

    @property
    def packet(self) -> Packet:
        """As it was first seen."""
        return self.hops[0].packet


def _header(packet: Packet) -> tuple[tuple[Wrap, ...], Endpoint, Endpoint, int]:
    return packet.wraps, packet.source, packet.destination, packet.ttl


def identity(packet: Packet) -> tuple[object, ...]:
    """What tells a packet from others, before and after every hop."""
    if packet.protocol == TCP:
        return (
            packet.identification,
            packet.sequence,
            packet.acknowledgement,
            packet.flags,
            packet.size,
            packet.mark,
        )
    return packet.identification, packet.size, packet.mark


def passages(bucket: Bucket, places: Sequence[Place]) -> list[Passage]:
    """The ways of all packets of a bucket, in no order."""
    found: dict[tuple[tuple[object, ...], int], list[Hop]] = {}
    for place in bucket.places:
        repeats: Counter[tuple[object, ...]] = Counter()
        for packet in bucket.packets(place):
            mark = identity(packet)
            step = (mark, _header(packet), packet.source_mac, packet.destination_mac)
            repeat = repeats[step]
            repeats[step] += 1
            hops = found.setdefault((mark, repeat), [])
            for hop in hops:
                if place not in hop.seen and hop.is_same(packet):
                    hop.seen[place] = packet
                    break
            else:
                if len(hops) < MAX_HOPS:
                    hops.append(Hop(packet, {place: packet}))
    return [Passage(bucket.protocol, _in_order(hops, places), repeat) for (_, repeat), hops in found.items()]


def _in_order(hops: list[Hop], places: Sequence[Place]) -> list[Hop]:
    left, ordered = list(hops), []
    while left:
        free = [hop for hop in left if not any(_is_before(other, hop, places) for other in left)]
        chosen = min(free or left, key=lambda hop: (-hop.packet.ttl, hop.packet.time_ns))
        left.remove(chosen)
        ordered.append(chosen)
    return ordered


def _is_before(one: Hop, other: Hop, places: Sequence[Place]) -> bool:
    """Whether it is certain that ``one`` came before ``other``."""
    if one is other:
        return False
    for place, packet in one.seen.items():
        for there, theirs in other.seen.items():
            if place == there:
                return packet.number < theirs.number
            if places[place].clock == places[there].clock and packet.time_ns != theirs.time_ns:
                return packet.time_ns < theirs.time_ns
    if one.packet.ttl != other.packet.ttl:
        return False  # the TTL will tell
    here = one.destination_mac
    return bool(here) and here == other.source_mac and one.source_mac != other.destination_mac


@dataclass(frozen=True, slots=True, kw_only=True)
class Offset:
    """How a place's clock goes, beside the first place's."""

    ns: int
    """To take away from its times."""
    error_ns: int | None
    """At most so far off; None: only packets of one direction were seen at both: delay counts as offset."""
    packets: int
    """That were seen at both."""


def offsets(ways: Iterable[Passage], places: Sequence[Place]) -> dict[int, Offset]:
    """By place; a place that shares no packet with the others is missing.

    As NTP does it: the least delay seen in each direction is taken to be the same for both.
    """
    least: dict[tuple[int, int], int] = {}
    shared: Counter[tuple[int, int]] = Counter()
    for way in ways:
        seen = [(place, packet) for hop in way.hops for place, packet in hop.seen.items()]
        order = {id(packet): at for at, hop in enumerate(way.hops) for packet in hop.seen.values()}
        for at, (place, packet) in enumerate(seen):
            for there, theirs in seen[at + 1 :]:
                if place == there:
                    continue
                pair, taken = (place, there), theirs.time_ns - packet.time_ns
                if order[id(packet)] == order[id(theirs)] and _came_from(packet, places[there]):
                    pair, taken = (there, place), -taken
                shared[min(pair), max(pair)] += 1
                least[pair] = min(taken, least.get(pair, taken))
    return _spread(least, shared, places)


def _came_from(packet: Packet, place: Place) -> bool:
    """Whether the machine at ``place`` sent it."""
    return packet.source_mac in place.own_macs


def _spread(
    least: dict[tuple[int, int], int], shared: Counter[tuple[int, int]], places: Sequence[Place]
) -> dict[int, Offset]:
    if not places:
        return {}
    known = {places[0].index: Offset(ns=0, error_ns=0, packets=0)}
    # Where packets of both directions were seen, the delay is known, and not taken for an offset.
    edges = sorted(shared, key=lambda pair: (len({pair, pair[::-1]} & least.keys()) < 2, -shared[pair]))
    while True:
        edge = next(((a, b) for a, b in edges if (a in known) != (b in known)), None)
        if edge is None:
            return known
        here, there = edge if edge[0] in known else (edge[1], edge[0])
        forth, back = least.get((here, there)), least.get((there, here))
        if forth is not None and back is not None:
            ns, error = (forth - back) // 2, abs(forth + back) // 2
        else:
            ns, error = forth if forth is not None else -(back or 0), None
        if places[here].clock == places[there].clock:
            ns, error = 0, 0
        base = known[here]
        total = None if error is None or base.error_ns is None else base.error_ns + error
        known[there] = Offset(
            ns=base.ns + ns, error_ns=total, packets=shared[min(here, there), max(here, there)]
        )
