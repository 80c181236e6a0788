"""The receiving end of a tunnel: what unwraps the packets, and segments short enough to be wrapped."""

from collections.abc import Iterator

from lvsha.core.addr import Address
from lvsha.ipvs.model import TunnelType
from lvsha.realserver.model import Machine, Role, Step, StepKind, setting, sysctl_step, table_step

_DEVICES = {"ipip": "tunl0", "sit": "sit0", "ip_gre": "gre0", "ip6_tunnel": "ip6tnl0", "ip6_gre": "ip6gre0"}
"""Each module's own device, which takes from anybody what no other device takes."""
_OWN = {"ipip": ("lvs-ipip", "ipip"), "sit": ("lvs-sit", "sit"), "ip_gre": ("lvs-gre", "gre")}
"""Where the module is loaded and its device is not there: a network namespace of a kernel with
``net.core.fb_tunnels_only_for_init_net``. Beside the module's own, the kernel refuses these."""
RECEIVERS = (*_DEVICES.values(), *(name for name, _ in _OWN.values()))

_ETHERNET = 1500
_TCP_AND_IP = {4: 40, 6: 60}
_OVERHEAD = {TunnelType.IPIP: 0, TunnelType.GRE: 8, TunnelType.GUE: 16}
"""Bytes beside the outer IP header, with the checksum that may be asked for."""

MSS_TABLE = "lvsha-mss"


def tunnel_steps(roles: list[Role], machine: Machine, notes: list[str]) -> list[Step]:
    steps: list[Step] = []
    kinds = {
        (role.destination.tun_type, role.destination.tun_port, role.own_address.version, role.address.version)
        for role in roles
    }
    for kind, port, outer, inner in sorted(kinds):
        if kind is TunnelType.GUE:
            steps += _gue(port, outer, machine)
        module = _receiver(kind, outer, inner)
        device = _DEVICES[module]
        steps.append(_module(module, machine))
        if module in _OWN and module in machine.modules and device not in machine.links:
            device, type_ = _OWN[module]
            steps.append(
                Step(
                    kind=StepKind.LINK,
                    what=f"{device}, a tunnel from anywhere",
                    command=("ip", "link", "add", device, "type", type_, "local", "any", "remote", "any"),
                    undo=("ip", "link", "del", device),
                    reason="unwraps what the director sends",
                    is_done=device in machine.links,
                )
            )
        steps.append(
            Step(
                kind=StepKind.LINK,
                what=f"{device} is up",
                command=("ip", "link", "set", device, "up"),
                undo=("ip", "link", "set", device, "down"),
                reason="a tunnel that is down takes nothing",
                is_done=device in machine.up,
            )
        )
        if inner == 4:
            steps += _unfiltered(device, machine)
    steps += _short_segments(roles, machine, notes)
    return list(dict.fromkeys(steps))


def _unfiltered(device: str, machine: Machine) -> list[Step]:
    """A client's packet comes out of the tunnel, its answer goes elsewhere.

    On a device without an address even a loose filter drops it, and the higher of ``all`` and the
    device counts: so ``all`` hands its value on to every other interface.
    """
    names = {place: setting(4, place, "rp_filter") for place in ("all", *sorted(machine.links))}
    everywhere = machine.sysctls.get(names["all"], "0")
    steps = []
    if everywhere != "0":
        for place in sorted(set(machine.links) - {"lo", *RECEIVERS}):
            if machine.sysctls.get(names[place], "0") < everywhere:
                steps.append(
                    sysctl_step(names[place], everywhere, machine, "as strict as it was, for `all` goes to 0")
                )
    reason = "what comes out of a tunnel is answered elsewhere: any filter here drops it"
    return [
        *steps,
        sysctl_step(names["all"], "0", machine, reason),
        sysctl_step(setting(4, device, "rp_filter"), "0", machine, reason),
    ]


def _receiver(kind: TunnelType, outer: int, inner: int) -> str:
    """The module. GUE is taken off first, what is left is IP in IP."""
    if kind is TunnelType.GRE:
        return "ip_gre" if outer == 4 else "ip6_gre"
    if outer == 6:
        return "ip6_tunnel"
    return "ipip" if inner == 4 else "sit"


def _gue(port: int, outer: int, machine: Machine) -> Iterator[Step]:
    yield _module("fou" if outer == 4 else "fou6", machine)
    family = ("-6",) if outer == 6 else ()
    yield Step(
        kind=StepKind.LINK,
        what=f"UDP port {port} is GUE",
        command=("ip", "fou", "add", "port", str(port), "gue", *family),
        undo=("ip", "fou", "del", "port", str(port), *family),
        reason="unwraps what the director sends; open the port in the firewall",
        is_done=port in machine.fou_ports,
    )


def _module(name: str, machine: Machine) -> Step:
    return Step(
        kind=StepKind.MODULE,
        what=f"module {name}",
        command=("modprobe", name),
        undo=None,
        reason="the kernel's side of the tunnel",
        is_done=name in machine.modules,
    )


def _short_segments(roles: list[Role], machine: Machine, notes: list[str]) -> list[Step]:
    """Clients keep to the MSS of our SYN-ACK: then their packets fit into the tunnel.

    nftables only ever makes it smaller. The answers themselves are not wrapped.
    """
    rules: dict[Address, int] = {}
    for role in roles:
        interface = machine.addresses.get(role.own_address, "")
        mtu = machine.links.get(interface, _ETHERNET)
        overhead = (20 if role.own_address.version == 4 else 40) + _OVERHEAD[role.destination.tun_type]
        if mtu >= _ETHERNET + overhead:
            continue  # a client's packet of 1,500 bytes fits, wrapped
        size = mtu - overhead - _TCP_AND_IP[role.address.version]
        rules[role.address] = min(size, rules.get(role.address, size))
    if not rules:
        return []
    if not machine.has_nft:
        for address, size in rules.items():
            iptables = "iptables" if address.version == 4 else "ip6tables"
            notes.append(
                f"nft is not here; clamp the MSS by hand: {iptables} -t mangle -A OUTPUT -s {address} -p tcp"
                f" --tcp-flags SYN SYN -j TCPMSS --set-mss {size}"
            )
        return []
    lines = [
        f"{'ip' if address.version == 4 else 'ip6'} saddr {address} tcp flags syn"
        f" tcp option maxseg size set {size}"
        for address, size in sorted(rules.items(), key=lambda rule: (rule[0].version, int(rule[0])))
    ]
    body = (
        "chain output { type filter hook output priority mangle; policy accept; " + "; ".join(lines) + "; }"
    )
    return [
        table_step(
            MSS_TABLE,
            body,
            machine,
            f"MSS of answers at most {max(rules.values())}",
            "wrapped packets are longer: clients must send segments that still fit",
        )
    ]
