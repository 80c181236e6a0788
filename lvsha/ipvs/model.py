"""The kernel's IPVS tables as values.

Names are the kernel's (``include/uapi/linux/ip_vs.h``). What the kernel only
reports (counters, rates) lives in the ``*State`` records; what an operator may
write lives in ``Service`` and ``Destination``, so that *desired equals actual*
is plain equality of records. ``lvsha.io.ipvs_codec`` turns them into generic
netlink and back.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum, IntFlag, StrEnum
from typing import NamedTuple

from lvsha.core.addr import AF_INET, AF_INET6, Address, address_family, endpoint_text
from lvsha.core.machine import Action


class Protocol(IntEnum):
    """Transport protocols that have virtual services."""

    TCP = 6
    UDP = 17
    SCTP = 132


class ForwardingMethod(IntEnum):
    """How packets reach a destination; the operator's words are nat, tun and dr."""

    MASQ = 0
    LOCALNODE = 1
    TUNNEL = 2
    DROUTE = 3
    BYPASS = 4
    # The kernel takes these three and then has no way to send.
    RESERVED_5 = 5
    RESERVED_6 = 6
    RESERVED_7 = 7


class TunnelType(IntEnum):
    """What wraps a packet on its way to a TUNNEL destination."""

    IPIP = 0
    GUE = 1
    GRE = 2


class TunnelFlags(IntFlag):
    """Checksums of GUE and GRE."""

    NOCSUM = 0
    CSUM = 1
    REMCSUM = 2


class ServiceFlags(IntFlag):
    """What an operator may set. PERSISTENT is ``persistence_timeout_s``, HASHED the kernel's own."""

    NONE = 0
    ONE_PACKET = 0x04
    SCHED_1 = 0x08
    """sh-fallback, mh-fallback: try another server when the hashed one is down."""
    SCHED_2 = 0x10
    """sh-port, mh-port: hash the client's port as well."""
    SCHED_3 = 0x20


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceKey:
    """What identifies a virtual service: an address and port, or a firewall mark."""

    family: int
    """``AF_INET`` or ``AF_INET6``."""
    protocol: int = 0
    """A ``Protocol``; 0 when the service is a firewall mark."""
    address: Address | None = None
    port: int = 0
    fwmark: int = 0
    """0: the service is an address."""

    @classmethod
    def of(cls, protocol: int, address: Address, port: int) -> "ServiceKey":
        """The key of an address service."""
        return cls(family=address_family(address), protocol=protocol, address=address, port=port)

    @classmethod
    def of_fwmark(cls, fwmark: int, family: int = AF_INET) -> "ServiceKey":
        """The key of a firewall-mark service."""
        assert family in (AF_INET, AF_INET6), "a firewall mark has a family"
        return cls(family=family, fwmark=fwmark)

    def __str__(self) -> str:
        if self.address is None:
            return f"FWM {self.fwmark}" if self.family == AF_INET else f"FWM {self.fwmark} IPv6"
        try:
            protocol = Protocol(self.protocol).name
        except ValueError:
            protocol = f"IP{self.protocol}"
        return f"{protocol} {endpoint_text(self.address, self.port)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """One virtual service as an operator writes it."""

    key: ServiceKey
    scheduler: str = "wlc"
    """The kernel's name; ``"none"`` takes the scheduler away."""
    flags: ServiceFlags = ServiceFlags.NONE
    persistence_timeout_s: int | None = None
    """None: not persistent."""
    netmask: int | None = None
    """Which clients stick together: an IPv4 mask as a number (0xFFFFFF00), an IPv6 prefix
    length. None: each client alone."""
    pe_name: str | None = None
    """Persistence engine, ``"sip"``."""


def netmask_of_prefix(family: int, length: int) -> int | None:
    """``Service.netmask`` of a prefix length in bits; None for the whole address.

    Raises:
        ValueError: the length does not fit the family, or is 0.
    """
    bits = 32 if family == AF_INET else 128
    if not 1 <= length <= bits:
        raise ValueError(f"prefix length {length} is outside 1-{bits}")
    if length == bits:
        return None
    return (0xFFFFFFFF << (32 - length)) & 0xFFFFFFFF if family == AF_INET else length


DestinationKey = tuple[Address, int]
"""Address and port: what identifies a destination within its service."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """One realserver of a service as an operator writes it."""

    address: Address
    port: int
    """0 in a service of port 0 (and by custom of a firewall mark): the port stays the client's."""
    method: ForwardingMethod = ForwardingMethod.DROUTE
    weight: int = 1
    """0: no new connections, the old ones go on."""
    upper_threshold: int = 0
    """Connections at which no new one comes; 0: no limit."""
    lower_threshold: int = 0
    """Connections at which they come again."""
    tun_type: TunnelType = TunnelType.IPIP
    tun_port: int = 0
    """UDP port of GUE."""
    tun_flags: TunnelFlags = TunnelFlags.NOCSUM

    @property
    def key(self) -> DestinationKey:
        return (self.address, self.port)

    def __str__(self) -> str:
        return endpoint_text(self.address, self.port)


class Stats(NamedTuple):
    """Counters since the last zeroing, and the kernel's rates per second. (A tuple: a dump has thousands.)"""

    connections: int = 0
    in_packets: int = 0
    out_packets: int = 0
    in_bytes: int = 0
    out_bytes: int = 0
    connection_rate: int = 0
    in_packet_rate: int = 0
    out_packet_rate: int = 0
    in_byte_rate: int = 0
    out_byte_rate: int = 0


NO_STATS = Stats()


@dataclass(slots=True, kw_only=True)
class DestinationState:
    """A destination as the kernel reports it. (Not frozen: that doubles the time of a dump.)"""

    destination: Destination
    active: int = 0
    """Connections in a state that counts as active."""
    inactive: int = 0
    persistent: int = 0
    """Persistence templates."""
    stats: Stats = NO_STATS


@dataclass(slots=True, kw_only=True)
class ServiceState:
    """A service as the kernel reports it, with its destinations in the kernel's order."""

    service: Service
    stats: Stats = NO_STATS
    destinations: dict[DestinationKey, DestinationState] = field(default_factory=dict)


Table = dict[ServiceKey, ServiceState]
"""What the kernel holds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DesiredService:
    """A service as it should be. Destinations left out should not exist; no two have one key."""

    service: Service
    destinations: tuple[Destination, ...] = ()


DesiredTable = Mapping[ServiceKey, DesiredService]
"""What the kernel should hold of ours."""


class DaemonRole(StrEnum):
    """A kernel sync daemon's role; one of each may run in a network namespace."""

    MASTER = "master"
    BACKUP = "backup"


@dataclass(frozen=True, slots=True, kw_only=True)
class Daemon:
    """A kernel sync daemon. None asks the kernel for its default; a dump always has values."""

    role: DaemonRole
    interface: str
    syncid: int
    """0-255. A backup with 0 takes every cluster's messages."""
    maxlen: int | None = None
    """UDP payload in bytes: 1,472 for a master; what the interface takes for a backup."""
    group: Address | None = None
    """224.0.0.81."""
    port: int | None = None
    """8848."""
    ttl: int | None = None
    """1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """How long an idle connection is kept, seconds. 0 in a request leaves one as it is."""

    tcp_s: int = 0
    tcp_fin_s: int = 0
    udp_s: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Info:
    """What the kernel's IPVS is."""

    version: tuple[int, int, int]
    """1.2.1 since 2005."""
    table_size: int
    """Buckets of the connection table."""


# What can be done to the table. Each is one netlink request, and tells itself in words.


@dataclass(frozen=True, slots=True)
class AddService(Action):
    """Fails with EEXIST when it is there, ENOENT when the scheduler or engine is no module here."""

    service: Service

    def __str__(self) -> str:
        return f"add service {self.service.key}"


@dataclass(frozen=True, slots=True)
class EditService(Action):
    """Everything but the key is replaced; counters and destinations stay."""

    service: Service

    def __str__(self) -> str:
        return f"edit service {self.service.key}"


@dataclass(frozen=True, slots=True)
class RemoveService(Action):
    """Its destinations go with it; its connections stay until they expire."""

    key: ServiceKey

    def __str__(self) -> str:
        return f"remove service {self.key}"


@dataclass(frozen=True, slots=True)
class AddDestination(Action):
    """Fails with EEXIST when it is there, ESRCH when the service is not."""

    key: ServiceKey
    destination: Destination

    def __str__(self) -> str:
        return f"add destination {self.destination} to {self.key}"


@dataclass(frozen=True, slots=True)
class EditDestination(Action):
    """Everything but address and port is replaced; connections stay."""

    key: ServiceKey
    destination: Destination

    def __str__(self) -> str:
        return f"edit destination {self.destination} of {self.key}"


@dataclass(frozen=True, slots=True)
class RemoveDestination(Action):
    """Connections to it stay in the table; see ``expire_nodest_conn``."""

    key: ServiceKey
    destination: DestinationKey

    def __str__(self) -> str:
        return f"remove destination {endpoint_text(*self.destination)} of {self.key}"


Operation = AddService | EditService | RemoveService | AddDestination | EditDestination | RemoveDestination
"""What ``plan`` returns and ``IpvsSocket.apply`` does."""
