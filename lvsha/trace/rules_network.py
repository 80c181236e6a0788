"""Findings that concern no one connection: who has an address, and who tells of other ways."""

from collections import Counter, defaultdict
from collections.abc import Iterator

from lvsha.trace.catalogue import (
    ADDRESS_CONFLICT,
    ICMP_REDIRECTS,
    NO_VIP_HOLDER,
    REALSERVER_ANSWERS_ARP,
)
from lvsha.trace.hosts import Host
from lvsha.trace.packet import Packet, address_text, icmp_text
from lvsha.trace.world import Finding, World, name


def neighbours(world: World) -> Iterator[Finding]:
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


def redirects(world: World) -> Iterator[Finding]:
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
