"""Routers to test with, and the adverts they hear."""

from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface
from typing import Any

from lvsha.core.addr import Address
from lvsha.core.instant import MILLISECOND, SECOND, Instant
from lvsha.core.machine import Output
from lvsha.vrrp.outputs import CatchUp
from lvsha.vrrp.router import VirtualRouter
from lvsha.vrrp.settings import Prefix, RouterSettings
from lvsha.vrrp.transitions import State
from lvsha.wire.vrrp import Advertisement

US, LOWER_PEER, HIGHER_PEER = IPv4Address("10.0.0.5"), IPv4Address("10.0.0.1"), IPv4Address("10.0.0.9")
VIPS: tuple[Prefix, ...] = (IPv4Interface("10.0.0.10/24"), IPv4Interface("10.0.0.11/24"))
VIPS6: tuple[Prefix, ...] = (IPv6Interface("2001:db8::10/64"), IPv6Interface("fe80::10/64"))
US6 = IPv6Address("fe80::5")

ADVERT = 100 * MILLISECOND
SKEW = (256 - 100) * ADVERT // 256
DOWN = 3 * ADVERT + SKEW
"""Of a router of priority 100 that follows a MASTER of 100 ms."""


def settings(**changes: Any) -> RouterSettings:
    fields: dict[str, Any] = {
        "name": "r",
        "interface": "eth0",
        "vrid": 51,
        "priority": 100,
        "addresses": VIPS,
    }
    return RouterSettings(**(fields | changes))


def settings_v2(**changes: Any) -> RouterSettings:
    return settings(**({"version": 2, "advert_interval": SECOND} | changes))


def idle(**changes: Any) -> VirtualRouter:
    router = VirtualRouter(settings(**changes))
    router.set_interface(True, US6 if router.settings.family == 6 else US, Instant(0))
    return router


def backup(**changes: Any) -> VirtualRouter:
    """In BACKUP since instant 0."""
    router = idle(**changes)
    router.start(Instant(0))
    assert router.state is State.BACKUP
    return router


def master(**changes: Any) -> VirtualRouter:
    """MASTER since the end of its first down interval."""
    router = backup(**changes)
    fire(router)
    assert router.state is State.MASTER
    return router


def fire(router: VirtualRouter, *, late: int = 0) -> list[Output]:
    """Let its deadline pass; nothing lies unread."""
    return pass_time(router, due(router, late))


def pass_time(router: VirtualRouter, now: Instant) -> list[Output]:
    """``on_deadline`` with a socket in which nothing lies unread."""
    outputs = router.on_deadline(now)
    if any(isinstance(output, CatchUp) for output in outputs):
        router.caught_up(now)
        return router.on_deadline(now)
    return outputs


def due(router: VirtualRouter, later: int = 0) -> Instant:
    assert router.deadline is not None
    return Instant(router.deadline + later)


def advert(priority: int, *, router: VirtualRouter | None = None, interval_cs: int = 10) -> Advertisement:
    """As another router of the same settings would send it."""
    if router is None:
        router = idle()
    heard = router.advertisement(priority)
    if heard.version == 2:
        return heard
    return Advertisement(
        version=3,
        vrid=heard.vrid,
        priority=priority,
        addresses=heard.addresses,
        max_advertise_interval_cs=interval_cs,
    )


def hear(
    router: VirtualRouter,
    priority: int,
    now: int,
    *,
    source: Address = HIGHER_PEER,
    interval_cs: int = 10,
) -> list[Output]:
    return router.receive(advert(priority, router=router, interval_cs=interval_cs), source, Instant(now))


def kinds(outputs: list[Output]) -> list[str]:
    """Their classes, in order: what a reader compares at a glance."""
    return [type(output).__name__ for output in outputs]
