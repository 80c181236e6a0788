"""The director's side: forwarding, no redirects, filters that let answers through, and masquerading for
what the realservers themselves ask for.

Source: ip-sysctl (ip_forward, send_redirects, rp_filter). The order matters: ``ip_forward`` puts
other settings of every interface back to a router's defaults.
"""

from lvsha.config.settings import Settings
from lvsha.core.addr import Address
from lvsha.ipvs.model import ForwardingMethod
from lvsha.realserver.model import Machine, Network, Plan, Role, Step, setting, sysctl_step, table_step
from lvsha.realserver.plan import roles_of

MASQUERADE_TABLE = "lvsha-masquerade"


def make_director_plan(settings: Settings, machine: Machine, *, masquerades: bool = True) -> Plan:
    """What a director lacks for the realservers of its file; IPVS itself is the agent's."""
    everybody = {
        realserver.destination.address for service in settings.services for realserver in service.realservers
    }
    roles = roles_of(settings, everybody)
    rewritten = [role for role in roles if role.destination.method is ForwardingMethod.MASQ]
    steps: list[Step] = []
    notes: list[str] = []
    for version, name in ((4, "net.ipv4.ip_forward"), (6, "net.ipv6.conf.all.forwarding")):
        if any(role.own_address.version == version for role in rewritten):
            steps.append(
                sysctl_step(name, "1", machine, "NAT rewrites packets, the kernel has to pass them on")
            )
            if version == 6:
                notes.append(
                    "a router takes no router advertisements: if this machine's own default route comes"
                    " from one, set net.ipv6.conf.INTERFACE.accept_ra = 2"
                )
    steps += _no_redirects(rewritten, machine)
    steps += _loose_filters(settings, roles, machine)
    if masquerades and rewritten:
        steps += _masquerade(rewritten, machine, notes)
    return Plan(roles=roles, steps=tuple(steps), notes=tuple(dict.fromkeys(notes)))


def _towards(address: Address, machine: Machine) -> tuple[Network, str] | None:
    """Our network and interface with this realserver on the link."""
    return next(
        (
            (network, machine.addresses[own])
            for own, network in machine.networks.items()
            if network.version == address.version
            and address in network
            and network.prefixlen < network.max_prefixlen
        ),
        None,
    )


def _no_redirects(roles: list[Role], machine: Machine) -> list[Step]:
    near = [
        found
        for role in roles
        if role.own_address.version == 4 and (found := _towards(role.own_address, machine))
    ]
    interfaces = sorted({interface for _, interface in near})
    return [
        sysctl_step(
            setting(4, place, "send_redirects"),
            "0",
            machine,
            "a realserver that learns of a shorter way to the client answers past the director",
        )
        for place in (("all", *interfaces) if interfaces else ())
    ]


def _loose_filters(settings: Settings, roles: tuple[Role, ...], machine: Machine) -> list[Step]:
    """Only where a strict filter is in force: the higher of ``all`` and the interface counts."""
    interfaces = {router.interface for router in settings.routers if router.interface is not None}
    interfaces |= {found[1] for role in roles if (found := _towards(role.own_address, machine))}
    steps = []
    for interface in sorted(interfaces):
        name = setting(4, interface, "rp_filter")
        values = [machine.sysctls.get(each, "0") for each in (setting(4, "all", "rp_filter"), name)]
        step = sysctl_step(
            name, "2", machine, "a strict filter drops clients whose answers leave by another interface"
        )
        if max(values) == "1" or step.is_done:
            steps.append(step)
    return steps


def _masquerade(roles: list[Role], machine: Machine, notes: list[str]) -> list[Step]:
    """What realservers ask for by themselves leaves with the director's address; IPVS's answers have the
    virtual one already when they come here."""
    members: dict[Network, set[Address]] = {}
    for role in roles:
        if found := _towards(role.own_address, machine):
            members.setdefault(found[0], set()).add(role.own_address)
        else:
            notes.append(
                f"{role.own_address} is in no network of this machine: nothing is masqueraded for it"
            )
    lines, by_hand = [], []
    for network in sorted(members, key=lambda each: (each.version, each)):
        family, iptables = ("ip", "iptables") if network.version == 4 else ("ip6", "ip6tables")
        hosts = sorted(members[network], key=int)
        named = str(hosts[0]) if len(hosts) == 1 else f"{{ {', '.join(map(str, hosts))} }}"
        lines.append(f"{family} saddr {named} {family} daddr != {network} masquerade")
        by_hand.append(
            f"{iptables} -t nat -A POSTROUTING -s {','.join(map(str, hosts))} ! -d {network} -j MASQUERADE"
        )
    if not lines:
        return []
    if not machine.has_nft:
        notes += [f"nft is not here; masquerade by hand: {line}" for line in by_hand]
        return []
    body = (
        "chain postrouting { type nat hook postrouting priority srcnat; policy accept; "
        + "; ".join(lines)
        + "; }"
    )
    return [
        table_step(
            MASQUERADE_TABLE,
            body,
            machine,
            "masquerade what the realservers ask for",
            "behind NAT they reach other networks only with the director's address",
        )
    ]
