"""NAT, routes and filters: does a packet get to the realserver, and its answer back through the director?"""

from collections.abc import Iterator

from lvsha.core.addr import Address
from lvsha.doctor import catalogue
from lvsha.doctor.facts import Facts, Network, Server, VirtualService
from lvsha.doctor.firewall import Packet
from lvsha.doctor.scene import Finding, Scene
from lvsha.ipvs.model import ForwardingMethod, TunnelType

_IPIP, _UDP, _GRE = 4, 17, 47


def check(scene: Scene) -> Iterator[Finding]:
    for director in scene.directors:
        yield from _director(scene, director)
    for realserver in scene.realservers:
        for service, server in scene.work_of(realserver):
            if server.method is ForwardingMethod.MASQ:
                yield from _nat_realserver(scene, realserver, service)
        for destination, gateway in realserver.redirected:
            yield Finding(
                kind=catalogue.REDIRECTED_ROUTE,
                host=realserver.host,
                evidence=f"{destination} goes through {gateway}, says an ICMP redirect{_hops(realserver)}",
            )
    yield from _reverse_path(scene)
    yield from _firewalls(scene)


def _hops(host: Facts) -> str:
    """The hop test: through the director a client is two hops away."""
    for probe in host.probes:
        if probe.ttl == 1 and probe.outcome == "arrived":
            return f"; {probe.target} is one hop away, it should be two through the director"
        if probe.ttl == 1 and probe.outcome == "expired":
            return f"; the first hop to {probe.target} is {probe.reporter}"
    return ""


def _director(scene: Scene, director: Facts) -> Iterator[Finding]:
    natted = [
        (service, server)
        for service in director.services
        for server in service.servers
        if server.method is ForwardingMethod.MASQ and not director.has(server.address)
    ]
    for version, name in ((4, "net.ipv4.ip_forward"), (6, "net.ipv6.conf.all.forwarding")):
        through = [service for service, server in natted if server.address.version == version]
        if through and director.sysctl(name) == "0":
            yield Finding(
                kind=catalogue.NO_IP_FORWARD,
                host=director.host,
                evidence=f"{name} = 0; {through[0]} uses NAT",
            )
    for service, server in natted:
        if service.address is None or server.address.version != 4:
            continue
        outside, inside = director.route_to(service.address), director.route_to(server.address)
        if outside is None or inside is None or outside.interface != inside.interface:
            continue
        interface = inside.interface
        if director.interface_number(interface, "send_redirects"):
            yield Finding(
                kind=catalogue.ICMP_REDIRECTS,
                host=director.host,
                evidence=f"{interface} has both {service.address} and realserver {server.address}, and"
                f" net.ipv4.conf.all or .{interface}.send_redirects = 1",
            )


def _nat_realserver(scene: Scene, host: Facts, service: VirtualService) -> Iterator[Finding]:
    gateways = {
        own.address for director in scene.directors for own in director.addresses if own.interface != "lo"
    }
    if not gateways:
        return
    version = service.address.version if service.address else 4
    targets: list[Address] = [client for client in scene.clients if client.version == version]
    for client in targets:
        route = host.route_to(client)
        if route is not None and route.gateway is None:
            yield Finding(
                kind=catalogue.DIRECT_ROUTE_TO_CLIENT,
                host=host.host,
                evidence=f"client {client} is on the link: route {route.network} dev {route.interface}"
                + _hops(host),
            )
    wrong = _default(host, version)
    near = any(address in network for address in gateways for network in _near(host))
    if near and wrong not in gateways:
        said = f"is {wrong}" if wrong else "is missing"
        yield Finding(
            kind=catalogue.WRONG_DEFAULT_GATEWAY,
            host=host.host,
            evidence=f"its default gateway {said}; the director has"
            f" {', '.join(sorted(str(each) for each in gateways if each.version == version))}",
        )


def _near(host: Facts) -> list[Network]:
    return [route.network for route in host.routes if route.gateway is None and route.network.prefixlen]


def _default(host: Facts, version: int) -> Address | None:
    return next(
        (
            route.gateway
            for route in host.routes
            if route.network.prefixlen == 0 and route.network.version == version and route.gateway
        ),
        None,
    )


def _reverse_path(scene: Scene) -> Iterator[Finding]:
    for host in scene.realservers:
        for service, server in scene.work_of(host):
            if server.method is ForwardingMethod.TUNNEL and server.address.version == 4:
                for link in host.links:
                    if link.is_up and link.kind in ("ipip", "gre") and _is_receiver(link.kind, server):
                        yield from _filtered(scene, host, link.name, service)
            elif server.method is ForwardingMethod.DROUTE and (
                interface := host.interface_of(server.address)
            ):
                yield from _filtered(scene, host, interface, service, only_known=True)
    for host in scene.directors:
        for service in host.services:
            if service.address is not None and (interface := host.interface_of(service.address)):
                yield from _filtered(scene, host, interface, service, only_known=True)


def _is_receiver(kind: str, server: Server) -> bool:
    return (kind == "gre") == (server.tun_type is TunnelType.GRE)


def _filtered(
    scene: Scene, host: Facts, interface: str, service: VirtualService, *, only_known: bool = False
) -> Iterator[Finding]:
    """Whether a client's packet that comes in here would be dropped, for its answer leaves elsewhere."""
    value = host.interface_number(interface, "rp_filter")
    has_address = any(own.interface == interface and own.address.version == 4 for own in host.addresses)
    if interface == "lo" or value == 0 or (value != 1 and has_address):
        return  # on a device without an address, as a tunnel's, a loose filter drops as well
    elsewhere = [
        f"{client} by {route.interface}"
        for client in scene.clients
        if client.version == 4 and (route := host.route_to(client)) and route.interface != interface
    ]
    if not elsewhere and not only_known:
        elsewhere = [
            f"{route.network} by {route.interface}"
            for route in host.routes
            if route.network.prefixlen == 0 and route.network.version == 4 and route.interface != interface
        ]
    if elsewhere:
        yield Finding(
            kind=catalogue.RP_FILTER,
            host=host.host,
            evidence=f"packets for {service} come in by {interface}, where rp_filter = {value}; answers go to"
            f" {elsewhere[0]} (IPReversePathFilter = {host.reverse_path_drops})",
        )


# --- filters ------------------------------------------------------------------------------------------


def _firewalls(scene: Scene) -> Iterator[Finding]:
    client = next(iter(scene.clients), None)
    for host in scene.directors:
        for service in host.services:
            if service.address is not None and host.has(service.address) and service.port:
                yield from _dropped(
                    scene,
                    host,
                    Packet(
                        protocol=service.protocol,
                        destination=service.address,
                        port=service.port,
                        source=client if client and client.version == service.address.version else None,
                        interface=host.interface_of(service.address) or "",
                    ),
                )
    for host in scene.realservers:
        for service, server in scene.work_of(host):
            for packet in _packets_in(scene, host, service, server):
                yield from _dropped(scene, host, packet)


def _packets_in(scene: Scene, host: Facts, service: VirtualService, server: Server) -> Iterator[Packet]:
    own = next((each.address for each in host.addresses if each.address == server.address), None)
    interface = host.interface_of(own) if own else ""
    target = service.address if server.keeps_address else server.address
    if server.method is ForwardingMethod.TUNNEL and own is not None:
        kinds = {
            TunnelType.IPIP: (_IPIP, 0),
            TunnelType.GRE: (_GRE, 0),
            TunnelType.GUE: (_UDP, server.tun_port),
        }
        protocol, port = kinds[server.tun_type]
        yield Packet(protocol=protocol, destination=own, port=port, interface=interface or "")
        interface = ""
    if target is not None and server.port and not target.is_unspecified:
        port = service.port if server.keeps_address else server.port
        client = next((each for each in scene.clients if each.version == target.version), None)
        yield Packet(
            protocol=service.protocol, destination=target, port=port, source=client, interface=interface or ""
        )


def _dropped(scene: Scene, host: Facts, packet: Packet) -> Iterator[Finding]:
    if found := scene.drop(host, packet):
        yield Finding(kind=catalogue.FIREWALL_DROPS, host=host.host, evidence=str(found))
