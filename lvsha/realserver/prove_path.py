"""What a director can prove by packets: nobody else answers for the virtual addresses, and each realserver
answers from them what comes to it as IPVS would send it."""

from collections.abc import Collection, Iterator, Sequence

from lvsha.core.addr import Address
from lvsha.core.errors import KernelError
from lvsha.io.forward_probe import Answer, Path, ask_echo, ask_port, source_towards
from lvsha.io.neighbour_probe import mac_of, who_has
from lvsha.io.probe_packets import overhead
from lvsha.ipvs.model import ForwardingMethod
from lvsha.realserver.model import Machine, Role
from lvsha.realserver.prove import Finding, only_one_answers

_TCP = 6
_ANSWER_WAIT_S = 0.3
MAX_PROBES = 256
"""Of one check; more realservers and services than that are not asked."""
_ETHERNET = 1500


def from_director(roles: Sequence[Role], machine: Machine) -> Iterator[Finding]:
    """Who answers for the virtual addresses, and one packet to each realserver as IPVS would send it."""
    vips = {role.address for role in roles}
    for address in dict.fromkeys(role.address for role in roles):
        if near := _near(address, machine, vips):
            yield _nobody_else(near[1], address, machine)
    asked = 0
    for role in dict.fromkeys(roles):
        is_wanted = role.destination.method in (ForwardingMethod.DROUTE, ForwardingMethod.TUNNEL)
        if is_wanted and role.own_address not in machine.addresses and asked < MAX_PROBES:
            asked += 1
            yield from _answers_from(role, machine, vips)


def _nobody_else(interface: str, address: Address, machine: Machine) -> Finding:
    try:
        return only_one_answers(interface, address, _ANSWER_WAIT_S, is_ours=address in machine.addresses)
    except KernelError as error:
        what = f"who else answers for {address} on {interface}"
        return Finding(ok=False, what=what, evidence=str(error), remedy="run it as root")


def _answers_from(role: Role, machine: Machine, vips: Collection[Address]) -> Iterator[Finding]:
    vip, realserver = role.address, role.own_address
    where = f"{vip} port {role.port}" if role.protocol == _TCP else str(vip)
    what = f"{realserver} answers from {where}, by {role.destination.method.name}"
    try:
        path = _path(role, machine, vips)
        if isinstance(path, Finding):
            yield path
            return
        is_tcp = role.protocol == _TCP and role.port != 0
        answer = ask_port(path, vip, role.port) if is_tcp else ask_echo(path, vip)
        remedies = {
            Answer.ACCEPTED: "",
            Answer.RESET: "start the service, bound to the virtual address or to all",
        }
        yield Finding(
            ok=answer is Answer.ACCEPTED,
            what=what,
            evidence=str(answer),
            remedy=remedies.get(answer, "run `lvsha realserver check` there"),
        )
        if path.tunnel is not None and answer is not Answer.SILENCE:
            yield _full_size(path, vip, machine)
    except KernelError as error:
        yield Finding(ok=False, what=what, evidence=str(error), remedy="run it as root")


def _full_size(path: Path, vip: Address, machine: Machine) -> Finding:
    """As long as a wrapped packet can be on our interface."""
    assert path.tunnel is not None
    assert path.outer is not None
    mtu = machine.links.get(machine.addresses.get(path.outer, ""), _ETHERNET)
    size = mtu - overhead(path.tunnel, path.outer.version)
    what = f"{size} bytes with DF come through the tunnel to {path.realserver}"
    if ask_echo(path, vip) is not Answer.ACCEPTED:
        return Finding(ok=True, what=what, evidence="not known: it answers no echo")
    answer = ask_echo(path, vip, size)
    return Finding(
        ok=answer is Answer.ACCEPTED,
        what=what,
        evidence=str(answer),
        remedy="" if answer is Answer.ACCEPTED else "see docs/failures/tunnel-mtu.md",
    )


def _path(role: Role, machine: Machine, vips: Collection[Address]) -> Path | Finding:
    """How IPVS would send to it, or why that cannot be tried."""
    vip, realserver, destination = role.address, role.own_address, role.destination
    if destination.method is ForwardingMethod.TUNNEL:
        outer = source_towards(realserver)
        source = outer if outer.version == vip.version else _own(vip.version, machine, vips)
        if source is None:
            return Finding(
                ok=False,
                what=f"{realserver} answers from {vip}, by TUNNEL",
                evidence=f"this director has no IPv{vip.version} address of its own to ask from",
                remedy="ask from a director that has one: the answer goes to it beside the tunnel",
            )
        return Path(
            source=source,
            realserver=realserver,
            tunnel=destination.tun_type,
            tunnel_port=destination.tun_port,
            outer=outer,
        )
    near = _near(realserver, machine, vips)
    if near is not None:
        own, interface = near
        mac = mac_of(interface)
        if answers := who_has(interface, mac, realserver, _ANSWER_WAIT_S):
            theirs = bytes.fromhex(answers[0].replace(":", ""))
            return Path(source=own, realserver=realserver, interface=interface, macs=(theirs, mac))
    question = "ARP" if realserver.version == 4 else "neighbour solicitation"
    return Finding(
        ok=False,
        what=f"{realserver} answers from {vip}, by {destination.method.name}",
        evidence=f"it answers no {question} here",
        remedy="is it up, and in a network of this director?",
    )


def _near(address: Address, machine: Machine, vips: Collection[Address]) -> tuple[Address, str] | None:
    """Our own address, not a virtual one, and its interface, in the network of this one."""
    for own, network in machine.networks.items():
        if (
            own.version == address.version
            and address in network
            and own != address
            and own not in vips
            and network.prefixlen < network.max_prefixlen
        ):
            return own, machine.addresses[own]
    return None


def _own(version: int, machine: Machine, vips: Collection[Address]) -> Address | None:
    """Any address of ours that others can answer to."""
    for own in machine.addresses:
        if own.version == version and own not in vips and not own.is_loopback and not own.is_link_local:
            return own
    return None
