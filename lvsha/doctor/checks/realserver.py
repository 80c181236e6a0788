"""Realservers of DR and tunnels: the virtual address, who answers for it, who listens on it."""

from collections.abc import Iterator

from lvsha.core.addr import Address
from lvsha.doctor import catalogue
from lvsha.doctor.facts import Facts, Server, VirtualService
from lvsha.doctor.scene import Finding, Scene
from lvsha.ipvs.model import ForwardingMethod, TunnelFlags, TunnelType

_RECEIVERS = {TunnelType.IPIP: ("ipip",), TunnelType.GRE: ("gre",), TunnelType.GUE: ("ipip", "fou")}


def check(scene: Scene) -> Iterator[Finding]:
    for host in scene.realservers:
        work = list(scene.work_of(host))
        for vip in dict.fromkeys(service.address for service, server in work if server.keeps_address):
            if vip is None:
                continue
            if not host.has(vip):
                services = ", ".join(str(service) for service, _ in work if service.address == vip)
                yield Finding(
                    kind=catalogue.VIP_MISSING_ON_LO, host=host.host, evidence=f"{vip} is nowhere; {services}"
                )
            elif vip.version == 4:
                yield from _arp(scene, host, vip)
            else:
                yield from _solicited(scene, host, vip)
        for service, server in work:
            yield from _listens(host, service, server)
            if server.method is ForwardingMethod.TUNNEL:
                yield from _tunnel(host, server)
    for director in scene.directors:
        yield from _answers(scene, director)
        yield from _down_the_tunnels(scene, director)


# --- ARP, and neighbour discovery ---------------------------------------------------------------------


def _arp(scene: Scene, host: Facts, vip: Address) -> Iterator[Finding]:
    """By the settings, unless packets have told already."""
    place = host.interface_of(vip)
    mine = {link.mac for link in host.links if link.mac}
    asked = [answers for director in scene.directors for answers in director.arp if answers.address == vip]
    if any(mine & set(answers.macs) for answers in asked):
        return  # the director that heard it says so
    for link in host.links:
        if not (link.mac and link.is_up and any(own.interface == link.name for own in host.addresses)):
            continue
        ignore = host.interface_number(link.name, "arp_ignore")
        if not asked and (ignore == 0 or (ignore in (1, 2) and place == link.name)):
            yield Finding(
                kind=catalogue.REALSERVER_ANSWERS_ARP,
                host=host.host,
                evidence=f"{vip} is on {place}, and arp_ignore = {ignore} on {link.name}",
            )
        elif place != link.name and host.interface_number(link.name, "arp_announce") < 2:
            yield Finding(
                kind=catalogue.REALSERVER_ANNOUNCES_VIP,
                host=host.host,
                evidence=f"{vip} is on {place}, and arp_announce ="
                f" {host.interface_number(link.name, 'arp_announce')} on {link.name}",
            )


def _solicited(scene: Scene, host: Facts, vip: Address) -> Iterator[Finding]:
    """IPv6 answers for an address on the interface that has it, and on no other: lo is silent by itself."""
    place = host.interface_of(vip)
    link = host.link(place) if place else None
    asked = any(answers.address == vip for director in scene.directors for answers in director.arp)
    if not asked and link is not None and link.mac and link.is_up:
        yield Finding(
            kind=catalogue.REALSERVER_ANSWERS_ARP,
            host=host.host,
            evidence=f"{vip} is on {place}, which answers neighbour solicitations for it",
        )


def _answers(scene: Scene, director: Facts) -> Iterator[Finding]:
    """What the questions of a director showed: a realserver's MAC, a stranger's, or nobody's."""
    macs = {neighbour.mac: neighbour.address for neighbour in director.neighbours}
    servers = {server.address for service in scene.services for server in service.servers}
    for answers in director.arp:
        vip = answers.address
        holders = scene.holders(vip)
        strangers = []
        for mac in answers.macs:
            owner = next((host for host in scene.hosts if any(link.mac == mac for link in host.links)), None)
            if owner in scene.realservers or macs.get(mac) in servers:
                who = owner.host if owner is not None else director.host
                yield Finding(
                    kind=catalogue.REALSERVER_ANSWERS_ARP,
                    host=who,
                    evidence=f"asked on {answers.interface} of {director.host}, {mac}"
                    f" ({macs.get(mac) or who}) answers for {vip}",
                )
            else:
                strangers.append((mac, owner))
        limit = 0 if director.has(vip) else 1
        if len(strangers) > limit:
            named = ", ".join(f"{mac} ({owner.host if owner else 'unknown'})" for mac, owner in strangers)
            said = f"{director.host} holds {vip}" if director.has(vip) else f"{director.host} asked for {vip}"
            yield Finding(
                kind=catalogue.ADDRESS_CONFLICT, host=director.host, evidence=f"{said}; answers: {named}"
            )
        elif not answers.macs and not holders:
            yield Finding(
                kind=catalogue.NO_VIP_HOLDER,
                host=director.host,
                evidence=f"nobody answers for {vip} on {answers.interface}",
            )


# --- the service --------------------------------------------------------------------------------------


def _listens(host: Facts, service: VirtualService, server: Server) -> Iterator[Finding]:
    if host.listeners is None or not service.port or service.protocol not in (6, 17):
        return
    if '"dnat"' in host.nft or '"redirect"' in host.nft:
        return  # a container's port: no socket of this namespace says anything
    address = service.address if server.keeps_address else server.address
    port = service.port if server.keeps_address else server.port
    if address is None or address.is_unspecified:
        return
    there = [each for each in host.listeners if each.protocol == service.protocol and each.port == port]
    if any(
        each.address == address
        or (each.address.is_unspecified and (each.address.version == address.version or address.version == 4))
        for each in there
    ):
        return
    if not host.has(address):
        return  # that says vip-missing-on-lo
    said = ", ".join(sorted({str(each.address) for each in there}))
    yield Finding(
        kind=catalogue.SERVICE_NOT_BOUND,
        host=host.host,
        evidence=f"nothing listens on {address} port {port}"
        + (f", only on {said}" if said else "")
        + f"; {service}",
    )


# --- tunnels ------------------------------------------------------------------------------------------


def _tunnel(host: Facts, server: Server) -> Iterator[Finding]:
    if server.address.version == 6:
        kinds: tuple[str, ...] = ("ip6tnl",)
    else:
        kinds = _RECEIVERS[server.tun_type]
    devices = [link for link in host.links if link.kind in kinds]
    if not any(link.is_up for link in devices):
        down = ", ".join(link.name for link in devices)
        yield Finding(
            kind=catalogue.TUNNEL_DEVICE_DOWN,
            host=host.host,
            evidence=f"{down} is down" if down else f"there is no {kinds[0]} device",
        )
    if server.tun_type is TunnelType.GUE and server.tun_port not in host.fou_ports:
        yield Finding(
            kind=catalogue.FOU_PORT_CLOSED,
            host=host.host,
            evidence=f"no fou receiver on UDP port {server.tun_port}",
        )
    if server.tun_type is TunnelType.GRE:
        has_sum = bool(server.tun_flags & TunnelFlags.CSUM)
        for link in devices:
            if link.is_up and link.checks_sums is not has_sum:
                yield Finding(
                    kind=catalogue.TUNNEL_CHECKSUM,
                    host=host.host,
                    evidence=f"the director sends {'with' if has_sum else 'without'} checksums,"
                    f" {link.name} wants {'them' if link.checks_sums else 'none'}"
                    f" ({link.checksum_errors} dropped)",
                )


def _down_the_tunnels(scene: Scene, director: Facts) -> Iterator[Finding]:
    """What the director's probes showed."""
    small = {probe.target for probe in director.probes if probe.size == 64 and probe.outcome == "arrived"}
    ports = {
        (server.address, server.tun_port)
        for service in director.services
        for server in service.servers
        if server.tun_type is TunnelType.GUE
    }
    for probe in director.probes:
        if probe.ttl == 1:
            continue
        if probe.size > 64 and probe.target in small and probe.outcome in ("silence", "too_big"):
            yield Finding(
                kind=catalogue.TUNNEL_MTU,
                host=director.host,
                evidence=f"{probe.size} bytes to {probe.target}: {probe.outcome}"
                + (f", says {probe.reporter}" if probe.reporter else "")
                + "; 64 bytes arrive",
            )
        is_port = (probe.target, probe.port) in ports
        if is_port and probe.outcome == "arrived" and scene.host_with(probe.target) is None:
            yield Finding(
                kind=catalogue.FOU_PORT_CLOSED,
                host=director.host,
                evidence=f"{probe.target} answers UDP port {probe.port} with port unreachable",
            )
