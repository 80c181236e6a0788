"""What was seen on one machine, as values. ``gather`` fills them, the checks read nothing else.

They travel as JSON between machines (``lvsha doctor --facts``), so everything here is plain,
and nothing is secret: a VRRP password becomes the number of a group of equal ones.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network

from lvsha.core.addr import Address
from lvsha.ipvs.model import Daemon, ForwardingMethod, Timeouts, TunnelFlags, TunnelType

Network = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """An interface."""

    name: str
    mac: str = ""
    mtu: int = 1500
    is_up: bool = True
    """Set up, and connected."""
    kind: str = ""
    """``ipip``, ``gre``, ``dummy`` ...; empty: a device."""
    checks_sums: bool = False
    """GRE: ``icsum``, takes only packets with a checksum."""
    checksum_errors: int = 0
    """GRE: packets that were dropped for their checksum, or for having one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnAddress:
    interface: str
    address: Address
    prefix_length: int
    is_host_scope: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    network: Network
    interface: str
    gateway: Address | None = None
    """None: on the link itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbour:
    interface: str
    address: Address
    mac: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """A TCP socket that listens, or a UDP socket."""

    protocol: int
    address: Address
    """Unspecified: all addresses (``::`` takes IPv4 too, unless it was told not to)."""
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A destination of a service."""

    address: Address
    port: int
    method: ForwardingMethod
    weight: int = 1
    tun_type: TunnelType = TunnelType.IPIP
    tun_port: int = 0
    tun_flags: TunnelFlags = TunnelFlags.NOCSUM
    active: int = 0
    inactive: int = 0
    persistent: int = 0

    @property
    def keeps_address(self) -> bool:
        """Packets reach it addressed to the virtual address: DR and tunnels."""
        return self.method in (ForwardingMethod.DROUTE, ForwardingMethod.TUNNEL)


@dataclass(frozen=True, slots=True, kw_only=True)
class VirtualService:
    """A service of the kernel's table, or one that should be."""

    protocol: int
    address: Address | None
    """None: a firewall mark."""
    port: int = 0
    fwmark: int = 0
    scheduler: str = ""
    persistence_s: int | None = None
    servers: tuple[Server, ...] = ()

    def __str__(self) -> str:
        if self.address is None:
            return f"FWM {self.fwmark}"
        name = {6: "TCP", 17: "UDP", 132: "SCTP"}.get(self.protocol, str(self.protocol))
        host = str(self.address) if self.address.version == 4 else f"[{self.address}]"
        return f"{name} {host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ArpAnswers:
    """Who answered the question who has ``address``; this machine itself never does."""

    interface: str
    address: Address
    macs: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """What came back for one UDP datagram to a port at which nobody should listen."""

    target: Address
    port: int
    size: int
    """Of the IP packet; sent with DF."""
    ttl: int
    outcome: str
    """``arrived``, ``expired`` (TTL), ``too_big``, ``refused`` or ``silence``; see ``io.path_probe``."""
    reporter: Address | None = None
    """Who sent the ICMP message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeardAdvert:
    """Adverts that are alike, while we listened."""

    interface: str
    source: Address
    is_own: bool
    is_multicast: bool
    ttl: int
    version: int
    vrid: int
    interval_cs: int
    addresses: tuple[Address, ...]
    auth_type: int = 0
    auth_group: int = 0
    """Equal passwords have equal numbers; says nothing about the password."""
    priority: int = 0
    """Of the last."""
    count: int = 1
    first: int = 0
    """Which of all adverts on this interface was the first of these, and which the last."""
    last: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class HeardSync:
    """Sync messages that are alike, while we listened."""

    interface: str
    source: Address
    is_own: bool
    group: Address
    port: int
    syncid: int
    version: int
    longest: int
    count: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedRouter:
    """A virtual router of the configuration file."""

    interface: str
    vrid: int
    version: int
    interval_cs: int
    addresses: tuple[Address, ...]
    peers: tuple[Address, ...] = ()
    """Of unicast; empty: multicast."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentView:
    """What the lvsha agent here says of itself."""

    quorum_lost: tuple[str, ...] = ()
    """One line for each service that has lost it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Everything that was seen on one machine."""

    host: str
    role: str = "auto"
    kernel: tuple[int, int] = (0, 0)
    blind_spots: tuple[tuple[str, str], ...] = ()
    """What could not be looked at, and why."""
    links: tuple[Link, ...] = ()
    addresses: tuple[OwnAddress, ...] = ()
    routes: tuple[Route, ...] = ()
    """On-link networks and default routes."""
    redirected: tuple[tuple[Address, Address], ...] = ()
    """Destination and gateway, as ICMP redirects have put them into the route cache."""
    neighbours: tuple[Neighbour, ...] = ()
    listeners: tuple[Listener, ...] | None = None
    """None: not seen."""
    clients: tuple[Address, ...] = ()
    """Some that use the services here, or were named."""
    sysctls: tuple[tuple[str, str], ...] = ()
    modules: tuple[str, ...] = ()
    """Loaded; of those that IPVS and tunnels have."""
    missing_modules: tuple[str, ...] = ()
    """Wanted by the configuration, and not to be had."""
    nft: str = ""
    """``nft -j list ruleset``; empty: no rules."""
    iptables: str = ""
    """``iptables-legacy-save``; empty: not in use."""
    reverse_path_drops: int = 0
    """The counter IPReversePathFilter."""
    has_ip_vs: bool = False
    services: tuple[VirtualService, ...] = ()
    expected: tuple[VirtualService, ...] = ()
    """From a configuration file or the command line."""
    routers: tuple[ExpectedRouter, ...] = ()
    daemons: tuple[Daemon, ...] = ()
    timeouts: Timeouts | None = None
    fou_ports: tuple[int, ...] = ()
    arp: tuple[ArpAnswers, ...] = ()
    probes: tuple[Probe, ...] = ()
    listened_s: float = 0.0
    adverts: tuple[HeardAdvert, ...] = ()
    sync: tuple[HeardSync, ...] = ()
    agent: AgentView | None = None

    def sysctl(self, name: str, default: str = "0") -> str:
        return dict(self.sysctls).get(name, default)

    def number(self, name: str, default: int = 0) -> int:
        text = self.sysctl(name, str(default)).split()
        return int(text[0]) if text and text[0].lstrip("-").isdigit() else default

    def interface_number(self, interface: str, name: str) -> int:
        """An IPv4 setting of which the higher counts, of all interfaces and of this one."""
        return max(
            self.number(f"net.ipv4.conf.all.{name}"),
            self.number(f"net.ipv4.conf.{interface.replace('.', '/')}.{name}"),
        )

    def link(self, name: str) -> Link | None:
        return next((link for link in self.links if link.name == name), None)

    def has(self, address: Address) -> bool:
        return any(own.address == address for own in self.addresses)

    def interface_of(self, address: Address) -> str | None:
        return next((own.interface for own in self.addresses if own.address == address), None)

    def route_to(self, address: Address) -> Route | None:
        """The longest prefix; rules and metrics are not looked at."""
        found = [route for route in self.routes if address in route.network]
        return max(found, key=lambda route: route.network.prefixlen, default=None)

    def networks_on(self, interface: str) -> Sequence[Network]:
        """What is on the link, without host routes."""
        return [
            route.network
            for route in self.routes
            if route.interface == interface
            and route.gateway is None
            and 0 < route.network.prefixlen < route.network.max_prefixlen
        ]
