"""What a realserver needs, worked out from the directors' configuration file and what the machine is now.

Sources: ip-sysctl (arp_ignore, arp_announce, rp_filter), the LVS-HOWTO's chapters on the
ARP problem, LVS-NAT and LVS-Tun.

The order matters: a kernel that holds a virtual address before ``arp_ignore`` is set
answers for it, and takes traffic away from the director at once.
"""

from collections.abc import Collection, Iterable, Iterator

from lvsha.config.settings import ServiceSettings, Settings
from lvsha.core.addr import Address
from lvsha.ipvs.model import ForwardingMethod
from lvsha.realserver.model import Machine, Plan, Role, Step, StepKind, setting, sysctl_step
from lvsha.realserver.nat import nat_steps
from lvsha.realserver.tunnels import RECEIVERS, tunnel_steps

_ARP_SETTINGS = {"arp_ignore": "1", "arp_announce": "2"}
_NAT_SETTINGS = ("accept_redirects", "send_redirects", "rp_filter")


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
                        protocol=int(service.service.key.protocol or 0),
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
    interfaces = tuple(interfaces)
    names = ["net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"]
    for place in ("all", "lo", *interfaces):
        names += [setting(4, place, name) for name in (*_ARP_SETTINGS, *_NAT_SETTINGS)]
        names.append(setting(6, place, "accept_redirects"))
    return (
        *names,
        *(setting(4, device, "rp_filter") for device in RECEIVERS if device not in interfaces),
    )


def make_plan(settings: Settings, machine: Machine) -> Plan:
    """Everything that this machine lacks, and what it has already."""
    roles = roles_of(settings, machine.addresses)
    direct = [role for role in roles if role.destination.method is ForwardingMethod.DROUTE]
    tunnelled = [role for role in roles if role.destination.method is ForwardingMethod.TUNNEL]
    rewritten = [role for role in roles if role.destination.method is ForwardingMethod.MASQ]
    steps: list[Step] = []
    notes: list[str] = []
    if tunnelled:
        steps += tunnel_steps(tunnelled, machine, notes)
    if any(role.address.version == 4 for role in (*direct, *tunnelled)):
        steps += _quiet(direct + tunnelled, machine)
    steps += _addresses(direct + tunnelled, machine)
    if rewritten:
        steps += nat_steps(rewritten, settings, machine, notes)
    _check_ports(direct + tunnelled, notes)
    return Plan(roles=roles, steps=tuple(steps), notes=tuple(dict.fromkeys(notes)))


# --- direct routing -----------------------------------------------------------------------------------


def _quiet(roles: list[Role], machine: Machine) -> list[Step]:
    """No word about the virtual addresses on any network."""
    interfaces = sorted({machine.addresses[role.own_address] for role in roles} - {"lo"})
    return [
        sysctl_step(
            setting(4, place, name),
            value,
            machine,
            "only the director may answer ARP for the virtual address"
            if name == "arp_ignore"
            else "ARP requests of this machine must not carry the virtual address",
        )
        for place in ("all", "lo", *interfaces)
        for name, value in _ARP_SETTINGS.items()
    ]


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
