"""Asks with an ARP probe who has an address."""

import select
import time
from ipaddress import IPv4Address

from lvsha.core.errors import DecodeError
from lvsha.io.sockets import ArpSocket
from lvsha.wire.arp import (
    BROADCAST,
    ETHERTYPE,
    NO_MAC,
    ArpPacket,
    Operation,
    decode_arp,
    encode_arp,
    mac_text,
)

_ANYBODY = IPv4Address(0)


def who_has(interface: str, mac: bytes, address: IPv4Address, wait_s: float = 1.0) -> tuple[str, ...]:
    """The hardware addresses that answer an ARP probe for ``address``; this machine's own never does.

    Raises:
        KernelError: no such interface, or not permitted.
    """
    probe = ArpPacket(
        operation=Operation.REQUEST,
        sender_mac=mac,
        sender_address=_ANYBODY,  # RFC 5227: a probe changes nobody's table
        target_mac=NO_MAC,
        target_address=address,
    )
    arp = ArpSocket(interface)
    found: dict[str, None] = {}
    try:
        arp.receive()
        arp.send(BROADCAST + mac + ETHERTYPE.to_bytes(2, "big") + encode_arp(probe))
        end = time.monotonic() + wait_s
        while (left := end - time.monotonic()) > 0:
            select.select([arp.fileno()], [], [], left)
            for frame in arp.receive():
                try:
                    answer = decode_arp(frame)
                except DecodeError:
                    continue
                if answer.operation == Operation.REPLY and answer.sender_address == address:
                    found[mac_text(answer.sender_mac)] = None
    finally:
        arp.close()
    return tuple(found)
