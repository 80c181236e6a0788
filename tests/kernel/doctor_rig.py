"""A whole set-up in the guest, sound by itself, in which faults are made and taken back.

The lab's topology, with the directors' part done by hand, as a how-to would: addresses, IPVS
tables, sync daemons, adverts. Facts are gathered by one thread in each namespace.
"""

import contextlib
import socket
import struct
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from ipaddress import IPv4Address, ip_address
from pathlib import Path
from typing import Any

from lvsha.doctor.diagnose import diagnose
from lvsha.doctor.facts import Facts
from lvsha.doctor.gather import Order, gather
from lvsha.doctor.scene import Finding
from lvsha.io.ipvs_genl import IpvsSocket
from lvsha.ipvs.model import (
    AddDestination,
    AddService,
    Daemon,
    DaemonRole,
    Destination,
    EditDestination,
    ForwardingMethod,
    Operation,
    RemoveDestination,
    RemoveService,
    Service,
    ServiceKey,
)
from lvsha.lab.netns import Namespace, run
from lvsha.lab.topology import Method, Topology, TopologySettings
from lvsha.wire.vrrp import GROUP_IPV4, IP_PROTOCOL, Advertisement, encode_advertisement

VIP = IPv4Address("10.0.0.10")
PORTS = (8000, 8001, 21)
MAIN = ServiceKey.of(6, VIP, 8000)
SECOND = ServiceKey.of(6, VIP, 8001)
FTP = ServiceKey.of(6, VIP, 21)
SYNCID = 51
METHODS = {
    Method.DR: ForwardingMethod.DROUTE,
    Method.NAT: ForwardingMethod.MASQ,
    Method.TUN: ForwardingMethod.TUNNEL,
}
ADVERT = Advertisement(version=3, vrid=51, priority=100, addresses=(VIP,), max_advertise_interval_cs=20)
BEAT_S = 0.2


class Beacon:
    """Advertises from a namespace, several times a second, until it is closed."""

    def __init__(self, space: Namespace, source: str, advert: Advertisement, ttl: int = 255) -> None:
        with space.entered():
            self._socket = socket.socket(socket.AF_INET, socket.SOCK_RAW, IP_PROTOCOL)
        self._socket.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(source))
        self._socket.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, ttl)
        self._socket.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 0)
        self._bytes = encode_advertisement(advert, source=IPv4Address(source), destination=GROUP_IPV4)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._send, daemon=True)
        self._thread.start()

    def _send(self) -> None:
        while not self._over.wait(BEAT_S):
            with contextlib.suppress(OSError):
                self._socket.sendto(self._bytes, (str(GROUP_IPV4), 0))

    def close(self) -> None:
        self._over.set()
        self._thread.join()
        self._socket.close()


class Rig:
    """``with`` it; ``kind``: ``dr``, ``tun``, ``nat`` (two networks) or ``nat-one`` (one network)."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.is_one_network = kind == "nat-one"
        self.method = Method.NAT if kind == "nat" else Method.TUN if kind == "tun" else Method.DR
        self.forwarding = ForwardingMethod.MASQ if self.is_one_network else METHODS[self.method]
        self.topology = Topology(TopologySettings(method=self.method))
        self.spaces: dict[str, Namespace] = {
            "client": self.topology.client,
            **self.topology.directors,
            **self.topology.realservers,
        }
        self.undo = ExitStack()
        """Of the fault that is being injected."""
        self._standing = ExitStack()
        self.listeners: dict[tuple[str, int], socket.socket] = {}
        self.beacons: dict[str, Beacon] = {}

    def __enter__(self) -> "Rig":
        with self._standing:
            self.topology.build()
            self._standing.callback(self.topology.remove)
            for name in ("lb1", "lb2"):
                self._director(name)
            for name in ("rs1", "rs2"):
                self._realserver(name)
            self.beacon("lb1", ADVERT)
            self.connect(8000)
            self._standing = self._standing.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self.undo.close()
        for beacon in self.beacons.values():
            beacon.close()
        for listener in self.listeners.values():
            listener.close()
        self._standing.close()

    # Sound

    def address(self, name: str) -> str:
        if name == "client":
            return "10.0.0.100"
        known = self.topology.director_address if name in self.topology.directors else None
        return str(known(name) if known else self.topology.realserver_address(name))

    def _director(self, name: str) -> None:
        lines = [f"address add {VIP}/24 dev eth0"] if name == "lb1" else []
        if name == "lb1" and self.topology.gateway is not None:
            lines.append(f"address add {self.topology.gateway.ip}/24 dev eth1")
        if lines:
            self.spaces[name].batch(lines)
        self.ipvs(name, AddService(Service(key=MAIN, scheduler="rr")))
        for server in ("rs1", "rs2"):
            self.ipvs(name, AddDestination(MAIN, self.destination(server)))
        for role in DaemonRole:
            self.start_daemon(name, Daemon(role=role, interface="eth0", syncid=SYNCID))
        self.sysctl(name, "net/ipv4/vs/sync_threshold", "2 50", lasting=True)

    def _realserver(self, name: str) -> None:
        space = self.spaces[name]
        if self.is_one_network:
            space.batch(
                [
                    f"address del {VIP}/32 dev lo",
                    "route add 10.0.0.1 dev eth0",
                    "route del 10.0.0.0/24 dev eth0",
                    "route add default via 10.0.0.1",
                ]
            )
        for port in PORTS:
            self.listen(name, port)

    def destination(self, server: str, port: int = 8000, weight: int = 1, **more: Any) -> Destination:
        return Destination(
            address=ip_address(self.address(server)), port=port, method=self.forwarding, weight=weight, **more
        )

    def listen(self, name: str, port: int, address: str = "") -> None:
        if old := self.listeners.pop((name, port), None):
            old.close()
        with self.spaces[name].entered():
            self.listeners[name, port] = socket.create_server((address, port), backlog=128)

    def beacon(self, name: str, advert: Advertisement, ttl: int = 255) -> None:
        """Replaces the one of this namespace."""
        if old := self.beacons.pop(name, None):
            old.close()
        self.beacons[name] = Beacon(self.spaces[name], self.address(name), advert, ttl)

    def silence(self, name: str) -> None:
        self.beacons.pop(name).close()

    def connect(self, port: int) -> None:
        """A connection through the virtual address that has carried data; it stays until the rig goes."""
        with self.spaces["client"].entered():
            connection = socket.create_connection((str(VIP), port), timeout=5.0)
        connection.sendall(b"x")
        self._standing.callback(connection.close)

    # Unsound

    def sysctl(self, name: str, path: str, value: str, *, lasting: bool = False) -> None:
        with self.spaces[name].entered():
            file = Path("/proc/sys", path)
            before = file.read_text()
            file.write_text(value)
        if not lasting:
            self.undo.callback(self.sysctl, name, path, before, lasting=True)

    def ip(self, name: str, do: str, undo: str | None = None) -> None:
        """``ip`` commands inside, several with ``;``."""
        self.spaces[name].batch(do.split(";"))
        if undo is not None:
            self.undo.callback(self.spaces[name].batch, undo.split(";"))

    def here(self, do: str, undo: str) -> None:
        """A command at the switch."""
        run(do.split())
        self.undo.callback(run, undo.split())

    def inside(self, name: str, do: str, undo: str) -> None:
        self.spaces[name].run(do.split())
        self.undo.callback(self.spaces[name].run, undo.split())

    def ipvs(self, name: str, *operations: Operation) -> None:
        with self.spaces[name].entered(), IpvsSocket() as ipvs:
            for operation, error in ipvs.apply(operations):
                raise AssertionError(f"{operation}: {error}")

    def add_service(
        self, key: ServiceKey, *destinations: Destination, name: str = "lb1", **more: Any
    ) -> None:
        service = Service(key=key, scheduler="rr", **more)
        self.ipvs(name, AddService(service), *(AddDestination(key, each) for each in destinations))
        self.undo.callback(self.ipvs, name, RemoveService(key))

    def edit(self, name: str, destination: Destination, key: ServiceKey = MAIN) -> None:
        """Another weight or tunnel for a destination of the main service."""
        self.ipvs(name, EditDestination(key, destination))
        server = next(each for each in ("rs1", "rs2") if self.address(each) == str(destination.address))
        if key is MAIN:
            self.undo.callback(self.ipvs, name, EditDestination(MAIN, self.destination(server)))

    def remove_destinations(self, name: str) -> None:
        for server in ("rs1", "rs2"):
            destination = self.destination(server)
            self.ipvs(name, RemoveDestination(MAIN, destination.key))
            self.undo.callback(self.ipvs, name, AddDestination(MAIN, destination))

    def start_daemon(self, name: str, daemon: Daemon) -> None:
        with self.spaces[name].entered(), IpvsSocket() as ipvs:
            ipvs.start_daemon(daemon)

    def stop_daemon(self, name: str, role: DaemonRole) -> None:
        with self.spaces[name].entered(), IpvsSocket() as ipvs:
            ipvs.stop_daemon(role)

    def other_backup(self, name: str, daemon: Daemon) -> None:
        """Another backup daemon instead of the sound one."""
        self.stop_daemon(name, DaemonRole.BACKUP)
        sound = Daemon(role=DaemonRole.BACKUP, interface="eth0", syncid=SYNCID)
        self.undo.callback(self.start_daemon, name, sound)
        self.start_daemon(name, daemon)
        self.undo.callback(self.stop_daemon, name, DaemonRole.BACKUP)

    @contextlib.contextmanager
    def traffic(self) -> Iterator[None]:
        """A new connection every tenth of a second."""
        over = threading.Event()

        def work() -> None:
            self.spaces["client"].enter()
            while not over.wait(0.1):
                with contextlib.suppress(OSError), socket.create_connection((str(VIP), 8000), 0.5) as one:
                    one.sendall(b"x")

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    # Seen

    def look(self, listen_s: float = 0.0, orders: Mapping[str, dict[str, Any]] | None = None) -> list[Facts]:
        """All machines at the same time."""

        def one(name: str) -> Facts:
            self.spaces[name].enter()
            order = Order(host=name, listen_s=listen_s)
            return gather(replace(order, **(orders or {}).get(name, {})))

        with ThreadPoolExecutor(len(self.spaces)) as pool:
            return list(pool.map(one, self.spaces))

    def diagnose(self, listen_s: float = 0.0, **orders: dict[str, Any]) -> list[Finding]:
        return diagnose(self.look(listen_s, orders))


def messages(count: int) -> Iterator[bytes]:
    """Sync messages of 40 established connections each, to the main service."""
    entry = struct.Struct(">BBHLHHHHLL4s4s4s")
    server = IPv4Address("10.0.0.11").packed
    for number in range(0, count, 40):
        parts = [struct.pack(">BBHBBH", 0, SYNCID, 8 + 40 * entry.size, 40, 1, 0)]
        for each in range(number, number + 40):
            client = struct.pack(">L", 0x0B000000 + each // 60_000)
            parts.append(
                entry.pack(
                    *(0, 6, 36, 3, 1, 1024 + each % 60_000, 8000, 8000, 0, 900),
                    *(client, VIP.packed, server),
                )
            )
        yield b"".join(parts)
