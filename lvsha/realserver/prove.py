"""What only packets can tell: who answers for a virtual address, who listens on it, which way answers go."""

import errno
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lvsha.core.addr import Address
from lvsha.io.neighbour_probe import mac_of, who_has
from lvsha.io.path_probe import Outcome, probe_path
from lvsha.ipvs.model import ForwardingMethod
from lvsha.realserver.model import Role

_TCP, _UDP = 6, 17
_HOP_PORT = 33_434


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


def goes_through_director(client: Address) -> Finding:
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


def only_one_answers(
    interface: str, address: Address, wait_s: float = 1.0, *, is_ours: bool = False
) -> Finding:
    """The ARP problem: exactly one machine may say that it has the virtual address.

    Raises:
        KernelError: no such interface, or not permitted.
    """
    answers = who_has(interface, mac_of(interface), address, wait_s)
    question = "ARP" if address.version == 4 else "neighbour solicitation"
    if is_ours:
        return Finding(
            ok=not answers,
            what=f"nobody but this director answers {question} for {address} on {interface}",
            evidence=", ".join(answers) or "nobody else answered",
            remedy="those are realservers: run `lvsha realserver apply` there" if answers else "",
        )
    what = f"one machine answers {question} for {address} on {interface}"
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
