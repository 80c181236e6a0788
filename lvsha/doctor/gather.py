"""Looks at this machine, and changes nothing.

Every source may fail for itself (no right, no program, no module): then it is a blind spot,
and the others go on. Everything is bounded: programs in time and output, tables in rows,
probes in number. What it sends: ARP probes (IPv6: neighbour solicitations) for virtual addresses,
and single UDP datagrams to realservers and clients.
"""

import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any, Final, TypeVar

from lvsha.core.addr import Address
from lvsha.core.errors import LvshaError
from lvsha.doctor import programs
from lvsha.doctor.facts import (
    AgentView,
    ArpAnswers,
    ExpectedRouter,
    Facts,
    Link,
    Listener,
    Neighbour,
    OwnAddress,
    Probe,
    Route,
    Server,
    VirtualService,
)
from lvsha.doctor.listen import Ear
from lvsha.doctor.programs import run, run_ip
from lvsha.io.ipvs_genl import IpvsSocket
from lvsha.io.neighbour_probe import who_has
from lvsha.io.path_probe import Outcome, probe_path
from lvsha.io.procfs import parse_connections, socket_address
from lvsha.io.sysctl import ROOT, read_sysctl
from lvsha.ipvs.model import Daemon, ForwardingMethod, ServiceState, Timeouts, TunnelType

T = TypeVar("T")

MAX_ROWS: Final = 4096
MAX_PROBES: Final = 16
MAX_CLIENTS: Final = 16
MAX_INTERFACES: Final = 64
ARP_WAIT_S: Final = 0.4
PROBE_PORT: Final = 33434
"""Where traceroute begins: nobody listens there."""

NET: Final = Path("/proc/thread-self/net")
_TCP, _UDP = 6, 17
_TCP_LISTEN, _TCP_ESTABLISHED = "0A", "01"

_VS: Final = (
    "backup_only",
    "conn_reuse_mode",
    "conntrack",
    "expire_nodest_conn",
    "expire_quiescent_template",
    "pmtu_disc",
    "sync_version",
)
_PER_INTERFACE: Final = ("send_redirects", "rp_filter", "arp_ignore", "arp_announce")
_GLOBAL: Final = (
    "net.ipv4.ip_forward",
    "net.ipv6.conf.all.forwarding",
    "net.netfilter.nf_conntrack_count",
    "net.netfilter.nf_conntrack_max",
)
_MODULES: Final = ("ip_vs", "ip_vs_ftp", "ipip", "ip_gre", "fou", "nf_conntrack")


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What to look at."""

    host: str
    role: str = "auto"
    vips: tuple[Address, ...] = ()
    clients: tuple[Address, ...] = ()
    expected: tuple[VirtualService, ...] = ()
    routers: tuple[ExpectedRouter, ...] = ()
    listen_s: float = 4.0
    """How long to listen for VRRP and sync; 0: not at all."""
    status: Callable[[], Any] | None = field(default=None, repr=False)
    """Asks the agent here; raises LvshaError where none answers."""


_FAILURES: Final = (LvshaError, OSError, ValueError, KeyError, TypeError, AttributeError)
"""The later ones: programs and files of other versions may say other things; the rest is seen."""


class _Look:
    """Tries, and notes what could not be seen."""

    def __init__(self) -> None:
        self.blind_spots: list[tuple[str, str]] = []

    def rows(self, what: str, look: Callable[[], Iterable[T]]) -> tuple[T, ...]:
        """As far as they come."""
        found: list[T] = []
        try:
            for row in islice(look(), MAX_ROWS):
                found.append(row)
        except _FAILURES as error:
            self._note(what, error)
        return tuple(found)

    def value(self, what: str, look: Callable[[], T]) -> T | None:
        try:
            return look()
        except _FAILURES as error:
            self._note(what, error)
        return None

    def _note(self, what: str, error: Exception) -> None:
        said = str(error) if isinstance(error, LvshaError) else f"{type(error).__name__}: {error}"
        self.blind_spots.append((what, said))


def gather(order: Order) -> Facts:
    """Everything that can be seen here; takes ``listen_s``, or a few seconds more with many probes."""
    look = _Look()
    # Before our own packets change neighbours and route cache.
    seen = look.value("interfaces and routes", _iproute) or _Iproute()
    links, addresses = seen.links, seen.addresses
    wired = [link.name for link in links if link.is_up and (link.mac or link.kind) and link.name != "lo"]
    wired = wired[:MAX_INTERFACES]
    has_ip_vs = (NET / "ip_vs").exists()  # asking the kernel for IPVS would load it
    ipvs = (look.value("IPVS", _ipvs) if has_ip_vs else None) or _Ipvs()
    ear = Ear(wired, order.listen_s, [daemon.port for daemon in ipvs.daemons if daemon.port])
    sockets = look.value("sockets", lambda: _sockets(ipvs.services, order))
    clients = (*order.clients, *(sockets.peers if sockets else ()))
    clients = clients or look.rows("connections", _connection_clients)
    clients = tuple(dict.fromkeys(clients))[:MAX_CLIENTS]
    vips = dict.fromkeys([*order.vips, *(each.address for each in ipvs.services if each.address)])
    own = {each.address for each in addresses}
    others = [client for client in clients if client not in own]
    facts = Facts(
        host=order.host,
        role=order.role,
        kernel=_kernel(),
        links=links,
        addresses=addresses,
        routes=seen.routes,
        redirected=seen.redirected,
        neighbours=seen.neighbours,
        listeners=sockets.listeners if sockets else None,
        clients=clients,
        sysctls=tuple(_sysctls(["all", *wired])),
        modules=tuple(name for name in _MODULES if Path("/sys/module", name).exists()),
        missing_modules=look.rows("modules", lambda: _missing_modules(order)),
        nft=look.value("nftables", _nft) or "",
        iptables=look.value("iptables", _iptables) or "",
        reverse_path_drops=look.value("counters", _reverse_path_drops) or 0,
        has_ip_vs=has_ip_vs,
        services=ipvs.services,
        expected=order.expected,
        routers=order.routers,
        daemons=ipvs.daemons,
        timeouts=ipvs.timeouts,
        fou_ports=look.rows("fou", _fou_ports) if Path("/sys/module/fou").exists() else (),
        arp=look.rows("ARP", lambda: _arp(vips, links, addresses)),
        probes=look.rows("probes", lambda: _probes(ipvs.services, links, addresses, others)),
        agent=_agent(order, look),
    )
    adverts, sync = ear.hear()
    blind = (*look.blind_spots, *(("listening", why) for why in ear.refused))
    return replace(facts, blind_spots=blind, listened_s=ear.seconds, adverts=adverts, sync=sync)


def _kernel() -> tuple[int, int]:
    major, minor, *_ = os.uname().release.split(".")
    return int(major), int("".join(char for char in minor if char.isdigit()))


# --- tables -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ipvs:
    services: tuple[VirtualService, ...] = ()
    daemons: tuple[Daemon, ...] = ()
    timeouts: Timeouts | None = None


def _ipvs() -> _Ipvs:
    with IpvsSocket() as ipvs:
        return _Ipvs(
            services=tuple(virtual_service(state) for state in islice(ipvs.table().values(), MAX_ROWS)),
            daemons=tuple(ipvs.daemons()),
            timeouts=ipvs.timeouts(),
        )


def virtual_service(state: ServiceState) -> VirtualService:
    """What the kernel holds, as facts have it."""
    key = state.service.key
    return VirtualService(
        protocol=key.protocol,
        address=key.address,
        port=key.port,
        fwmark=key.fwmark,
        scheduler=state.service.scheduler,
        persistence_s=state.service.persistence_timeout_s,
        servers=tuple(
            Server(
                address=found.destination.address,
                port=found.destination.port,
                method=found.destination.method,
                weight=found.destination.weight,
                tun_type=found.destination.tun_type,
                tun_port=found.destination.tun_port,
                tun_flags=found.destination.tun_flags,
                active=found.active,
                inactive=found.inactive,
                persistent=found.persistent,
            )
            for found in state.destinations.values()
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Iproute:
    links: tuple[Link, ...] = ()
    addresses: tuple[OwnAddress, ...] = ()
    neighbours: tuple[Neighbour, ...] = ()
    routes: tuple[Route, ...] = ()
    redirected: tuple[tuple[Address, Address], ...] = ()


def _iproute() -> _Iproute:
    """Of routes, on-link networks and default routes only: a router may have a million others."""
    links, addresses, neighbours, near, default, cache = run_ip(
        ["link", "address", "neigh", "route show scope link", "route show default", "route show cache"],
        *("-d", "-s", "-s"),
    )
    (default_6,) = run_ip(["route show default"], "-6")
    routes = [*programs.routes(near, 4), *programs.routes(default, 4), *programs.routes(default_6, 6)]
    return _Iproute(
        links=programs.links(links),
        addresses=programs.addresses(addresses),
        neighbours=tuple(islice(programs.neighbours(neighbours), MAX_ROWS)),
        routes=tuple(routes[:MAX_ROWS]),
        redirected=tuple(islice(programs.redirected(cache), MAX_ROWS)),
    )


def _sysctls(interfaces: Iterable[str]) -> Iterator[tuple[str, str]]:
    names = [*_GLOBAL, *(f"net.ipv4.vs.{name}" for name in _VS)]
    for interface in interfaces:
        names += [f"net.ipv4.conf.{interface.replace('.', '/')}.{name}" for name in _PER_INTERFACE]
    for name in names:
        try:
            yield name, read_sysctl(name, root=ROOT)
        except (LvshaError, ValueError):
            continue  # not in this kernel, or its module is not loaded


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sockets:
    listeners: tuple[Listener, ...]
    peers: tuple[Address, ...]
    """Some who talk to virtual addresses."""


def _sockets(services: Iterable[VirtualService], order: Order) -> _Sockets:
    listeners: dict[Listener, None] = {}
    peers: dict[Address, None] = {}
    vips = {*order.vips, *(service.address for service in (*services, *order.expected) if service.address)}
    for name, protocol in (("tcp", _TCP), ("tcp6", _TCP), ("udp", _UDP), ("udp6", _UDP)):
        path = NET / name
        if not path.exists():
            continue
        with path.open() as file:
            for line in islice(file, 1, 16 * MAX_ROWS):
                _, local, remote, state, _ = line.split(maxsplit=4)
                host, _, port = local.partition(":")
                address = socket_address(host)
                if state == _TCP_LISTEN or protocol == _UDP:
                    listeners[Listener(protocol=protocol, address=address, port=int(port, 16))] = None
                elif state == _TCP_ESTABLISHED and address in vips and len(peers) < MAX_CLIENTS:
                    peers[socket_address(remote.partition(":")[0])] = None
    return _Sockets(listeners=tuple(islice(listeners, MAX_ROWS)), peers=tuple(peers))


def _connection_clients() -> tuple[Address, ...]:
    """Of the first rows of the table: one page costs nothing, all of them may cost seconds."""
    path = NET / "ip_vs_conn"
    if not path.exists():
        return ()
    with path.open("rb") as file:
        rows = parse_connections(islice(file, 1 + 2 * MAX_CLIENTS))
        return tuple(dict.fromkeys(row.caddr for row in rows if row.protocol in (_TCP, _UDP)))[:MAX_CLIENTS]


def _reverse_path_drops() -> int:
    names, values = [
        line.split() for line in (NET / "netstat").read_text().splitlines() if line.startswith("TcpExt:")
    ]
    return int(dict(zip(names, values, strict=True)).get("IPReversePathFilter", 0))


def _missing_modules(order: Order) -> Iterator[str]:
    """Of schedulers that the configuration names; modprobe is asked what it would do."""
    for scheduler in sorted({service.scheduler for service in order.expected} - {"", "none"}):
        module = f"ip_vs_{scheduler}"
        if Path("/sys/module", module).exists():
            continue
        try:
            run("modprobe", "-n", "-q", module)
        except LvshaError:
            yield module


def _fou_ports() -> list[int]:
    (rows,) = run_ip(["fou show"])
    (rows_6,) = run_ip(["fou show"], "-6") if Path("/sys/module/fou6").exists() else ([],)
    return [row["port"] for row in (*rows, *rows_6)]


def _nft() -> str:
    """Only where nftables is there: asking would load it."""
    if not _is_there("nf_tables"):
        return ""
    text = run("nft", "-j", "list", "ruleset")
    return text if '"chain"' in text else ""


def _is_there(module: str) -> bool:
    """Loaded, or a part of the kernel: of that only its list tells, or that it has no modules at all."""
    if Path("/sys/module", module).exists() or not Path("/proc/modules").exists():
        return True
    try:
        built_in = Path("/lib/modules", os.uname().release, "modules.builtin").read_text()
    except OSError:
        return False
    return f"/{module}.ko" in built_in


def _iptables() -> str:
    """Only where the old tables are in use: asking would load them."""
    names = NET / "ip_tables_names"
    if not names.exists() or "filter" not in names.read_text().split():
        return ""
    return run("iptables-legacy-save", "-t", "filter")


# --- packets ------------------------------------------------------------------------------------------


def _arp(
    vips: Iterable[Address], links: tuple[Link, ...], addresses: tuple[OwnAddress, ...]
) -> Iterator[ArpAnswers]:
    """Asks on each interface that has an address in the virtual one's network; IPv6 by solicitation."""
    macs = {link.name: link.mac for link in links if link.mac and link.is_up}
    asked = 0
    for vip in vips:
        near = {
            own.interface
            for own in addresses
            if own.interface in macs and own.prefix_length < vip.max_prefixlen and _is_near(vip, own)
        }
        for interface in sorted(near):
            if asked >= MAX_PROBES:
                return
            asked += 1
            mac = bytes.fromhex(macs[interface].replace(":", ""))
            answers = who_has(interface, mac, vip, ARP_WAIT_S)
            yield ArpAnswers(interface=interface, address=vip, macs=answers)


def _is_near(vip: Address, own: OwnAddress) -> bool:
    if vip.version != own.address.version:
        return False
    shift = vip.max_prefixlen - own.prefix_length
    return int(vip) >> shift == int(own.address) >> shift


def _probes(
    services: Iterable[VirtualService],
    links: tuple[Link, ...],
    addresses: tuple[OwnAddress, ...],
    clients: Iterable[Address],
) -> Iterator[Probe]:
    """Down each tunnel in full size, at each GUE port; and one hop towards clients."""
    own = {each.address for each in addresses}
    mtu = {each.address: link.mtu for each in addresses for link in links if link.name == each.interface}
    tunnels = {
        (server.address, server.tun_port if server.tun_type is TunnelType.GUE else 0)
        for service in services
        for server in service.servers
        if server.method is ForwardingMethod.TUNNEL and server.address not in own
    }
    for target, port in islice(sorted(tunnels, key=str), MAX_PROBES):
        size = min((mtu[each.address] for each in addresses if _is_near(target, each)), default=1500)
        for length in (64, min(size, 9000)):
            yield _probe(target, PROBE_PORT, size=length)
        if port:
            yield _probe(target, port)
    for client in islice(clients, 2):
        yield _probe(client, PROBE_PORT, ttl=1)


def _probe(target: Address, port: int, *, size: int = 64, ttl: int = 64) -> Probe:
    outcome, reporter = probe_path(target, port, size=size, ttl=ttl)
    if outcome is Outcome.SILENCE:  # a lost packet, or the target's limit of ICMP errors
        time.sleep(0.05)
        outcome, reporter = probe_path(target, port, size=size, ttl=ttl)
    return Probe(target=target, port=port, size=size, ttl=ttl, outcome=str(outcome), reporter=reporter)


# --- the agent ----------------------------------------------------------------------------------------


def _agent(order: Order, look: _Look) -> AgentView | None:
    """None: no agent answers; that it should is for ``lvsha status`` to say."""
    if order.status is None:
        return None
    try:
        status = order.status()
    except LvshaError:
        return None
    return look.value("the agent's status", lambda: agent_view(status))


def agent_view(status: Any) -> AgentView:
    """What ``lvsha status --json`` says of services."""
    lost = [service for service in status["services"] if not service["quorum_met"]]
    return AgentView(
        quorum_lost=tuple(
            f"{service['name']}: weight {service['alive_weight']} is alive, its quorum is {service['quorum']}"
            for service in lost
        )
    )
