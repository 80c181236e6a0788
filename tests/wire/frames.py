"""Frames by hand: what the readers of captures are fed with."""

import struct

IPV4_ADDRESSES = bytes((10, 0, 0, 1)), bytes((224, 0, 0, 81))
IPV6_ADDRESSES = bytes.fromhex("fd" + "00" * 14 + "01"), bytes.fromhex("ff02" + "00" * 13 + "81")


def udp(payload: bytes, *, port: int = 8848) -> bytes:
    return struct.pack(">HHHH", 40_000, port, 8 + len(payload), 0) + payload


def ipv4(body: bytes, *, identification: int = 1, offset: int = 0, more: bool = False) -> bytes:
    fragment = offset // 8 | (0x2000 if more else 0)
    return (
        struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(body), identification, fragment, 1, 17, 0)
        + b"".join(IPV4_ADDRESSES)
        + body
    )


def ipv6(body: bytes, *, kind: int = 17) -> bytes:
    return struct.pack(">LHBB", 6 << 28, len(body), kind, 1) + b"".join(IPV6_ADDRESSES) + body


def ethernet(packet: bytes, *tags: int) -> bytes:
    """``tags``: the EtherTypes of VLAN tags, from the outside in."""
    kind = b"\x08\x00" if packet[0] >> 4 == 4 else b"\x86\xdd"
    vlan = b"".join(struct.pack(">HH", tag, 7) for tag in tags)
    return bytes(12) + vlan + kind + packet
