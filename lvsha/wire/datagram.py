"""UDP datagrams out of captured frames: link layer, VLAN tags, IPv4 and IPv6, fragments.

Only what a sync message can travel in. A frame that holds no whole UDP datagram for
one of the wanted ports gives None, never an error: captures are full of other things.
"""

import struct
from collections import OrderedDict
from typing import Final, NamedTuple

ETHERNET: Final = 1
LINK_HEADERS: Final[dict[int, tuple[int, int]]] = {
    # LINKTYPE: (where the EtherType is, where the packet begins)
    ETHERNET: (12, 14),
    113: (14, 16),  # Linux "cooked", as tcpdump -i any writes it
    276: (0, 20),  # its second version
}
_BARE_IP: Final = frozenset({12, 14, 101, 228, 229})
_LOOPBACK: Final = frozenset({0, 108})

IPV4: Final = 0x0800
_IPV6: Final = 0x86DD
_VLAN: Final = frozenset({0x8100, 0x88A8, 0x9100})
UDP: Final = 17
_FRAGMENT: Final = 44
_EXTENSIONS: Final = frozenset({0, 43, 60, 135})
"""IPv6 headers that may come before UDP and all have their length in the second byte."""

_IPV4_HEADER = struct.Struct(">BxHHHBBxx4s4s")
_IPV6_HEADER = struct.Struct(">LHBB16s16s")
_UDP_HEADER = struct.Struct(">HHHxx")
_U16 = struct.Struct(">H")

MAX_PARTIAL: Final = 256
"""Datagrams of which fragments are missing; the oldest goes."""
MAX_FRAGMENTS: Final = 64
"""Of one datagram: 65,535 bytes in pieces of a little over 1,024."""


class Datagram(NamedTuple):
    """One UDP datagram. Addresses as their bytes."""

    source: bytes
    destination: bytes
    source_port: int
    port: int
    payload: bytes
    ttl: int
    is_cut: bool
    """The capture holds less than was on the wire."""


class DatagramReader:
    """Feed it frames in order; it remembers fragments."""

    def __init__(self, ports: frozenset[int] | None) -> None:
        """``ports``: destination ports that are wanted; None: all."""
        self._ports = ports
        self._partial: OrderedDict[tuple[object, ...], _Partial] = OrderedDict()

    def read(self, link: int, frame: bytes) -> Datagram | None:
        """The datagram that this frame is, or completes."""
        header = LINK_HEADERS.get(link)
        if header is not None:
            at, start = header
            if len(frame) < start:
                return None
            (kind,) = _U16.unpack_from(frame, at)
            while kind in _VLAN and len(frame) >= start + 4:
                (kind,) = _U16.unpack_from(frame, start + 2)
                start += 4
            if kind == IPV4:
                return self._ipv4(frame, start)
            return self._ipv6(frame, start) if kind == _IPV6 else None
        if link in _BARE_IP or link in _LOOPBACK:
            start = 4 if link in _LOOPBACK else 0
            version = frame[start] >> 4 if len(frame) > start else 0
            if version == 4:
                return self._ipv4(frame, start)
            return self._ipv6(frame, start) if version == 6 else None
        return None

    def _ipv4(self, frame: bytes, start: int) -> Datagram | None:
        if len(frame) < start + 20:
            return None
        first, total, identification, fragment, ttl, protocol, source, destination = _IPV4_HEADER.unpack_from(
            frame, start
        )
        if protocol != UDP or first >> 4 != 4:
            return None
        body = start + (first & 15) * 4
        # Total length 0: the sender's network card cut a larger packet up after it was captured.
        end = start + total if total else len(frame)
        if fragment & 0x3FFF:
            key = (source, destination, identification)
            offset, more = (fragment & 0x1FFF) * 8, bool(fragment & 0x2000)
            return self._fragment(key, offset, more, frame[body:end], source, destination, ttl, end - body)
        return self._udp(frame, body, end, source, destination, ttl)

    def _ipv6(self, frame: bytes, start: int) -> Datagram | None:
        if len(frame) < start + 40:
            return None
        _, length, kind, ttl, source, destination = _IPV6_HEADER.unpack_from(frame, start)
        at = start + 40
        end = at + length if length else len(frame)
        while kind != UDP:
            if len(frame) < at + 8:
                return None
            if kind == _FRAGMENT:
                kind, fragment, identification = frame[at], *struct.unpack_from(">HL", frame, at + 2)
                at += 8
                if fragment & 0xFFF9 and kind == UDP:
                    key = (source, destination, identification)
                    offset, more = fragment & 0xFFF8, bool(fragment & 1)
                    return self._fragment(
                        key, offset, more, frame[at:end], source, destination, ttl, end - at
                    )
            elif kind in _EXTENSIONS:
                kind, at = frame[at], at + 8 * (frame[at + 1] + 1)
            else:
                return None
        return self._udp(frame, at, end, source, destination, ttl)

    def _udp(
        self, frame: bytes, at: int, end: int, source: bytes, destination: bytes, ttl: int
    ) -> Datagram | None:
        if len(frame) < at + 8:
            return None
        source_port, port, length = _UDP_HEADER.unpack_from(frame, at)
        if self._ports is not None and port not in self._ports:
            return None
        stop = at + length if length else end
        payload = frame[at + 8 : stop]
        return Datagram(source, destination, source_port, port, payload, ttl, len(payload) < stop - at - 8)

    def _fragment(
        self,
        key: tuple[object, ...],
        offset: int,
        more: bool,
        data: bytes,
        source: bytes,
        destination: bytes,
        ttl: int,
        length: int,
    ) -> Datagram | None:
        partial = self._partial.get(key)
        if partial is None:
            partial = self._partial[key] = _Partial()
            if len(self._partial) > MAX_PARTIAL:
                self._partial.popitem(last=False)
        whole = partial.add(offset, data, more=more, is_cut=len(data) < length)
        if whole is None:
            return None
        del self._partial[key]
        return self._udp(whole, 0, len(whole), source, destination, ttl)


class _Partial:
    """The fragments of one datagram so far."""

    def __init__(self) -> None:
        self._parts: dict[int, bytes] = {}
        self._end: int | None = None

    def add(self, offset: int, data: bytes, *, more: bool, is_cut: bool) -> bytes | None:
        """All of it, once nothing is missing."""
        if len(self._parts) < MAX_FRAGMENTS and not is_cut:
            self._parts[offset] = data
        if not more:
            self._end = offset + len(data)
        if self._end is None:
            return None
        whole = bytearray()
        for start in sorted(self._parts):
            if start > len(whole):
                return None
            whole[start:] = self._parts[start]
        return bytes(whole) if len(whole) >= self._end else None
