"""The addresses that a router believes to be bound: what a change of mind adds and removes.

The kernel's own word comes with ``VirtualRouter.set_bound``. An address that could not be
removed is tried again: one too many is a second holder.
"""

from lvsha.core.instant import SECOND, Instant, after
from lvsha.core.machine import Output
from lvsha.vrrp.outputs import AddAddresses, Announce, RemoveAddresses, StopAnnouncing
from lvsha.vrrp.settings import Prefix, RouterSettings

UNBIND_RETRY = 1 * SECOND
"""Until an address that could not be removed is tried again."""


class HeldAddresses:
    """Of one router."""

    def __init__(self) -> None:
        self.bound: frozenset[Prefix] = frozenset()
        """What we believe the kernel to hold of ours."""
        self.retry: Instant | None = None
        """When to remove again what could not be removed."""
        self._stuck: tuple[Prefix, ...] = ()

    def bind(self, settings: RouterSettings) -> list[Output]:
        """Those that are missing."""
        self.retry = None
        ours = settings.bound_addresses
        missing = tuple(address for address in ours if address not in self.bound)
        self.bound = frozenset(ours)
        return [AddAddresses(settings.name, missing)] if missing else []

    def unbind(self, settings: RouterSettings) -> list[Output]:
        """All of them, whatever we believe."""
        self.bound = frozenset()
        return [RemoveAddresses(settings.name, settings.bound_addresses)]

    def rebind(self, old: RouterSettings, new: RouterSettings, *, is_master: bool) -> list[Output]:
        """Those that a changed configuration adds and removes, while we hold them."""
        added = tuple(address for address in new.bound_addresses if address not in self.bound)
        removed = tuple(
            address
            for address in old.bound_addresses
            if address in self.bound and address not in new.bound_addresses
        )
        outputs: list[Output] = []
        if removed:
            self.bound -= frozenset(removed)
            outputs += [StopAnnouncing(new.name, removed), RemoveAddresses(new.name, removed)]
        if added and is_master:
            self.bound |= frozenset(added)
            outputs += [AddAddresses(new.name, added), Announce(new.name, added, new.garp.repeat)]
        return outputs

    def stuck(self, addresses: tuple[Prefix, ...], now: Instant) -> None:
        """They could not be removed."""
        self._stuck = addresses
        self.retry = after(now, UNBIND_RETRY)

    def unbind_again(self, settings: RouterSettings) -> list[Output]:
        self.retry = None
        return [RemoveAddresses(settings.name, self._stuck)]
