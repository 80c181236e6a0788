"""What the kernel's IPVS table should hold, from settings and health.

Two engines meet here: the pools say who gets which weight, the settings say
what a service is. The result is a plain table; ``ipvs.plan`` finds out what to
do about it.
"""

from collections.abc import Mapping
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


def desired_table(
    services: tuple[ServiceSettings, ...], views: Mapping[str, PoolView], *, nudge: bool
) -> DesiredTable:
    """The whole table that is ours.

    Args:
        views: by service name; a service without one does not belong into the kernel yet.
        nudge: whether the private service of ``sync.nudge`` belongs to it.
    """
    table = {
        settings.service.key: desired_service(settings, views[settings.name])
        for settings in services
        if settings.name in views
    }
    for settings in services:
        for realserver in settings.realservers:
            for check in realserver.checks:
                if check.through_path:
                    path = path_service(check, realserver.destination)
                    table[path.service.key] = path
    if nudge:
        table[NUDGE_KEY] = _NUDGE
    return table
