"""Frames to packets: link layer, VLAN tags, IPv4, IPv6, tunnels, TCP, UDP, SCTP, ICMP, ARP, neighbours.

Anything else, and anything that is cut too short to tell, is None, never an error: captures are full of
other things. GUE and FOU are known by what they hold, on any UDP port: a whole IP packet, to the byte.

Sources: draft-ietf-opsawg-pcaplinktype (link layers), RFC 791, 8200, 2003, 2784, draft-ietf-intarea-gue,
RFC 9293, 792, 4443, 826, 4861.
"""

import struct
from collections import OrderedDict
from typing import Final, NamedTuple
from zlib import crc32

from lvsha.trace.packet import (
    ICMP,
    ICMP6,
    SCTP,
    TCP,
    UDP,
    Endpoint,
    Icmp,
    Neighbour,
    Packet,
    Quoted,
    Wrap,
)

_ETHERNET: Final = 1
_COOKED: Final = 113
_COOKED2: Final = 276
_BARE_IP: Final = frozenset({12, 14, 101, 228, 229})
_NULL: Final = frozenset({0, 108})

_IPV4: Final = 0x0800
_ARP: Final = 0x0806
_IPV6: Final = 0x86DD
_VLAN: Final = frozenset({0x8100, 0x88A8, 0x9100})

_FRAGMENT: Final = 44
_EXTENSIONS: Final = frozenset({0, 43, 60, 135, 139, 140})
_GRE: Final = 47
_INNER: Final = {4: 4, 41: 6}

MAX_WRAPS: Final = 4
MAX_FRAGMENTED: Final = 1024
"""Datagrams whose later fragments we know the ports of; the oldest goes."""
MARKED_BYTES: Final = 32
"""Of a payload, that tell one packet from another; captures may be cut anywhere behind."""

_U16 = struct.Struct(">H")
_U32 = struct.Struct(">L")
_PORTS = struct.Struct(">HH")
_TCP_HEADER = struct.Struct(">HHLLBBH")
_V4_HEADER = struct.Struct(">BxHHHBBH4s4s")
_V6_HEADER = struct.Struct(">LHBB16s16s")

_OUTGOING: Final = 4


class _Link(NamedTuple):
    source_mac: bytes
    destination_mac: bytes
    is_outgoing: bool | None


_NO_LINK = _Link(b"", b"", None)


class _Ip(NamedTuple):
    """An IP header, and where its payload lies."""

    version: int
    source: bytes
    destination: bytes
    protocol: int
    ttl: int
    identification: int
    dont_fragment: bool
    offset: int
    """Of a fragment, in bytes."""
    more: bool
    length: int
    body: int
    end: int
    """Of the packet on the wire; the captured bytes may end before."""


class Decoder:
    """Feed it frames in order; it remembers the ports of fragmented datagrams."""

    def __init__(self) -> None:
        self._fragmented: OrderedDict[tuple[bytes, bytes, int], tuple[int, int]] = OrderedDict()
        self.undecoded = 0
        """Frames that are neither IP nor ARP, or are cut."""

    def decode(self, link: int, data: bytes, time_ns: int, number: int) -> Packet | Neighbour | None:
        """One frame; ``time_ns`` and ``number`` are passed on."""
        try:
            made = self._frame(link, data, time_ns, number)
        except (struct.error, IndexError):
            made = None
        if made is None:
            self.undecoded += 1
        return made

    def _frame(self, link: int, data: bytes, time_ns: int, number: int) -> Packet | Neighbour | None:
        if link == _ETHERNET:
            kind, at = (data[12] << 8) | data[13], 14
            where = _Link(data[6:12], data[0:6], None)
        elif link == _COOKED:
            (kind,), at = _U16.unpack_from(data, 14), 16
            where = _Link(data[6:12] if data[5] == 6 else b"", b"", data[1] == _OUTGOING)
        elif link == _COOKED2:
            (kind,), at = _U16.unpack_from(data, 0), 20
            where = _Link(data[12:18] if data[11] == 6 else b"", b"", data[10] == _OUTGOING)
        elif link in _BARE_IP or link in _NULL:
            at = 4 if link in _NULL else 0
            kind = _IPV4 if data[at] >> 4 == 4 else _IPV6
            where = _NO_LINK
        else:
            return None
        while kind in _VLAN:
            (kind,) = _U16.unpack_from(data, at + 2)
            at += 4
        if kind in (_IPV4, _IPV6):
            return self._ip(data, at, kind, where, time_ns, number)
        if kind == _ARP:
            return _arp(data, at, where, time_ns, number)
        return None

    def _ip(
        self, data: bytes, at: int, kind: int, link: _Link, time_ns: int, number: int
    ) -> Packet | Neighbour | None:
        ip = _ipv4(data, at) if kind == _IPV4 else _ipv6(data, at)
        if ip is None:
            return None
        wraps: tuple[Wrap, ...] = ()
        while not ip.offset and len(wraps) < MAX_WRAPS:
            inside = _unwrap(data, ip)
            if inside is None:
                break
            wrap, ip = inside
            wraps += (wrap,)
        protocol, body = ip.protocol, ip.body
        flags = sequence = acknowledgement = mark = mss = source_port = port = 0
        size = max(0, ip.end - body)
        icmp: Icmp | None = None
        if ip.offset:
            source_port, port = self._fragmented.get((ip.source, ip.destination, ip.identification), (0, 0))
        elif protocol == TCP:
            source_port, port, sequence, acknowledgement, words, flags, _ = _TCP_HEADER.unpack_from(
                data, body
            )
            header = (words >> 4) * 4
            size = max(0, size - header)
            if header > 20:
                mark, mss = _tcp_options(data[body + 20 : body + header])
        elif protocol == UDP:
            source_port, port = _PORTS.unpack_from(data, body)
            size = max(0, size - 8)
            mark = crc32(data[body + 8 : body + 8 + min(size, MARKED_BYTES)])
        elif protocol == SCTP:
            source_port, port = _PORTS.unpack_from(data, body)
            mark = crc32(data[body + 4 : body + 8] + data[body + 12 : body + 12 + MARKED_BYTES])
        elif protocol in (ICMP, ICMP6):
            if protocol == ICMP6 and data[body] in (135, 136):
                return _neighbour6(data, ip, link, time_ns, number)
            icmp = _icmp(data, ip)
            mark = crc32(data[body : body + 2] + data[body + 4 : body + 8 + MARKED_BYTES])
        else:
            mark = crc32(data[body : body + MARKED_BYTES])
        if ip.more and not ip.offset:
            self._fragmented[ip.source, ip.destination, ip.identification] = source_port, port
            if len(self._fragmented) > MAX_FRAGMENTED:
                self._fragmented.popitem(last=False)
        return Packet(
            time_ns,
            number,
            link.source_mac,
            link.destination_mac,
            link.is_outgoing,
            wraps,
            Endpoint(ip.source, source_port),
            Endpoint(ip.destination, port),
            protocol,
            ip.ttl,
            ip.identification,
            ip.dont_fragment,
            ip.length,
            flags,
            sequence,
            acknowledgement,
            size,
            mark + ip.offset,
            mss,
            icmp,
        )


def _ipv4(data: bytes, at: int) -> _Ip | None:
    first, total, identification, fragment, ttl, protocol, _, source, destination = _V4_HEADER.unpack_from(
        data, at
    )
    header = (first & 15) * 4
    if first >> 4 != 4 or header < 20:
        return None
    # Total length 0: the sender's network card cut a larger packet up after it was captured.
    length = total or len(data) - at
    return _Ip(
        4,
        source,
        destination,
        protocol,
        ttl,
        identification,
        bool(fragment & 0x4000),
        (fragment & 0x1FFF) * 8,
        bool(fragment & 0x2000),
        length,
        at + header,
        at + length,
    )


def _ipv6(data: bytes, at: int) -> _Ip | None:
    first, payload, protocol, ttl, source, destination = _V6_HEADER.unpack_from(data, at)
    if first >> 28 != 6:
        return None
    body = at + 40
    length = payload + 40 if payload else len(data) - at
    identification = offset = 0
    more = False
    while protocol in _EXTENSIONS or protocol == _FRAGMENT:
        if protocol == _FRAGMENT:
            protocol, fragment, identification = data[body], *struct.unpack_from(">HL", data, body + 2)
            offset, more = fragment & 0xFFF8, bool(fragment & 1)
            body += 8
            if offset:
                break
        else:
            protocol, body = data[body], body + 8 * (data[body + 1] + 1)
    return _Ip(
        6,
        source,
        destination,
        protocol,
        ttl,
        identification & 0xFFFF,
        True,
        offset,
        more,
        length,
        body,
        at + length,
    )


def _unwrap(data: bytes, ip: _Ip) -> tuple[Wrap, _Ip] | None:
    """The packet that this one carries, if it is a tunnel's."""
    port = 0
    body = ip.body
    if ip.protocol in _INNER:
        version = _INNER[ip.protocol]
        kind = {(4, 4): "ipip", (4, 6): "sit", (6, 6): "ip6ip6", (6, 4): "ip4ip6"}[ip.version, version]
    elif ip.protocol == _GRE:
        bits, carried = _PORTS.unpack_from(data, body)
        body += 4 + 4 * bin(bits & 0xB000).count("1")
        version = {_IPV4: 4, _IPV6: 6}.get(carried, 0)
        kind = "gre"
    elif ip.protocol == UDP and not ip.more:
        found = _udp_tunnel(data, ip)
        if found is None:
            return None
        kind, version, body = found
        (port,) = _U16.unpack_from(data, ip.body + 2)
    else:
        return None
    inner = _ipv4(data, body) if version == 4 else _ipv6(data, body) if version == 6 else None
    return (Wrap(kind, ip.source, ip.destination, port), inner) if inner is not None else None


def _udp_tunnel(data: bytes, ip: _Ip) -> tuple[str, int, int] | None:
    """GUE or FOU: kind, IP version and place of the packet inside."""
    at = ip.body + 8
    if at >= len(data):
        return None
    first = data[at]
    kind = "fou"
    version = first >> 4
    if first >> 5 == 0 and len(data) > at + 4:
        version = _INNER.get(data[at + 1], 0)
        at += 4 + 4 * (first & 31)
        kind = "gue"
    (claimed,) = _U16.unpack_from(data, ip.body + 4)
    # A receiver that unwraps shortens the IP header in place, and a capture there may show that one.
    wanted = ip.end - at, ip.body + claimed - at
    if version == 4 and len(data) >= at + 20 and data[at] >> 4 == 4:
        header = (data[at] & 15) * 4
        # All of it and no more, with a sound header checksum: not by chance.
        is_whole = _U16.unpack_from(data, at + 2)[0] in wanted
        return (kind, 4, at) if is_whole and header >= 20 and _sums_up(data[at : at + header]) else None
    if version == 6 and len(data) >= at + 40 and data[at] >> 4 == 6:
        is_whole = _U16.unpack_from(data, at + 4)[0] + 40 in wanted
        return (kind, 6, at) if is_whole else None
    return None


def _sums_up(header: bytes) -> bool:
    total: int = sum(struct.unpack(f">{len(header) // 2}H", header))
    return (total & 0xFFFF) + (total >> 16) == 0xFFFF


def _tcp_options(options: bytes) -> tuple[int, int]:
    """Time stamp (the sender's), and MSS."""
    stamp = mss = at = 0
    while at + 1 < len(options):
        kind = options[at]
        if kind == 0:
            break
        if kind == 1:
            at += 1
            continue
        length = options[at + 1]
        if length < 2:
            break
        if kind == 8 and length == 10 and at + 10 <= len(options):
            (stamp,) = _U32.unpack_from(options, at + 2)
        elif kind == 2 and length == 4 and at + 4 <= len(options):
            (mss,) = _U16.unpack_from(options, at + 2)
        at += length
    return stamp, mss


def _icmp(data: bytes, ip: _Ip) -> Icmp:
    kind, code = data[ip.body], data[ip.body + 1]
    gateway, mtu, quote = b"", 0, 0
    if ip.protocol == ICMP:
        if kind in (3, 5, 11, 12):
            quote = ip.body + 8
        if kind == 5:
            gateway = data[ip.body + 4 : ip.body + 8]
        elif kind == 3 and code == 4:
            (mtu,) = _U16.unpack_from(data, ip.body + 6)
    elif kind < 128:
        quote = ip.body + 8
        if kind == 2:
            (mtu,) = _U32.unpack_from(data, ip.body + 4)
    elif kind == 137:
        gateway = data[ip.body + 8 : ip.body + 24]
        quote = _redirected(data, ip)
    return Icmp(kind, code, gateway, mtu, _quoted(data, quote) if quote else None)


def _redirected(data: bytes, ip: _Ip) -> int:
    """Where an ICMPv6 redirect quotes the packet: its option 4."""
    at = ip.body + 40
    while at + 8 <= min(ip.end, len(data)) and data[at + 1]:
        if data[at] == 4:
            return at + 8
        at += 8 * data[at + 1]
    return 0


def _quoted(data: bytes, at: int) -> Quoted | None:
    """As much of the packet as was quoted: 8 bytes after its IP header, or more."""
    try:
        ip = _ipv4(data, at) if data[at] >> 4 == 4 else _ipv6(data, at)
    except (struct.error, IndexError):
        return None
    if ip is None:
        return None
    wraps: tuple[Wrap, ...] = ()
    source_port = port = 0
    try:
        # Only the beginning is quoted, so a UDP tunnel cannot be known by its whole contents here.
        while ip.protocol != UDP and (inside := _unwrap(data, ip)) is not None and len(wraps) < MAX_WRAPS:
            wrap, ip = inside
            wraps += (wrap,)
        if ip.protocol in (TCP, UDP, SCTP) and not ip.offset:
            source_port, port = _PORTS.unpack_from(data, ip.body)
    except (struct.error, IndexError):
        pass  # the quote ends there
    return Quoted(wraps, ip.protocol, Endpoint(ip.source, source_port), Endpoint(ip.destination, port))


def _arp(data: bytes, at: int, link: _Link, time_ns: int, number: int) -> Neighbour | None:
    if data[at : at + 6] != b"\0\x01\x08\0\x06\x04" or len(data) < at + 28:
        return None
    (operation,) = _U16.unpack_from(data, at + 6)
    sender_mac, sender = data[at + 8 : at + 14], data[at + 14 : at + 18]
    return Neighbour(
        time_ns,
        number,
        link.source_mac,
        operation == 2,
        link.is_outgoing,
        sender_mac,
        sender,
        data[at + 24 : at + 28],
    )


def _neighbour6(data: bytes, ip: _Ip, link: _Link, time_ns: int, number: int) -> Neighbour | None:
    kind = data[ip.body]
    target = data[ip.body + 8 : ip.body + 24]
    if len(target) < 16:
        return None
    mac, wanted = b"", 1 if kind == 135 else 2
    at = ip.body + 24
    while at + 8 <= min(ip.end, len(data)) and data[at + 1]:
        if data[at] == wanted and data[at + 1] == 1:
            mac = data[at + 2 : at + 8]
        at += 8 * data[at + 1]
    if kind == 135:
        return Neighbour(
            time_ns,
            number,
            link.source_mac,
            False,
            link.is_outgoing,
            mac or link.source_mac,
            ip.source,
            target,
        )
    return Neighbour(
        time_ns,
        number,
        link.source_mac,
        True,
        link.is_outgoing,
        mac or link.source_mac,
        target,
        ip.destination,
    )
