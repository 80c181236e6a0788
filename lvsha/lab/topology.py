"""The standard topology: a client, two directors and their realservers, each in a network namespace.

::

    DR, TUN         client .100                  NAT       client .100
                       |                                      |
       --------------br0------------------         ----------br0---------
       |         |         |         |             | .1               | .2
    lb1 .1    lb2 .2    rs1 .11   rs2 .12         lb1                lb2
       VIP .10 on the master                       | .1               | .2
       (and on lo or the tunnel of the             ----------br1---------
       realservers, where it is not                     |           |
       announced)                                    rs1 .11     rs2 .12
                                                   default route: .254, which
                                                   moves with the VIP

Outside is 10.0.0.0/24 or fd00::/64, inside (NAT) 10.1.0.0/24 or fd00:1::/64. Directors have IPv4 addresses in
IPv6 runs too, because the kernel's sync daemons speak IPv4 multicast by default.
"""

import os
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Interface, IPv6Interface, ip_interface
from pathlib import Path

from lvsha.core.addr import Address
from lvsha.lab import netns
from lvsha.lab.errors import LabError
from lvsha.lab.guest import IN_GUEST
from lvsha.lab.netns import Namespace, ip_batch, set_link

PORT = 8000
"""Of the echo service, TCP and UDP, on the VIPs and on the realservers."""

_ONLY_FIRST = Path("/proc/sys/net/core/fb_tunnels_only_for_init_net")
"""Not 0: a new namespace has no tunnel device of its own (``lab.init`` sees to that)."""

CLIENTS = 50
"""Addresses of the client, where each is another client to a persistent service."""

DIRECTORS = ("lb1", "lb2")
"""lb1 has the higher priority and is MASTER before anything happens."""


class Method(StrEnum):
    """How directors forward."""

    DR = "dr"
    NAT = "nat"
    TUN = "tun"


@dataclass(frozen=True, slots=True, kw_only=True)
class TopologySettings:
    """What may differ between runs."""

    method: Method = Method.DR
    family: int = 4
    vips: int = 1
    realservers: int = 2


class Topology:
    """The addresses, names and links of one run; ``build`` makes them real."""

    def __init__(self, settings: TopologySettings) -> None:
        self.settings = settings
        self.is_nat = settings.method is Method.NAT
        self.client = Namespace("client")
        self.directors = {name: Namespace(name) for name in DIRECTORS}
        self.realservers = {f"rs{i}": Namespace(f"rs{i}") for i in range(1, settings.realservers + 1)}
        self.vips = tuple(self._vip(index) for index in range(settings.vips))
        self.gateway = self._interface("10.1.0.254/24", "fd00:1::fe/128") if self.is_nat else None
        """The realservers' default gateway, which moves with the VIP."""

    @property
    def service_addresses(self) -> tuple[Address, ...]:
        """The VIPs that offer the echo service: the first and the last."""
        return tuple(dict.fromkeys((self.vips[0].ip, self.vips[-1].ip)))

    def director_address(self, name: str) -> Address:
        """Its own address outside, of the family under test."""
        n = DIRECTORS.index(name) + 1
        return self._interface(f"10.0.0.{n}/24", f"fd00::{n}/64").ip

    def client_address(self) -> Address:
        """The first of the client's."""
        return self._interface("10.0.0.100/24", "fd00::100/64").ip

    def client_addresses(self) -> tuple[Address, ...]:
        """Of the client; it has them all once ``be_many`` was called."""
        return tuple(
            self._interface(f"10.0.0.{150 + n}/24", f"fd00::{150 + n}/64").ip for n in range(CLIENTS)
        )

    def be_many(self) -> None:
        """Give the client its further addresses."""
        length, suffix = (24, "") if self.settings.family == 4 else (64, " nodad")
        self.client.batch(
            f"address add {address}/{length} dev eth0{suffix}" for address in self.client_addresses()
        )

    def marks(self, first: int) -> dict[Address, int]:
        """The firewall mark of each address with a service, counted from the first's; 0: there are none."""
        return {address: first + n for n, address in enumerate(self.service_addresses)} if first else {}

    def mark(self, first: int) -> None:
        """Have both directors' packet filters mark what goes to an address with a service, by ``marks``."""
        program = "iptables-legacy" if self.settings.family == 4 else "ip6tables-legacy"
        for address, mark in self.marks(first).items():
            words = [program, "-w", "-t", "mangle", "-A", "PREROUTING", "-d", str(address)]
            for director in self.directors.values():
                director.run([*words, "-j", "MARK", "--set-mark", str(mark)])

    def move_away(self, distance_ms: float) -> None:
        """Put the client so far from the directors, each way."""
        words = ["root", "netem", "delay", f"{distance_ms:g}ms", "limit", "100000"]
        netns.run(["tc", "qdisc", "add", "dev", self.port("client"), *words])
        self.client.run(["tc", "qdisc", "add", "dev", "eth0", *words])

    def disturb(self, director: str, *, loss: int, port: int, family: int) -> None:
        """Lose, reorder and double what reaches a director's UDP port, and nothing else.

        Every tenth packet overtakes by 10 ms, every twentieth comes twice.
        """
        device = self.port(director)
        protocol, match = ("ip", "ip") if family == 4 else ("ipv6", "ip6")
        netem = f"delay 10ms reorder 90% 50% loss {loss}% duplicate 5%"
        for words in (
            "qdisc add dev {} root handle 1: prio bands 3 priomap 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0",
            f"qdisc add dev {{}} parent 1:3 handle 30: netem {netem}",
            f"filter add dev {{}} parent 1: protocol {protocol} "
            f"u32 match {match} dport {port} 0xffff flowid 1:3",
        ):
            netns.run(["tc", *words.format(device).split()])

    def disturbed(self, director: str) -> int:
        """How many packets to a disturbed director were lost on purpose."""
        text = netns.run(["tc", "-s", "qdisc", "show", "dev", self.port(director)])
        words = text.partition("qdisc netem")[2].split()
        return int(words[words.index("(dropped") + 1].rstrip(","))

    def realserver_address(self, name: str) -> Address:
        n = int(name[2:])
        net = 1 if self.is_nat else 0
        return self._interface(f"10.{net}.0.{10 + n}/24", f"fd00:{net}::{10 + n}/64").ip

    def _interface(self, v4: str, v6: str) -> IPv4Interface | IPv6Interface:
        return ip_interface(v4 if self.settings.family == 4 else v6)

    def _vip(self, index: int) -> IPv4Interface | IPv6Interface:
        length4 = 24 if self.settings.vips == 1 else 16
        if index == 0:
            return self._interface(f"10.0.0.10/{length4}", "fd00::a/128")
        block, host = divmod(index - 1, 250)
        return self._interface(f"10.0.{1 + block}.{1 + host}/16", f"fd00::1:{index:x}/128")

    # Making it real

    def build(self) -> None:
        """Make namespaces, bridges, links, addresses and routes.

        Raises:
            LabError: this is somebody's machine, not a guest.
        """
        if IN_GUEST not in os.environ:
            raise LabError("a topology is built in a guest only: use lvsha lab run, exec or shell")
        self.remove()
        names = ["client", *self.directors, *self.realservers]
        lines = [f"netns add {name}" for name in names]
        for bridge in self._bridges():
            lines.append(f"link add {bridge} type bridge forward_delay 0 stp_state 0 mcast_snooping 0")
            lines.append(f"link set {bridge} up")
        for name in names:
            for device, bridge in self._links(name):
                port = self.port(name, device)
                lines.append(f"link add {port} type veth peer name {device} netns {name}")
                lines.append(f"link set {port} master {bridge} up")
        ip_batch(lines)
        self._configure_client()
        for name in self.directors:
            self._configure_director(name)
        for name in self.realservers:
            self._configure_realserver(name)

    def remove(self) -> None:
        """Delete what ``build`` made, or an earlier run left."""
        ours = {"client", *self.directors, *self.realservers}
        names = [name for name in netns.present() if name in ours]
        here = netns.links()
        # The ports by hand: the kernel takes its time to empty a deleted namespace.
        ports = [self.port(name, device) for name in names for device in ("eth0", "eth1")]
        lines = [f"link delete {link}" for link in (*ports, "br0", "br1") if link in here]
        lines += [f"netns delete {name}" for name in names]
        if lines:
            ip_batch(lines)

    def port(self, name: str, device: str = "eth0") -> str:
        """The bridge's side of a host's cable."""
        return f"{name}-{device}"

    def ports(self, name: str) -> list[str]:
        return [self.port(name, device) for device, _ in self._links(name)]

    def set_link(self, name: str, *, up: bool) -> None:
        """Pull or plug every cable of a host at its switch."""
        for port in self.ports(name):
            set_link(port, up=up)

    def _bridges(self) -> list[str]:
        return ["br0", "br1"] if self.is_nat else ["br0"]

    def _links(self, name: str) -> list[tuple[str, str]]:
        if name in self.directors and self.is_nat:
            return [("eth0", "br0"), ("eth1", "br1")]
        return [("eth0", "br1" if name in self.realservers and self.is_nat else "br0")]

    def _address_lines(self, device: str, net: int, host: int) -> list[str]:
        lines = [f"address add 10.{net}.0.{host}/{16 if self._wide(net) else 24} dev {device}"]
        if self.settings.family == 6:
            lines.append(f"address add fd00:{net}::{host}/64 dev {device} nodad")
        return lines

    def _wide(self, net: int) -> bool:
        return net == 0 and self.settings.vips > 1

    def _configure_client(self) -> None:
        self._prepare(self.client)
        self.client.batch(["link set lo up", *self._address_lines("eth0", 0, 100), "link set eth0 up"])

    def _configure_director(self, name: str) -> None:
        namespace = self.directors[name]
        self._prepare(namespace)
        namespace.sysctl(
            net__ipv4__ip_forward=1,
            net__ipv6__conf__all__forwarding=1,
            net__ipv4__conf__all__send_redirects=0,
            net__ipv4__conf__default__send_redirects=0,
            net__ipv4__conf__eth0__send_redirects=0,
        )
        n = DIRECTORS.index(name) + 1
        lines = ["link set lo up", *self._address_lines("eth0", 0, n), "link set eth0 up"]
        if os.path.isdir("/sys/module/nlmon"):
            # For the witness: a mirror of what is asked of the kernel here.
            lines += ["link add nlmon0 type nlmon", "link set nlmon0 up"]
        if self.is_nat:
            lines += [*self._address_lines("eth1", 1, n), "link set eth1 up"]
        namespace.batch(lines)

    def _configure_realserver(self, name: str) -> None:
        namespace = self.realservers[name]
        self._prepare(namespace)
        # Before the VIP is there, or it would be announced once.
        namespace.sysctl(net__ipv4__conf__all__arp_ignore=1, net__ipv4__conf__all__arp_announce=2)
        lines = ["link set lo up"]
        lines += self._address_lines("eth0", 1 if self.is_nat else 0, 10 + int(name[2:]))
        lines.append("link set eth0 up")
        if self.gateway is not None:
            everything = "0.0.0.0/0" if self.settings.family == 4 else "::/0"
            lines.append(f"route add {everything} via {self.gateway.ip}")
        else:
            device = "lo"
            if self.settings.method is Method.TUN:
                device = "tunl0" if self.settings.family == 4 else "ip6tnl0"
                if _ONLY_FIRST.exists() and _ONLY_FIRST.read_text().strip() != "0":
                    kind = "ipip" if self.settings.family == 4 else "ip6tnl mode any"
                    lines.append(f"link add {device} type {kind} local any remote any")
                lines.append(f"link set {device} up")
            suffix = " nodad" if self.settings.family == 6 else ""
            length = 32 if self.settings.family == 4 else 128
            lines += [f"address add {vip.ip}/{length} dev {device}{suffix}" for vip in self.vips]
        namespace.batch(lines)

    def _prepare(self, namespace: Namespace) -> None:
        namespace.sysctl(
            net__ipv4__conf__all__rp_filter=0,
            net__ipv4__conf__default__rp_filter=0,
            net__ipv6__conf__all__accept_dad=0,
            net__ipv6__conf__default__accept_dad=0,
            net__ipv6__conf__eth0__accept_dad=0,
        )
