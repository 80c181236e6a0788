"""Asks a network who has an address: with an ARP probe, or with a neighbour solicitation."""

import contextlib
import errno
import select
import time
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from lvsha.core.addr import Address
from lvsha.core.errors import DecodeError, KernelError
from lvsha.io.rtnl import RouteSocket
from lvsha.io.sockets import ArpSocket, NeighborSocket
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
from lvsha.wire.ndisc import (
    HOP_LIMIT,
    decode_neighbor_advertisement,
    neighbor_solicitation,
    solicited_node,
)

_ANYBODY = IPv4Address(0)
UNSAID: Final = "somebody (no MAC in the answer)"


def who_has(interface: str, mac: bytes, address: Address, wait_s: float = 1.0) -> tuple[str, ...]:
    """The hardware addresses that answer for ``address``; this machine's own never does.

    Raises:
        KernelError: no such interface, no IPv6 on it, or not permitted.
    """
    if isinstance(address, IPv4Address):
        return _by_arp(interface, mac, address, wait_s)
    return _by_solicitation(interface, mac, address, wait_s)


def _by_arp(interface: str, mac: bytes, address: IPv4Address, wait_s: float) -> tuple[str, ...]:
    probe = ArpPacket(
        operation=Operation.REQUEST,
        sender_mac=mac,
        sender_address=_ANYBODY,  # RFC 5227: a probe changes nobody's table
        target_mac=NO_MAC,
        target_address=address,
    )

    def answers() -> Iterator[str]:
        for frame in arp.receive():
            with contextlib.suppress(DecodeError):
                answer = decode_arp(frame)
                if answer.operation == Operation.REPLY and answer.sender_address == address:
                    yield mac_text(answer.sender_mac)

    with contextlib.closing(ArpSocket(interface)) as arp:
        arp.receive()
        arp.send(BROADCAST + mac + ETHERTYPE.to_bytes(2, "big") + encode_arp(probe))
        return _collect(arp.fileno(), answers, wait_s)


def _by_solicitation(interface: str, mac: bytes, address: IPv6Address, wait_s: float) -> tuple[str, ...]:
    """From our link-local address: from none it would look like duplicate address detection, which takes
    an address away from whoever is just getting it."""
    with RouteSocket() as routes:
        index = routes.link(interface).index
        own = [each.prefix.ip for each in routes.addresses(index) if not each.is_tentative]
    source = next((each for each in own if isinstance(each, IPv6Address) and each.is_link_local), None)
    if source is None:
        why = "it has no link-local IPv6 address, or not yet"
        raise KernelError(f"ask for {address} on {interface}", errno.EADDRNOTAVAIL, why)

    def answers() -> Iterator[str]:
        for message in asked.receive():
            if message.ttl != HOP_LIMIT or not isinstance(message.source, IPv6Address):
                continue
            assert isinstance(message.destination, IPv6Address)
            with contextlib.suppress(DecodeError):
                answer = decode_neighbor_advertisement(
                    message.payload, source=message.source, destination=message.destination
                )
                if answer.target == address:
                    yield mac_text(answer.mac) if answer.mac else UNSAID

    with contextlib.closing(NeighborSocket(interface, index)) as asked:
        asked.receive()
        question = neighbor_solicitation(mac=mac, source=source, target=address)
        try:
            asked.send(question, source, str(solicited_node(address)))
        except OSError as error:
            raise KernelError(f"ask for {address} on {interface}", error.errno or 0) from None
        return _collect(asked.fileno(), answers, wait_s)


def _collect(file: int, answers: Callable[[], Iterator[str]], wait_s: float) -> tuple[str, ...]:
    """All that answer until the time is over: there may be more than one."""
    found: dict[str, None] = {}
    end = time.monotonic() + wait_s
    while (left := end - time.monotonic()) > 0:
        select.select([file], [], [], left)
        found |= dict.fromkeys(answers())
    return tuple(found)


def mac_of(interface: str) -> bytes:
    """Ours.

    Raises:
        KernelError: no such interface.
    """
    with RouteSocket() as routes:
        return routes.link(interface).mac
