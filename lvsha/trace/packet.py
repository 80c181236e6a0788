"""What a frame is to us: who sent it to whom, which packet it carries, and what it is wrapped in."""

from typing import Final, NamedTuple

from lvsha.core.addr import Address

TCP: Final = 6
UDP: Final = 17
SCTP: Final = 132
ICMP: Final = 1
ICMP6: Final = 58

FIN: Final = 0x01
SYN: Final = 0x02
RST: Final = 0x04
ACK: Final = 0x10

PROTOCOL_NAMES: Final = {TCP: "TCP", UDP: "UDP", SCTP: "SCTP", ICMP: "ICMP", ICMP6: "ICMPv6"}


class Wrap(NamedTuple):
    """An outer header: a tunnel's."""

    kind: str
    """``ipip``, ``sit`` (IPv6 in IPv4), ``ip6ip6``, ``ip4ip6``, ``gre``, ``gue`` or ``fou``."""
    source: bytes
    destination: bytes
    port: int
    """Of GUE and FOU; else 0."""


class Endpoint(NamedTuple):
    """An address as its bytes, and a port (0 for ICMP)."""

    address: bytes
    port: int


class Quoted(NamedTuple):
    """The beginning of a packet, in the ICMP error about it."""

    wraps: tuple[Wrap, ...]
    protocol: int
    source: Endpoint
    destination: Endpoint


class Icmp(NamedTuple):
    """An ICMP or ICMPv6 message."""

    kind: int
    code: int
    gateway: bytes
    """Of a redirect; else empty."""
    mtu: int
    """Of "fragmentation needed" and "packet too big"; else 0."""
    quoted: Quoted | None


class Packet(NamedTuple):
    """One IP packet as it passed one place."""

    time_ns: int
    number: int
    """Of the frame in its capture, from 1."""
    source_mac: bytes
    """Empty where the link has none."""
    destination_mac: bytes
    """Empty where the capture does not say (``tcpdump -i any``)."""
    is_outgoing: bool | None
    """Of the machine that captured; None: the capture does not say."""
    wraps: tuple[Wrap, ...]
    """From the outside in."""
    source: Endpoint
    destination: Endpoint
    protocol: int
    ttl: int
    """Of the innermost header."""
    identification: int
    """IPv4's; 0 for IPv6."""
    dont_fragment: bool
    length: int
    """Of the innermost packet, with its IP header."""
    flags: int
    sequence: int
    acknowledgement: int
    size: int
    """Bytes of payload."""
    mark: int
    """What no hop changes: TCP's time stamp, or a checksum over the beginning of the payload."""
    mss: int
    """Of a SYN; 0: no such option."""
    icmp: Icmp | None


class Neighbour(NamedTuple):
    """An ARP packet, or a neighbour solicitation or advertisement."""

    time_ns: int
    number: int
    source_mac: bytes
    is_answer: bool
    is_outgoing: bool | None
    sender_mac: bytes
    """What it says; for a question, of who asks. Empty: it does not say."""
    sender: bytes
    """Of an answer: the address that was asked for."""
    target: bytes
    """The address asked for, or who gets the answer."""


def endpoint_text(endpoint: Endpoint) -> str:
    """``10.0.0.1:80``, ``[fd00::1]:80``; no port: the address alone."""
    text = address_text(endpoint.address)
    if not endpoint.port:
        return text
    return f"[{text}]:{endpoint.port}" if ":" in text else f"{text}:{endpoint.port}"


def address_text(address: bytes) -> str:
    """As people write it."""
    return str(address_of(address))


def address_of(address: bytes) -> Address:
    """Of 4 or 16 bytes."""
    from ipaddress import ip_address

    return ip_address(address)


def mac_text(mac: bytes) -> str:
    """``02:00:00:00:00:01``."""
    return mac.hex(":")


def flags_text(packet: Packet) -> str:
    """What kind of packet it is: ``SYN, ACK``, ``18 bytes``, ``ICMP port unreachable``."""
    if packet.icmp is not None:
        return icmp_text(packet.icmp, packet.protocol)
    if packet.protocol != TCP:
        return f"{packet.size} bytes"
    names = [name for bit, name in ((SYN, "SYN"), (FIN, "FIN"), (RST, "RST")) if packet.flags & bit]
    if packet.flags & ACK and (packet.flags & SYN or not names):
        names.append("ACK")
    if packet.size:
        names = [name for name in names if name != "ACK"]
        names.append(f"{packet.size:,} bytes")
    return ", ".join(names) or "no flags"


_UNREACHABLE = {
    0: "network unreachable",
    1: "host unreachable",
    2: "protocol unreachable",
    3: "port unreachable",
    4: "fragmentation needed",
    9: "network prohibited",
    10: "host prohibited",
    13: "administratively prohibited",
}
_UNREACHABLE6 = {
    0: "no route",
    1: "administratively prohibited",
    3: "address unreachable",
    4: "port unreachable",
}


def icmp_text(icmp: Icmp, protocol: int) -> str:
    """``ICMP port unreachable``, ``ICMP redirect to 10.0.0.1``."""
    if protocol == ICMP6:
        names = {2: f"packet too big, MTU {icmp.mtu}", 3: "time exceeded", 4: "parameter problem"}
        names |= {128: "echo request", 129: "echo reply"}
        text = _UNREACHABLE6.get(icmp.code, "unreachable") if icmp.kind == 1 else names.get(icmp.kind)
    else:
        names = {0: "echo reply", 8: "echo request", 11: "time exceeded", 12: "parameter problem"}
        text = _UNREACHABLE.get(icmp.code, "unreachable") if icmp.kind == 3 else names.get(icmp.kind)
        if icmp.kind == 3 and icmp.code == 4:
            text = f"fragmentation needed, MTU {icmp.mtu}"
    if is_redirect(icmp, protocol):
        text = f"redirect to {address_text(icmp.gateway)}"
    return f"{PROTOCOL_NAMES[protocol]} {text or f'type {icmp.kind}'}"


def is_redirect(icmp: Icmp, protocol: int) -> bool:
    """Go there by another way."""
    return icmp.kind == (5 if protocol == ICMP else 137)


def is_too_big(icmp: Icmp, protocol: int) -> bool:
    """Fragmentation needed, or packet too big."""
    return icmp.kind == 2 if protocol == ICMP6 else (icmp.kind, icmp.code) == (3, 4)


def is_unreachable(icmp: Icmp, protocol: int) -> bool:
    """Nobody takes this; not for its size."""
    return icmp.kind == 1 if protocol == ICMP6 else icmp.kind == 3 and icmp.code != 4
