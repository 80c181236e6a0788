"""Every input of a virtual router as a line, and the router again from its lines.

A router is a function of its settings and its inputs, so what was put into it, with its
``now``, is the whole incident. ``RecordedRouter`` writes each input down together with
what came out; ``replay`` puts them in again and says where something else comes out:
never, unless the code is another.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from ipaddress import ip_address, ip_interface
from typing import Any

from lvsha.core.addr import Address
from lvsha.core.errors import LvshaError
from lvsha.core.instant import Instant
from lvsha.core.machine import Action, Output
from lvsha.vrrp.outputs import AddAddresses, Announce, RemoveAddresses, RenewAddresses, SendAdvertisement
from lvsha.vrrp.router import VirtualRouter
from lvsha.vrrp.settings import Prefix, RouterSettings
from lvsha.wire.vrrp import Advertisement, AuthType

Entry = dict[str, Any]
_FAILED = {
    kind.__name__: kind
    for kind in (AddAddresses, Announce, RemoveAddresses, RenewAddresses, SendAdvertisement)
}


class RecordError(LvshaError):
    """A line that is no input."""


class RecordedRouter(VirtualRouter):
    """A virtual router that tells ``write`` of each input, after it."""

    def __init__(self, settings: RouterSettings, write: Callable[[str], None]) -> None:
        super().__init__(settings)
        self._write = write

    def _told(self, now: Instant, name: str, outputs: list[Output], **values: Any) -> list[Output]:
        entry = {"now": now, "router": self.settings.name, "input": name}
        entry |= {"held_back": True} if self.is_held_back else {}
        entry |= values | {"outputs": [repr(output) for output in outputs]}
        self._write(json.dumps(entry, separators=(",", ":")))
        return outputs

    def start(self, now: Instant, *, held: bool = False, was_master: bool = False) -> list[Output]:
        outputs = super().start(now, held=held, was_master=was_master)
        return self._told(now, "start", outputs, held=held, was_master=was_master)

    def receive(self, advert: Advertisement, source: Address, now: Instant) -> list[Output]:
        outputs = super().receive(advert, source, now)
        return self._told(now, "receive", outputs, advert=_as_entry(advert), source=str(source))

    def wake(self, now: Instant) -> list[Output]:
        return self._told(now, "wake", super().wake(now))

    def on_deadline(self, now: Instant) -> list[Output]:
        return self._told(now, "on_deadline", super().on_deadline(now))

    def on_action_failed(self, action: Action, errno: int, now: Instant) -> list[Output]:
        outputs = super().on_action_failed(action, errno, now)
        addresses = [str(prefix) for prefix in getattr(action, "addresses", ())]
        kind = type(action).__name__
        return self._told(now, "on_action_failed", outputs, action=kind, addresses=addresses, errno=errno)

    def set_interface(self, usable: bool, primary: Address | None, now: Instant) -> list[Output]:
        outputs = super().set_interface(usable, primary, now)
        return self._told(
            now, "set_interface", outputs, usable=usable, primary=str(primary) if primary else None
        )

    def set_priority(self, priority: int, now: Instant) -> list[Output]:
        return self._told(now, "set_priority", super().set_priority(priority, now), priority=priority)

    def set_bound(self, bound: frozenset[Prefix], now: Instant) -> list[Output]:
        told = sorted(str(prefix) for prefix in bound)
        return self._told(now, "set_bound", super().set_bound(bound, now), bound=told)

    def release(self, now: Instant) -> list[Output]:
        return self._told(now, "release", super().release(now))

    def caught_up(self, now: Instant) -> list[Output]:
        return self._told(now, "caught_up", super().caught_up(now))

    def permit(self, now: Instant) -> list[Output]:
        return self._told(now, "permit", super().permit(now))

    def resume(self, now: Instant) -> list[Output]:
        return self._told(now, "resume", super().resume(now))

    def shutdown(self, now: Instant) -> list[Output]:
        return self._told(now, "shutdown", super().shutdown(now))

    def reconfigure(self, settings: RouterSettings, now: Instant) -> list[Output]:
        return self._told(now, "reconfigure", super().reconfigure(settings, now))


@dataclass(frozen=True, slots=True)
class Replayed:
    """One input, put in again."""

    number: int
    """Of the line, from 1."""
    now: Instant
    router: str
    outputs: tuple[Output, ...]
    expected: tuple[str, ...]
    """As they were recorded: ``repr``."""

    @property
    def is_same(self) -> bool:
        return tuple(map(repr, self.outputs)) == self.expected


def replay(settings: Iterable[RouterSettings], lines: Iterable[str]) -> Iterator[Replayed]:
    """The recorded inputs of one life of vrrpd, one by one.

    Raises:
        RecordError: a line that is no input, a router that the settings do not have, or a reload:
            what follows it needs the configuration that was loaded then.
    """
    configured = {each.name: each for each in settings}
    routers: dict[str, VirtualRouter] = {name: VirtualRouter(each) for name, each in configured.items()}
    for name, router in routers.items():
        group = configured[name].group
        router.group = tuple(
            other
            for other_name, other in routers.items()
            if group and other_name != name and configured[other_name].group == group
        )
    for number, line in enumerate(lines, start=1):
        try:
            entry = json.loads(line)
            router = routers[entry["router"]]
            now = Instant(int(entry["now"]))
            if entry["input"] == "reconfigure" and entry["outputs"]:
                raise RecordError(
                    f"line {number}: the configuration changed here; replay the rest with the new one"
                )
            router.is_held_back = bool(entry.get("held_back"))
            outputs = _put_in(router, entry, now)
            expected = tuple(entry["outputs"])
        except KeyError as error:
            raise RecordError(
                f"line {number}: there is no {error} here: another file, or configuration?"
            ) from None
        except (ValueError, TypeError, AttributeError) as error:
            raise RecordError(f"line {number} is no input of a virtual router: {error}") from None
        yield Replayed(number, now, entry["router"], tuple(outputs), expected)


def _put_in(router: VirtualRouter, entry: Entry, now: Instant) -> list[Output]:
    name = entry["input"]
    if name == "start":
        return router.start(now, held=entry["held"], was_master=entry["was_master"])
    if name == "receive":
        return router.receive(_advert(entry["advert"]), ip_address(entry["source"]), now)
    if name == "on_action_failed":
        return router.on_action_failed(_action(router, entry), entry["errno"], now)
    if name == "set_interface":
        primary = ip_address(entry["primary"]) if entry["primary"] else None
        return router.set_interface(entry["usable"], primary, now)
    if name == "set_priority":
        return router.set_priority(entry["priority"], now)
    if name == "set_bound":
        return router.set_bound(frozenset(map(ip_interface, entry["bound"])), now)
    if name == "reconfigure":
        return []
    if name not in ("caught_up", "on_deadline", "permit", "release", "resume", "shutdown", "wake"):
        raise ValueError(f"{name!r} is none")
    outputs: list[Output] = getattr(router, name)(now)
    return outputs


def _as_entry(advert: Advertisement) -> Entry:
    return {
        "version": advert.version,
        "vrid": advert.vrid,
        "priority": advert.priority,
        "addresses": [str(address) for address in advert.addresses],
        "centiseconds": advert.max_advertise_interval_cs,
        "seconds": advert.advertisement_interval_s,
    }


def _advert(told: Entry) -> Advertisement:
    addresses = tuple(map(ip_address, told["addresses"]))
    if told["version"] == 2:
        return Advertisement(
            version=2,
            vrid=told["vrid"],
            priority=told["priority"],
            addresses=addresses,
            advertisement_interval_s=told["seconds"],
            auth_type=AuthType.NONE,
        )
    return Advertisement(
        version=3,
        vrid=told["vrid"],
        priority=told["priority"],
        addresses=addresses,
        max_advertise_interval_cs=told["centiseconds"],
    )


def _action(router: VirtualRouter, entry: Entry) -> Action:
    """As far as a router looks at what failed."""
    kind, name = entry["action"], router.settings.name
    addresses = tuple(map(ip_interface, entry["addresses"]))
    if kind not in _FAILED:
        raise ValueError(f"{kind!r} is no action")
    if kind == "SendAdvertisement":
        return SendAdvertisement(name, 0)
    if kind == "Announce":
        return Announce(name, addresses, 0)
    if kind == "RenewAddresses":
        return RenewAddresses(name, addresses, 0)
    return AddAddresses(name, addresses) if kind == "AddAddresses" else RemoveAddresses(name, addresses)
