"""What only packets can tell: who answers ARP for a virtual address, who listens on it, and whether a packet
that is sent as IPVS would send it is answered from it."""

import errno
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address

from lvsha.core.addr import Address
from lvsha.core.errors import KernelError
from lvsha.io.arp_probe import who_has
from lvsha.io.forward_probe import OVERHEAD, Answer, Path, ask_echo, ask_port, source_towards
from lvsha.io.path_probe import Outcome, probe_path
from lvsha.io.rtnl import RouteSocket
from lvsha.ipvs.model import ForwardingMethod
from lvsha.realserver.model import Machine, Role

_TCP, _UDP = 6, 17
_HOP_PORT = 33_434
_ARP_WAIT_S = 0.3
MAX_PROBES = 256
"""Of one check; more realservers and services than that are not asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at."""

    ok: bool
    what: str
    evidence: str
    remedy: str = ""


def listens(address: Address, port: int, timeout_s: float = 1.0) -> Finding:
    """Whether a TCP service of this machine answers on the virtual address."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    what = f"the service answers on {address} port {port}"
    with socket.socket(family, socket.SOCK_STREAM) as connection:
        connection.settimeout(timeout_s)
        try:
            connection.connect((str(address), port))
        except OSError as error:
            return Finding(
                ok=False,
                what=what,
                evidence=f"connect: {error.strerror or error}",
                remedy="bind the service to the virtual address or to all addresses, on that port",
            )
    return Finding(ok=True, what=what, evidence="connected")


def is_bound(address: Address, port: int) -> Finding:
    """Whether somebody has this UDP port of this machine: else we could take it."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    what = f"a service has UDP {address} port {port}"
    with socket.socket(family, socket.SOCK_DGRAM) as udp:
        try:
            udp.bind((str(address), port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return Finding(ok=True, what=what, evidence="it is in use")
            return Finding(
                ok=False, what=what, evidence=f"bind: {error.strerror}", remedy="lvsha realserver apply"
            )
    return Finding(
        ok=False,
        what=what,
        evidence="nobody has it",
        remedy="bind the service to the virtual address or to all addresses, on that port",
    )


def services(roles: Sequence[Role]) -> Iterator[Finding]:
    """Each service of this machine, where its packets will look for it."""
    seen: dict[tuple[int, Address, int], None] = {}
    for role in roles:
        is_rewritten = role.destination.method is ForwardingMethod.MASQ
        address, port = (role.own_address, role.own_port) if is_rewritten else (role.address, role.port)
        if port:
            seen[role.protocol, address, port] = None
    for protocol, address, port in sorted(seen, key=str):
        if protocol == _TCP:
            yield listens(address, port)
        elif protocol == _UDP:
            yield is_bound(address, port)


def goes_through_director(client: IPv4Address) -> Finding:
    """NAT: the first hop towards a client is a router, not the client itself."""
    what = f"answers to {client} pass a router"
    outcome, reporter = probe_path(client, _HOP_PORT, ttl=1)
    if outcome is Outcome.EXPIRED:
        return Finding(ok=True, what=what, evidence=f"the first hop is {reporter}")
    return Finding(
        ok=False,
        what=what,
        evidence="it is one hop away" if outcome is Outcome.ARRIVED else f"one hop: {outcome}",
        remedy="lvsha realserver apply; or is the director up, with ip_forward = 1?",
    )


# --- from a director ----------------------------------------------------------------------------------


def from_director(roles: Sequence[Role], machine: Machine) -> Iterator[Finding]:
    """Who answers ARP, and one packet to each realserver as IPVS would send it. IPv4."""
    for address in dict.fromkeys(role.address for role in roles):
        if isinstance(address, IPv4Address) and (near := _near(address, machine)):
            yield only_one_answers(
                near[1], _mac(near[1]), address, _ARP_WAIT_S, is_ours=address in machine.addresses
            )
    asked = 0
    for role in dict.fromkeys(roles):
        is_wanted = role.destination.method in (ForwardingMethod.DROUTE, ForwardingMethod.TUNNEL)
        if (
            not is_wanted
            or not isinstance(role.own_address, IPv4Address)
            or role.own_address in machine.addresses
        ):
            continue
        if asked < MAX_PROBES and isinstance(role.address, IPv4Address):
            asked += 1
            yield from _answers_from(role, role.address, role.own_address, machine)


def _answers_from(
    role: Role, vip: IPv4Address, realserver: IPv4Address, machine: Machine
) -> Iterator[Finding]:
    where = f"{vip} port {role.port}" if role.protocol == _TCP else str(vip)
    what = f"{realserver} answers from {where}, by {role.destination.method.name}"
    try:
        path = _path(role, realserver, machine)
        if path is None:
            yield Finding(
                ok=False,
                what=what,
                evidence="it answers no ARP here",
                remedy="is it up, and in a network of this director?",
            )
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


def _full_size(path: Path, vip: IPv4Address, machine: Machine) -> Finding:
    """As long as a wrapped packet can be on our interface."""
    assert path.tunnel is not None
    mtu = machine.links.get(machine.addresses.get(path.source, ""), 1500)
    size = mtu - OVERHEAD[path.tunnel]
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


def _path(role: Role, realserver: IPv4Address, machine: Machine) -> Path | None:
    if role.destination.method is ForwardingMethod.TUNNEL:
        destination = role.destination
        return Path(
            source=source_towards(realserver),
            realserver=realserver,
            tunnel=destination.tun_type,
            tunnel_port=destination.tun_port,
        )
    near = _near(realserver, machine)
    if near is None:
        return None
    own, interface = near
    mac = _mac(interface)
    answers = who_has(interface, mac, realserver, _ARP_WAIT_S)
    if not answers:
        return None
    theirs = bytes.fromhex(answers[0].replace(":", ""))
    return Path(source=own, realserver=realserver, interface=interface, macs=(theirs, mac))


def _near(address: IPv4Address, machine: Machine) -> tuple[IPv4Address, str] | None:
    """Our own address, and its interface, in the network of this one."""
    for own, network in machine.networks.items():
        if isinstance(own, IPv4Address) and address in network and own != address and network.prefixlen < 32:
            return own, machine.addresses[own]
    return None


def _mac(interface: str) -> bytes:
    with RouteSocket() as routes:
        return routes.link(interface).mac


def only_one_answers(
    interface: str, mac: bytes, address: IPv4Address, wait_s: float = 1.0, *, is_ours: bool = False
) -> Finding:
    """The ARP problem: exactly one machine may say that it has the virtual address."""
    answers = who_has(interface, mac, address, wait_s)
    if is_ours:
        return Finding(
            ok=not answers,
            what=f"nobody but this director answers ARP for {address} on {interface}",
            evidence=", ".join(answers) or "nobody else answered",
            remedy="those are realservers: run `lvsha realserver apply` there" if answers else "",
        )
    what = f"one machine answers ARP for {address} on {interface}"
    if len(answers) == 1:
        return Finding(ok=True, what=what, evidence=answers[0])
    if not answers:
        return Finding(
            ok=False,
            what=what,
            evidence="nobody answered",
            remedy="is a director MASTER? see lvsha status there",
        )
    return Finding(
        ok=False,
        what=what,
        evidence=", ".join(answers),
        remedy="all but the director's are realservers: run `lvsha realserver apply` there",
    )
