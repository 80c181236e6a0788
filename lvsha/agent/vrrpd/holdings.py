"""What a MASTER holds in the kernel: its addresses, and the routes and rules that move with them."""

from collections.abc import Callable, Sequence
from typing import Any

from lvsha.agent.journal import Journal
from lvsha.core.errors import KernelError
from lvsha.core.instant import SECOND
from lvsha.io.reactor import monotonic
from lvsha.io.rtnl import FOREVER_S, RouteSocket
from lvsha.io.rtnl_routes import PolicySocket
from lvsha.vrrp.complaints import Complaints
from lvsha.vrrp.lease import SLICE
from lvsha.vrrp.outputs import RenewAddresses
from lvsha.vrrp.settings import Prefix, RouterSettings


class Holdings:
    """Each method returns the first errno, or 0; what failed is in the journal, now and then."""

    def __init__(
        self, routes: RouteSocket, policies: PolicySocket, *, complaints: Complaints, journal: Journal
    ) -> None:
        self._routes = routes
        self._policies = policies
        self._complaints = complaints
        self._journal = journal

    def bind(
        self,
        settings: RouterSettings,
        addresses: Sequence[Prefix],
        lease: int,
        *,
        between: Callable[[], None] = lambda: None,
    ) -> int:
        """Add, or renew, ``SLICE`` at a time, and do ``between`` after each.

        Args:
            lease: nanoseconds; 0: for ever.
        """
        failures = []
        for start in range(0, len(addresses), SLICE):
            failures += self._routes.add_addresses(
                [(settings.bound_interface, prefix) for prefix in addresses[start : start + SLICE]],
                nodad=settings.no_address_detection,
                # The interface below has the route to that network, and is the way there.
                noprefixroute=settings.vmac_interface is not None,
                valid_s=lease // SECOND or FOREVER_S,
            )
            between()
        return self._bound(settings, failures)

    def renew(self, orders: Sequence[tuple[RouterSettings, RenewAddresses]]) -> dict[str, int]:
        """``bind`` for several routers with one call of the kernel where they are alike: errnos by router."""
        alike: dict[tuple[bool, bool, int], list[tuple[RouterSettings, RenewAddresses]]] = {}
        for settings, order in orders:
            form = (settings.no_address_detection, settings.vmac_interface is not None, order.lease)
            alike.setdefault(form, []).append((settings, order))
        errnos: dict[str, int] = {}
        for (nodad, noprefixroute, lease), several in alike.items():
            failures = self._routes.add_addresses(
                [(settings.bound_interface, each) for settings, order in several for each in order.addresses],
                nodad=nodad,
                noprefixroute=noprefixroute,
                valid_s=lease // SECOND or FOREVER_S,
            )
            for settings, order in several:
                place, ours = settings.bound_interface, set(order.addresses)
                mine = [each for each in failures if each[0][0] == place and each[0][1] in ours]
                errnos[settings.name] = self._bound(settings, mine)
        return errnos

    def unbind(self, settings: RouterSettings, addresses: Sequence[Prefix]) -> int:
        """Routes and rules go first."""
        if settings.routes or settings.rules:
            refused = self._policies.remove(settings.routes, settings.rules)
            self._policies_failed("vrrp.unbind_failed", settings, refused)
        failures = self._routes.remove_addresses([(settings.bound_interface, prefix) for prefix in addresses])
        return self._addresses_failed("vrrp.unbind_failed", settings, failures)

    def sweep(self, settings: RouterSettings) -> None:
        """Routes and rules that a predecessor left: one that was killed, and whose lease is over."""
        if settings.routes or settings.rules:
            self._policies.remove(settings.routes, settings.rules)

    def reroute(self, old: RouterSettings, new: RouterSettings) -> None:
        """The routes and rules that a changed configuration adds and removes, while we hold the addresses."""
        gone = [route for route in old.routes if route not in new.routes]
        gone_rules = [rule for rule in old.rules if rule not in new.rules]
        if gone or gone_rules:
            self._policies_failed("vrrp.unbind_failed", new, self._policies.remove(gone, gone_rules))
        if (new.routes, new.rules) != (old.routes, old.rules):
            self._policies_failed("vrrp.bind_failed", new, self._policies.add(new.routes, new.rules))

    def _bound(self, settings: RouterSettings, failures: list[Any]) -> int:
        """The addresses are there, but for these; then what stands on them."""
        errno = self._addresses_failed("vrrp.bind_failed", settings, failures)
        if not errno and (settings.routes or settings.rules):
            refused = self._policies.add(settings.routes, settings.rules)
            errno = self._policies_failed("vrrp.bind_failed", settings, refused)
        return errno

    def _policies_failed(self, event: str, settings: RouterSettings, refused: list[KernelError]) -> int:
        if refused and self._complaints.count(f"{event} {settings.name}", monotonic()) is not None:
            for error in refused[:3]:
                self._journal.write(event, router=settings.name, error=str(error))
        return refused[0].errno if refused else 0

    def _addresses_failed(self, event: str, settings: RouterSettings, failures: list[Any]) -> int:
        if failures and self._complaints.count(f"{event} {settings.name}", monotonic()) is not None:
            for item, error in failures[:3]:
                self._journal.write(event, router=settings.name, address=str(item[1]), error=str(error))
        return failures[0][1].errno if failures else 0
