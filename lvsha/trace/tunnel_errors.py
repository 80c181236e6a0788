"""ICMP errors about a tunnel's packets, as opposed to what is inside."""

from lvsha.trace.conversation import Conversation, Method
from lvsha.trace.packet import Packet
from lvsha.trace.world import World


def is_wrapped(packet: Packet, talk: Conversation) -> bool:
    """Whether the error is about the tunnel's packet."""
    if packet.icmp is None or packet.icmp.quoted is None or talk.method is not Method.TUNNEL:
        return False
    quoted = packet.icmp.quoted
    return bool(quoted.wraps) or (quoted.source.address, quoted.destination.address) in tunnel_ends(talk)


def tunnel_ends(talk: Conversation) -> set[tuple[bytes, bytes]]:
    return {(w.source, w.destination) for way in talk.ways for hop in way.hops for w in hop.packet.wraps}


def tunnel_errors(world: World, talk: Conversation) -> list[tuple[int, Packet]]:
    if talk.method is not Method.TUNNEL:
        return []
    return [each for each in world.gathered.errors if is_wrapped(each[1], talk)]
