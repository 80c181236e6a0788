"""The witness: who holds the VIP, who advertises, which weights stand in the kernel, and when.

Prints one JSON line an event until stdin ends. It believes nobody: addresses are the kernel's own
notifications inside each director's namespace, weights its ``/proc/net/ip_vs``, adverts what passes the
bridge. It starts before the directors do, when nobody holds anything.

Writes to the IPVS are counted where the kernel can mirror netlink (``nlmon``): every request in a director's
namespace, whoever makes it and whether or not it changes anything.
"""

import ctypes
import json
import os
import select
import socket
import struct
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from ipaddress import ip_address
from typing import Any

from lvsha.io.netlink import GENERIC, NetlinkSocket
from lvsha.lab.netns import Namespace
from lvsha.wire import genl_ipvs

SAMPLE_S = 0.02
"""How often the weights are looked at."""

RTM_NEWADDR = 20
RTM_DELADDR = 21
RTMGRP_IPV4_IFADDR = 0x10
RTMGRP_IPV6_IFADDR = 0x100
IFA_ADDRESS = 1
IFA_LOCAL = 2
ETH_P_ALL = 3
SO_ATTACH_FILTER = 26
SO_RCVBUFFORCE = 33
PROTOCOL_VRRP = 112

NLMON = "nlmon0"
NLM_F_REQUEST = 1
NETLINK_GENERIC = 16
IPVS_WRITES = frozenset({1, 2, 3, 5, 6, 7, 9, 10, 12, 16, 17})
"""NEW, SET and DEL of services, destinations and daemons, SET_CONFIG, ZERO and FLUSH (ip_vs.h)."""

# What is asked of the kernel, not what it answers: the low byte of nlmsg_flags, which are in host order.
REQUEST_FILTER = (
    (0x30, 0, 0, 6 if sys.byteorder == "little" else 7),
    (0x45, 0, 1, NLM_F_REQUEST),
    (0x06, 0, 0, 65535),
    (0x06, 0, 0, 0),
)

# "Is it VRRP over IPv4 or IPv6?" as the kernel's classic packet filter: (code, jt, jf, k).
VRRP_FILTER = (
    (0x28, 0, 0, 12),  # the ethertype
    (0x15, 0, 2, 0x0800),  # IPv4? else two further
    (0x30, 0, 0, 23),  # its protocol
    (0x15, 3, 4, PROTOCOL_VRRP),
    (0x15, 0, 3, 0x86DD),  # IPv6?
    (0x30, 0, 0, 20),  # its next header
    (0x15, 0, 1, PROTOCOL_VRRP),
    (0x06, 0, 0, 256),
    (0x06, 0, 0, 0),
)


def emit(event: str, **fields: Any) -> None:
    print(json.dumps({"at": time.monotonic_ns(), "event": event} | fields), flush=True)


def address_socket() -> socket.socket:
    sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
    # Hundreds of addresses come at once, and their leases are renewed for ever.
    sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 16 << 20)
    sock.bind((0, RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR))
    sock.setblocking(False)
    return sock


def advert_socket(bridge: str) -> socket.socket:
    return _packet_socket(bridge, VRRP_FILTER)


def _packet_socket(device: str, steps: Sequence[tuple[int, int, int, int]]) -> socket.socket:
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    program = b"".join(struct.pack("HBBI", *step) for step in steps)
    buffer = ctypes.create_string_buffer(program)
    header = struct.pack("HL", len(steps), ctypes.addressof(buffer))
    sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, header)
    sock.bind((device, 0))
    sock.setblocking(False)
    return sock


def write_socket() -> socket.socket | None:
    """What is asked of the kernel over netlink in this namespace; None: it cannot mirror that."""
    if NLMON not in [name for _, name in socket.if_nameindex()]:
        return None
    sock = _packet_socket(NLMON, REQUEST_FILTER)
    sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 4 << 20)
    return sock


def writes(protocol: int, data: bytes, ipvs_family: int) -> int:
    """How many requests in one netlink datagram write to the IPVS."""
    found = 0
    while protocol == NETLINK_GENERIC and len(data) >= 20:
        length, kind = struct.unpack_from("=IH", data)
        if length < 20:
            break
        found += kind == ipvs_family and data[16] in IPVS_WRITES
        data = data[(length + 3) & ~3 :]
    return found


def on_addresses(director: str, data: bytes, watched: set[str]) -> None:
    while len(data) >= 16:
        length, kind = struct.unpack_from("=IH", data)
        if kind in (RTM_NEWADDR, RTM_DELADDR):
            address = local_address(data[16:length])
            if address in watched:
                emit("bound" if kind == RTM_NEWADDR else "unbound", director=director, address=address)
        data = data[(length + 3) & ~3 :]


def local_address(message: bytes) -> str:
    """IFA_LOCAL, or IFA_ADDRESS where there is none (IPv6)."""
    found: dict[int, bytes] = {}
    rest = message[8:]
    while len(rest) >= 4:
        length, kind = struct.unpack_from("=HH", rest)
        if length < 4:
            break
        found[kind] = rest[4:length]
        rest = rest[(length + 3) & ~3 :]
    raw = found.get(IFA_LOCAL) or found.get(IFA_ADDRESS, b"")
    return str(ip_address(raw)) if raw else ""


def on_advert(frame: bytes) -> None:
    if frame[12:14] == b"\x08\x00":
        header = 14 + (frame[14] & 15) * 4
        source = str(ip_address(frame[26:30]))
    else:
        header = 54
        source = str(ip_address(frame[22:38]))
    emit("advert", source=source, vrid=frame[header + 1], priority=frame[header + 2])


def weights(table: bytes) -> dict[str, int]:
    """``{"10.0.0.10:8000/TCP>10.0.0.11:8000": weight}`` from /proc/net/ip_vs."""
    found: dict[str, int] = {}
    service = ""
    for line in table.decode().splitlines()[3:]:
        words = line.split()
        if not words:
            continue
        if words[0] == "->":
            found[f"{service}>{endpoint(words[1])}"] = int(words[3])
        else:
            service = f"{endpoint(words[1])}/{words[0]}"
    return found


def endpoint(text: str) -> str:
    """``0A00000A:1F40`` or ``[fd00:...]:1F40`` as people write it."""
    host, _, port = text.rpartition(":")
    if host.startswith("["):
        return f"[{ip_address(host[1:-1])}]:{int(port, 16)}"
    return f"{ip_address(int(host, 16))}:{int(port, 16)}" if host else text


def watch(directors: Sequence[str], addresses: Sequence[str], bridge: str) -> None:
    """Report what happens to ``addresses`` and weights on ``directors``, and adverts on ``bridge``."""
    watched = set(addresses)
    handlers: dict[int, Callable[[], None]] = {}
    kept: list[socket.socket] = []
    tables: dict[str, int] = {}
    seen: dict[str, dict[str, int]] = {}
    counts: Counter[str] = Counter()
    ipvs_family = _ipvs_family()
    for director in directors:
        with Namespace(director).entered():
            changes, requests = address_socket(), write_socket()
            tables[director] = os.open("/proc/self/net/ip_vs", os.O_RDONLY)
        handlers[changes.fileno()] = partial(_hear_addresses, changes, director, watched)
        kept.append(changes)
        seen[director] = {}
        if requests is not None:
            counts[director] = 0
            handlers[requests.fileno()] = partial(_hear_writes, requests, counts, director, ipvs_family)
            kept.append(requests)
    adverts = advert_socket(bridge)
    handlers[adverts.fileno()] = lambda: on_advert(adverts.recv(65536))
    poll = select.poll()
    for fd in (0, *handlers):
        poll.register(fd, select.POLLIN)
    emit("watching", counts_writes=bool(counts))

    told = dict(counts)
    next_sample = time.monotonic()
    while True:
        for fd, _ in poll.poll(max(0.0, next_sample - time.monotonic()) * 1000):
            if fd == 0:
                return
            handlers[fd]()
        if time.monotonic() >= next_sample:
            next_sample = time.monotonic() + SAMPLE_S
            for director, fd in tables.items():
                now = weights(os.pread(fd, 65536, 0))
                if now != seen[director]:
                    seen[director] = now
                    emit("weights", director=director, weights=now)
            for director, count in counts.items():
                if count != told[director]:
                    told[director] = count
                    emit("writes", director=director, ipvs=count)


def _ipvs_family() -> int:
    netlink = NetlinkSocket(GENERIC)
    buffer, start, end = netlink.ask(genl_ipvs.CONTROLLER, genl_ipvs.family_request())
    netlink.close()
    return genl_ipvs.family_number(buffer[start:end])


def _hear_addresses(sock: socket.socket, director: str, watched: set[str]) -> None:
    on_addresses(director, sock.recv(65536), watched)


def _hear_writes(sock: socket.socket, counts: Counter[str], director: str, ipvs_family: int) -> None:
    while True:
        try:
            data, sender = sock.recvfrom(65536)
        except BlockingIOError:
            return
        counts[director] += writes(sender[1], data, ipvs_family)
