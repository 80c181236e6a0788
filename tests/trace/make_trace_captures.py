"""Makes the captures of tests/trace/captures from a real kernel.

    lvsha lab exec --bare -- .venv/bin/python -m tests.trace.make_trace_captures FOLDER [NAME...]

Every case is a client, a director and a realserver (``rs``; sometimes a second one or a router), each in a
network namespace and each recorded at its own interfaces, all frames, both directions::

    client .100 --+            +-- rs .11        one network: DR, tunnels, NAT on one network
                  +--- br0 ----+
    lb .1, VIP .10 +           +-- rs2 .12

    client .100 -- br0 -- lb .1 -- br1 -- rs 10.1.0.11       NAT on two networks

Hardware addresses are fixed, so a capture made again differs in ports, sequence numbers and times only.
"""

import argparse
import contextlib
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from lvsha.io.capture import CaptureWriter
from lvsha.io.packet_socket import PacketSocket
from lvsha.lab.netns import Namespace, ip_batch, run

VIP, VIP6 = "10.0.0.10", "fd00::a"
CLIENT, CLIENT6 = "10.0.0.100", "fd00::64"
DIRECTOR = "10.0.0.1"
RS, RS6, RS_INSIDE = "10.0.0.11", "fd00::11", "10.1.0.11"
PATIENCE_S = 3.4
"""A client's SYN goes out at 0, 1 and 3 s."""

MACS = {
    ("client", "eth0"): "02:00:00:00:00:64",
    ("lb", "eth0"): "02:00:00:00:00:01",
    ("lb", "eth1"): "02:00:00:00:01:01",
    ("rs", "eth0"): "02:00:00:00:00:0b",
    ("rs2", "eth0"): "02:00:00:00:00:0c",
    ("router", "eth0"): "02:00:00:00:00:fe",
    ("router", "eth1"): "02:00:00:00:02:fe",
}


@dataclass(frozen=True, slots=True)
class Net:
    """The hosts of one case."""

    hosts: dict[str, Namespace]
    devices: list[tuple[str, str]]
    sockets: list[socket.socket] = field(default_factory=list)

    def listen(
        self, address: str, port: int, kind: socket.SocketKind = socket.SOCK_STREAM, on: str = "rs"
    ) -> socket.socket:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with self.hosts[on].entered():
            listener = socket.socket(family, kind)
        self.sockets.append(listener)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address, port))
        if kind is socket.SOCK_STREAM:
            listener.listen(16)
        listener.settimeout(2)
        return listener

    def client_socket(
        self, port: int, to: str, kind: socket.SocketKind = socket.SOCK_STREAM
    ) -> socket.socket:
        """The client's, bound to a port of its own choice."""
        family = socket.AF_INET6 if ":" in to else socket.AF_INET
        with self.hosts["client"].entered():
            ours = socket.socket(family, kind)
        self.sockets.append(ours)
        ours.settimeout(PATIENCE_S)
        ours.bind(("", port))
        return ours

    def fetch(
        self, listener: socket.socket, *, to: str = VIP, port: int = 80, source: int = 40001, size: int = 900
    ) -> None:
        """One request and its answer, then the client closes."""
        ours = self.client_socket(source, to)
        ours.connect((to, port))
        theirs, _ = listener.accept()
        self.sockets.append(theirs)
        theirs.settimeout(2)
        ours.sendall(b"GET / HTTP/1.0\r\n\r\n")
        theirs.recv(1000)
        theirs.sendall(b"HTTP/1.0 200 OK\r\n\r\n" + bytes(size - 19))
        got = 0
        while got < size:
            got += len(ours.recv(65536))
        ours.close()
        time.sleep(0.1)
        theirs.close()
        time.sleep(0.1)

    def fail(self, *, to: str = VIP, port: int = 80, source: int = 40001) -> None:
        """A connection that must not come about."""
        ours = self.client_socket(source, to)
        try:
            ours.connect((to, port))
        except OSError:
            time.sleep(0.1)
            return
        raise AssertionError("the fault is none: the connection came about")

    def ipvs(self, *lines: str) -> None:
        for line in lines:
            self.hosts["lb"].run(["ipvsadm", *line.split()])

    def on(self, host: str, *lines: str) -> None:
        self.hosts[host].batch(lines)


@contextlib.contextmanager
def build(cables: dict[tuple[str, str], tuple[str, tuple[str, ...]]], *, inet6: bool) -> Iterator[Net]:
    """``cables``: (host, device) -> (bridge, addresses)."""
    names = list(dict.fromkeys(host for host, _ in cables))
    bridges = sorted({bridge for bridge, _ in cables.values()})
    hosts = {name: Namespace(f"trace-{name}") for name in names}
    net = Net(hosts=hosts, devices=list(cables))
    try:
        ip_batch(
            [f"netns add trace-{name}" for name in names]
            + [f"link add {bridge} type bridge mcast_snooping 0" for bridge in bridges]
        )
        for bridge in bridges:
            Path(f"/proc/sys/net/ipv6/conf/{bridge}/disable_ipv6").write_text("1")
            ip_batch([f"link set {bridge} up"])
        for name in names:
            hosts[name].sysctl(
                net__ipv6__conf__all__disable_ipv6=0 if inet6 else 1,
                net__ipv6__conf__default__disable_ipv6=0 if inet6 else 1,
                net__ipv6__conf__default__accept_dad=0,
                net__ipv6__conf__default__router_solicitations=0,
                net__ipv4__conf__all__rp_filter=0,
                net__ipv4__conf__default__rp_filter=0,
                net__ipv4__conf__all__send_redirects=0,
                net__ipv4__conf__default__send_redirects=0,
            )
            hosts[name].batch(["link set lo up"])
        for (name, device), (bridge, addresses) in cables.items():
            port = f"{name}-{device}"
            ip_batch([f"link add {port} type veth peer name {device} netns trace-{name}"])
            Path(f"/proc/sys/net/ipv6/conf/{port}/disable_ipv6").write_text("1")
            ip_batch([f"link set {port} master {bridge} up"])
            hosts[name].batch(
                [f"link set {device} address {MACS[name, device]}", f"link set {device} up"]
                + [
                    f"address add {each} dev {device}" + (" nodad" if ":" in each else "")
                    for each in addresses
                ]
            )
        yield net
    finally:
        for each in net.sockets:
            each.close()
        # The ports by hand: the kernel takes its time to empty a deleted namespace.
        for name, device in cables:
            run(["ip", "link", "delete", f"{name}-{device}"], check=False)
        for name in names:
            run(["ip", "netns", "delete", f"trace-{name}"], check=False)
        for bridge in bridges:
            run(["ip", "link", "delete", bridge], check=False)


ONE_NETWORK = {
    ("client", "eth0"): ("br0", (f"{CLIENT}/24",)),
    ("lb", "eth0"): ("br0", (f"{DIRECTOR}/24", f"{VIP}/32")),
    ("rs", "eth0"): ("br0", (f"{RS}/24",)),
}
TWO_NETWORKS = {
    ("client", "eth0"): ("br0", (f"{CLIENT}/24",)),
    ("lb", "eth0"): ("br0", (f"{DIRECTOR}/24", f"{VIP}/32")),
    ("lb", "eth1"): ("br1", ("10.1.0.1/24",)),
    ("rs", "eth0"): ("br1", (f"{RS_INSIDE}/24",)),
}
SIX = {
    ("client", "eth0"): ("br0", (f"{CLIENT6}/64",)),
    # Deprecated: not the source of what the director itself sends.
    ("lb", "eth0"): ("br0", ("fd00::1/64", f"{VIP6}/128 preferred_lft 0")),
    ("rs", "eth0"): ("br0", (f"{RS6}/64",)),
}
ROUTED = {
    ("client", "eth0"): ("br1", ("192.0.2.100/24",)),
    ("router", "eth1"): ("br1", ("192.0.2.1/24",)),
    ("router", "eth0"): ("br0", ("10.0.0.254/24",)),
    ("lb", "eth0"): ("br0", (f"{DIRECTOR}/24", f"{VIP}/32")),
    ("rs", "eth0"): ("br0", (f"{RS}/24",)),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    what: str
    play: Callable[[Net], None]
    cables: dict[tuple[str, str], tuple[str, tuple[str, ...]]]


# --- the set-ups, as they should be -------------------------------------------------------------------


def direct(net: Net, *, port: int = 80, flag: str = "-t") -> None:
    quiet(net)
    net.on("rs", f"address add {VIP}/32 dev lo")
    net.ipvs(f"-A {flag} {VIP}:{port} -s rr", f"-a {flag} {VIP}:{port} -r {RS}:{port} -g")


def quiet(net: Net) -> None:
    net.hosts["rs"].sysctl(net__ipv4__conf__all__arp_ignore=1, net__ipv4__conf__all__arp_announce=2)


def rewriting(net: Net, address: str, *, port: int = 80) -> None:
    net.hosts["lb"].sysctl(net__ipv4__ip_forward=1)
    net.ipvs(f"-A -t {VIP}:80 -s rr", f"-a -t {VIP}:80 -r {address}:{port} -m")


def two_networks(net: Net, *, port: int = 80) -> None:
    rewriting(net, RS_INSIDE, port=port)
    net.on("rs", "route add default via 10.1.0.1")


def one_network(net: Net) -> None:
    """The realserver reaches its neighbours through the director only."""
    rewriting(net, RS)
    net.on(
        "rs",
        f"route add {DIRECTOR}/32 dev eth0",
        "route delete 10.0.0.0/24 dev eth0",
        f"route add default via {DIRECTOR}",
    )


def tunnel(net: Net, kind: str, *, device_up: bool = True) -> None:
    quiet(net)
    more = {"gre": " --tun-type gre", "gue": " --tun-type gue --tun-port 6080"}.get(kind, "")
    net.ipvs(f"-A -t {VIP}:80 -s rr", f"-a -t {VIP}:80 -r {RS}:80 -i{more}")
    if not device_up:
        return
    if kind == "gue":
        net.on("rs", "fou add port 6080 gue")
    name = "gre9" if kind == "gre" else "ipip9"
    net.on(
        "rs",
        f"link add {name} type {'gre' if kind == 'gre' else 'ipip'} local {RS} remote any",
        f"link set {name} up",
        f"address add {VIP}/32 dev {name}",
    )


# --- what is played -----------------------------------------------------------------------------------


def dr(net: Net) -> None:
    direct(net)
    net.fetch(net.listen(VIP, 80))


def dr_udp(net: Net) -> None:
    direct(net, port=53, flag="-u")
    server = net.listen(VIP, 53, socket.SOCK_DGRAM)
    ours = net.client_socket(40001, VIP, socket.SOCK_DGRAM)
    for _ in range(2):
        ours.sendto(b"question", (VIP, 53))
        data, where = server.recvfrom(100)
        server.sendto(b"answer to " + data, where)
        ours.recv(100)


def dr_ipv6(net: Net) -> None:
    net.hosts["lb"].sysctl(net__ipv6__conf__all__forwarding=1)
    net.on("rs", f"address add {VIP6}/128 dev lo nodad")
    net.ipvs(f"-A -t [{VIP6}]:80 -s rr", f"-a -t [{VIP6}]:80 -r [{RS6}]:80 -g")
    net.fetch(net.listen(VIP6, 80), to=VIP6)


def tun_ipv6(net: Net) -> None:
    net.hosts["lb"].sysctl(net__ipv6__conf__all__forwarding=1)
    net.on("rs", f"link add t6 type ip6tnl mode ip6ip6 local {RS6} remote any", "link set t6 up")
    net.on("rs", f"address add {VIP6}/128 dev t6 nodad")
    net.ipvs(f"-A -t [{VIP6}]:80 -s rr", f"-a -t [{VIP6}]:80 -r [{RS6}]:80 -i")
    net.fetch(net.listen(VIP6, 80), to=VIP6)


def tun_source_is_vip(net: Net) -> None:
    """The director wraps under the virtual address, which the realserver has too: it drops that."""
    net.on("lb", f"address replace {VIP6}/128 dev eth0 preferred_lft forever")
    try:
        tun_ipv6(net)
    except OSError:
        return
    raise AssertionError("the fault is none: the connection came about")


def dr_routed(net: Net) -> None:
    """The client is behind a router; answers go to the router, not to the director."""
    _routed(net, gateway="10.0.0.254")
    net.fetch(net.listen(VIP, 80))


def _routed(net: Net, *, gateway: str) -> None:
    direct(net)
    net.hosts["router"].sysctl(net__ipv4__ip_forward=1)
    net.on("client", "route add default via 192.0.2.1")
    net.on("lb", "route add default via 10.0.0.254")
    net.on("rs", f"route add default via {gateway}")


def dr_gateway_is_director(net: Net) -> None:
    net.hosts["lb"].sysctl(net__ipv4__ip_forward=1)
    _routed(net, gateway=DIRECTOR)
    net.listen(VIP, 80)
    net.fail()


def dr_realserver_answers_arp(net: Net) -> None:
    net.on("rs", f"address add {VIP}/32 dev lo")
    net.ipvs(f"-A -t {VIP}:80 -s rr", f"-a -t {VIP}:80 -r {RS}:80 -g")
    net.fetch(net.listen(VIP, 80))


def dr_vip_missing(net: Net) -> None:
    direct(net)
    net.on("rs", f"address delete {VIP}/32 dev lo")
    net.listen("0.0.0.0", 80)
    net.fail()


def dr_service_closed(net: Net) -> None:
    direct(net)
    net.fail()


def dr_wrong_port(net: Net) -> None:
    """The service listens on 8080: direct routing changes no port."""
    direct(net)
    net.listen("0.0.0.0", 8080)
    net.fail()


def dr_no_service(net: Net) -> None:
    direct(net)
    net.listen(VIP, 443)
    net.fail(port=443)


def dr_weight_zero(net: Net) -> None:
    direct(net)
    net.ipvs(f"-e -t {VIP}:80 -r {RS}:80 -g -w 0")
    net.listen(VIP, 80)
    net.fail()


def nobody_has_the_vip(net: Net) -> None:
    direct(net)
    net.on("lb", f"address delete {VIP}/32 dev eth0")
    net.fail()


def nat_two_networks(net: Net) -> None:
    two_networks(net, port=8080)
    net.fetch(net.listen(RS_INSIDE, 8080))


def nat_wrong_gateway(net: Net) -> None:
    rewriting(net, RS_INSIDE)
    net.on("rs", "route add default via 10.1.0.254")
    net.listen(RS_INSIDE, 80)
    net.on("rs", "neigh add 10.1.0.254 lladdr 02:00:00:00:01:fe dev eth0")
    net.fail()


def nat_no_forward(net: Net) -> None:
    two_networks(net)
    net.hosts["lb"].sysctl(net__ipv4__ip_forward=0)
    net.listen(RS_INSIDE, 80)
    net.fail()


def nat_wrong_port(net: Net) -> None:
    two_networks(net, port=8081)
    net.listen(RS_INSIDE, 8080)
    net.fail()


def nat_one_network(net: Net) -> None:
    one_network(net)
    net.fetch(net.listen(RS, 80))


def nat_one_network_direct(net: Net) -> None:
    """The realserver has its default route as the how-to says, and still a route to its own network."""
    rewriting(net, RS)
    net.on("rs", f"route add default via {DIRECTOR}")
    net.listen(RS, 80)
    net.fail()


def nat_one_network_redirect(net: Net) -> None:
    """The director tells the realserver of a shorter way, and the answers leave the right one."""
    net.hosts["lb"].sysctl(net__ipv4__conf__all__send_redirects=1, net__ipv4__conf__eth0__send_redirects=1)
    net.hosts["rs"].sysctl(
        net__ipv4__conf__all__accept_redirects=1,
        net__ipv4__conf__eth0__accept_redirects=1,
        net__ipv4__conf__all__shared_media=1,
    )
    one_network(net)
    # Else the redirect comes while the sender still holds its socket, and is not looked at.
    run(["tc", "qdisc", "add", "dev", "rs-eth0", "root", "netem", "delay", "5ms"])
    listener = net.listen(RS, 80)
    ours = net.client_socket(40001, VIP)
    ours.connect((VIP, 80))
    theirs, _ = listener.accept()
    net.sockets.append(theirs)
    ours.settimeout(1.0)
    # The first redirect makes the realserver ask for the client, a later one is obeyed. Those about a SYN,
    # ACK are not: there is no whole socket yet.
    for _ in range(12):
        try:
            theirs.sendall(b"a line of an answer\n")
            ours.recv(100)
        except OSError:
            return
        time.sleep(0.15)
    raise AssertionError("the fault is none: the redirects were not obeyed")


def tun_ipip(net: Net) -> None:
    tunnel(net, "ipip")
    net.fetch(net.listen(VIP, 80))


def tun_gre(net: Net) -> None:
    tunnel(net, "gre")
    net.fetch(net.listen(VIP, 80))


def tun_gue(net: Net) -> None:
    tunnel(net, "gue")
    net.fetch(net.listen(VIP, 80))


def tun_no_device(net: Net) -> None:
    tunnel(net, "ipip", device_up=False)
    net.listen("0.0.0.0", 80)
    net.fail()


def tun_gue_port_closed(net: Net) -> None:
    tunnel(net, "gue", device_up=False)
    net.fail()


def tun_mtu(net: Net) -> None:
    """A full-sized segment with DF does not fit once it is wrapped: the director says so to the client."""
    tunnel(net, "ipip")
    listener = net.listen(VIP, 80)
    ours = net.client_socket(40001, VIP)
    ours.connect((VIP, 80))
    theirs, _ = listener.accept()
    net.sockets.append(theirs)
    theirs.settimeout(2)
    ours.sendall(bytes(2800))
    got = 0
    while got < 2800:
        got += len(theirs.recv(65536))
    theirs.sendall(b"done")
    ours.recv(10)
    ours.close()
    time.sleep(0.1)
    theirs.close()
    time.sleep(0.1)


CASES = {
    "dr": Case(what="direct routing", play=dr, cables=ONE_NETWORK),
    "dr-udp": Case(what="direct routing, UDP", play=dr_udp, cables=ONE_NETWORK),
    "dr-ipv6": Case(what="direct routing, IPv6", play=dr_ipv6, cables=SIX),
    "dr-routed": Case(what="direct routing, the client behind a router", play=dr_routed, cables=ROUTED),
    "dr-gateway-is-director": Case(
        what="direct routing, the realserver's default gateway is the director",
        play=dr_gateway_is_director,
        cables=ROUTED,
    ),
    "dr-realserver-answers-arp": Case(
        what="direct routing, the realserver answers ARP for the VIP",
        play=dr_realserver_answers_arp,
        cables=ONE_NETWORK,
    ),
    "dr-vip-missing": Case(
        what="direct routing, the realserver does not have the VIP", play=dr_vip_missing, cables=ONE_NETWORK
    ),
    "dr-service-closed": Case(
        what="direct routing, nothing listens on the realserver", play=dr_service_closed, cables=ONE_NETWORK
    ),
    "dr-wrong-port": Case(
        what="direct routing, the realserver listens on another port", play=dr_wrong_port, cables=ONE_NETWORK
    ),
    "dr-no-service": Case(
        what="direct routing, the client asks for a port that is no service",
        play=dr_no_service,
        cables=ONE_NETWORK,
    ),
    "dr-weight-zero": Case(
        what="direct routing, weight 0 everywhere", play=dr_weight_zero, cables=ONE_NETWORK
    ),
    "nobody-has-the-vip": Case(what="no machine holds the VIP", play=nobody_has_the_vip, cables=ONE_NETWORK),
    "nat-two-networks": Case(
        what="NAT on two networks, port 80 to 8080", play=nat_two_networks, cables=TWO_NETWORKS
    ),
    "nat-wrong-gateway": Case(
        what="NAT on two networks, the realserver's gateway is not the director",
        play=nat_wrong_gateway,
        cables=TWO_NETWORKS,
    ),
    "nat-no-forward": Case(
        what="NAT on two networks, the director without ip_forward", play=nat_no_forward, cables=TWO_NETWORKS
    ),
    "nat-wrong-port": Case(
        what="NAT on two networks to a port where nothing listens", play=nat_wrong_port, cables=TWO_NETWORKS
    ),
    "nat-one-network": Case(
        what="NAT on one network, answers through the director", play=nat_one_network, cables=ONE_NETWORK
    ),
    "nat-one-network-direct": Case(
        what="NAT on one network, the realserver answers directly",
        play=nat_one_network_direct,
        cables=ONE_NETWORK,
    ),
    "nat-one-network-redirect": Case(
        what="NAT on one network, the director sends ICMP redirects and the realserver obeys",
        play=nat_one_network_redirect,
        cables=ONE_NETWORK,
    ),
    "tun-ipip": Case(what="tunnel, ipip", play=tun_ipip, cables=ONE_NETWORK),
    "tun-gre": Case(what="tunnel, GRE", play=tun_gre, cables=ONE_NETWORK),
    "tun-gue": Case(what="tunnel, GUE", play=tun_gue, cables=ONE_NETWORK),
    "tun-ipv6": Case(what="tunnel, IPv6 in IPv6", play=tun_ipv6, cables=SIX),
    "tun-source-is-vip": Case(
        what="tunnel, IPv6 in IPv6, wrapped under the virtual address", play=tun_source_is_vip, cables=SIX
    ),
    "tun-no-device": Case(
        what="tunnel, ipip, the realserver has no tunnel device", play=tun_no_device, cables=ONE_NETWORK
    ),
    "tun-gue-port-closed": Case(
        what="tunnel, GUE, the realserver does not listen on the GUE port",
        play=tun_gue_port_closed,
        cables=ONE_NETWORK,
    ),
    "tun-mtu": Case(what="tunnel, ipip, full-sized segments", play=tun_mtu, cables=ONE_NETWORK),
}


def make(name: str, case: Case, folder: Path) -> None:
    with build(case.cables, inet6=case.cables is SIX) as net, contextlib.ExitStack() as stack:
        ears = {}
        for host, device in net.devices:
            with net.hosts[host].entered():
                ears[host, device] = stack.enter_context(PacketSocket(device))
        try:
            case.play(net)
        finally:
            time.sleep(0.05)
            write(name, case, ears, folder)


def write(name: str, case: Case, ears: dict[tuple[str, str], PacketSocket], folder: Path) -> None:
    hosts = [host for host, _ in ears]
    counts = {}
    for (host, device), ear in ears.items():
        stem = host if hosts.count(host) == 1 else f"{host}-{device}"
        counts[stem] = 0
        with (folder / f"{name}.{stem}.pcap").open("wb") as file:
            writer = CaptureWriter(file)
            while frames := ear.receive():
                for frame in frames:
                    writer.write(frame.time_ns, frame.data)
                counts[stem] += len(frames)
    lines = [
        "# made by tests/trace/make_trace_captures.py",
        f'what = "{case.what}"',
        f'kernel = "Linux {os.uname().release}"',
        f'play = "{case.play.__name__}"',
        "",
        "[frames]",
        *(f"{stem} = {count}" for stem, count in counts.items()),
    ]
    (folder / f"{name}.toml").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"{name}: {counts}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(CASES)}; none: all")
    arguments = parser.parse_args()
    unknown = set(arguments.names) - set(CASES)
    if unknown:
        parser.error(f"no such case: {', '.join(sorted(unknown))}")
    failed = 0
    for name in arguments.names or CASES:
        try:
            make(name, CASES[name], arguments.folder)
        except Exception as error:  # one case that cannot be made here leaves the others
            failed += 1
            print(f"{name}: NOT made: {error!r}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
