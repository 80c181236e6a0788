"""What a director says: adverts as datagrams, sealed where they are authenticated; claims to addresses."""

from lvsha.core.addr import Address
from lvsha.sim.network import Claim, Datagram, Network, Route
from lvsha.vrrp.router import VirtualRouter
from lvsha.vrrp.settings import Authentication
from lvsha.wire.arp import ArpPacket
from lvsha.wire.ndisc import NeighborAdvertisement
from lvsha.wire.vrrp import GROUP_IPV4, GROUP_IPV6, TTL, encode_advertisement
from lvsha.wire.vrrp_auth import AuthKeys


class Speaker:
    """Adverts repeat: each is encoded once for as long as it stays the same."""

    def __init__(
        self, *, name: str, address: Address, network: Network, beside: Network | None, keys: AuthKeys | None
    ) -> None:
        self._name = name
        self._address = address
        self._network = network
        self._beside = beside
        self._keys = keys
        self._said: dict[tuple[str, int, int, int], list[tuple[Datagram, Route, Route]]] = {}
        """By router, priority, promised interval and how many there are on the network."""

    def forget(self) -> None:
        """The settings have changed."""
        self._said.clear()

    def say(self, router: VirtualRouter, priority: int, *, number: int, only_beside: bool) -> None:
        """To the group or to each peer. ``number``: of an authenticated advert, else 0."""
        key = (router.settings.name, priority, router.promised_interval, self._network.attached)
        said = self._said.get(key)
        if said is None:
            said = self._said[key] = self._encode(router, priority)
        for datagram, route, route_beside in said:
            sealed = self._seal(datagram, number) if number else datagram
            if not only_beside:
                self._network.post(self._name, sealed, route)
            if self._beside is not None:
                self._beside.post(self._name, sealed, route_beside)

    def _encode(self, router: VirtualRouter, priority: int) -> list[tuple[Datagram, Route, Route]]:
        settings = router.settings
        group: Address = GROUP_IPV4 if settings.family == 4 else GROUP_IPV6
        said = []
        for destination in settings.unicast_peers or (group,):
            payload = encode_advertisement(
                router.advertisement(priority),
                source=self._address,
                destination=destination,
                checksum=settings.checksum,
            )
            route = self._network.route(self._name, destination)
            beside = self._beside.route(self._name, destination) if self._beside is not None else []
            said.append((Datagram(self._address, destination, TTL, payload), route, beside))
        return said

    def _seal(self, datagram: Datagram, number: int) -> Datagram:
        assert self._keys is not None, "the endpoint asks for them"
        source, destination = datagram.source, datagram.destination
        payload = self._keys.seal(datagram.payload, number, source=source, destination=destination)
        return Datagram(source, destination, datagram.ttl, payload)


def authenticates(router: VirtualRouter) -> bool:
    return router.settings.authentication is not Authentication.NONE


def mac_of(node: str) -> bytes:
    """A hardware address that is different for every node."""
    return b"\x02" + node.encode()[:5].rjust(5, b"\0")


def claim_packet(claim: Claim) -> ArpPacket | NeighborAdvertisement:
    """As it is read from the wire."""
    mac = mac_of(claim.node)
    if claim.address.version == 4:
        return ArpPacket(
            operation=1,
            sender_mac=mac,
            sender_address=claim.address,
            target_mac=bytes(6),
            target_address=claim.address,
        )
    return NeighborAdvertisement(target=claim.address, router=True, solicited=False, override=True, mac=mac)
