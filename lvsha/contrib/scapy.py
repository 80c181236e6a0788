"""IPVS connection synchronisation for scapy.

    from scapy.all import sniff
    from lvsha.contrib.scapy import IPVSSync

    sniff(iface="eth1", filter="udp port 8848", prn=lambda p: p[IPVSSync].show())

``IPVSSync`` dissects both versions, entries with their options, and what is left over as
``Padding`` or ``Raw``, so that any message builds to the bytes it came from. Lengths and
counts are filled in when they are left out; a message for a test may have them wrong.

It judges nothing: ``lvsha.wire.ipvs_sync`` says what a kernel makes of a message.

scapy is GPL-2.0-only: this module is not imported by any other of lvsha.
"""

import struct
from typing import Any, ClassVar

from scapy.fields import (
    BitField,
    ByteEnumField,
    ByteField,
    ConditionalField,
    FieldLenField,
    FlagsField,
    IntField,
    IPField,
    MultipleTypeField,
    PacketListField,
    ShortField,
    StrLenField,
)
from scapy.layers.inet import UDP
from scapy.layers.inet6 import IP6Field
from scapy.packet import Packet, bind_layers, bind_top_down

from lvsha.wire.ipvs_sync.names import DEFAULT_PORT, ConnFlag, Protocol, state_name

PROTOCOLS = {protocol.value: protocol.name for protocol in Protocol}
FLAG_BITS = [
    "FWD0", "FWD1", "FWD2", "b3", "b4", "SYNC", "HASHED", "NOOUTPUT", "INACTIVE", "OUT_SEQ", "IN_SEQ",
    "NO_CPORT", "TEMPLATE", "ONE_PACKET", "b14", "b15", "NFCT", *(f"b{bit}" for bit in range(17, 32)),
]  # fmt: skip
"""From the lowest bit; the first three are the forwarding method."""
OPTION_KINDS = {1: "SEQUENCE", 2: "PE_DATA", 3: "PE_NAME"}
INET_SIZE, INET6_SIZE, V0_SIZE = 36, 72, 24
SEQ_MASK = int(ConnFlag.OUT_SEQ | ConnFlag.IN_SEQ)


class IPVSSyncOption(Packet):
    """An option of a v1 entry: sequence data, a persistence engine's name or data, or one nobody knows."""

    name = "IPVS sync option"
    fields_desc: ClassVar = [
        BitField("unused", 0, 1),
        BitField("optional", 0, 1),
        BitField("kind", 1, 6),
        FieldLenField("length", None, fmt="B", length_of="data"),
        StrLenField("data", b"", length_from=lambda option: option.length),
    ]

    def extract_padding(self, s: bytes) -> tuple[bytes, bytes]:
        return b"", s

    def mysummary(self) -> str:
        return f"{OPTION_KINDS.get(self.kind, self.kind)} {self.data!r}"


class _Entry(Packet):
    """What both versions have."""

    def extract_padding(self, s: bytes) -> tuple[bytes, bytes]:
        return b"", s

    def mysummary(self) -> str:
        template = bool(int(self.flags) & ConnFlag.TEMPLATE)
        return (
            f"{PROTOCOLS.get(self.protocol, self.protocol)} {self.caddr}:{self.cport} > "
            f"{self.vaddr}:{self.vport} > {self.daddr}:{self.dport} "
            f"{state_name(self.protocol, self.state, template=template)}"
        )


def _address(name: str) -> MultipleTypeField:
    return MultipleTypeField([(IP6Field(name, "::"), lambda entry: entry.type & 1)], IPField(name, "0.0.0.0"))


def _option_bytes(entry: Packet) -> int:
    return max(0, int(entry.size) - (INET6_SIZE if entry.type & 1 else INET_SIZE))


def _pad_bytes(entry: Packet) -> int:
    return -max(int(entry.size), INET6_SIZE if entry.type & 1 else INET_SIZE) % 4


class IPVSSyncEntry(_Entry):
    """A v1 entry. ``pad`` brings the next one to a multiple of four bytes; it is filled in too."""

    name = "IPVS sync entry"
    fields_desc: ClassVar = [
        ByteField("type", 0),
        ByteEnumField("protocol", 6, PROTOCOLS),
        BitField("ver", 0, 4),
        BitField("size", None, 12),
        FlagsField("flags", 0, 32, FLAG_BITS),
        ShortField("state", 1),
        ShortField("cport", 0),
        ShortField("vport", 0),
        ShortField("dport", 0),
        IntField("fwmark", 0),
        IntField("timeout", 900),
        _address("caddr"),
        _address("vaddr"),
        _address("daddr"),
        PacketListField("options", [], IPVSSyncOption, length_from=_option_bytes),
        StrLenField("pad", None, length_from=_pad_bytes),
    ]

    def post_build(self, pkt: bytes, pay: bytes) -> bytes:
        if self.size is None:
            size = len(pkt) - len(self.pad or b"")
            pkt = pkt[:2] + struct.pack(">H", self.ver << 12 | size) + pkt[4:]
        return pkt + pay


class IPVSSyncEntryV0(_Entry):
    """A v0 entry. ``sequence`` is in its sender's byte order."""

    name = "IPVS sync entry v0"
    fields_desc: ClassVar = [
        ByteField("reserved", 0),
        ByteEnumField("protocol", 6, PROTOCOLS),
        ShortField("cport", 0),
        ShortField("vport", 0),
        ShortField("dport", 0),
        IPField("caddr", "0.0.0.0"),
        IPField("vaddr", "0.0.0.0"),
        IPField("daddr", "0.0.0.0"),
        FlagsField("flags", 0, 16, FLAG_BITS[:16]),
        ShortField("state", 1),
        ConditionalField(
            StrLenField("sequence", bytes(24), length_from=lambda _: 24),
            lambda entry: int(entry.flags) & SEQ_MASK,
        ),
    ]


class _Entries(PacketListField):
    """Entries with the padding between them that nobody wrote."""

    def addfield(self, pkt: Packet, s: bytes, val: list[Packet]) -> bytes:
        body = b""
        for number, entry in enumerate(val):
            body += bytes(entry)
            if isinstance(entry, IPVSSyncEntry) and entry.pad is None and number + 1 < len(val):
                body += bytes(-len(body) % 4)
        return bytes(s + body)


class IPVSSync(Packet):
    """A v1 message; given v0's bytes, dissection makes an ``IPVSSyncV0`` of them, as a kernel would."""

    name = "IPVS sync"
    match_subclass = True
    fields_desc: ClassVar = [
        ByteField("reserved", 0),
        ByteField("syncid", 0),
        ShortField("size", None),
        FieldLenField("nr_conns", None, fmt="B", count_of="entries", adjust=lambda _, count: count & 0xFF),
        ByteField("ver", 1),
        ShortField("spare", 0),
        _Entries("entries", [], IPVSSyncEntry),
    ]

    @classmethod
    def dispatch_hook(cls, _pkt: bytes | None = None, *_: Any, **__: Any) -> type[Packet]:
        if _pkt is None:
            return cls
        return IPVSSync if _pkt[:1] == b"\0" and _pkt[5:8] == b"\1\0\0" else IPVSSyncV0

    def post_build(self, pkt: bytes, pay: bytes) -> bytes:
        if self.size is None:
            pkt = pkt[:2] + struct.pack(">H", len(pkt)) + pkt[4:]
        return pkt + pay

    def mysummary(self) -> str:
        version = 0 if isinstance(self, IPVSSyncV0) else 1
        return f"IPVS sync v{version} syncid {self.syncid}, {len(self.entries)} entries"


class IPVSSyncV0(IPVSSync):
    """A v0 message."""

    name = "IPVS sync v0"
    fields_desc: ClassVar = [
        FieldLenField("nr_conns", None, fmt="B", count_of="entries"),
        ByteField("syncid", 0),
        ShortField("size", None),
        _Entries("entries", [], IPVSSyncEntryV0, count_from=lambda message: message.nr_conns),
    ]


bind_layers(UDP, IPVSSync, dport=DEFAULT_PORT)
bind_top_down(UDP, IPVSSyncV0, dport=DEFAULT_PORT)
