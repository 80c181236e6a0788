"""The witness: who holds the VIP, who advertises, which weights stand in the kernel, and when.

Prints one JSON line an event until stdin ends. It believes nobody: addresses are the kernel's own
notifications inside each director's namespace, weights its ``/proc/net/ip_vs``, adverts what passes the
bridge. It starts before the directors do, when nobody holds anything.
"""

import ctypes
import json
import os
import select
import socket
import struct
import time
from collections.abc import Sequence
from ipaddress import ip_address
from typing import Any

from lvsha.lab.netns import Namespace

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
PROTOCOL_VRRP = 112

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
    sock.bind((0, RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR))
    sock.setblocking(False)
    return sock


def advert_socket(bridge: str) -> socket.socket:
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    program = b"".join(struct.pack("HBBI", *step) for step in VRRP_FILTER)
    buffer = ctypes.create_string_buffer(program)
    header = struct.pack("HL", len(VRRP_FILTER), ctypes.addressof(buffer))
    sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, header)
    sock.bind((bridge, 0))
    sock.setblocking(False)
    return sock


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
    sockets: dict[int, tuple[str, socket.socket]] = {}
    tables: dict[str, int] = {}
    seen: dict[str, dict[str, int]] = {}
    poll = select.poll()
    for director in directors:
        with Namespace(director).entered():
            sock = address_socket()
            tables[director] = os.open("/proc/self/net/ip_vs", os.O_RDONLY)
        sockets[sock.fileno()] = (director, sock)
        seen[director] = {}
    advert = advert_socket(bridge)
    sockets[advert.fileno()] = ("", advert)
    for fd in (0, *sockets):
        poll.register(fd, select.POLLIN)
    emit("watching")

    next_sample = time.monotonic()
    while True:
        for fd, _ in poll.poll(max(0.0, next_sample - time.monotonic()) * 1000):
            if fd == 0:
                return
            director, sock = sockets[fd]
            data = sock.recv(65536)
            if director:
                on_addresses(director, data, watched)
            else:
                on_advert(data)
        if time.monotonic() >= next_sample:
            next_sample = time.monotonic() + SAMPLE_S
            for director, fd in tables.items():
                now = weights(os.pread(fd, 65536, 0))
                if now != seen[director]:
                    seen[director] = now
                    emit("weights", director=director, weights=now)
