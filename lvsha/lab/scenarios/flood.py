"""SYN and UDP floods through one director: how many packets it forwards, and what its defences change.

The old ``testlvs`` for this lab: a client with thousands of made-up addresses sends as fast as it can (or
at ``--rate``), realservers drop what they are given, and the counters of the devices tell what came
through. Only inside a guest: nowhere else is there a topology to flood.
"""

import contextlib
import ctypes
import os
import socket
import struct
import time
from collections.abc import Iterator
from ipaddress import IPv4Address
from typing import Any

from lvsha.io.ipvs_genl import IpvsSocket
from lvsha.ipvs.model import (
    AddDestination,
    AddService,
    Destination,
    ForwardingMethod,
    Protocol,
    RemoveService,
    Service,
    ServiceKey,
)
from lvsha.lab.errors import LabError
from lvsha.lab.guest import IN_GUEST
from lvsha.lab.netns import Namespace
from lvsha.lab.report import table
from lvsha.lab.scenario import Outcome
from lvsha.lab.stage import Stage
from lvsha.lab.topology import Method
from lvsha.wire.checksum import internet_checksum

SUMMARY = "SYN and UDP floods through a director: packets per second, and what each defence changes"

DIRECTOR = "lb1"
FLOODED_PORT = 9
SOURCES = 131_072
"""Made-up clients, in 198.18.0.0/15 (RFC 2544): each its own connection."""
BATCH = 256
"""Packets of one ``sendmmsg``: a system call each would measure user-mode Linux's system calls."""
FLOOD_S = 4.0
"""Of one flood: the defences look at the table once a second."""
DEFENCES = {
    "none": {},
    "drop_entry": {"drop_entry": 3},
    "drop_packet": {"drop_packet": 3},
    "secure_tcp": {"secure_tcp": 3},
}
_METHODS = {
    Method.DR: ForwardingMethod.DROUTE,
    Method.NAT: ForwardingMethod.MASQ,
    Method.TUN: ForwardingMethod.TUNNEL,
}
_SYN = 0x02
_MESSAGE = struct.Struct("=QIIQQQQIIII")
_VECTOR = struct.Struct("=QQ")


def syn(source: IPv4Address, port: int, target: IPv4Address, to: int = FLOODED_PORT) -> bytes:
    """One TCP SYN with its IPv4 header; the kernel fills the header's checksum."""
    segment = struct.pack("!HHIIBBHHH", port, to, 1, 0, 5 << 4, _SYN, 65535, 0, 0)
    pseudo = source.packed + target.packed + struct.pack("!BBH", 0, Protocol.TCP, len(segment))
    checksum = struct.pack("!H", internet_checksum(pseudo + segment))
    return _ip(source, target, Protocol.TCP, segment[:16] + checksum + segment[18:])


def datagram(source: IPv4Address, port: int, target: IPv4Address) -> bytes:
    """One UDP datagram of 18 bytes: a 46-byte packet, the smallest that fills an Ethernet frame."""
    payload = bytes(18)
    header = struct.pack("!HHHH", port, FLOODED_PORT, 8 + len(payload), 0)
    return _ip(source, target, Protocol.UDP, header + payload)


def _ip(source: IPv4Address, target: IPv4Address, protocol: int, payload: bytes) -> bytes:
    length = 20 + len(payload)
    return (
        struct.pack("!BBHHHBBH", 0x45, 0, length, 0, 0, 64, protocol, 0)
        + source.packed
        + target.packed
        + payload
    )


class Gun:
    """Packets in memory, sent many at a time from a raw socket of the namespace it is made in."""

    def __init__(self, packets: list[bytes], target: IPv4Address) -> None:
        if IN_GUEST not in os.environ:
            raise LabError("a flood is for a guest only: use `lvsha lab run flood`")
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
        self._count = len(packets)
        self._data = ctypes.create_string_buffer(b"".join(packets))
        self._name = ctypes.create_string_buffer(struct.pack("=HH4s8x", socket.AF_INET, 0, target.packed))
        self._vectors = ctypes.create_string_buffer(_VECTOR.size * self._count)
        self._messages = ctypes.create_string_buffer(_MESSAGE.size * self._count)
        at, data, vectors = 0, ctypes.addressof(self._data), ctypes.addressof(self._vectors)
        for number, packet in enumerate(packets):
            _VECTOR.pack_into(self._vectors, number * _VECTOR.size, data + at, len(packet))
            vector = vectors + number * _VECTOR.size
            message = (ctypes.addressof(self._name), 16, 0, vector, 1, 0, 0, 0, 0, 0, 0)
            _MESSAGE.pack_into(self._messages, number * _MESSAGE.size, *message)
            at += len(packet)
        self._send = ctypes.CDLL(None, use_errno=True).sendmmsg
        self._send.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int)

    def fire(self, seconds: float, rate: int) -> tuple[int, float]:
        """Send round and round; how many went, in how many seconds. ``rate`` 0: as many as go."""
        begun = time.monotonic()
        sent = place = 0
        messages = ctypes.addressof(self._messages)
        while (spent := time.monotonic() - begun) < seconds:
            if rate and sent > spent * rate:
                time.sleep((sent - spent * rate) / rate)
                continue
            count = min(BATCH, self._count - place)
            went = self._send(self._socket.fileno(), messages + place * _MESSAGE.size, count, 0)
            if went < 0:
                raise LabError(f"the flood cannot be sent: {os.strerror(ctypes.get_errno())}")
            sent += went
            place = (place + went) % self._count
        return sent, time.monotonic() - begun

    def close(self) -> None:
        self._socket.close()


def play(stage: Stage) -> Outcome:
    settings = stage.settings
    if settings.family != 4:
        raise LabError("the flood speaks IPv4: leave --family out")
    target = IPv4Address(stage.vip)
    director = stage.topology.directors[DIRECTOR]
    director.batch([f"address add {target}/24 dev eth0"])
    for realserver in stage.topology.realservers.values():
        realserver.run(["tc", "qdisc", "add", "dev", "eth0", "clsact"])
        drop = "tc filter add dev eth0 ingress protocol ip matchall action drop"
        realserver.run(drop.split(" "))
    guns = {name: _gun(stage, make, target) for name, make in (("syn", syn), ("udp", datagram))}
    rows = [
        _flood(stage, name, defence, guns[name])
        for name in guns
        for defence in DEFENCES
        if name == "syn" or defence != "secure_tcp"
    ]
    for gun in guns.values():
        gun.close()
    for line in shown(rows):
        stage.story.say(line)
    best = max(row["forwarded_pps"] for row in rows)
    return Outcome(
        ok=all(row["forwarded_pps"] > 0 for row in rows),
        verdict=f"{settings.method.upper()}: at most {best:,} packets a second through one director",
        established=0,
        survived=0,
        extras={"floods": rows, "rate": settings.rate},
    )


def _gun(stage: Stage, make: Any, target: IPv4Address) -> Gun:
    first = int(IPv4Address("198.18.0.1"))
    packets = [make(IPv4Address(first + n), 1024 + n % 60_000, target) for n in range(SOURCES)]
    with stage.topology.client.entered():
        return Gun(packets, target)


@contextlib.contextmanager
def _service(stage: Stage, kind: str) -> Iterator[tuple[IpvsSocket, ServiceKey]]:
    """The flooded service on the director; its connections end with it."""
    director = stage.topology.directors[DIRECTOR]
    protocol = Protocol.TCP if kind == "syn" else Protocol.UDP
    key = ServiceKey.of(protocol, IPv4Address(stage.vip), FLOODED_PORT)
    method = _METHODS[stage.settings.method]
    operations = [AddService(Service(key=key, scheduler="rr"))]
    destinations = [
        AddDestination(
            key,
            Destination(address=stage.topology.realserver_address(name), port=FLOODED_PORT, method=method),
        )
        for name in stage.topology.realservers
    ]
    with director.entered():
        ipvs = IpvsSocket()
        ipvs.open()
    failures = ipvs.apply([*operations, *destinations])
    if failures:
        raise LabError(f"the director takes no service: {failures[0][1]}")
    try:
        yield ipvs, key
    finally:
        director.sysctl(net__ipv4__vs__expire_nodest_conn=1)
        ipvs.apply([RemoveService(key)])
        time.sleep(0.5)
        director.sysctl(net__ipv4__vs__expire_nodest_conn=0)
        ipvs.close()


def _flood(stage: Stage, kind: str, defence: str, gun: Gun) -> dict[str, Any]:
    director = stage.topology.directors[DIRECTOR]
    director.sysctl(**{f"net__ipv4__vs__{name}": value for name, value in DEFENCES[defence].items()})
    out = "eth1" if stage.settings.method is Method.NAT else "eth0"
    with _service(stage, kind) as (ipvs, key):
        before = _received(stage), _packets(director, "eth0")[0], _packets(director, out)[1], _cpu()
        sent, seconds = gun.fire(FLOOD_S, stage.settings.rate)
        after = _received(stage), _packets(director, "eth0")[0], _packets(director, out)[1], _cpu()
        states = ipvs.destinations(key).values()
        connections = sum(state.active + state.inactive for state in states)
    director.sysctl(**{f"net__ipv4__vs__{name}": 0 for name in DEFENCES[defence]})
    busy, total = (now - then for then, now in zip(before[3], after[3], strict=True))
    row = {
        "flood": kind,
        "defence": defence,
        "sent_pps": round(sent / seconds),
        "director_in_pps": round((after[1] - before[1]) / seconds),
        "director_out_pps": round((after[2] - before[2]) / seconds),
        "forwarded_pps": round((after[0] - before[0]) / seconds),
        "connections": connections,
        "cpu_busy": round(busy / total, 2) if total else None,
        "seconds": round(seconds, 2),
    }
    stage.story.say(f"{kind} flood, defence {defence}: {row['forwarded_pps']:,} packets/s forwarded")
    return row


def shown(rows: list[dict[str, Any]]) -> list[str]:
    """The rows as a table for people."""
    names = ("flood", "defence", "sent_pps", "forwarded_pps", "connections")
    cells = [
        [f"{row[name]:,}" if isinstance(row[name], int) else row[name] for name in names] for row in rows
    ]
    return table([["flood", "defence", "sent/s", "forwarded/s", "connections"], *cells])


def _packets(namespace: Namespace, device: str) -> tuple[int, int]:
    """Received and sent packets of a device."""
    for line in namespace.read("/proc/net/dev").splitlines():
        name, colon, numbers = line.partition(":")
        if colon and name.strip() == device:
            fields = numbers.split()
            return int(fields[1]), int(fields[9])
    raise LabError(f"{namespace!r} has no device {device}")


def _received(stage: Stage) -> int:
    return sum(_packets(each, "eth0")[0] for each in stage.topology.realservers.values())


def _cpu() -> tuple[int, int]:
    """Busy and all ticks of this machine: user-mode Linux cannot tell whose they are."""
    with open("/proc/stat") as file:
        ticks = [int(word) for word in file.readline().split()[1:9]]
    return sum(ticks) - ticks[3] - ticks[4], sum(ticks)
