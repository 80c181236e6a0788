"""A network of two directors in namespaces of their own, and a recorder on each one's cable.

::

    lb1 eth0 ──── lb1 ┐
                      ├ br0, in the namespace of the switch
    lb2 eth0 ──── lb2 ┘

Frames are recorded where a director's cable ends in the switch, with the kernel's
time stamp, so that a test reads off the wire what happened when, however late it
looks. Adverts are taken apart here, a second time and on purpose: the code under
test does not judge itself.
"""

import asyncio
import itertools
import os
import socket
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import TypeVar

from lvsha.core.addr import Address
from lvsha.lab.netns import Namespace, ip_batch, present

NODES = ("lb1", "lb2")
OWN_4 = {"lb1": "10.0.0.1", "lb2": "10.0.0.2"}
OWN_6 = {"lb1": "2001:db8::1", "lb2": "2001:db8::2"}

_PREFIX = "lvstage"
_numbers = itertools.count()
_SO_TIMESTAMPNS = 35
_SO_RCVBUFFORCE = 33
_POLL_S = 0.01
PATIENCE_S = 30.0
"""For whatever has to happen: the machine that runs the tests may be busy."""

T = TypeVar("T")


class Missed(AssertionError):
    """What had to happen has not happened in time."""


async def until(condition: Callable[[], T | None], *, within: float, what: str) -> T:
    """Look again and again; the first answer that is neither None nor False.

    Raises:
        Missed: ``within`` seconds have passed, which is what a machine at rest needs, and ``PATIENCE_S``.
    """
    within = max(within, PATIENCE_S)
    end = time.monotonic() + within
    while True:
        late = time.monotonic() >= end  # asked before looking: the last look comes after the deadline
        answer = condition()
        if answer is not None and answer is not False:
            return answer
        if late:
            raise Missed(f"not within {within:g} s: {what}")
        await asyncio.sleep(_POLL_S)


# What was on the wire


@dataclass(frozen=True, slots=True, kw_only=True)
class Advert:
    """One VRRP packet as it left a director."""

    at: float
    """Wall clock, seconds, as the kernel stamped it."""
    node: str
    mac: bytes
    """Of the sender."""
    source: Address
    destination: Address
    ttl: int
    version: int
    vrid: int
    priority: int
    interval: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """One gratuitous ARP or unsolicited neighbour advertisement."""

    at: float
    node: str
    address: Address
    kind: str
    """``request``, ``reply`` or ``na``."""
    mac: bytes


@dataclass(slots=True)
class Wire:
    """All that the directors have sent so far; ``read`` brings it up to date."""

    adverts: list[Advert] = field(default_factory=list)
    claims: list[Claim] = field(default_factory=list)
    _sockets: dict[str, socket.socket] = field(default_factory=dict)

    def listen(self, node: str, device: str) -> None:
        """Record what comes in from ``device``; call it inside the switch."""
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.htons(3))
        sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, 4 << 20)
        sock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        sock.bind((device, 3))
        self._sockets[node] = sock

    def close(self) -> None:
        for sock in self._sockets.values():
            sock.close()

    def read(self) -> "Wire":
        for node, sock in self._sockets.items():
            while True:
                try:
                    frame, ancillary, _, address = sock.recvmsg(2048, 64)
                except BlockingIOError:
                    break
                except OSError:
                    continue  # ENETDOWN, said once when the cable is pulled
                if address[2] != socket.PACKET_OUTGOING:
                    seconds, nanoseconds = struct.unpack("@qq", ancillary[0][2])
                    self._take(node, frame, seconds + nanoseconds / 1e9)
        # Two sockets were read one after the other.
        self.adverts.sort(key=lambda advert: advert.at)
        self.claims.sort(key=lambda claim: claim.at)
        return self

    def of(self, node: str, *, since: float = 0.0, to: float = float("inf")) -> list[Advert]:
        """What one director advertised from ``since`` on and before ``to``; a leaving one's zeros too."""
        self.read()
        return [advert for advert in self.adverts if advert.node == node and since <= advert.at < to]

    def claims_of(self, node: str, addresses: frozenset[Address], *, since: float) -> list[Claim] | None:
        """The first claim of each address from ``since`` on, in order; None while any is missing."""
        self.read()
        first: dict[Address, Claim] = {}
        for claim in self.claims:
            if claim.node == node and claim.at >= since:
                first.setdefault(claim.address, claim)
        return (
            [first[address] for address in first if address in addresses] if addresses <= set(first) else None
        )

    def _take(self, node: str, frame: bytes, at: float) -> None:
        (kind,) = struct.unpack_from("!H", frame, 12)
        packet = frame[14:]
        if kind == 0x0806:
            operation, mac = packet[7], packet[8:14]
            sender, target = packet[14:18], packet[24:28]
            if sender == target:
                form = "request" if operation == 1 else "reply"
                claim = Claim(at=at, node=node, address=IPv4Address(sender), kind=form, mac=mac)
                self.claims.append(claim)
        elif kind == 0x0800 and packet[9] == 112:
            ends = IPv4Address(packet[12:16]), IPv4Address(packet[16:20])
            self._advert(node, frame[6:12], packet[(packet[0] & 15) * 4 :], at, *ends, packet[8])
        elif kind == 0x86DD and packet[6] == 112:
            ends6 = IPv6Address(packet[8:24]), IPv6Address(packet[24:40])
            self._advert(node, frame[6:12], packet[40:], at, *ends6, packet[7])
        elif kind == 0x86DD and packet[6] == 58 and packet[40] == 136 and packet[24] == 0xFF:
            target6 = IPv6Address(packet[48:64])
            self.claims.append(Claim(at=at, node=node, address=target6, kind="na", mac=frame[6:12]))

    def _advert(
        self,
        node: str,
        mac: bytes,
        payload: bytes,
        at: float,
        source: Address,
        destination: Address,
        ttl: int,
    ) -> None:
        version, vrid, priority = payload[0] >> 4, payload[1], payload[2]
        (centiseconds,) = struct.unpack_from("!H", payload, 4)
        interval = (centiseconds & 0x0FFF) / 100 if version == 3 else float(payload[5])
        self.adverts.append(
            Advert(
                at=at,
                node=node,
                mac=mac,
                source=source,
                destination=destination,
                ttl=ttl,
                version=version,
                vrid=vrid,
                priority=priority,
                interval=interval,
            )
        )


def longest_gap(adverts: list[Advert]) -> float:
    """Seconds between the two neighbours that lie farthest apart."""
    return max(later.at - earlier.at for earlier, later in itertools.pairwise(adverts))


# The network


class Host:
    """One director's machine."""

    def __init__(self, node: str, namespace: Namespace, folder: Path) -> None:
        self.node = node
        self.namespace = namespace
        self.folder = folder
        # The kernel's own tables as text, read through descriptors that stay inside.
        self._addresses_4 = namespace.open("/proc/net/fib_trie")
        self._addresses_6 = namespace.open("/proc/net/if_inet6")

    def addresses(self) -> frozenset[Address]:
        """Every address bound here, at this moment."""
        self._addresses_4.seek(0)
        self._addresses_6.seek(0)
        found: set[Address] = set()
        candidate = ""
        for line in self._addresses_4.read().decode().splitlines():
            if "|--" in line:
                candidate = line.split()[1]
            elif "/32 host LOCAL" in line:
                found.add(IPv4Address(candidate))
        for line in self._addresses_6.read().decode().splitlines():
            found.add(IPv6Address(bytes.fromhex(line.split()[0])))
        return frozenset(found)

    def close(self) -> None:
        self._addresses_4.close()
        self._addresses_6.close()


class Stage:
    """Two hosts on a switch. ``folder`` keeps what the directors write."""

    def __init__(self, folder: Path) -> None:
        self.name = f"{_PREFIX}{os.getpid()}-{next(_numbers)}"
        self.folder = folder
        self.switch = Namespace(f"{self.name}-sw")
        self.wire = Wire()
        self.hosts: dict[str, Host] = {}

    def __enter__(self) -> "Stage":
        try:
            self._build()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def host(self, node: str) -> Host:
        return self.hosts[node]

    # What can happen to a cable

    def cable(self, node: str, *, plugged: bool) -> None:
        """Pull a director's cable out of the switch, or put it back: it sees its carrier go and come."""
        self.switch.batch([f"link set {node} {'up' if plugged else 'down'}"])

    def forward(self, node: str, *, frames: bool) -> None:
        """Let the switch drop everything of a director, or not: neither end can see that."""
        self.switch.run(["bridge", "link", "set", "dev", node, "state", "3" if frames else "0"])

    def holders(self, addresses: frozenset[Address]) -> list[str]:
        """Who has bound any of them."""
        return [node for node, host in self.hosts.items() if host.addresses() & addresses]

    # Building and clearing away

    def _build(self) -> None:
        names = {node: f"{self.name}-{node}" for node in NODES}
        ip_batch(f"netns add {name}" for name in (self.switch.name, *names.values()))
        for name in (self.switch.name, *names.values()):
            # No duplicate address detection: an address is there when it is there.
            Namespace(name).sysctl(net__ipv6__conf__default__accept_dad=0)
        self.switch.sysctl(net__ipv6__conf__default__disable_ipv6=1)
        self.switch.batch(
            [
                "link add br0 type bridge mcast_snooping 0",
                "link set br0 up",
                *(f"link add {node} type veth peer name eth0 netns {name}" for node, name in names.items()),
                *(f"link set {node} master br0 up" for node in NODES),
            ]
        )
        for node, name in names.items():
            namespace = Namespace(name)
            namespace.batch(
                [
                    "link set lo up",
                    f"addr add {OWN_4[node]}/24 dev eth0",
                    f"addr add {OWN_6[node]}/64 dev eth0",
                    "link set eth0 up",
                ]
            )
            folder = self.folder / node
            folder.mkdir(parents=True, exist_ok=True)
            self.hosts[node] = Host(node, namespace, folder)
        with self.switch.entered():
            for node in NODES:
                self.wire.listen(node, node)

    def close(self) -> None:
        """Delete the namespaces; the processes in them have been ended by whoever started them."""
        self.wire.close()
        for host in self.hosts.values():
            host.close()
        mine = [name for name in present() if name.startswith(f"{self.name}-")]
        if mine:
            ip_batch(f"netns del {name}" for name in mine)


def clear_away_orphans() -> None:
    """Namespaces of a test run that was killed before it could."""
    for name in present():
        pid = name.removeprefix(_PREFIX).partition("-")[0]
        if name.startswith(_PREFIX) and pid.isdigit() and not Path("/proc", pid).exists():
            ip_batch([f"netns del {name}"])


def addresses(*texts: str) -> frozenset[Address]:
    """``10.0.0.10/24`` and the like, without their prefix lengths."""
    return frozenset(ip_address(text.partition("/")[0]) for text in texts)
