"""One connection as a whole: which packets belong to it, how it was forwarded, how it went."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from lvsha.trace.gather import Bucket
from lvsha.trace.hosts import FULL_TTLS, Host, Hosts, Role
from lvsha.trace.packet import ACK, FIN, RST, SYN, TCP, Endpoint, Packet, is_unreachable
from lvsha.trace.passages import Hop, Offset, Passage


class Method(StrEnum):
    """How the director forwards, as the packets show it."""

    DR = "dr"
    NAT = "nat"
    TUNNEL = "tunnel"
    DR_OR_TUNNEL = "dr-or-tunnel"
    """The answer came from another machine than the question went to; more cannot be seen from here."""
    NONE = "none"
    """No director between: the machine that has the address answered."""
    UNKNOWN = "unknown"


class Outcome(StrEnum):
    """How a connection went."""

    CLOSED = "closed"
    """Established, and both sides said goodbye."""
    OPEN = "open"
    """Established, and not over when the captures were."""
    ANSWERED = "answered"
    """Datagrams, with answers."""
    REFUSED = "refused"
    """RST to the SYN."""
    UNREACHABLE = "unreachable"
    """ICMP said so."""
    RESET = "reset"
    """RST on an established connection."""
    UNANSWERED = "unanswered"
    """Nothing came back at all, as far as it was seen."""
    NOT_ESTABLISHED = "not-established"
    """There was an answer; it did not make a connection."""
    ONE_WAY = "one-way"
    """Datagrams whose answers pass by no place where we listened: direct routing, seen at the director."""
    PARTIAL = "partial"
    """Its beginning is in no capture."""


class Change(StrEnum):
    """What a machine did to a packet between two hops."""

    FORWARDED = "forwarded"
    """Another destination hardware address, the same IP header but for the TTL."""
    REWRITTEN_DESTINATION = "rewritten-destination"
    REWRITTEN_SOURCE = "rewritten-source"
    WRAPPED = "wrapped"
    UNWRAPPED = "unwrapped"


_WELL = frozenset({Outcome.CLOSED, Outcome.OPEN, Outcome.ANSWERED, Outcome.ONE_WAY, Outcome.PARTIAL})


@dataclass(slots=True)
class Conversation:
    """One connection."""

    protocol: int
    client: Endpoint
    ways: list[Passage]
    """By time."""
    errors: list[tuple[int, Packet]] = field(default_factory=list)
    left_out: int = 0

    virtual: Endpoint | None = None
    """Where the client's packets go."""
    method: Method = Method.UNKNOWN
    tunnel: str = ""
    realserver: Endpoint | None = None
    client_host: Host | None = None
    director_host: Host | None = None
    server_host: Host | None = None
    others: list[tuple[Host, Role]] = field(default_factory=list)
    """Routers on the way, and directors before or after a takeover."""
    outcome: Outcome = Outcome.PARTIAL
    first_answer: Passage | None = None
    reset: Passage | None = None
    """The first RST."""

    @property
    def requests(self) -> list[Passage]:
        return [way for way in self.ways if self.is_request(way)]

    @property
    def answers(self) -> list[Passage]:
        return [way for way in self.ways if not self.is_request(way)]

    def is_request(self, way: Passage) -> bool:
        """From the client to the server."""
        hops, client = way.hops, self.client
        return hops[0].packet.source == client or any(hop.packet.source == client for hop in hops[1:])

    @property
    def is_well(self) -> bool:
        return self.outcome in _WELL


_FORWARDED = frozenset({Method.DR, Method.NAT, Method.TUNNEL, Method.DR_OR_TUNNEL})


def through_directors(talks: list[Conversation]) -> list[Conversation]:
    """Connections to addresses that are seen to be virtual; all, if none is."""
    virtual = {
        talk.virtual.address for talk in talks if talk.method in _FORWARDED and talk.virtual is not None
    }
    chosen = [talk for talk in talks if talk.virtual is not None and talk.virtual.address in virtual]
    return chosen or talks


def change(before: Packet, after: Packet) -> Change:
    """What happened between two hops of one packet."""
    if len(after.wraps) > len(before.wraps):
        return Change.WRAPPED
    if len(after.wraps) < len(before.wraps):
        return Change.UNWRAPPED
    if before.destination != after.destination:
        return Change.REWRITTEN_DESTINATION
    if before.source != after.source:
        return Change.REWRITTEN_SOURCE
    return Change.FORWARDED


def changes(way: Passage) -> list[Change]:
    """Between its hops: one less than there are hops."""
    return [change(one.packet, other.packet) for one, other in zip(way.hops, way.hops[1:], strict=False)]


def nodes(way: Passage, hosts: Hosts) -> list[Host | None]:
    """The machines on its way: one more than there are hops."""
    found: list[Host | None] = []
    for at, hop in enumerate(way.hops):
        source, target = hosts.ends(hop)
        if at == 0:
            found.append(source)
        elif found[-1] is None:
            found[-1] = source
        found.append(target)
    return found


def time_of(packet: Packet, place: int, clocks: dict[int, Offset]) -> int:
    """By the first place's clock."""
    offset = clocks.get(place)
    return packet.time_ns - (offset.ns if offset is not None else 0)


def began(way: Passage, clocks: dict[int, Offset]) -> int:
    """When a packet was first seen."""
    return min(time_of(packet, place, clocks) for place, packet in way.hops[0].seen.items())


def split(bucket: Bucket, ways: list[Passage], clocks: dict[int, Offset]) -> list[Conversation]:
    """The connections of one client's port: to several servers, or one after the other."""
    ways = sorted(ways, key=lambda way: began(way, clocks))
    groups: list[Conversation] = []
    by_server: dict[Endpoint, Conversation] = {}
    expected: dict[int, Conversation] = {}
    for way in ways:
        packet = way.packet
        servers = {_server(hop.packet, bucket.client) for hop in way.hops}
        found = next((by_server[server] for server in servers if server in by_server), None)
        is_syn = bucket.protocol == TCP and packet.flags & (SYN | ACK) == SYN
        if bucket.protocol == TCP and packet.flags & (SYN | ACK) == SYN | ACK:
            # NAT whose answer comes past the director has a source nobody asked; its number tells.
            found = expected.get(packet.acknowledgement, found)
        if found is None or (is_syn and _is_over(found) and packet.sequence + 1 not in expected):
            found = Conversation(bucket.protocol, bucket.client, [])
            groups.append(found)
        if is_syn:
            expected[packet.sequence + 1 & 0xFFFFFFFF] = found
        for server in servers:
            by_server[server] = found
        found.ways.append(way)
    for place, error in bucket.errors:
        owner = _owner(error, by_server) or (groups[-1] if groups else None)
        if owner is not None:
            owner.errors.append((place, error))
    if len(groups) == 1:
        groups[0].left_out = bucket.left_out
    return groups


def _server(packet: Packet, client: Endpoint) -> Endpoint:
    return packet.destination if packet.source == client else packet.source


def _is_over(talk: Conversation) -> bool:
    return any(way.packet.flags & (FIN | RST) for way in talk.ways)


def _owner(error: Packet, by_server: dict[Endpoint, Conversation]) -> Conversation | None:
    quoted = error.icmp.quoted if error.icmp else None
    if quoted is None:
        return None
    return by_server.get(quoted.destination) or by_server.get(quoted.source)


def understand(talk: Conversation, hosts: Hosts) -> None:
    """Fill in how it was forwarded, by whom, and how it went."""
    requests, answers = talk.requests, talk.answers
    openers = [way for way in requests if way.packet.flags & SYN] if talk.protocol == TCP else requests
    longest = max(openers or requests, key=lambda way: len(way.hops), default=None)
    talk.first_answer = next(
        (way for way in answers if talk.protocol != TCP or not way.packet.flags & RST), None
    )
    if longest is not None:
        talk.virtual = longest.hops[0].packet.destination
    elif answers:
        talk.virtual = answers[0].hops[-1].packet.source
    if longest is not None:
        _follow_request(talk, longest, hosts)
    _look_at_answers(talk, longest, hosts)
    talk.client_host = talk.client_host or hosts.speaker(talk.client.address)
    talk.outcome = _outcome(talk, openers)
    if talk.outcome is Outcome.UNANSWERED and talk.protocol != TCP and _goes_by(talk, hosts):
        talk.outcome = Outcome.ONE_WAY
    _other_directors(talk, hosts)


def give_roles(talk: Conversation) -> None:
    """Count what each machine was for this connection."""
    for host, role in (
        (talk.client_host, Role.CLIENT),
        (talk.director_host, Role.DIRECTOR),
        (talk.server_host, Role.REALSERVER),
        *talk.others,
    ):
        if host is not None:
            host.roles[role] += 1


def _follow_request(talk: Conversation, way: Passage, hosts: Hosts) -> None:
    path, made = nodes(way, hosts), changes(way)
    first = way.hops[0].packet
    if path[0] is not None and first.ttl in FULL_TTLS and not first.wraps:
        talk.client_host = path[0]
    by_change = {made_here: path[at + 1] for at, made_here in enumerate(made)}
    wrap = next((hop.packet.wraps[0] for hop in way.hops if hop.packet.wraps), None)
    last = way.hops[-1].packet
    if wrap is not None:
        talk.method, talk.tunnel = Method.TUNNEL, wrap.kind
        talk.realserver = Endpoint(wrap.destination, first.destination.port)
        talk.director_host = by_change.get(Change.WRAPPED) or (path[0] if first.wraps else None)
        inside = [at for at, hop in enumerate(way.hops) if hop.packet.wraps]
        talk.server_host = path[inside[-1] + 1]
    elif Change.REWRITTEN_DESTINATION in made:
        talk.method = Method.NAT
        talk.realserver = last.destination
        talk.director_host = by_change[Change.REWRITTEN_DESTINATION]
        talk.server_host = path[-1]
    elif made:
        _forwarded(talk, path, hosts)


def _forwarded(talk: Conversation, path: list[Host | None], hosts: Hosts) -> None:
    """Only hardware addresses and TTL changed: direct routing, unless whoever has the address is last."""
    assert talk.virtual is not None, "a request has a destination"
    holders = hosts.answerers(talk.virtual.address)
    middle = [host for host in path[1:-1] if host is not None]
    director = next((host for host in middle if host in holders), None)
    if director is None and path[-1] in holders:
        talk.server_host = path[-1]
        for host in middle:
            talk.others.append((host, Role.ROUTER))
        talk.method = Method.NONE
        return
    director = director or (middle[-1] if middle else None)
    talk.method = Method.DR
    talk.director_host = director
    talk.server_host = path[-1]
    _name_realserver(talk)
    for host in middle:
        if host is not director:
            talk.others.append((host, Role.ROUTER))


def _name_realserver(talk: Conversation) -> None:
    """With direct routing no header names it; what it answers for by ARP does."""
    if talk.server_host is None or talk.virtual is None:
        return
    own = [
        address
        for address in talk.server_host.addresses
        if address != talk.virtual.address
        and len(address) == len(talk.virtual.address)
        # Not fe80::/10, which its neighbours use among themselves.
        and not (len(address) == 16 and address[0] == 0xFE and address[1] & 0xC0 == 0x80)
    ]
    if own:
        talk.realserver = Endpoint(own[0], talk.virtual.port)


def _look_at_answers(talk: Conversation, asked: Passage | None, hosts: Hosts) -> None:
    """What the answers' way adds: who sent them, to whom."""
    answer = talk.first_answer or next(iter(talk.answers), None)
    if answer is None:
        if talk.method is Method.UNKNOWN and asked is not None:
            _guess(talk, asked, hosts)
        return
    back = nodes(answer, hosts)
    first = answer.hops[0].packet
    if Change.REWRITTEN_SOURCE in changes(answer):
        talk.method = Method.NAT if talk.method is Method.UNKNOWN else talk.method
        talk.realserver = talk.realserver or first.source
        talk.server_host = talk.server_host or back[0]
        talk.director_host = talk.director_host or back[changes(answer).index(Change.REWRITTEN_SOURCE) + 1]
    if talk.method is not Method.UNKNOWN or asked is None:
        return
    there = nodes(asked, hosts)
    sender, receiver = back[0], there[-1]
    if first.source != asked.hops[0].packet.destination:
        talk.method, talk.realserver = Method.NAT, first.source
        talk.director_host, talk.server_host = receiver, sender
    elif sender is not None and receiver is not None and sender is not receiver:
        talk.method = Method.DR_OR_TUNNEL
        talk.director_host, talk.server_host = receiver, sender
        _name_realserver(talk)
    elif sender is not None and there[0] is not None and back[-1] is not None and there[0] is not back[-1]:
        # Seen at the realserver: it came from one machine, the answer leaves to another. Whose address was
        # asked? If its own, somebody rewrote the packet before.
        talk.method = Method.NAT if first.source.address in sender.answers_for else Method.DR
        talk.director_host, talk.server_host = there[0], sender
        if talk.client_host is there[0]:
            talk.client_host = None
        _name_realserver(talk)
    elif first.ttl in FULL_TTLS and asked.packet.ttl not in FULL_TTLS:
        talk.server_host = sender  # behind a director or a router, from here nobody can tell
    elif first.ttl in FULL_TTLS:
        talk.method = Method.NONE
        if first.flags & RST and talk.protocol == TCP:
            talk.director_host = sender  # it has the address and no service: what else would it be for?
        else:
            talk.server_host = sender
    else:
        # Somebody passed the answer on under the address that was asked: NAT, or a router before a server.
        talk.director_host = _holder(talk, hosts)


def _other_directors(talk: Conversation, hosts: Hosts) -> None:
    """After a takeover the client's packets go to another machine in the same place."""
    if talk.director_host is None or talk.server_host is None or talk.virtual is None:
        return
    known = [talk.client_host, talk.director_host, talk.server_host, *(host for host, _ in talk.others)]
    for way in talk.requests:
        for hop, host in zip(way.hops, nodes(way, hosts)[1:], strict=True):
            is_asked = hop.packet.destination == talk.virtual and not hop.packet.wraps
            if host is not None and is_asked and host not in known:
                talk.others.append((host, Role.DIRECTOR))
                known.append(host)


def _guess(talk: Conversation, asked: Passage, hosts: Hosts) -> None:
    """No answer was seen: who has the address by ARP is the director, unless we listen on a realserver."""
    sender, receiver = nodes(asked, hosts)[0], nodes(asked, hosts)[-1]
    if receiver is not None and receiver.is_called(Role.REALSERVER) and asked.packet.ttl not in FULL_TTLS:
        talk.method = Method.NAT if asked.packet.destination.address in receiver.answers_for else Method.DR
        talk.director_host, talk.server_host = sender, receiver
        _name_realserver(talk)
    else:
        talk.director_host = talk.director_host or _holder(talk, hosts)


def _holder(talk: Conversation, hosts: Hosts) -> Host | None:
    assert talk.virtual is not None, "somebody was asked"
    holders = hosts.answerers(talk.virtual.address)
    return holders[0] if len(holders) == 1 else None


def _outcome(talk: Conversation, openers: Sequence[Passage]) -> Outcome:
    resets = [way for way in talk.ways if way.protocol == TCP and way.packet.flags & RST]
    talk.reset = resets[0] if resets else None
    is_refused = any(
        packet.icmp is not None and is_unreachable(packet.icmp, packet.protocol) for _, packet in talk.errors
    )
    if talk.protocol != TCP:
        if talk.answers and talk.requests:
            return Outcome.ANSWERED
        return Outcome.UNREACHABLE if is_refused else Outcome.UNANSWERED if talk.requests else Outcome.PARTIAL
    if not openers:
        return Outcome.RESET if resets else Outcome.PARTIAL
    start = openers[0].packet.sequence
    accepted = [way for way in talk.answers if way.packet.flags & (SYN | ACK) == SYN | ACK]
    established = any(
        not way.packet.flags & (SYN | RST) and way.packet.flags & ACK and way.packet.sequence != start
        for way in talk.requests
    )
    if established and accepted:
        said = [any(way.packet.flags & FIN for way in side) for side in (talk.requests, talk.answers)]
        if talk.reset is not None and not any(said):
            return Outcome.RESET
        return Outcome.CLOSED if all(said) or resets else Outcome.OPEN
    if accepted:
        return Outcome.NOT_ESTABLISHED
    if any(not talk.is_request(way) for way in resets):
        return Outcome.REFUSED
    if established:
        return Outcome.OPEN  # the answers go by no place where we listened
    return Outcome.UNREACHABLE if is_refused else Outcome.UNANSWERED


def _goes_by(talk: Conversation, hosts: Hosts) -> bool:
    """Whether answers, if there are any, take a way on which nobody listens."""
    is_direct = talk.method in (Method.DR, Method.TUNNEL) and talk.server_host is not None
    return is_direct and not any(map(hosts.is_listened_to, (talk.server_host, talk.client_host)))


def reached(way: Passage, hosts: Hosts) -> Host | None:
    """Where its last hop went."""
    return nodes(way, hosts)[-1]


def was_seen_by(hop: Hop, host: Host | None) -> bool:
    """Whether we listened on that machine when it came."""
    return host is not None and any(place in host.places for place in hop.seen)
