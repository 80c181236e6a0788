"""Where a connection stops, and why: each rule looks for one fault.

The ids are those of ``lvsha doctor`` (docs/failures/ID.md), and a few of trace's own for what only packets
show. A rule says nothing it has not seen: that a machine kept silent counts only if a capture was made on it.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from lvsha.trace.conversation import (
    Conversation,
    Method,
    Outcome,
    began,
    nodes,
    reached,
)
from lvsha.trace.gather import Gatherer, Place
from lvsha.trace.hosts import FULL_TTLS, Host, Hosts, Role
from lvsha.trace.packet import (
    ACK,
    FIN,
    ICMP6,
    RST,
    SYN,
    TCP,
    Packet,
    address_text,
    endpoint_text,
    icmp_text,
    is_too_big,
    is_unreachable,
)
from lvsha.trace.passages import Offset, Passage

ADDRESS_CONFLICT: Final = "address-conflict"
ALL_WEIGHTS_ZERO: Final = "all-weights-zero"
ANSWERS_THROUGH_DIRECTOR: Final = "answers-through-director"
CONNECTION_RESET: Final = "connection-reset"
DIRECT_ROUTE_TO_CLIENT: Final = "direct-route-to-client"
FIREWALL_DROPS: Final = "firewall-drops"
FOU_PORT_CLOSED: Final = "fou-port-closed"
ICMP_REDIRECTS: Final = "icmp-redirects"
NO_ANSWER: Final = "no-answer"
NO_IP_FORWARD: Final = "no-ip-forward"
NO_VIP_HOLDER: Final = "no-vip-holder"
NO_VIRTUAL_SERVICE: Final = "no-virtual-service"
PATH_MTU: Final = "path-mtu"
REALSERVER_ANSWERS_ARP: Final = "realserver-answers-arp"
REALSERVER_UNREACHABLE: Final = "realserver-unreachable"
REDIRECTED_ROUTE: Final = "redirected-route"
RETRANSMISSIONS: Final = "retransmissions"
SERVICE_NOT_BOUND: Final = "service-not-bound"
TUNNEL_DEVICE_DOWN: Final = "tunnel-device-down"
TUNNEL_MTU: Final = "tunnel-mtu"
TUNNEL_SOURCE_IS_VIP: Final = "tunnel-source-is-vip"
VIP_MISSING_ON_LO: Final = "vip-missing-on-lo"
WRONG_DEFAULT_GATEWAY: Final = "wrong-default-gateway"

WARNINGS: Final = frozenset({ICMP_REDIRECTS, PATH_MTU, TUNNEL_MTU, RETRANSMISSIONS})

REMEDIES: Final = {
    ANSWERS_THROUGH_DIRECTOR: "make the router, not the director, the realserver's default gateway (or set"
    " net.ipv4.conf.INTERFACE.accept_local=1 on the director, and rp_filter=0)",
    CONNECTION_RESET: "who cuts it? a director that does not know the connection: see connection"
    " synchronisation; a realserver: its service's log",
    NO_ANSWER: "make a capture on the machine that got it last, and trace again with it; or run lvsha doctor"
    " there",
    NO_VIRTUAL_SERVICE: "is the service in the table? `lvsha ipvs -Ln` on the director; check the port the"
    " client uses",
    PATH_MTU: "let ICMP through on the whole path, or give the narrow link's MTU to both ends",
    REALSERVER_UNREACHABLE: "is the realserver up, in that network, with that address? ask from the director:"
    " ip neigh, arping",
    RETRANSMISSIONS: "look for a full queue, a bad cable or a slow machine between the captures that have the"
    " packets and those that lack them",
    TUNNEL_SOURCE_IS_VIP: "on the director the virtual address must not be the source of its own packets: an"
    " address of its own first, and the virtual one deprecated (ip address ... preferred_lft 0)",
}
"""What to do, for ids that ``lvsha doctor`` does not have."""

RESENT_WORTH_SAYING: Final = 3
LARGE: Final = 1000
"""Bytes of payload: a segment that may be too long for a path."""


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


def find(world: World) -> list[Finding]:
    """Everything that is wrong, each once."""
    found: list[Finding] = [*_neighbours(world), *_redirects(world)]
    for number, talk in enumerate(world.talks, 1):
        for rule in _RULES:
            first = next(rule(world, talk), None)
            if first is not None:
                id, what, evidence, host = first
                found.append(
                    Finding(
                        id=id,
                        what=what,
                        evidence=evidence,
                        host=host.name if host is not None else "",
                        connection=number,
                    )
                )
                if rule in _LAST_WORDS:
                    break
    return found


_Found = tuple[str, str, str, Host | None]
_Rule = Callable[[World, Conversation], Iterator[_Found]]


# --- who has the address ------------------------------------------------------------------------------


def _neighbours(world: World) -> Iterator[Finding]:
    asked: dict[bytes, Counter[int]] = defaultdict(Counter)
    answers: dict[bytes, dict[Host, int]] = defaultdict(lambda: defaultdict(int))
    for place, each in world.gathered.neighbours:
        host = world.hosts.of(each.sender_mac)
        if each.is_answer and host is not None:
            answers[each.sender][host] += 1
        elif not each.is_answer and each.target != each.sender:
            asked[each.target][place] += 1
    virtual = {talk.virtual.address for talk in world.talks if talk.virtual is not None}
    wanted = {each.address for each in world.gathered.vips}
    for address in sorted(virtual | wanted):
        holders = list(answers[address])
        if len(holders) > 1:
            yield _several_holders(world, address, holders)
    silent = asked.keys() - answers.keys() - virtual
    for address in sorted(silent & wanted if wanted else silent if not world.talks else ()):
        yield Finding(
            id=NO_VIP_HOLDER,
            what=f"nobody says to have {address_text(address)}: the client cannot send its first packet",
            evidence=f"asked {max(asked[address].values(), default=0)} times, no answer",
            host="",
        )


def _several_holders(world: World, address: bytes, holders: list[Host]) -> Finding:
    serving = [
        host
        for host in holders
        if any(talk.server_host is host and talk.director_host is not host for talk in world.talks)
    ]
    text = ", ".join(f"{host.name} ({_macs(host)})" for host in holders)
    if serving:
        return Finding(
            id=REALSERVER_ANSWERS_ARP,
            what=f"{serving[0].name} answers ARP for {address_text(address)}, which only the director may",
            evidence=f"answers of {text}",
            host=serving[0].name,
        )
    return Finding(
        id=ADDRESS_CONFLICT,
        what=f"{len(holders)} machines say to have {address_text(address)}",
        evidence=f"answers of {text}",
        host="",
    )


def _macs(host: Host) -> str:
    return " ".join(mac.hex(":") for mac in sorted(host.macs))


def _redirects(world: World) -> Iterator[Finding]:
    told: dict[tuple[bytes, bytes], list[tuple[int, Packet]]] = defaultdict(list)
    for place, packet in world.gathered.redirects:
        told[packet.source.address, packet.destination.address].append((place, packet))
    for packets in told.values():
        place, packet = packets[0]
        sender, receiver = world.hosts.of(packet.source_mac), world.receiver(packet)
        assert packet.icmp is not None, "a redirect is ICMP"
        yield Finding(
            id=ICMP_REDIRECTS,
            what=f"{name(sender)} tells {name(receiver)} of a way past itself: send directly to "
            f"{address_text(packet.icmp.gateway)}",
            evidence=f"{icmp_text(packet.icmp, packet.protocol)}, {world.frame(packet, place)}",
            host=sender.name if sender is not None else "",
        )


# --- why there is no connection -----------------------------------------------------------------------


def _unreachable(world: World, talk: Conversation) -> Iterator[_Found]:
    """ICMP names the fault; the error of a tunnel's end comes before the director's own."""
    if talk.outcome not in (Outcome.UNREACHABLE, Outcome.REFUSED, Outcome.UNANSWERED):
        return
    errors = [
        (place, packet)
        for place, packet in talk.errors + _of_tunnel(world, talk)
        if packet.icmp is not None and is_unreachable(packet.icmp, packet.protocol)
    ]
    errors.sort(key=lambda each: not (each[1].icmp and each[1].icmp.quoted and _is_wrapped(each[1], talk)))
    for place, packet in errors:
        assert packet.icmp is not None, "only those were taken"
        said = f"{icmp_text(packet.icmp, packet.protocol)}, {world.frame(packet, place)}"
        sender = world.hosts.of(packet.source_mac)
        if _is_wrapped(packet, talk):
            if talk.tunnel in ("gue", "fou"):
                port = next(w.port for way in talk.ways for hop in way.hops for w in hop.packet.wraps)
                text = f"{name(sender)} has nobody who unwraps {talk.tunnel.upper()} at port {port}"
                yield FOU_PORT_CLOSED, text, said, sender
            else:
                yield (
                    TUNNEL_DEVICE_DOWN,
                    f"{name(sender)} has no tunnel device that unwraps {talk.tunnel}",
                    said,
                    sender,
                )
        elif packet.icmp.code in ((1,) if packet.protocol == ICMP6 else (9, 10, 13)):
            yield FIREWALL_DROPS, f"{name(sender)} refuses the packets by a rule", said, sender
        elif packet.icmp.code in ((0, 3) if packet.protocol == ICMP6 else (0, 1)):
            yield (
                REALSERVER_UNREACHABLE,
                f"{name(sender)} cannot reach the next machine: nobody answers for its address",
                said,
                sender,
            )
        elif sender is not None and sender is talk.server_host and talk.method is not Method.NONE:
            text = f"nothing listens on {name(sender)} at {_target(talk)}"
            yield SERVICE_NOT_BOUND, text, said, sender
        else:
            text = (
                f"{name(sender)} has the service {_virtual(talk)} and nobody to give it to: no realserver,"
                " weight 0 everywhere, or quorum lost"
            )
            yield ALL_WEIGHTS_ZERO, text, said, sender


def _is_wrapped(packet: Packet, talk: Conversation) -> bool:
    """Whether the error is about the tunnel's packet."""
    if packet.icmp is None or packet.icmp.quoted is None or talk.method is not Method.TUNNEL:
        return False
    quoted = packet.icmp.quoted
    return bool(quoted.wraps) or (quoted.source.address, quoted.destination.address) in _tunnel_ends(talk)


def _tunnel_ends(talk: Conversation) -> set[tuple[bytes, bytes]]:
    return {(w.source, w.destination) for way in talk.ways for hop in way.hops for w in hop.packet.wraps}


def _of_tunnel(world: World, talk: Conversation) -> list[tuple[int, Packet]]:
    if talk.method is not Method.TUNNEL:
        return []
    return [each for each in world.gathered.errors if _is_wrapped(each[1], talk)]


def _refused(world: World, talk: Conversation) -> Iterator[_Found]:
    if talk.outcome is not Outcome.REFUSED:
        return
    way = next(way for way in talk.answers if way.packet.flags & RST)
    sender = nodes(way, world.hosts)[0]
    asked = max(talk.requests, key=lambda each: len(each.hops))
    receiver = reached(asked, world.hosts)
    evidence = f"RST from {endpoint_text(way.packet.source)}, {world.sight(way)}"
    was_forwarded = len(asked.hops) > 1 or (sender is not receiver and sender is not None)
    was_forwarded = was_forwarded or talk.method in (Method.DR, Method.TUNNEL)
    is_own = way.packet.ttl in FULL_TTLS
    if was_forwarded or not is_own:
        place = talk.server_host or sender
        text = f"{name(place)} answers with RST: nothing listens there at {_target(talk)}"
        if talk.method in (Method.DR, Method.TUNNEL, Method.DR_OR_TUNNEL):
            text += "; a service on another port does not help, for only NAT changes ports"
        yield SERVICE_NOT_BOUND, text, evidence, place
    else:
        text = f"{name(sender)} answers with RST itself: {_virtual(talk)} is no virtual service there"
        yield NO_VIRTUAL_SERVICE, text, evidence, sender


def _past_director(world: World, talk: Conversation) -> Iterator[_Found]:
    """NAT, and the answer does not come back through the director."""
    if talk.method is not Method.NAT or talk.is_well:
        return
    for way in talk.answers:
        path = nodes(way, world.hosts)
        server, target = path[0], path[1]
        first = way.hops[0].packet
        director = talk.director_host
        if server is not talk.server_host or director is None or target is director:
            continue
        if target is None and not _would_have_seen(talk, way, director):
            continue
        evidence = f"{_flags(way)} from {endpoint_text(first.source)}, {world.sight(way)}"
        if target is talk.client_host or (len(path) > 1 and path[-1] is talk.client_host):
            told = [packet for _, packet in world.gathered.redirects if world.receiver(packet) is server]
            asked = _virtual(talk) if first.source != talk.virtual else "another one"
            text = (
                f"{name(server)} answers {name(target)} directly, from {endpoint_text(first.source)}: the"
                f" client asked {asked} and does not know that address"
            )
            yield (REDIRECTED_ROUTE if told else DIRECT_ROUTE_TO_CLIENT), text, evidence, server
        else:
            text = (
                f"{name(server)} sends its answers to {name(target)}, not back to {name(director)},"
                " which alone can give them the virtual address"
            )
            yield WRONG_DEFAULT_GATEWAY, text, evidence, server
        return


def _would_have_seen(talk: Conversation, answer: Passage, director: Host) -> bool:
    """Whether the director did not get an answer, though we listen where it sent the request out."""
    asked = max(talk.requests, key=lambda each: len(each.hops), default=None)
    return (
        asked is not None
        and any(place in director.places for place in asked.hops[-1].seen)
        and not any(place in director.places for hop in answer.hops for place in hop.seen)
    )


def _not_passed_on(world: World, talk: Conversation) -> Iterator[_Found]:
    """The answer comes to the director, and goes no further."""
    director = talk.director_host
    if director is None or talk.is_well or not world.hosts.is_listened_to(director):
        return
    answers = [way for way in talk.answers if nodes(way, world.hosts)[0] is talk.server_host]
    if not answers or any(reached(way, world.hosts) is not director for way in answers):
        return
    evidence = f"{_flags(answers[0])} to {name(director)}, {world.sight(answers[0])}"
    if talk.method is Method.NAT:
        text = f"{name(director)} gets the answers and does not pass them on: it does not forward"
        yield NO_IP_FORWARD, text, evidence, director
    elif talk.method in (Method.DR, Method.TUNNEL):
        text = (
            f"{name(talk.server_host)} answers through {name(director)}, which drops packets that come from"
            " an address of its own"
        )
        yield ANSWERS_THROUGH_DIRECTOR, text, evidence, talk.server_host


def _silent(world: World, talk: Conversation) -> Iterator[_Found]:
    """The question goes nowhere, or is not answered: the last machine that had it."""
    if talk.outcome is not Outcome.UNANSWERED or talk.answers:
        return
    asked = max(talk.requests, key=lambda each: len(each.hops))
    last = reached(asked, world.hosts)
    tries = sum(bool(way.packet.flags & SYN) or way.protocol != TCP for way in talk.requests)
    evidence = f"sent {tries} times, last seen in {world.sight(asked, -1)}"
    if not world.hosts.is_listened_to(last):
        text = f"the packets go to {name(last)}, and no answer is seen; a capture on it would tell more"
        yield NO_ANSWER, text, evidence, last
        return
    unanswered = _asks_in_vain(world, last)
    virtual = talk.virtual.address if talk.virtual is not None else b""
    if last is talk.server_host and any(source == virtual for source, _ in _tunnel_ends(talk)):
        text = (
            f"{name(talk.director_host)} wraps under the virtual address {_address(talk)}, which {name(last)}"
            " has itself: it drops packets from an address of its own"
        )
        yield TUNNEL_SOURCE_IS_VIP, text, evidence, talk.director_host
    elif last is talk.server_host and talk.method in (Method.DR, Method.TUNNEL):
        text = f"{name(last)} gets the packets and does not answer: it does not have {_address(talk)}"
        if talk.method is Method.TUNNEL:
            text += ", its tunnel device is down, or rp_filter drops what comes out of it"
        yield VIP_MISSING_ON_LO, text, evidence, last
    elif last is talk.server_host and unanswered:
        text = f"{name(last)} wants to answer and finds no way: nobody has {unanswered}"
        yield WRONG_DEFAULT_GATEWAY, text, evidence, last
    elif last is talk.server_host:
        text = f"{name(last)} gets the packets and does not answer: no route to the client, or a firewall"
        yield NO_ANSWER, text, evidence, last
    elif unanswered:
        text = f"{name(last)} finds no next machine: nobody has {unanswered}"
        yield REALSERVER_UNREACHABLE, text, evidence, last
    else:
        text = f"{name(last)} gets the packets and neither forwards nor answers: a firewall, or rp_filter"
        yield NO_ANSWER, text, evidence, last


def _asks_in_vain(world: World, host: Host | None) -> str:
    answered = {each.sender for _, each in world.gathered.neighbours if each.is_answer}
    for _, each in world.gathered.neighbours:
        is_ours = world.hosts.of(each.sender_mac) is host
        if is_ours and not each.is_answer and each.target not in answered and each.target != each.sender:
            return address_text(each.target)
    return ""


def _unfinished(world: World, talk: Conversation) -> Iterator[_Found]:
    """There is an answer, and no connection comes of it."""
    if talk.outcome is not Outcome.NOT_ESTABLISHED or talk.first_answer is None:
        return
    way = talk.first_answer
    last = reached(way, world.hosts)
    evidence = f"{_flags(way)}, last seen in {world.sight(way, -1)}"
    if last is talk.client_host and last is not None:
        text = f"{name(last)} gets the answer and does not go on"
        yield NO_ANSWER, text, evidence, last
    else:
        text = f"the answer goes to {name(last)}, and is not seen again"
        yield NO_ANSWER, text, evidence, last


# --- what goes wrong later ----------------------------------------------------------------------------


def _too_big(world: World, talk: Conversation) -> Iterator[_Found]:
    id = TUNNEL_MTU if talk.method is Method.TUNNEL else PATH_MTU
    for place, packet in talk.errors + _of_tunnel(world, talk):
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


def _resent(world: World, talk: Conversation) -> Iterator[_Found]:
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


def _reset(world: World, talk: Conversation) -> Iterator[_Found]:
    if talk.outcome is not Outcome.RESET or talk.reset is None:
        return
    sender = nodes(talk.reset, world.hosts)[0]
    after = began(talk.reset, world.clocks) - began(talk.ways[0], world.clocks)
    text = f"{name(sender)} cuts the connection with RST after {after / 1e9:.3f} s"
    if sender is not None and sender.role is Role.DIRECTOR and sender is not talk.server_host:
        text += ": it does not know this connection"
    yield CONNECTION_RESET, text, world.sight(talk.reset), sender


def _flags(way: Passage) -> str:
    from lvsha.trace.packet import flags_text

    return flags_text(way.packet)


def _virtual(talk: Conversation) -> str:
    return endpoint_text(talk.virtual) if talk.virtual is not None else "the service"


def _address(talk: Conversation) -> str:
    return address_text(talk.virtual.address) if talk.virtual is not None else "the virtual address"


def _target(talk: Conversation) -> str:
    """Where the service has to listen."""
    if talk.method is Method.NAT and talk.realserver is not None:
        return endpoint_text(talk.realserver)
    return _virtual(talk)


_LAST_WORDS: Final = frozenset({_unreachable, _refused, _past_director, _not_passed_on, _silent, _unfinished})
"""A connection stops at one place."""
_RULES: Final[tuple[_Rule, ...]] = (
    _too_big,
    _resent,
    _past_director,
    _reset,
    _unreachable,
    _refused,
    _not_passed_on,
    _silent,
    _unfinished,
)
