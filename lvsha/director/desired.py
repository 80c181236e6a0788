"""What the kernel's IPVS table should hold, from settings and health.

Two engines meet here: the pools say who gets which weight, the settings say
what a service is. The result is a plain table; ``ipvs.plan`` finds out what to
do about it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace

from lvsha.checker.pool import PoolView
from lvsha.checker.settings import CheckSettings
from lvsha.config.settings import ServiceSettings
from lvsha.core.addr import address_family
from lvsha.ipvs.model import (
    DesiredService,
    DesiredTable,
    Destination,
    ForwardingMethod,
    Protocol,
    Service,
    ServiceKey,
)
from lvsha.sync.nudge import NUDGE_SERVER, NUDGE_SERVICE

NUDGE_KEY = ServiceKey.of(Protocol.TCP, *NUDGE_SERVICE)
"""The private service of ``sync.nudge``."""

_NUDGE = DesiredService(
    service=Service(key=NUDGE_KEY, scheduler="rr"),
    destinations=(Destination(address=NUDGE_SERVER[0], port=NUDGE_SERVER[1], method=ForwardingMethod.MASQ),),
)


def desired_service(settings: ServiceSettings, view: PoolView) -> DesiredService:
    """One service with the weights that are in force."""
    destinations = []
    for realserver in settings.realservers:
        weight = view.weights.get(realserver.name)
        if weight is not None:
            configured = realserver.destination
            destinations.append(
                configured if weight == configured.weight else replace(configured, weight=weight)
            )
    if settings.sorry is not None and view.sorry_active:
        destinations.append(settings.sorry)
    return DesiredService(service=settings.service, destinations=tuple(destinations))


def path_service(check: CheckSettings, destination: Destination) -> DesiredService:
    """What steers a check of the virtual address to one realserver: its firewall mark, in IPVS's words."""
    is_nat = destination.method is ForwardingMethod.MASQ
    there = replace(
        destination,
        port=destination.port if is_nat else 0,
        weight=1,
        upper_threshold=0,
        lower_threshold=0,
    )
    key = ServiceKey.of_fwmark(check.fwmark, address_family(check.address))
    return DesiredService(service=Service(key=key, scheduler="rr"), destinations=(there,))


class DesiredTables:
    """Makes the table that is ours, and remembers what each service was made of: a table of ten thousand
    destinations of which one has changed is made in the time that its service takes."""

    def __init__(self) -> None:
        self._made: dict[str, tuple[ServiceSettings, PoolView | None, tuple[DesiredService, ...]]] = {}
        """By service: what it wants in the table, itself first."""

    def table(
        self, services: tuple[ServiceSettings, ...], views: Mapping[str, PoolView], *, nudge: bool
    ) -> DesiredTable:
        """The whole.

        Args:
            views: by service name; a service without one does not belong into the kernel yet.
            nudge: whether the private service of ``sync.nudge`` belongs to it.
        """
        before, self._made = self._made, {}
        for settings in services:
            view = views.get(settings.name)
            found = before.get(settings.name)
            if found is None or found[0] is not settings or found[1] is not view:
                found = settings, view, tuple(_wants(settings, view))
            self._made[settings.name] = found
        parts = [part for _, _, part in self._made.values()]
        table = {each.service.key: each for part in parts for each in part}
        if nudge:
            table[NUDGE_KEY] = _NUDGE
        return table


def _wants(settings: ServiceSettings, view: PoolView | None) -> Iterator[DesiredService]:
    if view is not None:
        yield desired_service(settings, view)
    for realserver in settings.realservers:
        for check in realserver.checks:
            if check.through_path:
                yield path_service(check, realserver.destination)
