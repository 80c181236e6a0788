"""A connection told in order: who sent what to whom, what happened to it on the way, and what came back.

Packets that say nothing new are told together: the same flags on the same way, or the bulk of the data.
"""

from dataclasses import dataclass, field
from typing import Final

from lvsha.trace.conversation import (
    Change,
    Conversation,
    Method,
    Outcome,
    began,
    change,
    nodes,
    time_of,
)
from lvsha.trace.explain import Explanation, shown
from lvsha.trace.hosts import Host, Hosts
from lvsha.trace.packet import (
    ACK,
    FIN,
    PROTOCOL_NAMES,
    RST,
    SYN,
    TCP,
    Packet,
    address_text,
    endpoint_text,
    flags_text,
    mac_text,
)
from lvsha.trace.passages import Hop, Passage
from lvsha.trace.rules_later import resent

MAX_EVENTS: Final = 40
"""Of a connection that are told; more are counted."""
_NEIGHBOURS_BEFORE_NS: Final = 5_000_000_000

METHOD_WORDS: Final = {
    Method.DR: "direct routing (DR)",
    Method.NAT: "NAT",
    Method.TUNNEL: "a tunnel",
    Method.DR_OR_TUNNEL: "direct routing or a tunnel (a capture on the director would tell)",
    Method.NONE: "no director between",
    Method.UNKNOWN: "forwarding not seen",
}
OUTCOME_WORDS: Final = {
    Outcome.CLOSED: "went well, closed",
    Outcome.OPEN: "went well, still open",
    Outcome.ANSWERED: "went well",
    Outcome.REFUSED: "refused",
    Outcome.UNREACHABLE: "refused by ICMP",
    Outcome.RESET: "cut off",
    Outcome.UNANSWERED: "not answered",
    Outcome.NOT_ESTABLISHED: "answered, but not established",
    Outcome.ONE_WAY: "its answers do not pass here",
    Outcome.PARTIAL: "its beginning was not captured",
}


@dataclass(slots=True, kw_only=True)
class Step:
    """One arrow: a packet, or several, from one machine to the next."""

    source: Host | None
    target: Host | None
    label: str
    header: str
    """From where to where by its IP header; of a tunnel, both headers."""
    change: str
    """What was done to it before it left ``source``; empty: nothing, or it is the first hop."""
    kind: str
    """The value of a ``Change``, or empty."""
    seen: tuple[str, ...]
    """The captures that have it."""


@dataclass(slots=True, kw_only=True)
class Event:
    """One packet's way, or that of several alike."""

    time_ns: int
    kind: str
    """``packet``, ``icmp`` or ``neighbour``."""
    is_request: bool
    steps: list[Step]
    times: int = 1
    """How often the same was sent."""
    last_ns: int = 0
    size: int = 0
    """Bytes of payload, together."""
    note: str = ""
    is_known_way: bool = False
    """Others went the same way before, with the same changes."""


@dataclass(slots=True, kw_only=True)
class Story:
    """One connection, told."""

    number: int
    talk: Conversation
    headline: str
    start_ns: int
    events: list[Event] = field(default_factory=list)
    events_left_out: int = 0


def tell(explanation: Explanation, number: int) -> Story:
    """Of the connection with that number, from 1."""
    talk = explanation.talks[number - 1]
    start = min((began(way, explanation.clocks) for way in talk.ways), default=0)
    events = _Teller(explanation, talk).events()
    for event in events:
        start = min(start, event.time_ns)
    return Story(
        number=number,
        talk=talk,
        headline=_headline(explanation, talk),
        start_ns=start,
        events=events[:MAX_EVENTS],
        events_left_out=max(0, len(events) - MAX_EVENTS),
    )


def _headline(explanation: Explanation, talk: Conversation) -> str:
    protocol = PROTOCOL_NAMES.get(talk.protocol, f"protocol {talk.protocol}")
    virtual = endpoint_text(talk.virtual) if talk.virtual else "?"
    by = METHOD_WORDS[talk.method] + (f" ({talk.tunnel})" if talk.tunnel else "")
    if talk.realserver is not None and talk.method is not Method.NONE:
        by += f" to {endpoint_text(talk.realserver)}"
    times = [began(way, explanation.clocks) for way in talk.ways]
    took = f" after {(max(times) - min(times)) / 1e9:.3f} s" if talk.outcome is Outcome.CLOSED else ""
    again = resent(talk)
    more = f", {again} segment{'s' if again > 1 else ''} sent again" if again else ""
    words = OUTCOME_WORDS[talk.outcome]
    return f"{protocol} {endpoint_text(talk.client)} -> {virtual}, {by}: {words}{took}{more}"


class _Teller:
    def __init__(self, explanation: Explanation, talk: Conversation) -> None:
        self._told = explanation
        self._hosts: Hosts = explanation.hosts
        self._talk = talk
        self._events: list[Event] = []
        self._known: dict[tuple[object, ...], Event] = {}
        self._bulk: dict[tuple[object, ...], Event] = {}
        self._explained: set[tuple[object, ...]] = set()

    def events(self) -> list[Event]:
        for way in self._talk.ways:
            self._way(way)
        for place, error in self._talk.errors:
            self._error(place, error)
        self._questions()
        return sorted(self._events, key=lambda event: event.time_ns)

    def _way(self, way: Passage) -> None:
        packet, time_ns = way.packet, began(way, self._told.clocks)
        is_request = self._talk.is_request(way)
        path = nodes(way, self._hosts)
        road = (is_request, tuple(map(id, path)), tuple(hop.packet.destination for hop in way.hops))
        flags = packet.flags & (SYN | FIN | RST | (ACK if packet.flags & SYN else 0))
        if packet.protocol == TCP and flags:
            self._bulk.clear()
            key: tuple[object, ...] = (flags, *road)
            known = self._known.get(key)
        else:
            key = road
            known = self._bulk.get(key)
        if known is not None:
            known.times += 1
            known.last_ns = time_ns
            known.size += packet.size
            for step in known.steps:
                step.label = _label(packet, known)
            return
        event = Event(
            time_ns=time_ns,
            kind="packet",
            is_request=is_request,
            steps=self._steps(way, path, road),
            last_ns=time_ns,
            size=packet.size,
            is_known_way=road in self._explained,
            note=self._note(path, is_request, road),
        )
        self._events.append(event)
        # What goes another way ends a run: told in one, it would seem to have come before.
        for other in [each for each in self._bulk if each[0] == is_request]:
            del self._bulk[other]
        (self._known if packet.protocol == TCP and flags else self._bulk)[key] = event

    def _steps(self, way: Passage, path: list[Host | None], road: tuple[object, ...]) -> list[Step]:
        steps = []
        for at, hop in enumerate(way.hops):
            before = way.hops[at - 1] if at else None
            made = change(before.packet, hop.packet) if before is not None else None
            steps.append(
                Step(
                    source=path[at],
                    target=path[at + 1],
                    label=flags_text(hop.packet),
                    header=header_text(hop.packet),
                    change=self._change(before, hop, path[at]) if before is not None else "",
                    kind=made.value if made is not None else "",
                    seen=tuple(self._told.gathered.places[place].name for place in sorted(hop.seen)),
                )
            )
        return steps

    def _change(self, before: Hop, hop: Hop, machine: Host | None) -> str:
        made = change(before.packet, hop.packet)
        one, other = before.packet, hop.packet
        if made is Change.WRAPPED:
            wrap = other.wraps[0]
            ends = f"{address_text(wrap.source)} -> {address_text(wrap.destination)}"
            port = f", UDP port {wrap.port}" if wrap.port else ""
            return f"the same packet wrapped in {wrap.kind}, {ends}{port}: a tunnel"
        if made is Change.UNWRAPPED:
            return "unwrapped, the same packet inside"
        if made is Change.REWRITTEN_DESTINATION:
            ends = f"{endpoint_text(one.destination)} -> {endpoint_text(other.destination)}"
            also = ", source too" if one.source != other.source else ""
            return f"destination rewritten {ends}{also}: NAT"
        if made is Change.REWRITTEN_SOURCE:
            return f"source rewritten {endpoint_text(one.source)} -> {endpoint_text(other.source)}: NAT"
        mac = mac_text(hop.destination_mac) if hop.destination_mac else "not captured"
        if machine is not None and machine is self._talk.director_host and self._talk.method is Method.DR:
            return f"same IP header, new destination MAC {mac}: direct routing (DR)"
        return f"same IP header, passed on to MAC {mac}"

    def _note(self, path: list[Host | None], is_request: bool, road: tuple[object, ...]) -> str:
        """What is worth saying of a way that was not gone before."""
        if road in self._explained:
            return ""
        self._explained.add(road)
        talk = self._talk
        if is_request and path[-1] is talk.director_host and talk.server_host is not None:
            return "it goes no further" if self._hosts.is_listened_to(path[-1]) else ""
        if is_request or talk.director_host is None or path[0] is not talk.server_host:
            return ""
        if talk.director_host in path:
            return ""
        if talk.method in (Method.DR, Method.TUNNEL, Method.DR_OR_TUNNEL):
            return f"straight to {shown(path[-1])}, not through {talk.director_host.name}"
        return f"past {talk.director_host.name}, which alone could rewrite it"

    def _error(self, place: int, packet: Packet) -> None:
        time_ns = time_of(packet, place, self._told.clocks)
        source = self._hosts.of(packet.source_mac)
        target = self._hosts.of(packet.destination_mac) or self._hosts.speaker(packet.destination.address)
        label = flags_text(packet)
        key: tuple[object, ...] = ("icmp", label, id(source), id(target))
        name = self._told.gathered.places[place].name
        known = self._known.get(key)
        if known is not None:
            if name in known.steps[0].seen:
                known.times += 1
            else:
                known.steps[0].seen += (name,)
            known.time_ns = min(known.time_ns, time_ns)
            return
        self._known[key] = event = Event(
            time_ns=time_ns,
            kind="icmp",
            is_request=False,
            last_ns=time_ns,
            steps=[
                Step(
                    source=source,
                    target=target,
                    label=label,
                    header=header_text(packet),
                    change="",
                    kind="",
                    seen=(name,),
                )
            ],
        )
        self._events.append(event)

    def _questions(self) -> None:
        """ARP and neighbour discovery for the virtual address, shortly before or during the connection."""
        talk = self._talk
        if talk.virtual is None or not talk.ways:
            return
        first = began(talk.ways[0], self._told.clocks)
        last = began(talk.ways[-1], self._told.clocks)
        events: dict[tuple[object, ...], Event] = {}
        asker: Host | None = None
        for place, each in self._told.gathered.neighbours:
            offset = self._told.clocks.get(place)
            time_ns = each.time_ns - (offset.ns if offset is not None else 0)
            about = each.sender if each.is_answer else each.target
            if about != talk.virtual.address or not first - _NEIGHBOURS_BEFORE_NS <= time_ns <= last:
                continue
            host = self._hosts.of(each.sender_mac)
            asker = asker if each.is_answer or asker is not None else host
            name = self._told.gathered.places[place].name
            known = events.get((each.is_answer, id(host)))
            if known is not None:
                known.time_ns = min(known.time_ns, time_ns)
                if name not in known.steps[0].seen:
                    known.steps[0].seen += (name,)
                continue
            text = (
                f"{address_text(about)} is at {mac_text(each.sender_mac)}"
                if each.is_answer
                else f"who has {address_text(about)}?"
            )
            event = Event(
                time_ns=time_ns,
                kind="neighbour",
                is_request=not each.is_answer,
                steps=[
                    Step(
                        source=host,
                        target=self._hosts.speaker(each.target) if each.is_answer else None,
                        label=text,
                        header="",
                        change="",
                        kind="",
                        seen=(name,),
                    )
                ],
            )
            events[each.is_answer, id(host)] = event
            self._events.append(event)
        questions = [event for (is_answer, _), event in events.items() if not is_answer]
        answers = [event for (is_answer, _), event in events.items() if is_answer]
        for event in questions:
            event.steps[0].target = answers[0].steps[0].source if answers else None


def _label(packet: Packet, event: Event) -> str:
    """Of several packets that are told together."""
    if packet.protocol == TCP and packet.flags & (SYN | FIN | RST):
        return f"{flags_text(packet)}, {event.times} times"
    size = f", {event.size:,} bytes" if event.size else ", no data"
    return f"{event.times} packets{size}"


def arrow_text(step: Step) -> str:
    """What is written at an arrow: the packet, and in a word what was done to it."""
    word = {
        Change.FORWARDED.value: "new MAC",
        Change.REWRITTEN_DESTINATION.value: "NAT",
        Change.REWRITTEN_SOURCE.value: "NAT back",
        Change.WRAPPED.value: "wrapped",
        Change.UNWRAPPED.value: "unwrapped",
    }.get(step.kind)
    return f"{step.label} ({word})" if word else step.label


def header_text(packet: Packet) -> str:
    """``10.0.0.1 -> 10.0.0.11 (ipip): 10.0.0.100:40001 -> 10.0.0.10:80``."""
    ends = f"{endpoint_text(packet.source)} -> {endpoint_text(packet.destination)}"
    for wrap in reversed(packet.wraps):
        ends = f"{address_text(wrap.source)} -> {address_text(wrap.destination)} ({wrap.kind}): {ends}"
    return ends


def sentence(event: Event) -> str:
    """``client -> director: SYN, 10.0.0.100:40001 -> 10.0.0.10:80``, and every hop behind it."""
    first = event.steps[0]
    if event.kind == "neighbour":
        to = f" answers {shown(first.target)}" if not event.is_request and first.target else ""
        verb = " asks" if event.is_request else to or " says"
        return f"{shown(first.source)}{verb}: {first.label}"
    path = [shown(first.source), *(shown(step.target) for step in event.steps)]
    if event.is_known_way and event.kind == "packet":
        return f"{' -> '.join(path)}: {first.label}"
    text = f"{' -> '.join(path[:2])}: {first.label}"
    if first.header:
        text += f", {first.header}"
    for step in event.steps[1:]:
        text += f"; {shown(step.source)} -> {shown(step.target)}: {step.change}"
    if event.note:
        text += f"; {event.note}"
    return text


def participants(story: Story, hosts: Hosts) -> list[Host | None]:
    """The machines of a picture, in the order of the way; None, last: not known."""
    met = {
        id(host): host
        for event in story.events
        for step in event.steps
        for host in (step.source, step.target)
    }
    ordered: list[Host | None] = [host for host in hosts.all() if id(host) in met]
    if any(
        step.source is None or (step.target is None and event.kind != "neighbour")
        for event in story.events
        for step in event.steps
    ):
        ordered.append(None)
    return ordered
