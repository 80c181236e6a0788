"""A packet for a virtual address, sent to one realserver as IPVS would send it.

By direct routing: the realserver's hardware address before it; through a tunnel: wrapped. Nothing of
the IPVS table is asked or changed, so a director may do it while it works. The answer is read
beside the kernel's own way in, which drops it on the director that holds the virtual address.

IPv4. A TCP port is asked with SYN, and reset at once; anything else with an ICMP echo.
"""

import errno
import select
import socket
import struct
import time
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address
from typing import Final

from lvsha.core.errors import DecodeError, KernelError
from lvsha.ipvs.model import TunnelType
from lvsha.wire.checksum import internet_checksum, pseudo_header
from lvsha.wire.ip import decode_ipv4

_ETH_P_IP = 0x0800
_ICMP, _IPIP, _TCP, _UDP, _GRE = 1, 4, 6, 17, 47
_ECHO_REPLY, _UNREACHABLE, _ECHO = 0, 3, 8
_SYN, _RST, _ACK = 0x02, 0x04, 0x10
_DF, _TTL = 0x4000, 64
_PORT: Final = 61_111
"""Ours: above what the kernel gives to clients by default."""
_SEQUENCE: Final = 0x4C565341
OVERHEAD: Final = {TunnelType.IPIP: 20, TunnelType.GRE: 24, TunnelType.GUE: 32}
"""Bytes that a tunnel over IPv4 adds, without checksums."""


class Answer(StrEnum):
    ACCEPTED = "accepted"
    """From the virtual address: SYN and ACK, or an echo."""
    RESET = "reset"
    """From the virtual address: nobody listens."""
    UNREACHABLE = "unreachable"
    """ICMP, from the realserver or on the way to it."""
    TOO_BIG = "too_big"
    """For our own interface."""
    SILENCE = "silence"


@dataclass(frozen=True, slots=True, kw_only=True)
class Path:
    """How a packet gets to a realserver."""

    source: IPv4Address
    """Ours; not the virtual one."""
    realserver: IPv4Address
    interface: str = ""
    macs: tuple[bytes, bytes] | None = None
    """Direct routing: the realserver's, and ours on the interface."""
    tunnel: TunnelType | None = None
    tunnel_port: int = 0


def ask_port(path: Path, address: IPv4Address, port: int, wait_s: float = 0.5) -> Answer:
    """A connection to the virtual address that begins, and is reset.

    Raises:
        KernelError: not permitted, or no way there.
    """
    answer = _ask(path, address, _tcp(path.source, address, port, _SYN, _SEQUENCE), wait_s)
    if answer is Answer.ACCEPTED:
        _send(path, _tcp(path.source, address, port, _RST, _SEQUENCE + 1))
    return answer


def ask_echo(path: Path, address: IPv4Address, size: int = 64, wait_s: float = 0.5) -> Answer:
    """An echo of ``size`` bytes, IP header included, that may not be fragmented.

    Raises:
        KernelError: not permitted, or no way there.
    """
    body = struct.pack("!BBHHH", _ECHO, 0, 0, _PORT, 1) + bytes(max(0, size - 28))
    body = body[:2] + internet_checksum(body).to_bytes(2, "big") + body[4:]
    return _ask(path, address, _ip(path.source, address, _ICMP, body), wait_s)


def source_towards(target: IPv4Address) -> IPv4Address:
    """Which of our addresses the kernel would use.

    Raises:
        KernelError: no route.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        try:
            udp.connect((str(target), 9))
        except OSError as error:
            raise KernelError(f"find the way to {target}", error.errno or 0, error.strerror or "") from None
        return IPv4Address(udp.getsockname()[0])


def _ask(path: Path, address: IPv4Address, packet: bytes, wait_s: float) -> Answer:
    try:
        with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(_ETH_P_IP)) as ear:
            ear.setblocking(False)
            try:
                _send(path, packet)
            except OSError as error:
                if error.errno == errno.EMSGSIZE:
                    return Answer.TOO_BIG
                raise
            end = time.monotonic() + wait_s
            while (left := end - time.monotonic()) > 0:
                if not select.select([ear], [], [], left)[0]:
                    break
                data, where = ear.recvfrom(65535)
                if where[2] != socket.PACKET_OUTGOING and (answer := _read(path, address, data)):
                    return answer
    except OSError as error:
        raise KernelError(f"send to {path.realserver}", error.errno or 0, error.strerror or "") from None
    return Answer.SILENCE


def _read(path: Path, address: IPv4Address, data: bytes) -> Answer | None:
    try:
        packet = decode_ipv4(data)
    except DecodeError:
        return None
    body = packet.payload
    if packet.destination != path.source or len(body) < 8:
        return None
    if packet.source == address and packet.protocol == _TCP and len(body) >= 20:
        if int.from_bytes(body[2:4], "big") == _PORT:
            return Answer.RESET if body[13] & _RST else Answer.ACCEPTED
    elif packet.source == address and packet.protocol == _ICMP and body[0] == _ECHO_REPLY:
        return Answer.ACCEPTED if int.from_bytes(body[4:6], "big") == _PORT else None
    elif packet.protocol == _ICMP and body[0] == _UNREACHABLE and len(body) >= 28:
        # What it is about: the header of our packet.
        is_ours = body[20:24] == path.source.packed
        return Answer.UNREACHABLE if is_ours and body[24:28] in _targets(path, address) else None
    return None


def _targets(path: Path, address: IPv4Address) -> tuple[bytes, bytes]:
    return address.packed, path.realserver.packed


# --- packets ------------------------------------------------------------------------------------------


def _send(path: Path, packet: bytes) -> None:
    if path.macs is not None:
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as frames:
            frames.bind((path.interface, 0))
            frames.send(b"".join(path.macs) + _ETH_P_IP.to_bytes(2, "big") + packet)
        return
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
        raw.sendto(_wrapped(path, packet), (str(path.realserver), 0))


def _wrapped(path: Path, packet: bytes) -> bytes:
    """RFC 2003, RFC 2784, and the GUE draft's version 0 without options."""
    if path.tunnel is TunnelType.GRE:
        return _ip(path.source, path.realserver, _GRE, struct.pack("!HH", 0, _ETH_P_IP) + packet)
    if path.tunnel is TunnelType.GUE:
        body = struct.pack("!BBH", 0, _IPIP, 0) + packet
        header = struct.pack("!HHHH", _PORT, path.tunnel_port, 8 + len(body), 0)
        return _ip(path.source, path.realserver, _UDP, header + body)
    return _ip(path.source, path.realserver, _IPIP, packet)


def _ip(source: IPv4Address, destination: IPv4Address, protocol: int, body: bytes) -> bytes:
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(body), 0, _DF, _TTL, protocol, 0)
    head += source.packed + destination.packed
    return head[:10] + internet_checksum(head).to_bytes(2, "big") + head[12:] + body


def _tcp(source: IPv4Address, destination: IPv4Address, port: int, flags: int, sequence: int) -> bytes:
    head = struct.pack("!HHIIBBHHH", _PORT, port, sequence, 0, 0x50, flags, 65535, 0, 0)
    pseudo = pseudo_header(source=source, destination=destination, protocol=_TCP, length=len(head))
    head = head[:16] + internet_checksum(pseudo + head).to_bytes(2, "big") + head[18:]
    return _ip(source, destination, _TCP, head)
