"""Somebody else claims an address that we hold: say so, and say again where it is.

Two holders of one address look, from outside, like a network that works every
other minute. RFC 5227 section 2.4 tells what to do about it: defend the address
once, and not again within ``DEFEND_INTERVAL``, so that two hosts that are both
sure of themselves do not shout at each other. The watch only hears what the
interface hears; it needs no packet of its own.
"""

from dataclasses import dataclass

from lvsha.core.addr import Address
from lvsha.core.instant import SECOND, Instant
from lvsha.core.machine import Output
from lvsha.vrrp.outputs import AddressConflict, Announce
from lvsha.vrrp.settings import Prefix
from lvsha.wire.arp import ArpPacket
from lvsha.wire.ndisc import NeighborAdvertisement

DEFEND_INTERVAL = 10 * SECOND
"""RFC 5227 section 1.1."""


@dataclass(slots=True)
class _Held:
    router: str
    prefix: Prefix
    last: Instant | None = None
    count: int = 0


class ConflictWatch:
    """One per interface; it watches what ``hold`` was told of, which is what a MASTER holds."""

    def __init__(self, *, own_macs: frozenset[bytes]) -> None:
        self.own_macs = own_macs
        """Ours on this network, virtual ones included: not a conflict."""
        self._held: dict[Address, _Held] = {}

    def hold(self, router: str, addresses: tuple[Prefix, ...]) -> None:
        for prefix in addresses:
            self._held[prefix.ip] = _Held(router, prefix)

    def drop(self, router: str, addresses: tuple[Prefix, ...]) -> None:
        for prefix in addresses:
            held = self._held.get(prefix.ip)
            if held is not None and held.router == router:
                del self._held[prefix.ip]

    def receive(self, packet: ArpPacket | NeighborAdvertisement, now: Instant) -> list[Output]:
        """``AddressConflict`` and one ``Announce``, at most every ``DEFEND_INTERVAL`` per address."""
        address: Address
        if isinstance(packet, ArpPacket):
            if packet.is_probe:
                return []
            address, mac = packet.sender_address, packet.sender_mac
        else:
            if packet.mac is None:
                return []
            address, mac = packet.target, packet.mac
        held = self._held.get(address)
        if held is None or mac in self.own_macs:
            return []
        held.count += 1
        if held.last is not None and now - held.last < DEFEND_INTERVAL:
            return []
        held.last = now
        return [
            AddressConflict(held.router, address, mac, held.count),
            Announce(held.router, (held.prefix,), 1),
        ]
