"""A packet for a virtual address, sent to one realserver as IPVS would send it.

By direct routing: the realserver's hardware address before it; through a tunnel: wrapped. Nothing of
the IPVS table is asked or changed, so a director may do it while it works. The answer is read
beside the kernel's own way in, which drops it on the director that holds the virtual address.

A TCP port is asked with SYN, and reset at once; anything else with an ICMP echo.
"""

import errno
import select
import socket
import time
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

from lvsha.core.addr import Address
from lvsha.core.errors import DecodeError, KernelError
from lvsha.io import probe_packets as packets
from lvsha.ipvs.model import TunnelType
from lvsha.wire.ip import decode_ipv4

_ETH_P_ALL = 3
_UNREACHABLE = {4: (3,), 6: (1, 2)}
"""Of ICMPv6 also *packet too big*; of ICMP that is a code."""
_SEQUENCE: Final = 0x4C565341


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

    source: Address
    """Ours, of the virtual address's family; not the virtual one."""
    realserver: Address
    interface: str = ""
    macs: tuple[bytes, bytes] | None = None
    """Direct routing: the realserver's, and ours on the interface."""
    tunnel: TunnelType | None = None
    tunnel_port: int = 0
    outer: Address | None = None
    """Ours, in front of the tunnel; of the realserver's family."""


def ask_port(path: Path, address: Address, port: int, wait_s: float = 0.5) -> Answer:
    """A connection to the virtual address that begins, and is reset.

    Raises:
        KernelError: not permitted, or no way there.
    """
    answer = _ask(path, address, packets.tcp(path.source, address, port, packets.SYN, _SEQUENCE), wait_s)
    if answer is Answer.ACCEPTED:
        _send(path, packets.tcp(path.source, address, port, packets.RST, _SEQUENCE + 1))
    return answer


def ask_echo(path: Path, address: Address, size: int = 64, wait_s: float = 0.5) -> Answer:
    """An echo of ``size`` bytes, IP header included, that may not be fragmented.

    Raises:
        KernelError: not permitted, or no way there.
    """
    return _ask(path, address, packets.echo(path.source, address, size), wait_s)


def source_towards(target: Address) -> Address:
    """Which of our addresses the kernel would use.

    Raises:
        KernelError: no route.
    """
    family = socket.AF_INET if target.version == 4 else socket.AF_INET6
    with socket.socket(family, socket.SOCK_DGRAM) as udp:
        try:
            udp.connect((str(target), 9))
        except OSError as error:
            raise KernelError(f"find the way to {target}", error.errno or 0, error.strerror or "") from None
        return ip_address(udp.getsockname()[0].partition("%")[0])


def _ask(path: Path, address: Address, packet: bytes, wait_s: float) -> Answer:
    is_mixed = path.outer is not None and path.outer.version != address.version
    kind = _ETH_P_ALL if is_mixed else packets.ETHERTYPES[address.version]
    try:
        with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(kind)) as ear:
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
                if where[2] != socket.PACKET_OUTGOING and (answer := read_answer(path, address, data)):
                    return answer
    except OSError as error:
        raise KernelError(f"send to {path.realserver}", error.errno or 0, error.strerror or "") from None
    return Answer.SILENCE


def _send(path: Path, packet: bytes) -> None:
    if path.macs is not None:
        kind = packets.ETHERTYPES[packet[0] >> 4]
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as frames:
            frames.bind((path.interface, 0))
            frames.send(b"".join(path.macs) + kind.to_bytes(2, "big") + packet)
        return
    assert path.tunnel is not None
    outer = path.outer or path.source
    family = socket.AF_INET if outer.version == 4 else socket.AF_INET6
    whole = packets.wrapped(packet, outer, path.realserver, path.tunnel, path.tunnel_port)
    with socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
        raw.sendto(whole, (str(path.realserver), 0))


# --- what comes back ----------------------------------------------------------------------------------


def read_answer(path: Path, address: Address, data: bytes) -> Answer | None:
    """What an IP packet that came in says of our question; None: it is about something else."""
    try:
        source, destination, protocol, body = _split(data)
    except DecodeError:
        return None
    if destination not in (path.source, path.outer) or len(body) < 8:
        return None
    version = destination.version
    if source == address and protocol == packets.TCP and len(body) >= 20:
        if int.from_bytes(body[2:4], "big") == packets.PORT:
            return Answer.RESET if body[13] & packets.RST else Answer.ACCEPTED
    elif source == address and protocol == packets.ICMP[version] and body[0] == packets.ECHO_REPLY[version]:
        return Answer.ACCEPTED if int.from_bytes(body[4:6], "big") == packets.PORT else None
    elif (
        protocol == packets.ICMP[version]
        and body[0] in _UNREACHABLE[version]
        and (destination, _refused(body, version)) in _sent(path, address)
    ):
        return Answer.UNREACHABLE
    return None


def _split(data: bytes) -> tuple[Address, Address, int, bytes]:
    """Source, destination, protocol, payload. IPv6 with extension headers is no answer of ours.

    Raises:
        DecodeError: neither IPv4 nor IPv6, or cut.
    """
    if len(data) >= packets.HEADER[6] and data[0] >> 4 == 6:
        length = int.from_bytes(data[4:6], "big")
        body = data[packets.HEADER[6] : packets.HEADER[6] + length]
        return IPv6Address(data[8:24]), IPv6Address(data[24:40]), data[6], body
    packet = decode_ipv4(data)
    return packet.source, packet.destination, packet.protocol, packet.payload


def _refused(body: bytes, version: int) -> Address | None:
    """Where the packet was going that an ICMP error is about: its header follows the error's own 8 bytes."""
    inner = body[8:]
    if version == 4:
        return IPv4Address(inner[16:20]) if len(inner) >= 20 else None
    return IPv6Address(inner[24:40]) if len(inner) >= 40 else None


def _sent(path: Path, address: Address) -> tuple[tuple[Address, Address | None], ...]:
    """From and to where our packet went, inside and outside."""
    return (path.source, address), (path.outer or path.source, path.realserver)
