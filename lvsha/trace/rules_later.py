"""What goes wrong with a connection that began well."""

from collections import defaultdict
from collections.abc import Iterator
from typing import Final

from lvsha.trace.catalogue import (
    CONNECTION_RESET,
    PATH_MTU,
    RETRANSMISSIONS,
    TUNNEL_MTU,
)
from lvsha.trace.conversation import Conversation, Method, Outcome, began, nodes, reached
from lvsha.trace.hosts import Role
from lvsha.trace.packet import ACK, FIN, SYN, TCP, icmp_text, is_too_big
from lvsha.trace.passages import Passage
from lvsha.trace.tunnel_errors import tunnel_errors
from lvsha.trace.world import Found, World, name

RESENT_WORTH_SAYING: Final = 3
LARGE: Final = 1000
"""Bytes of payload: a segment that may be too long for a path."""


def too_big(world: World, talk: Conversation) -> Iterator[Found]:
    id = TUNNEL_MTU if talk.method is Method.TUNNEL else PATH_MTU
    for place, packet in talk.errors + tunnel_errors(world, talk):
        if packet.icmp is not None and is_too_big(packet.icmp, packet.protocol):
            sender = world.hosts.of(packet.source_mac)
            text = (
                f"packets of more than {packet.icmp.mtu} bytes do not fit behind {name(sender)}: it works as"
                " long as its ICMP gets to whoever sends them"
            )
            yield id, text, f"{icmp_text(packet.icmp, packet.protocol)}, {world.frame(packet, place)}", sender
            return
    for side in (talk.requests, talk.answers):
        stuck = _stuck(talk, side)
        if stuck is not None:
            last = reached(stuck, world.hosts)
            text = (
                f"a segment of {stuck.packet.size:,} bytes is sent again and again and not acknowledged,"
                " while short packets pass: it is too long for a link on its way, and no ICMP says so"
            )
            yield id, text, f"last seen on its way to {name(last)}, {world.sight(stuck, -1)}", last
            return


def _stuck(talk: Conversation, side: list[Passage]) -> Passage | None:
    """A long segment that is sent three times and never acknowledged."""
    if talk.protocol != TCP or not side:
        return None
    other = talk.answers if talk.is_request(side[0]) else talk.requests
    acknowledged = {way.packet.acknowledgement for way in other if way.packet.flags & ACK}
    sent: dict[int, list[Passage]] = defaultdict(list)
    for way in side:
        if way.packet.size >= LARGE:
            sent[way.packet.sequence].append(way)
    for sequence, ways in sent.items():
        if len(ways) >= 3 and not any(0 < (ack - sequence) & 0xFFFFFFFF <= 1 << 30 for ack in acknowledged):
            return ways[0]
    return None


def retransmissions(world: World, talk: Conversation) -> Iterator[Found]:
    count = resent(talk)
    if count < RESENT_WORTH_SAYING or not talk.is_well:
        return
    if any(_stuck(talk, side) for side in (talk.requests, talk.answers)):
        return  # said already
    first = next(way for way in talk.ways if way.packet.size)
    text = f"{count} segments were sent again: packets are lost, or late"
    yield RETRANSMISSIONS, text, f"of {len(talk.ways)} packets, from {world.sight(first)} on", None


def resent(talk: Conversation) -> int:
    """Segments with data, SYN or FIN that were seen before, as their sender sent them."""
    if talk.protocol != TCP:
        return 0
    seen: set[tuple[bool, int, int]] = set()
    count = 0
    for way in talk.ways:
        packet = way.packet
        if packet.size or packet.flags & (SYN | FIN):
            key = (talk.is_request(way), packet.sequence, packet.flags & (SYN | FIN))
            count += key in seen
            seen.add(key)
    return count


def reset(world: World, talk: Conversation) -> Iterator[Found]:
    if talk.outcome is not Outcome.RESET or talk.reset is None:
        return
    sender = nodes(talk.reset, world.hosts)[0]
    after = began(talk.reset, world.clocks) - began(talk.ways[0], world.clocks)
    text = f"{name(sender)} cuts the connection with RST after {after / 1e9:.3f} s"
    if sender is not None and sender.role is Role.DIRECTOR and sender is not talk.server_host:
        text += ": it does not know this connection"
    yield CONNECTION_RESET, text, world.sight(talk.reset), sender
