"""A realserver behind NAT: its answers have to come back through the director, which rewrites them.

With the virtual address in the realservers' own network (one-network NAT) clients may be in it
too, and the kernel would answer them directly, with an address that they never asked. There the
route to that network goes: only the directors stay on the link.
"""

from lvsha.config.settings import Settings
from lvsha.core.addr import Address
from lvsha.realserver.model import Machine, Network, Role, Step, StepKind, setting, sysctl_step


def nat_steps(roles: list[Role], settings: Settings, machine: Machine, notes: list[str]) -> list[Step]:
    steps: list[Step] = []
    for own in dict.fromkeys(role.own_address for role in roles):
        mine = [role for role in roles if role.own_address == own]
        gateway = gateway_of(own, settings, [role.address for role in mine])
        if gateway is None:
            notes.append(
                f"{own}: no [[vrrp]] has an address that could be its gateway and is not a service's own:"
                " add an inner virtual address, or answers go past the director when it changes"
            )
            continue
        network = machine.networks.get(own)
        has_one_network = network is not None and any(role.address in network for role in mine)
        if network is not None and has_one_network:
            interface = machine.addresses[own]
            steps += _no_redirects(own, interface, machine)
            steps += _directors(own, network, interface, gateway, settings, machine)
        steps.append(_default(own, gateway, machine))
        if network is not None and has_one_network:
            steps.append(_without_network(own, network, machine))
        else:
            notes.append(
                f"clients in the network of {own} get their answers directly, with the wrong address: keep"
                " them out of it, or delete the route to it here as for NAT in one network"
            )
    return list(dict.fromkeys(steps))


def gateway_of(own: Address, settings: Settings, services: list[Address]) -> Address | None:
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


def _default(own: Address, gateway: Address, machine: Machine) -> Step:
    version = f"-{own.version}"
    before = machine.gateways.get(own.version)
    return Step(
        kind=StepKind.ROUTE,
        what=f"default route through {gateway}",
        command=("ip", version, "route", "replace", "default", "via", str(gateway)),
        undo=("ip", version, "route", "del", "default", "via", str(gateway))
        if before is None
        else ("ip", version, "route", "replace", "default", "via", str(before)),
        reason="answers must pass the director, which gives them the virtual address back",
        is_done=before == gateway,
    )


# --- one network --------------------------------------------------------------------------------------


def _no_redirects(own: Address, interface: str, machine: Machine) -> list[Step]:
    """The kernel takes a redirect if ``all`` or the interface says so: both have to say no."""
    return [
        sysctl_step(
            setting(own.version, place, "accept_redirects"),
            "0",
            machine,
            "a director that says `there is a shorter way` must not be believed",
        )
        for place in ("all", interface)
    ]


def _directors(
    own: Address, network: Network, interface: str, gateway: Address, settings: Settings, machine: Machine
) -> list[Step]:
    """Host routes: the gateway, and each director, whose checks are answered directly."""
    near = [director.address for director in settings.directors if director.address is not None]
    steps = []
    for address in dict.fromkeys((gateway, *near)):
        if address.version != own.version or address not in network or address == own:
            continue
        host = f"{address}/{address.max_prefixlen}"
        version = f"-{own.version}"
        steps.append(
            Step(
                kind=StepKind.ROUTE,
                what=f"{host} on {interface}",
                command=("ip", version, "route", "replace", host, "dev", interface),
                undo=("ip", version, "route", "del", host, "dev", interface),
                reason="directors stay on the link",
                is_done=any(
                    route.prefixlen == route.max_prefixlen
                    and route.network_address == address
                    and device == interface
                    for route, device in machine.on_link
                ),
            )
        )
    return steps


def _without_network(own: Address, network: Network, machine: Machine) -> Step:
    interface = machine.addresses[own]
    words = ("ip", f"-{own.version}", "route")
    kernels = ("scope", "link", "src", str(own)) if own.version == 4 else ("metric", "256")
    return Step(
        kind=StepKind.ROUTE,
        what=f"no route to {network} on {interface}",
        command=(*words, "del", str(network), "dev", interface),
        undo=(*words, "replace", str(network), "dev", interface, "proto", "kernel", *kernels),
        reason="clients in this network must get their answers through the director as well",
        is_done=(network, interface) not in machine.on_link,
    )
