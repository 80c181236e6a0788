"""The story as it happens: what passes this machine's own interfaces, a line for each packet.

The kernel's filter lets through what may concern the client: its packets, ARP, ICMP, tunnels. What the
filter cannot tell is looked at here.
"""

import socket
from collections import OrderedDict
from collections.abc import Sequence
from typing import Final

from lvsha.core.addr import Address
from lvsha.core.errors import KernelError
from lvsha.io.capture import ETHERNET
from lvsha.io.packet_socket import PacketSocket, Step
from lvsha.trace.conversation import Change, change
from lvsha.trace.gather import Gatherer, Place
from lvsha.trace.packet import (
    Endpoint,
    Neighbour,
    Packet,
    address_text,
    endpoint_text,
    flags_text,
    mac_text,
)
from lvsha.trace.passages import identity
from lvsha.trace.story import header_text

GUE_PORTS: Final = (6080, 5555)
"""Those that ipvsadm's and the kernel's manuals use in their examples."""
_REMEMBERED: Final = 1024
_ACCEPT: Final = 0x40000

_LOAD_BYTE, _LOAD_HALF, _LOAD_WORD = 0x30, 0x28, 0x20
_LOAD_HALF_AT_X, _X_HEADER = 0x48, 0xB1
_IF_EQUAL, _RETURN = 0x15, 0x06


def client_filter(client: Address, ports: Sequence[int] = GUE_PORTS) -> list[Step]:
    """The kernel's classic filter for Ethernet: ``client``'s packets, ARP, ICMP, neighbours, tunnels.

    ``ports``: of GUE and FOU. Frames whose VLAN tag is still in them pass unseen.
    """
    lines: list[tuple[int, str, str, int]] = [
        (_LOAD_HALF, "", "", 12),
        (_IF_EQUAL, "yes", "", 0x0806),
        (_IF_EQUAL, "yes", "", 0x8100),
        (_IF_EQUAL, "yes", "", 0x88A8),
        (_IF_EQUAL, "six", "", 0x86DD),
        (_IF_EQUAL, "", "no", 0x0800),
        (_LOAD_BYTE, "", "", 23),
        *((_IF_EQUAL, "yes", "", protocol) for protocol in (1, 4, 41, 47)),
    ]
    if client.version == 4:
        lines += [
            step
            for offset in (26, 30)
            for step in ((_LOAD_WORD, "", "", offset), (_IF_EQUAL, "yes", "", int(client)))
        ]
    lines += [
        (_LOAD_BYTE, "", "", 23),
        (_IF_EQUAL, "", "no", 17),
        (_X_HEADER, "", "", 14),
        (_LOAD_HALF_AT_X, "", "", 16),
        *((_IF_EQUAL, "yes", "", port) for port in ports),
        (_RETURN, "", "", 0),
    ]
    six = len(lines)
    lines += [
        (_LOAD_BYTE, "", "", 20),
        *((_IF_EQUAL, "yes", "", protocol) for protocol in (0, 4, 41, 43, 44, 47, 58, 60)),
    ]
    if client.version == 6:
        words = [int.from_bytes(client.packed[at : at + 4], "big") for at in range(0, 16, 4)]
        for offset, miss in ((22, "second"), (38, "ports")):
            if offset == 38:
                second = len(lines)
            for at, word in enumerate(words):
                lines += [(_LOAD_WORD, "", "", offset + 4 * at), (_IF_EQUAL, "", miss, word)]
            lines.append((_RETURN, "", "", _ACCEPT))
    else:
        second = len(lines)
    after = len(lines)
    lines += [
        (_LOAD_BYTE, "", "", 20),
        (_IF_EQUAL, "", "no", 17),
        (_LOAD_HALF, "", "", 56),
        *((_IF_EQUAL, "yes", "", port) for port in ports),
        (_RETURN, "", "", 0),
    ]
    places = {"six": six, "second": second, "ports": after, "yes": len(lines), "no": len(lines) + 1}
    lines += [(_RETURN, "", "", _ACCEPT), (_RETURN, "", "", 0)]
    return [
        (code, places[yes] - at - 1 if yes else 0, places[no] - at - 1 if no else 0, value)
        for at, (code, yes, no, value) in enumerate(lines)
    ]


def open_interfaces(names: Sequence[str], program: list[Step]) -> list[PacketSocket]:
    """Sockets on these interfaces; none named: on all Ethernet interfaces that are no part of a bridge.

    Raises:
        KernelError: a named one cannot be listened to, or there is none, or it is not permitted.
    """
    if names:
        return [PacketSocket(name, program=program) for name in names]
    found = []
    for _, name in socket.if_nameindex():
        if name == "lo":
            continue
        made = PacketSocket(name, program=program)
        if made.link == ETHERNET:
            found.append(made)
        else:
            made.close()
    if not found:
        raise KernelError("listen", 19, "there is no Ethernet interface here; name one with --interface")
    return found


class Line:
    """What is said of each packet when it comes."""

    def __init__(self, gathered: Gatherer) -> None:
        self._gathered = gathered
        self._before: OrderedDict[tuple[object, ...], Packet] = OrderedDict()
        self._start_ns: int | None = None

    def of(self, place: Place, packet: Packet | Neighbour) -> str:
        """One line."""
        if self._start_ns is None:
            self._start_ns = packet.time_ns
        stamp = f"{(packet.time_ns - self._start_ns) / 1e6:+11.3f} ms  {place.name}"
        if isinstance(packet, Neighbour):
            if packet.is_answer:
                said = f"{address_text(packet.sender)} is at {mac_text(packet.sender_mac)}"
            else:
                asker = address_text(packet.sender) if any(packet.sender) else mac_text(packet.sender_mac)
                said = f"{asker} asks: who has {address_text(packet.target)}?"
            return f"{stamp}  {said}"
        way = "out" if packet.source_mac in place.own_macs else "in "
        key = identity(packet)
        before = self._before.get(key)
        self._before[key] = packet
        if len(self._before) > _REMEMBERED:
            self._before.popitem(last=False)
        text = f"{stamp} {way} {flags_text(packet)}, {header_text(packet)}"
        if before is not None and before.source_mac != packet.source_mac:
            text += f": {_change(before, packet)}"
        elif packet.destination_mac:
            text += f", {mac_text(packet.source_mac)} -> {mac_text(packet.destination_mac)}"
        return text


def _change(before: Packet, packet: Packet) -> str:
    made = change(before, packet)
    if made is Change.WRAPPED:
        return f"the packet before, wrapped in {packet.wraps[0].kind}"
    if made is Change.UNWRAPPED:
        return "the packet before, unwrapped"
    if made is Change.REWRITTEN_DESTINATION:
        return f"the packet before, destination rewritten from {endpoint_text(before.destination)}: NAT"
    if made is Change.REWRITTEN_SOURCE:
        return f"the packet before, source rewritten from {endpoint_text(before.source)}: NAT"
    return f"the packet before, same IP header, new destination MAC {mac_text(packet.destination_mac)}"


def concerns(packet: Packet | Neighbour, client: Endpoint, vip: Endpoint) -> bool:
    """Whether a packet that the filter let through is about these two."""
    if isinstance(packet, Neighbour):
        return bool({packet.sender, packet.target} & {client.address, vip.address})
    ends = {packet.source, packet.destination}
    if packet.icmp is not None and packet.icmp.quoted is not None:
        # An error about a tunnel's packet may quote too little to name the client: better one too many.
        return True
    if client.port:
        return client in ends
    return any(end.address == client.address for end in ends)
