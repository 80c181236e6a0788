"""What a machine is, what has to change, and how each change is taken back. Pure records."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network

from lvsha.core.addr import Address
from lvsha.ipvs.model import Destination

Network = IPv4Network | IPv6Network


class StepKind(StrEnum):
    """What a step touches."""

    SYSCTL = "sysctl"
    ADDRESS = "address"
    LINK = "link"
    ROUTE = "route"
    MODULE = "module"
    FIREWALL = "firewall"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One change, with the one that takes it back."""

    kind: StepKind
    what: str
    """For people: ``net.ipv4.conf.all.arp_ignore = 1``."""
    command: tuple[str, ...]
    undo: tuple[str, ...] | None
    """None: nothing to take back (a module stays loaded)."""
    reason: str
    is_done: bool = False
    """The machine is so already: applying skips it, and undoing leaves it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What a machine is now; ``io`` reads it."""

    addresses: Mapping[Address, str]
    """Every local address and its interface."""
    sysctls: Mapping[str, str]
    """Those that ``sysctls_of`` names."""
    links: Mapping[str, int] = field(default_factory=dict)
    """Every interface and its MTU."""
    up: Collection[str] = ()
    """Those that are set up."""
    networks: Mapping[Address, Network] = field(default_factory=dict)
    """The network that each local address was given with."""
    on_link: Collection[tuple[Network, str]] = ()
    """Routes without a gateway, of the main table."""
    gateways: Mapping[int, Address] = field(default_factory=dict)
    """The default gateway by IP version."""
    modules: Collection[str] = ()
    """Loaded."""
    fou_ports: Collection[int] = ()
    nft_tables: Mapping[str, str] = field(default_factory=dict)
    """Our own tables, as ``nft list table`` prints them."""
    has_nft: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """One service that this machine does the work of."""

    service: str
    address: Address
    """The virtual one."""
    port: int
    protocol: int
    own_address: Address
    own_port: int
    destination: Destination


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Steps in their order, and what an operator has to know beside them."""

    roles: tuple[Role, ...]
    steps: tuple[Step, ...]
    notes: tuple[str, ...] = ()


def setting(version: int, interface: str, name: str) -> str:
    """Its name as sysctl(8) writes it: a dot of an interface is a slash."""
    return f"net.ipv{version}.conf.{interface.replace('.', '/')}.{name}"


def sysctl_step(name: str, value: str, machine: Machine, reason: str) -> Step:
    """Set it, and back to what it was."""
    before = machine.sysctls.get(name)
    return Step(
        kind=StepKind.SYSCTL,
        what=f"{name} = {value}",
        command=("sysctl", "-q", "-w", f"{name}={value}"),
        undo=None if before is None else ("sysctl", "-q", "-w", f"{name}={before}"),
        reason=reason,
        is_done=before == value,
    )


def table_step(name: str, body: str, machine: Machine, what: str, reason: str) -> Step:
    """A table of nftables that is ours alone, put in place at once, or taken away."""
    table = f"table inet {name} {{ {body}; }}"
    # Once created it can be deleted, whether it was there before or not.
    whole = f"add table inet {name}; delete table inet {name}; {table}"
    return Step(
        kind=StepKind.FIREWALL,
        what=what,
        command=("nft", whole),
        undo=("nft", f"delete table inet {name}"),
        reason=reason,
        is_done=_plain(machine.nft_tables.get(name, "")) == _plain(table),
    )


def _plain(text: str) -> str:
    return " ".join(text.replace(";", " ").split())
