"""What only packets can tell: who answers ARP for a virtual address, and who listens on it."""

import socket
from dataclasses import dataclass
from ipaddress import IPv4Address

from lvsha.core.addr import Address
from lvsha.io.arp_probe import who_has


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


def only_one_answers(interface: str, mac: bytes, address: IPv4Address, wait_s: float = 1.0) -> Finding:
    """The ARP problem: exactly one machine may say that it has the virtual address."""
    answers = who_has(interface, mac, address, wait_s)
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
