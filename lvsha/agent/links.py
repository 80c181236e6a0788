"""Interfaces and addresses as vrrpd needs them: may a router work here, and from which address.

Read afresh whenever the route monitor says that something changed; between two
changes every question is answered from memory.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from lvsha.core.addr import Address
from lvsha.io.rtnl import AddressAdded, InterfaceAddress, Link, RouteEvent, RouteSocket
from lvsha.vrrp.settings import Prefix


@dataclass(frozen=True, slots=True, kw_only=True)
class InterfaceView:
    """One interface for one family."""

    index: int
    """0: there is no such interface."""
    primary: Address | None
    """Where adverts leave from: the first address that is not a virtual one; link-local for IPv6."""
    problem: str
    """Why no router can work here, and what to do; empty when one can."""


def _key(address: InterfaceAddress) -> tuple[object, ...]:
    """All but its life time."""
    prefix = address.prefix
    return (
        *(address.index, prefix.ip.packed, prefix.network.prefixlen),
        *(address.is_primary, address.is_tentative, address.is_duplicate),
    )


class InterfaceTable:
    """What the kernel said at the last ``refresh``."""

    def __init__(self, routes: RouteSocket) -> None:
        self._routes = routes
        self._links: dict[str, Link] = {}
        self._addresses: dict[str, list[InterfaceAddress]] = {}
        self._known: set[tuple[object, ...]] = set()

    def refresh(self) -> None:
        """List links and addresses. Raises: KernelError."""
        links = self._routes.links()
        self._links = {link.name: link for link in links.values()}
        self._addresses = {name: [] for name in self._links}
        for address in self._routes.addresses():
            link = links.get(address.index)
            if link is not None:
                self._addresses[link.name].append(address)
        self._known = {_key(address) for several in self._addresses.values() for address in several}

    def is_news(self, events: Sequence[RouteEvent]) -> bool:
        """Whether they tell more than a renewal of what is known: most of them are our own leases."""
        for event in events:
            if not isinstance(event, AddressAdded) or _key(event.address) not in self._known:
                return True
        return False

    def link(self, interface: str) -> Link | None:
        """None: there is no such interface."""
        return self._links.get(interface)

    def is_up(self, interface: str) -> bool:
        """There, set up, and connected."""
        link = self._links.get(interface)
        return link is not None and link.up and link.carrier

    def mac(self, interface: str) -> bytes:
        """Empty where there is none."""
        link = self._links.get(interface)
        return link.mac if link is not None else b""

    def bound(self, interface: str) -> frozenset[Prefix]:
        """Every address on ``interface``."""
        return frozenset(address.prefix for address in self._addresses.get(interface, ()))

    def local_addresses(self) -> frozenset[Address]:
        """Every address of this host."""
        return frozenset(address.prefix.ip for several in self._addresses.values() for address in several)

    def view(self, interface: str, family: int, *, exclude: set[Address]) -> InterfaceView:
        """``exclude``: virtual addresses; never the source of an advert."""
        link = self._links.get(interface)
        if link is None:
            known = ", ".join(sorted(self._links)) or "none"
            return InterfaceView(
                index=0,
                primary=None,
                problem=f"there is no interface {interface} (there is: {known}): correct it, or create it",
            )
        problem = ""
        if not link.up:
            problem = f"{interface} is down: `ip link set {interface} up`"
        elif not link.carrier:
            problem = f"{interface} has no carrier: look at the cable or the switch port"
        candidates = [
            address
            for address in self._addresses[interface]
            if address.prefix.version == family
            and address.prefix.ip not in exclude
            and not address.is_tentative
        ]
        if family == 6:
            candidates = [address for address in candidates if address.prefix.ip.is_link_local]
        if not candidates and not problem:
            kind = "IPv4 address" if family == 4 else "link-local IPv6 address"
            problem = f"{interface} has no {kind} of its own to advertise from: add one"
        primary = candidates[0].prefix.ip if candidates else None
        return InterfaceView(index=link.index, primary=primary, problem=problem)
