"""VRRP as it is on the wire, and whether the neighbours follow it."""

from collections.abc import Iterator
from ipaddress import IPv4Address
from itertools import combinations, permutations

from lvsha.doctor import catalogue
from lvsha.doctor.catalogue import Kind
from lvsha.doctor.facts import ExpectedRouter, Facts, HeardAdvert
from lvsha.doctor.firewall import Packet
from lvsha.doctor.scene import Finding, Scene
from lvsha.wire.vrrp import GROUP_IPV4, IP_PROTOCOL, TTL


def check(scene: Scene) -> Iterator[Finding]:
    said: set[object] = set()
    for host in (*scene.directors, *(each for each in scene.hosts if each not in scene.directors)):
        for key, finding in _heard(host):
            if key not in said:  # all machines of one network hear the same
                said.add(key)
                yield finding
    for director in scene.directors:
        yield from _as_configured(director)
        yield from _filtered(scene, director)
    for sender, receiver in permutations(scene.directors, 2):
        yield from _arrives(sender, receiver)
    for host in scene.hosts:
        yield from _neighbours(scene, host)


def _text(advert: HeardAdvert) -> str:
    addresses = ", ".join(map(str, advert.addresses[:3]))
    return f"{advert.source} (VRID {advert.vrid}, version {advert.version}, {addresses})"


def _heard(host: Facts) -> Iterator[tuple[object, Finding]]:
    """What adverts alone tell: who is MASTER of what, and why two are."""
    lasting = [advert for advert in host.adverts if advert.count > 1 and advert.priority]

    def found(kind: Kind, evidence: str, *sources: object) -> tuple[object, Finding]:
        return (kind.id, frozenset(sources)), Finding(kind=kind, host=host.host, evidence=evidence)

    for advert in host.adverts:
        if advert.is_multicast and not advert.is_own and advert.ttl != TTL:
            yield found(catalogue.VRRP_TTL, f"{_text(advert)} arrives with TTL {advert.ttl}", advert.source)
    for one, other in combinations(lasting, 2):
        if one.source == other.source or one.interface != other.interface:
            continue
        if one.last < other.first or other.last < one.first:
            continue  # one after the other: a takeover
        both, sources = f"{_text(one)} and {_text(other)}", (one.source, other.source)
        shared = set(one.addresses) & set(other.addresses)
        if one.vrid != other.vrid:
            if shared:
                yield found(catalogue.OTHER_VRID, both, *sources)
            continue
        if not shared:
            yield found(catalogue.VRID_CLASH, both, *sources)
            continue
        yield found(catalogue.TWO_MASTERS, both, *sources)
        if one.version != other.version:
            yield found(catalogue.OTHER_VERSION, both, *sources)
            continue
        if one.interval_cs != other.interval_cs:
            intervals = f"{one.interval_cs / 100:g} s and {other.interval_cs / 100:g} s"
            yield found(catalogue.OTHER_INTERVAL, f"{both}: {intervals}", *sources)
        if (one.auth_type, one.auth_group) != (other.auth_type, other.auth_group):
            yield found(catalogue.OTHER_PASSWORD, f"{both}: not the same authentication", *sources)


def _as_configured(host: Facts) -> Iterator[Finding]:
    """Others' adverts against this machine's configuration file."""

    def found(kind: Kind, advert: HeardAdvert, router: ExpectedRouter, what: str) -> Finding:
        evidence = f"heard {_text(advert)}; the configuration of VRID {router.vrid} here: {what}"
        return Finding(kind=kind, host=host.host, evidence=evidence)

    for router in host.routers:
        for advert in host.adverts:
            if advert.is_own or advert.interface != router.interface:
                continue
            shared = set(advert.addresses) & set(router.addresses)
            if advert.vrid != router.vrid:
                if shared:
                    yield found(catalogue.OTHER_VRID, advert, router, "the same addresses")
            elif not shared:
                addresses = ", ".join(map(str, router.addresses[:3]))
                yield found(catalogue.VRID_CLASH, advert, router, addresses)
            elif advert.version != router.version:
                yield found(catalogue.OTHER_VERSION, advert, router, f"version {router.version}")
            elif advert.interval_cs != router.interval_cs:
                text = f"every {router.interval_cs / 100:g} s, not {advert.interval_cs / 100:g} s"
                yield found(catalogue.OTHER_INTERVAL, advert, router, text)


def _filtered(scene: Scene, host: Facts) -> Iterator[Finding]:
    """Adverts that arrive at the interface and are dropped behind it."""
    interfaces = {advert.interface for advert in host.adverts if advert.is_multicast}
    interfaces |= {router.interface for router in host.routers if not router.peers}
    for interface in sorted(interfaces):
        source = next(
            (each.source for each in host.adverts if each.interface == interface and not each.is_own), None
        )
        packet = Packet(protocol=IP_PROTOCOL, destination=GROUP_IPV4, source=source, interface=interface)
        if drop := scene.drop(host, packet):
            yield Finding(kind=catalogue.FIREWALL_DROPS, host=host.host, evidence=str(drop))


def _arrives(sender: Facts, receiver: Facts) -> Iterator[Finding]:
    own = {each.address for each in sender.addresses}
    if not receiver.listened_s or any(advert.source in own for advert in receiver.adverts):
        return
    for advert in sender.adverts:
        theirs = set(sender.networks_on(advert.interface))
        near = any(theirs & set(receiver.networks_on(link.name)) for link in receiver.links if link.is_up)
        if advert.is_own and advert.is_multicast and advert.count > 1 and near:
            yield Finding(
                kind=catalogue.MULTICAST_LOST,
                host=receiver.host,
                evidence=f"{sender.host} sent {advert.count} adverts of VRID {advert.vrid} on"
                f" {advert.interface} in {sender.listened_s:.0f} s, none came here",
            )
            return


def _neighbours(scene: Scene, host: Facts) -> Iterator[Finding]:
    """Whose MAC this machine has for a virtual address, against who has the address."""
    servers = {link.mac for each in scene.realservers for link in each.links}
    vips = [*scene.vips, *(answers.address for answers in host.arp)]
    for vip in dict.fromkeys(vips):
        if not isinstance(vip, IPv4Address) or host.has(vip):
            continue
        holders = scene.holders(vip)
        right = {link.mac for holder in holders for link in holder.links if link.mac}
        if not right:
            right = {mac for answers in host.arp if answers.address == vip for mac in answers.macs}
        for neighbour in host.neighbours:
            if right and neighbour.address == vip and neighbour.mac not in right | servers:
                yield Finding(
                    kind=catalogue.GARP_NOT_TAKEN,
                    host=host.host,
                    evidence=f"{vip} is at {neighbour.mac} for {host.host}, and really at"
                    f" {', '.join(sorted(right))}",
                )
