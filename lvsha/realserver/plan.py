"""What a realserver needs, worked out from the directors' configuration file and what the machine is now.

Sources: ip-sysctl (arp_ignore, arp_announce, rp_filter), the LVS-HOWTO's chapters on the
ARP problem, LVS-NAT and LVS-Tun.

The order matters: a kernel that holds a virtual address before ``arp_ignore`` is set
answers for it, and takes traffic away from the director at once.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from lvsha.config.settings import ServiceSettings, Settings
from lvsha.core.addr import Address
from lvsha.ipvs.model import Destination, ForwardingMethod, TunnelType

_ARP_SETTINGS = {"arp_ignore": "1", "arp_announce": "2"}


class StepKind(StrEnum):
    """What a step touches."""

    SYSCTL = "sysctl"
    ADDRESS = "address"
    LINK = "link"
    ROUTE = "route"
    MODULE = "module"


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
    links: Collection[str] = ()
    default_gateway: Address | None = None
    default_interface: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """One service that this machine does the work of."""

    service: str
    address: Address
    """The virtual one."""
    port: int
    own_address: Address
    own_port: int
    destination: Destination


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Steps in their order, and what an operator has to know beside them."""

    roles: tuple[Role, ...]
    steps: tuple[Step, ...]
    notes: tuple[str, ...] = ()


def roles_of(settings: Settings, own: Collection[Address]) -> tuple[Role, ...]:
    """The services in which one of ``own`` is a realserver. A firewall mark has no address of its own:
    the addresses of the services and routers of the file stand in for it."""
    roles = []
    for service in settings.services:
        for realserver in service.realservers:
            destination = realserver.destination
            if destination.address not in own:
                continue
            for address, port in _virtual(service, settings):
                roles.append(
                    Role(
                        service=service.name,
                        address=address,
                        port=port,
                        own_address=destination.address,
                        own_port=destination.port or port,
                        destination=destination,
                    )
                )
    return tuple(roles)


def _virtual(service: ServiceSettings, settings: Settings) -> Iterator[tuple[Address, int]]:
    key = service.service.key
    if key.address is not None:
        yield key.address, key.port
        return
    version = 4 if key.family == 2 else 6
    for router in settings.routers:
        for prefix in router.addresses:
            if prefix.version == version:
                yield prefix.ip, 0


def sysctls_of(interfaces: Iterable[str]) -> tuple[str, ...]:
    """The settings that a plan may look at."""
    names = [
        f"net.ipv4.conf.{place}.{name}" for place in ("all", "lo", *interfaces) for name in _ARP_SETTINGS
    ]
    tunnels = [f"net.ipv4.conf.{place}.rp_filter" for place in ("all", *_TUNNEL_DEVICES.values())]
    return (*names, *tunnels)


def make_plan(settings: Settings, machine: Machine) -> Plan:
    """Everything that this machine lacks, and what it has already."""
    roles = roles_of(settings, machine.addresses)
    direct = [role for role in roles if role.destination.method is ForwardingMethod.DROUTE]
    tunnelled = [role for role in roles if role.destination.method is ForwardingMethod.TUNNEL]
    rewritten = [role for role in roles if role.destination.method is ForwardingMethod.MASQ]
    steps: list[Step] = []
    notes: list[str] = []
    if tunnelled:
        steps += _tunnels(tunnelled, machine, notes)
    if any(role.address.version == 4 for role in (*direct, *tunnelled)):
        steps += _quiet(direct + tunnelled, machine)
    steps += _addresses(direct + tunnelled, machine)
    if rewritten:
        steps += _routes(rewritten, settings, machine, notes)
    _check_ports(direct + tunnelled, notes)
    return Plan(roles=roles, steps=tuple(steps), notes=tuple(dict.fromkeys(notes)))


# --- direct routing -----------------------------------------------------------------------------------


def _quiet(roles: list[Role], machine: Machine) -> list[Step]:
    """No word about the virtual addresses on any network."""
    interfaces = sorted({machine.addresses[role.own_address] for role in roles} - {"lo"})
    return [
        _sysctl(
            f"net.ipv4.conf.{place}.{name}",
            value,
            machine,
            "only the director may answer ARP for the virtual address"
            if name == "arp_ignore"
            else "ARP requests of this machine must not carry the virtual address",
        )
        for place in ("all", "lo", *interfaces)
        for name, value in _ARP_SETTINGS.items()
    ]


def _sysctl(name: str, value: str, machine: Machine, reason: str) -> Step:
    before = machine.sysctls.get(name)
    return Step(
        kind=StepKind.SYSCTL,
        what=f"{name} = {value}",
        command=("sysctl", "-q", "-w", f"{name}={value}"),
        undo=None if before is None else ("sysctl", "-q", "-w", f"{name}={before}"),
        reason=reason,
        is_done=before == value,
    )


def _addresses(roles: list[Role], machine: Machine) -> list[Step]:
    steps = []
    for address in dict.fromkeys(role.address for role in roles):
        prefix = f"{address}/{address.max_prefixlen}"
        extra = ("scope", "host") if address.version == 4 else ("nodad",)
        steps.append(
            Step(
                kind=StepKind.ADDRESS,
                what=f"{prefix} on lo",
                command=("ip", f"-{address.version}", "address", "replace", prefix, "dev", "lo", *extra),
                undo=("ip", f"-{address.version}", "address", "del", prefix, "dev", "lo"),
                reason="packets arrive with the virtual address, and the answer leaves with it",
                is_done=machine.addresses.get(address) == "lo",
            )
        )
    return steps


def _check_ports(roles: list[Role], notes: list[str]) -> None:
    for role in roles:
        if role.port and role.own_port != role.port:
            notes.append(
                f"{role.service}: without NAT nobody changes the port; listen on {role.port}, not"
                f" {role.own_port}"
            )


# --- tunnels ------------------------------------------------------------------------------------------

_TUNNEL_DEVICES = {TunnelType.IPIP: "tunl0", TunnelType.GRE: "lvs-gre", TunnelType.GUE: "tunl0"}


def _tunnels(roles: list[Role], machine: Machine, notes: list[str]) -> list[Step]:
    steps: list[Step] = []
    kinds = {
        (role.destination.tun_type, role.destination.tun_port, role.own_address.version) for role in roles
    }
    for kind, port, version in sorted(kinds):
        if version == 6:
            steps += _up("ip6_tunnel", "ip6tnl0", machine)
            continue
        if kind is TunnelType.GRE:
            steps.append(
                Step(
                    kind=StepKind.LINK,
                    what="lvs-gre, a GRE tunnel from anywhere",
                    command=("ip", "link", "add", "lvs-gre", "type", "gre", "local", "any", "remote", "any"),
                    undo=("ip", "link", "del", "lvs-gre"),
                    reason="unwraps what the director sends",
                    is_done="lvs-gre" in machine.links,
                )
            )
        else:
            if kind is TunnelType.GUE:
                steps.append(_module("fou"))
                steps.append(
                    Step(
                        kind=StepKind.LINK,
                        what=f"UDP port {port} is GUE",
                        command=("ip", "fou", "add", "port", str(port), "gue"),
                        undo=("ip", "fou", "del", "port", str(port)),
                        reason="unwraps what the director sends; open the port in the firewall",
                    )
                )
            steps.append(_module("ipip"))
        device = _TUNNEL_DEVICES[kind]
        steps += _link_up(device)
        steps.append(
            _sysctl(
                f"net.ipv4.conf.{device}.rp_filter",
                "2",
                machine,
                "a client's packet comes out of the tunnel, its answer goes elsewhere: strict filters drop"
                " it",
            )
        )
    notes.append(
        "wrapped packets are 20 to 32 bytes longer: raise the MTU between director and realserver, or"
        " clamp the MSS"
        " of the realserver's answers (nft ... tcp option maxseg size set 1420)"
    )
    return steps


def _module(name: str) -> Step:
    return Step(
        kind=StepKind.MODULE,
        what=f"module {name}",
        command=("modprobe", name),
        undo=None,
        reason="the kernel's side of the tunnel",
    )


def _up(module: str, device: str, machine: Machine) -> list[Step]:
    return [_module(module), *_link_up(device)]


def _link_up(device: str) -> list[Step]:
    return [
        Step(
            kind=StepKind.LINK,
            what=f"{device} is up",
            command=("ip", "link", "set", device, "up"),
            undo=("ip", "link", "set", device, "down"),
            reason="a tunnel that is down takes nothing",
        )
    ]


# --- NAT ----------------------------------------------------------------------------------------------


def _routes(roles: list[Role], settings: Settings, machine: Machine, notes: list[str]) -> list[Step]:
    """Answers have to come back through the director, which rewrites them."""
    steps: list[Step] = []
    for own in dict.fromkeys(role.own_address for role in roles):
        gateway = _gateway(own, settings, [role.address for role in roles])
        if gateway is None:
            notes.append(
                f"{own}: no [[vrrp]] has an address that could be its gateway and is not a service's own:"
                " add an"
                " inner virtual address, or answers go past the director when it changes"
            )
            continue
        version = f"-{own.version}"
        before = machine.default_gateway
        steps.append(
            Step(
                kind=StepKind.ROUTE,
                what=f"default route through {gateway}",
                command=("ip", version, "route", "replace", "default", "via", str(gateway)),
                undo=("ip", version, "route", "del", "default", "via", str(gateway))
                if before is None
                else ("ip", version, "route", "replace", "default", "via", str(before)),
                reason="answers must pass the director, which gives them the virtual address back",
                is_done=before == gateway,
            )
        )
        notes.append(
            "clients on the realservers' own network get their answers directly, with the wrong address:"
            " there,"
            " delete the route to that network here, and set net.ipv4.conf.*.send_redirects = 0 on the"
            " directors"
        )
    return steps


def _gateway(own: Address, settings: Settings, services: list[Address]) -> Address | None:
    """The address of a router in the realserver's network; one that serves nobody if there is a choice."""
    found = [
        prefix.ip
        for router in settings.routers
        for prefix in (*router.addresses, *router.excluded_addresses)
        if prefix.version == own.version
        and own in prefix.network
        and prefix.network.prefixlen < own.max_prefixlen
    ]
    return next((address for address in found if address not in services), found[0] if found else None)


# --- text ---------------------------------------------------------------------------------------------


def as_interfaces(plan: Plan) -> str:
    """Lines for /etc/network/interfaces, below the stanza of lo."""
    lines = [f"    up {' '.join(step.command)}" for step in plan.steps]
    lines += [f"    down {' '.join(step.undo)}" for step in reversed(plan.steps) if step.undo is not None]
    return "\n".join(["auto lo", "iface lo inet loopback", *lines]) + "\n"


def as_sysctl(plan: Plan) -> str:
    """Lines for /etc/sysctl.d."""
    lines = [step.what for step in plan.steps if step.kind is StepKind.SYSCTL]
    return "\n".join(lines) + "\n" if lines else ""


def as_networkd(plan: Plan) -> str:
    """A systemd-networkd file for lo; the settings of ``as_sysctl`` have to stand before it."""
    prefixes = [step.what.removesuffix(" on lo") for step in plan.steps if step.kind is StepKind.ADDRESS]
    blocks = ["[Match]\nName=lo\n"]
    for prefix in prefixes:
        scope = "Scope=host\n" if ":" not in prefix else "DuplicateAddressDetection=none\n"
        blocks.append(f"[Address]\nAddress={prefix}\n{scope}")
    return "\n".join(blocks)
