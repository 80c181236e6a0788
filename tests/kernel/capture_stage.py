"""Two directors, a client and a realserver, joined so that every capture in proto/captures can be made.

::

    client 10.2.0.10 ─┐                     ┌─ 10.2.0.50 realserver
           fd02::10   ├── bridge 10.2.0.0/24 ┤   fd02::50
                      └─ 10.2.0.1 director ──┘
                                  │ sync0, 10.77.0.1
                                  │ sync0, 10.77.0.2
                                 peer        its kernel plays the backup

The director holds the VIP, 10.2.0.100 or fd02::100. What its master daemon sends is captured at the
peer's end of the wire, where the peer's backup daemon hears the same datagrams.
"""

import itertools
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from lvsha.io.capture import CaptureWriter
from lvsha.io.ipvs_genl import IpvsSocket
from lvsha.ipvs.model import Daemon, DaemonRole
from lvsha.lab.netns import Namespace, ip_batch, run

SYNCID = 7
VIP, VIP6 = "10.2.0.100", "fd02::100"
CLIENT, CLIENT6 = "10.2.0.10", "fd02::10"
SERVER, SERVER6 = "10.2.0.50", "fd02::50"
SYNC_ADDRESS = "10.77.0.1"
ALL_PROTOCOLS = 0x0003
SO_RCVBUFFORCE = 33
BACKUP_MAXLEN = 65507

_numbers = itertools.count()


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What differs between kinds of captures."""

    sync: dict[str, str | int] = field(default_factory=dict)
    """Settings under net.ipv4.vs, of the director and the peer alike."""
    maxlen: int | None = None
    """Of the director's master daemon."""
    services: tuple[str, ...] = ()
    """Arguments of ipvsadm, in the director."""
    group: str | None = None


@dataclass(frozen=True, slots=True)
class Stage:
    client: Namespace
    director: Namespace
    server: Namespace
    peer: Namespace
    sockets: list[socket.socket]
    """They stay open until the recording is over."""

    def connect(
        self, port: int, *, source: str = CLIENT, to: str = VIP, server: socket.socket
    ) -> tuple[socket.socket, socket.socket]:
        """A TCP connection through the director: the client's end, the realserver's end."""
        family = socket.AF_INET6 if ":" in to else socket.AF_INET
        with self.client.entered():
            ours = socket.socket(family, socket.SOCK_STREAM)
        ours.settimeout(5)
        ours.bind((source, 0))
        ours.connect((to, port))
        theirs, _ = server.accept()
        theirs.settimeout(5)
        self.sockets.extend((ours, theirs))
        return ours, theirs

    def talk(self, port: int, source_port: int = 0) -> socket.socket:
        """A UDP socket of the client's, connected to the VIP."""
        with self.client.entered():
            ours = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sockets.append(ours)
        ours.settimeout(5)
        ours.bind((CLIENT, source_port))
        ours.connect((VIP, port))
        return ours

    def listen(self, address: str, port: int, kind: socket.SocketKind = socket.SOCK_STREAM) -> socket.socket:
        """A socket of the realserver's."""
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with self.server.entered():
            listener = socket.socket(family, kind)
        self.sockets.append(listener)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address, port))
        if kind is socket.SOCK_STREAM:
            listener.listen(512)
        listener.settimeout(5)
        return listener

    def installed(self) -> list[str]:
        """The peer's ``ip_vs_conn_sync`` without the timers, sorted: what its kernel made of the messages."""
        with self.peer.entered():
            lines = Path("/proc/thread-self/net/ip_vs_conn_sync").read_text().splitlines()[1:]
        return sorted(" ".join(line.split()[:-1]) for line in lines)


@contextmanager
def stage(setup: Setup) -> Iterator[Stage]:
    """Build it, start both daemons, take it down again."""
    number = next(_numbers)
    nodes = {name: Namespace(f"{name}{number}") for name in ("client", "director", "server", "peer")}
    bridge = f"br{number}"
    try:
        lines = [f"link add {bridge} type bridge", f"link set {bridge} up"]
        lines += [f"netns add {node.name}" for node in nodes.values()]
        for name, node in nodes.items():
            if name != "peer":
                port = f"{name[:6]}{number}"
                lines += [
                    f"link add {port} type veth peer name eth0 netns {node.name}",
                    f"link set {port} master {bridge} up",
                ]
        ip_batch(lines)
        _address(nodes)
        built = Stage(nodes["client"], nodes["director"], nodes["server"], nodes["peer"], sockets=[])
        _configure(built, setup)
        try:
            yield built
        finally:
            for each in built.sockets:
                each.close()
    finally:
        for node in nodes.values():
            run(["ip", "netns", "delete", node.name], check=False)
        run(["ip", "link", "delete", bridge], check=False)


def _address(nodes: dict[str, Namespace]) -> None:
    addresses = {
        "client": (CLIENT, CLIENT6),
        "director": ("10.2.0.1", "fd02::1"),
        "server": (SERVER, SERVER6),
    }
    for name, node in nodes.items():
        # Before the addresses: the VIPs that a realserver holds must stay silent.
        node.sysctl(
            net__ipv4__conf__all__arp_ignore=1,
            net__ipv4__conf__all__arp_announce=2,
            net__ipv4__conf__all__rp_filter=0,
            net__ipv4__conf__default__rp_filter=0,
            net__ipv4__conf__all__send_redirects=0,
            net__ipv4__conf__default__send_redirects=0,
            net__ipv6__conf__default__accept_dad=0,
        )
        node.batch(["link set lo up"])
        if name in addresses:
            inet, inet6 = addresses[name]
            node.batch(
                ["link set eth0 up", f"addr add {inet}/24 dev eth0", f"addr add {inet6}/64 dev eth0 nodad"]
            )
    director = nodes["director"]
    director.sysctl(net__ipv4__ip_forward=1, net__ipv6__conf__all__forwarding=1)
    director.batch(
        [
            f"addr add {VIP}/32 dev eth0",
            f"addr add {VIP6}/128 dev eth0 nodad",
            f"link add sync0 type veth peer name sync0 netns {nodes['peer'].name}",
            f"addr add {SYNC_ADDRESS}/24 dev sync0",
            "link set sync0 up",
        ]
    )
    nodes["peer"].batch(["addr add 10.77.0.2/24 dev sync0", "link set sync0 up"])
    # NAT in one network: the answers must pass the director too.
    nodes["server"].batch([f"route add {CLIENT}/32 via 10.2.0.1", f"route add {CLIENT6}/128 via fd02::1"])
    nodes["client"].batch([f"addr add 10.2.0.{host}/24 dev eth0" for host in range(11, 15)])
    nodes["server"].batch([f"route add 10.2.0.{host}/32 via 10.2.0.1" for host in range(11, 15)])


def _configure(built: Stage, setup: Setup) -> None:
    for node in (built.director, built.peer):
        with node.entered(), IpvsSocket():
            pass  # its settings are there once the module is
        node.sysctl(**{f"net__ipv4__vs__{name}": value for name, value in setup.sync.items()})
    with built.director.entered():
        for service in setup.services:
            run(["ipvsadm", *service.split()])
    group = ["--mcast-group", setup.group] if setup.group else []
    with built.peer.entered(), IpvsSocket() as ipvs:
        if group:
            words = ["--start-daemon", "backup", "--mcast-interface", "sync0", "--syncid", str(SYNCID)]
            run(["ipvsadm", *words, "--sync-maxlen", str(BACKUP_MAXLEN - 20), *group])
        else:
            ipvs.start_daemon(
                Daemon(role=DaemonRole.BACKUP, interface="sync0", syncid=SYNCID, maxlen=BACKUP_MAXLEN)
            )
    with built.director.entered(), IpvsSocket() as ipvs:
        if group:
            words = ["--start-daemon", "master", "--mcast-interface", "sync0", "--syncid", str(SYNCID)]
            run(["ipvsadm", *words, *group])
        else:
            ipvs.start_daemon(
                Daemon(role=DaemonRole.MASTER, interface="sync0", syncid=SYNCID, maxlen=setup.maxlen)
            )


class Recorder:
    """Frames of the sync wire, as the peer gets them: sync messages and the fragments of long ones."""

    def __init__(self, peer: Namespace) -> None:
        with peer.entered():
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ALL_PROTOCOLS))
            self._socket.bind(("sync0", ALL_PROTOCOLS))
        self._socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 64 << 20)
        self._socket.setblocking(False)
        self.frames: list[tuple[int, bytes]] = []

    def collect(self, quiet_s: float = 3.2, limit_s: float = 15.0) -> None:
        """Until nothing has come for longer than the kernel keeps a buffer that is part-filled."""
        give_up, last = time.monotonic() + limit_s, time.monotonic()
        while time.monotonic() < min(give_up, last + quiet_s):
            try:
                frame, where = self._socket.recvfrom(65535)
            except BlockingIOError:
                time.sleep(0.01)
                continue
            if where[2] != socket.PACKET_OUTGOING and _is_sync(frame):
                self.frames.append((time.time_ns(), frame))
                last = time.monotonic()

    def write(self, path: Path) -> None:
        with path.open("wb") as file:
            writer = CaptureWriter(file)
            for time_ns, frame in self.frames:
                writer.write(time_ns, frame)

    def close(self) -> None:
        self._socket.close()


def _is_sync(frame: bytes) -> bool:
    """UDP to a group; not the membership reports and neighbour discovery of the same wire."""
    if frame[12:14] == b"\x08\x00":
        return frame[23] == socket.IPPROTO_UDP and frame[30:34] == socket.inet_aton("224.0.0.81")
    return frame[12:14] == b"\x86\xdd" and frame[20] == socket.IPPROTO_UDP
