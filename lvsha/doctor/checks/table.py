"""What the kernel's tables and settings of a director say."""

from collections.abc import Iterator
from itertools import combinations

from lvsha.doctor import catalogue
from lvsha.doctor.facts import Facts, VirtualService
from lvsha.doctor.scene import Finding, Scene
from lvsha.ipvs.model import DaemonRole, ForwardingMethod

FTP = 21
BUSY_TABLE = 50_000
"""Connections from which on reading /proc/net/ip_vs_conn takes a third of a second (Linux 6.1)."""
FEW = 20
"""Connections below which one realserver's share says nothing."""


def check(scene: Scene) -> Iterator[Finding]:
    for director in scene.directors:
        if not director.has_ip_vs:
            yield Finding(
                kind=catalogue.NO_IP_VS_MODULE, host=director.host, evidence="/proc/net/ip_vs is not there"
            )
        for service in director.services:
            if service in scene.services:
                yield from _service(director, service)
        yield from _settings(director)
    for host in scene.hosts:
        if host.missing_modules:
            names = ", ".join(host.missing_modules)
            yield Finding(
                kind=catalogue.MODULE_MISSING, host=host.host, evidence=f"modprobe finds no {names}"
            )
        if host.agent is not None:
            for text in host.agent.quorum_lost:
                yield Finding(kind=catalogue.QUORUM_LOST, host=host.host, evidence=text)
    for one, other in combinations(scene.directors, 2):
        if one.timeouts and other.timeouts and one.timeouts != other.timeouts:
            yield Finding(
                kind=catalogue.TIMEOUTS_DIFFER,
                host=other.host,
                evidence=f"TCP, FIN, UDP: {_timeouts(one)} on {one.host}, {_timeouts(other)} on {other.host}",
            )


def _timeouts(host: Facts) -> str:
    found = host.timeouts
    return f"{found.tcp_s}, {found.tcp_fin_s}, {found.udp_s} s" if found else "unknown"


def _service(director: Facts, service: VirtualService) -> Iterator[Finding]:
    host = director.host
    if not service.servers:
        yield Finding(kind=catalogue.NO_DESTINATIONS, host=host, evidence=str(service))
    elif not any(server.weight for server in service.servers):
        yield Finding(
            kind=catalogue.ALL_WEIGHTS_ZERO,
            host=host,
            evidence=f"{service}: {len(service.servers)} realservers, all with weight 0",
        )
    for server in service.servers:
        if server.keeps_address and service.port and server.port != service.port:
            yield Finding(
                kind=catalogue.WRONG_PORT,
                host=host,
                evidence=f"{service} sends to {server.address} port {server.port}, without NAT",
            )
    yield from _persistence(director, service)
    yield from _ftp(director, service)


def _persistence(director: Facts, service: VirtualService) -> Iterator[Finding]:
    if service.persistence_s is None:
        return
    if not director.number("net.ipv4.vs.expire_quiescent_template"):
        for server in service.servers:
            if server.weight == 0 and server.persistent:
                yield Finding(
                    kind=catalogue.PERSISTENCE_PINNING,
                    host=director.host,
                    evidence=f"{service}: {server.address} has weight 0 and {server.persistent} templates"
                    " that still bring clients; expire_quiescent_template = 0",
                )
    counts = [(server.active + server.inactive, server) for server in service.servers]
    total = sum(count for count, _ in counts)
    templates = sum(server.persistent for server in service.servers)
    usable = sum(1 for server in service.servers if server.weight)
    most, favourite = max(counts, key=lambda each: each[0], default=(0, None))
    if favourite is not None and usable > 1 and total >= FEW and most >= 0.9 * total and templates <= 2:
        yield Finding(
            kind=catalogue.PERSISTENCE_PINNING,
            host=director.host,
            evidence=f"{service}: {most} of {total} connections are {favourite.address}'s, by {templates}"
            " templates",
        )


def _ftp(director: Facts, service: VirtualService) -> Iterator[Finding]:
    if service.protocol != 6 or service.port != FTP or service.persistence_s is not None:
        return
    methods = {server.method for server in service.servers}
    if ForwardingMethod.MASQ in methods and "ip_vs_ftp" not in director.modules:
        said = "NAT, and ip_vs_ftp is not loaded"
    elif ForwardingMethod.MASQ in methods and not director.number("net.ipv4.vs.conntrack"):
        said = "NAT, and ip_vs_ftp needs net.ipv4.vs.conntrack = 1"
    elif methods & {ForwardingMethod.DROUTE, ForwardingMethod.TUNNEL}:
        said = "no NAT and no persistence: passive connections go to any realserver, or to none"
    else:
        return
    yield Finding(kind=catalogue.FTP_NOT_HELPED, host=director.host, evidence=f"{service}: {said}")


def _settings(director: Facts) -> Iterator[Finding]:
    host = director.host
    roles = {daemon.role for daemon in director.daemons}
    needs_conntrack = any(
        service.port == FTP and any(server.method is ForwardingMethod.MASQ for server in service.servers)
        for service in director.services
    )
    if director.number("net.ipv4.vs.conntrack") and roles and not needs_conntrack:
        yield Finding(
            kind=catalogue.CONNTRACK_CLASH,
            host=host,
            evidence="net.ipv4.vs.conntrack = 1, and connections are synchronised",
        )
    limit = director.number("net.netfilter.nf_conntrack_max")
    count = director.number("net.netfilter.nf_conntrack_count")
    if limit and count >= 0.95 * limit:
        yield Finding(
            kind=catalogue.CONNTRACK_CLASH, host=host, evidence=f"{count} of {limit} entries are in use"
        )
    if director.number("net.ipv4.vs.expire_nodest_conn"):
        yield Finding(
            kind=catalogue.EXPIRE_NODEST_CONN, host=host, evidence="net.ipv4.vs.expire_nodest_conn = 1"
        )
    is_active = any(service.address and director.has(service.address) for service in director.services)
    if director.number("net.ipv4.vs.backup_only") and DaemonRole.BACKUP in roles and is_active:
        yield Finding(
            kind=catalogue.BACKUP_ONLY,
            host=host,
            evidence="net.ipv4.vs.backup_only = 1, a backup daemon runs, and the virtual address is here",
        )
    connections = sum(
        server.active + server.inactive for service in director.services for server in service.servers
    )
    if director.kernel < (6, 14) and connections >= BUSY_TABLE:
        yield Finding(
            kind=catalogue.OLD_KERNEL,
            host=host,
            evidence=f"Linux {director.kernel[0]}.{director.kernel[1]} with {connections} connections:"
            " `ipvsadm -Lc` takes quadratic time",
        )
    if (
        director.kernel < (5, 9)
        and director.number("net.ipv4.vs.conn_reuse_mode", 1) == 1
        and director.number("net.ipv4.vs.conntrack")
    ):
        yield Finding(
            kind=catalogue.OLD_KERNEL,
            host=host,
            evidence=f"Linux {director.kernel[0]}.{director.kernel[1]}, conn_reuse_mode = 1, conntrack = 1:"
            " a re-used port waits a second",
        )
