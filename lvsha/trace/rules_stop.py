"""Why there is no connection: each rule looks for one fault.

A rule says nothing it has not seen: that a machine kept silent counts only if a capture was made on it.
"""

from collections.abc import Iterator

from lvsha.trace.catalogue import (
    ALL_WEIGHTS_ZERO,
    ANSWERS_THROUGH_DIRECTOR,
    DIRECT_ROUTE_TO_CLIENT,
    FIREWALL_DROPS,
    FOU_PORT_CLOSED,
    NO_ANSWER,
    NO_IP_FORWARD,
    NO_VIRTUAL_SERVICE,
    REALSERVER_UNREACHABLE,
    REDIRECTED_ROUTE,
    SERVICE_NOT_BOUND,
    TUNNEL_DEVICE_DOWN,
    TUNNEL_SOURCE_IS_VIP,
    VIP_MISSING_ON_LO,
    WRONG_DEFAULT_GATEWAY,
)
from lvsha.trace.conversation import Conversation, Method, Outcome, nodes, reached
from lvsha.trace.hosts import FULL_TTLS, Host
from lvsha.trace.packet import ICMP6, RST, SYN, TCP, address_text, endpoint_text, icmp_text, is_unreachable
from lvsha.trace.passages import Passage
from lvsha.trace.tunnel_errors import is_wrapped, tunnel_ends, tunnel_errors
from lvsha.trace.world import Found, World, flags_of, name, service_text, vip_text


def unreachable(world: World, talk: Conversation) -> Iterator[Found]:
    """ICMP names the fault; the error of a tunnel's end comes before the director's own."""
    if talk.outcome not in (Outcome.UNREACHABLE, Outcome.REFUSED, Outcome.UNANSWERED):
        return
    errors = [
        (place, packet)
        for place, packet in talk.errors + tunnel_errors(world, talk)
        if packet.icmp is not None and is_unreachable(packet.icmp, packet.protocol)
    ]
    errors.sort(key=lambda each: not (each[1].icmp and each[1].icmp.quoted and is_wrapped(each[1], talk)))
    for place, packet in errors:
        assert packet.icmp is not None, "only those were taken"
        said = f"{icmp_text(packet.icmp, packet.protocol)}, {world.frame(packet, place)}"
        sender = world.hosts.of(packet.source_mac)
        if is_wrapped(packet, talk):
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
                f"{name(sender)} has the service {service_text(talk)} and nobody to give it to: no"
                " realserver, weight 0 everywhere, or quorum lost"
            )
            yield ALL_WEIGHTS_ZERO, text, said, sender


def refused(world: World, talk: Conversation) -> Iterator[Found]:
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
        text = f"{name(sender)} answers with RST itself: {service_text(talk)} is no virtual service there"
        yield NO_VIRTUAL_SERVICE, text, evidence, sender


def past_director(world: World, talk: Conversation) -> Iterator[Found]:
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
        evidence = f"{flags_of(way)} from {endpoint_text(first.source)}, {world.sight(way)}"
        if target is talk.client_host or (len(path) > 1 and path[-1] is talk.client_host):
            told = [packet for _, packet in world.gathered.redirects if world.receiver(packet) is server]
            asked = service_text(talk) if first.source != talk.virtual else "another one"
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


def not_passed_on(world: World, talk: Conversation) -> Iterator[Found]:
    """The answer comes to the director, and goes no further."""
    director = talk.director_host
    if director is None or talk.is_well or not world.hosts.is_listened_to(director):
        return
    answers = [way for way in talk.answers if nodes(way, world.hosts)[0] is talk.server_host]
    if not answers or any(reached(way, world.hosts) is not director for way in answers):
        return
    evidence = f"{flags_of(answers[0])} to {name(director)}, {world.sight(answers[0])}"
    if talk.method is Method.NAT:
        text = f"{name(director)} gets the answers and does not pass them on: it does not forward"
        yield NO_IP_FORWARD, text, evidence, director
    elif talk.method in (Method.DR, Method.TUNNEL):
        text = (
            f"{name(talk.server_host)} answers through {name(director)}, which drops packets that come from"
            " an address of its own"
        )
        yield ANSWERS_THROUGH_DIRECTOR, text, evidence, talk.server_host


def silent(world: World, talk: Conversation) -> Iterator[Found]:
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
    if last is talk.server_host and any(source == virtual for source, _ in tunnel_ends(talk)):
        text = (
            f"{name(talk.director_host)} wraps under the virtual address {vip_text(talk)}, which {name(last)}"
            " has itself: it drops packets from an address of its own"
        )
        yield TUNNEL_SOURCE_IS_VIP, text, evidence, talk.director_host
    elif last is talk.server_host and talk.method in (Method.DR, Method.TUNNEL):
        text = f"{name(last)} gets the packets and does not answer: it does not have {vip_text(talk)}"
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


def unfinished(world: World, talk: Conversation) -> Iterator[Found]:
    """There is an answer, and no connection comes of it."""
    if talk.outcome is not Outcome.NOT_ESTABLISHED or talk.first_answer is None:
        return
    way = talk.first_answer
    last = reached(way, world.hosts)
    evidence = f"{flags_of(way)}, last seen in {world.sight(way, -1)}"
    if last is talk.client_host and last is not None:
        text = f"{name(last)} gets the answer and does not go on"
        yield NO_ANSWER, text, evidence, last
    else:
        text = f"the answer goes to {name(last)}, and is not seen again"
        yield NO_ANSWER, text, evidence, last


def _target(talk: Conversation) -> str:
    """Where the service has to listen."""
    if talk.method is Method.NAT and talk.realserver is not None:
        return endpoint_text(talk.realserver)
    return service_text(talk)
