"""Which machine is behind a hardware address, and what is known of it.

Known from ARP and neighbour discovery (who answered for which address), from packets that nobody has
forwarded yet (their TTL is a full one: who sent the frame also sent the packet), and from packets that
went into one hardware address and came out of another, one hop later: these belong to one machine.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from lvsha.trace.gather import Gatherer, Place
from lvsha.trace.packet import SYN, TCP, address_text, mac_text
from lvsha.trace.passages import Hop, Passage, identity

FULL_TTLS: Final = frozenset({32, 64, 128, 255})
"""What systems begin with."""

_HINTS: Final = {
    "client": ("client", "user"),
    "director": ("director", "lb", "lvs", "dir", "balancer"),
    "realserver": ("realserver", "rs", "real", "server", "web", "backend"),
}


class Role(StrEnum):
    """What a machine does for a connection."""

    CLIENT = "client"
    DIRECTOR = "director"
    REALSERVER = "realserver"
    ROUTER = "router"
    UNKNOWN = "unknown"


_ORDER = (Role.CLIENT, Role.ROUTER, Role.DIRECTOR, Role.REALSERVER, Role.UNKNOWN)


@dataclass(slots=True, eq=False)
class Host:
    """One machine."""

    macs: set[bytes] = field(default_factory=set)
    answers_for: set[bytes] = field(default_factory=set)
    """Addresses that it claimed by ARP or neighbour advertisement."""
    speaks_as: set[bytes] = field(default_factory=set)
    """Addresses that its own packets came from."""
    roles: Counter[Role] = field(default_factory=Counter)
    places: set[int] = field(default_factory=set)
    """Where we listened on it."""
    called: set[Role] = field(default_factory=set)
    """What the names of its captures say."""
    name: str = ""

    def is_called(self, role: Role) -> bool:
        """Whether a capture's name says that it is this."""
        return role in self.called

    @property
    def role(self) -> Role:
        """The one it has most often; of equals the rarer kind of machine."""
        if not self.roles:
            return Role.UNKNOWN
        return max(self.roles, key=lambda role: (self.roles[role], -abs(_ORDER.index(role) - 2)))

    @property
    def addresses(self) -> list[bytes]:
        """Its own, as far as they are known, those claimed first."""
        return sorted(self.answers_for) + sorted(self.speaks_as - self.answers_for)


class Hosts:
    """All machines, from everything that was gathered."""

    def __init__(self, gathered: Gatherer, ways: Sequence[Passage]) -> None:
        self._places = gathered.places
        self._parent: dict[bytes, bytes] = {}
        self._by_root: dict[bytes, Host] = {}
        self._asked: set[tuple[int, bytes]] = set()
        """Which machine asked for which address: it sends there without a router."""
        for place in gathered.places:
            self._unite(place.own_macs)
        for way in ways:
            for one, other in zip(way.hops, way.hops[1:], strict=False):
                if _is_one_machine_between(one, other):
                    self._unite({one.destination_mac, other.source_mac})
        for _, each in gathered.neighbours:
            host = self.of(each.sender_mac)
            if host is not None and not each.is_answer:
                self._asked.add((id(host), each.target))
            if host is not None and any(each.sender) and each.is_answer:
                host.answers_for.add(each.sender)
            elif host is not None and any(each.sender):
                host.speaks_as.add(each.sender)
        for way in ways:
            first = way.hops[0]
            host = self.of(first.source_mac)
            if host is not None and first.packet.ttl in FULL_TTLS and not first.packet.wraps:
                host.speaks_as.add(first.packet.source.address)
        for place in gathered.places:
            for mac in place.own_macs:
                owner = self.of(mac)
                assert owner is not None, "an address has a host"
                owner.places.add(place.index)
                owner.called.add(hint(place.hint or place.name))

    def all(self) -> list[Host]:
        """In the order of a connection's way, then by hardware address."""
        return sorted(
            self._by_root.values(), key=lambda host: (_ORDER.index(host.role), min(host.macs, default=b""))
        )

    def of(self, mac: bytes) -> Host | None:
        """The machine with this hardware address; None: the capture does not say which, or a group's."""
        if not mac or mac[0] & 1:
            return None
        root = self._root(mac)
        host = self._by_root.get(root)
        if host is None:
            host = self._by_root[root] = Host()
        host.macs.add(mac)
        return host

    def ends(self, hop: Hop) -> tuple[Host | None, Host | None]:
        """From which machine to which a hop went."""
        source, target = self.of(hop.source_mac), self.of(hop.destination_mac)
        for place, packet in hop.seen.items():
            here = self._at(place)
            if source is None and packet.is_outgoing:
                source = here
            if target is None and packet.is_outgoing is False:
                target = here
        outer = hop.packet.wraps[0] if hop.packet.wraps else None
        address = outer.destination if outer else hop.packet.destination.address
        if source is None and not hop.source_mac:
            source = self.speaker(outer.source if outer else hop.packet.source.address)
        if target is None and not hop.destination_mac and (id(source), address) in self._asked:
            target = self.speaker(address)
        return source, target

    def answerers(self, address: bytes) -> list[Host]:
        """Who claimed an address by ARP or neighbour advertisement."""
        return [host for host in self._by_root.values() if address in host.answers_for]

    def speaker(self, address: bytes) -> Host | None:
        """Who has an address, by whatever sign; None: nobody known, or several."""
        found = self.answerers(address) or [h for h in self._by_root.values() if address in h.speaks_as]
        return found[0] if len(found) == 1 else None

    def is_listened_to(self, host: Host | None) -> bool:
        """Whether a capture was made on it."""
        return host is not None and bool(host.places)

    def _at(self, place: int) -> Host | None:
        return next((host for host in self._by_root.values() if place in host.places), None)

    def _root(self, mac: bytes) -> bytes:
        root = mac
        while (parent := self._parent.get(root, root)) != root:
            root = parent
        if root != mac:
            self._parent[mac] = root
        return root

    def _unite(self, macs: Iterable[bytes]) -> None:
        roots = sorted({self._root(mac) for mac in macs if mac and not mac[0] & 1})
        for root in roots[1:]:
            self._parent[root] = roots[0]


def _is_one_machine_between(one: Hop, other: Hop) -> bool:
    """Whether what one hop brought to a machine is what the other took from it, at most one TTL later."""
    lost = one.packet.ttl - other.packet.ttl
    return bool(one.destination_mac and other.source_mac) and 0 <= lost <= 1


def find_own_macs(gathered: Gatherer) -> None:
    """Fill in whose captures they are: by their names, ``client.pcap`` or ``lb1-eth0.pcap``, where these and
    the frames agree; else who listens on itself takes part in every unicast frame.
    """
    for place in gathered.places:
        if place.own_macs or not place.unicast:
            continue
        named = _by_name(gathered, place)
        in_all = [mac for mac, count in place.macs.items() if count >= place.unicast * 0.99]
        if place.macs[named] * 3 >= place.unicast:
            place.own_macs.add(named)
        elif len(in_all) == 1:
            place.own_macs.add(in_all[0])


def hint(name: str) -> Role:
    """What a capture's name says."""
    stem = name.rpartition("/")[2].lower()
    for part in reversed(stem.replace("_", ".").replace("-", ".").split(".")):
        word = part.rstrip("0123456789")
        for role, words in _HINTS.items():
            if word in words:
                return Role(role)
    return Role.UNKNOWN


def _by_name(gathered: Gatherer, place: Place) -> bytes:
    """The hardware address of the machine that a capture is named after, from its first connection."""
    role = hint(place.hint or place.name)
    took: dict[tuple[object, ...], bytes] = {}
    found = b""
    for bucket in gathered.buckets.values():
        for packet in bucket.packets(place.index):
            if packet.source != bucket.client or (packet.protocol == TCP and not packet.flags & SYN):
                continue
            asked, was_asked = packet.source_mac, packet.destination_mac
            if role is Role.CLIENT:
                return asked
            if role is Role.REALSERVER:
                return was_asked
            if role is Role.DIRECTOR:
                mark = identity(packet)
                if took.get(mark) == asked:
                    return asked  # it took the packet and sent it on
                took[mark] = was_asked
                # Else what it forwards has lost a hop.
                found = found or (was_asked if packet.ttl in FULL_TTLS and not packet.wraps else asked)
    return found


def name_hosts(hosts: Hosts, places: Sequence[Place]) -> None:
    """``director``, ``realserver 2``; what the caller called a capture comes first."""
    kinds = Counter(host.role for host in hosts.all())
    numbers: Counter[Role] = Counter()
    for host in hosts.all():
        role = host.role
        numbers[role] += 1
        given = next((places[place].hint for place in sorted(host.places) if places[place].hint), "")
        if given:
            host.name = given
        elif role is Role.UNKNOWN:
            host.name = address_text(host.addresses[0]) if host.addresses else mac_text(min(host.macs))
        else:
            host.name = role.value if kinds[role] == 1 else f"{role.value} {numbers[role]}"
