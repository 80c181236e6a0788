"""What would happen if: a configuration file on virtual directors, with faults to choose.

Each virtual router is played by itself on a network of its own, with every director of
the file that takes part in it: the file's priorities, intervals, preemption, lease. The
directors start together; when they have settled, the faults come. A fault is a line of a
scenario (``sim.transcript``), perhaps after a time: ``freeze lb1``, ``3s: thaw lb1``,
``cut lb1 lb2``, ``lag lb2 50ms``.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv6Address

from lvsha.config.settings import Settings
from lvsha.core.addr import Address
from lvsha.core.instant import Instant, to_seconds
from lvsha.sim.director import Director
from lvsha.sim.transcript import Transcript, TranscriptError, duration
from lvsha.vrrp.settings import Authentication, RouterSettings

_FAULT = re.compile(r"(?:(?P<at>[0-9.]+(?:us|ms|s|m|h)):\s*)?(?P<command>\S.*)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What became of one virtual router."""

    router: str
    transcript: tuple[str, ...]
    before: tuple[str, ...]
    """Who was MASTER when the faults came."""
    after: tuple[str, ...]
    """And at the end."""
    without_master: float
    """Seconds after the first fault in which no working director was MASTER."""
    two_holders: float
    """Seconds after the first fault in which more than one kernel held an address."""


class Fault:
    """One line, and when."""

    def __init__(self, text: str) -> None:
        """Raises: TranscriptError."""
        match = _FAULT.fullmatch(text.strip())
        if match is None:
            raise TranscriptError(f'{text!r} is no fault; write one like "freeze lb1" or "3s: thaw lb1"')
        self.at = duration(match["at"]) if match["at"] else 0
        self.command = match["command"]


def routers_of(settings: Mapping[str, Settings]) -> dict[str, dict[str, RouterSettings]]:
    """The virtual routers by name, each by director."""
    found: dict[str, dict[str, RouterSettings]] = {}
    for node, each in settings.items():
        for router in each.routers:
            found.setdefault(router.name, {})[node] = router
    return found


def what_if(
    name: str, routers: Mapping[str, RouterSettings], faults: Sequence[Fault], *, lasting: int
) -> Answer:
    """Play one virtual router for ``lasting`` nanoseconds from the first fault on.

    Raises:
        TranscriptError: a fault that cannot be carried out.
    """
    played = _Played(name, routers)
    slowest = max(router.advert_interval for router in routers.values())
    played.stage.world.advance(20 * slowest)
    before = played.masters()
    played.watch()
    for fault in sorted(faults, key=lambda fault: fault.at):
        played.stage.world.run_until(Instant(played.began + fault.at))
        played.stage.note(f"-- {fault.command}")
        played.stage.command(fault.command)
        played.look()
    played.stage.world.run_until(Instant(played.began + lasting))
    played.look()
    played.stage.command("status")
    return Answer(
        router=name,
        transcript=tuple(played.stage.lines()),
        before=before,
        after=played.masters(),
        without_master=to_seconds(played.none),
        two_holders=to_seconds(played.double),
    )


class _Played:
    """One virtual router being played, and how long what should not be lasted."""

    def __init__(self, name: str, routers: Mapping[str, RouterSettings]) -> None:
        self.stage = Transcript()
        self.began = Instant(0)
        self.none = self.double = 0
        self._last = Instant(0)
        self._was_none = self._was_double = False
        if any(router.paths for router in routers.values()):
            self.stage.command("path")
        addresses = {
            node: router.source_address or _address(router.family, number)
            for number, (node, router) in enumerate(routers.items(), start=1)
        }
        for node, router in routers.items():
            unicast = tuple(address for other, address in addresses.items() if other != node)
            director = Director(
                name=node,
                address=addresses[node],
                routers=(
                    replace(
                        router,
                        interface="net",
                        startup_delay=0,
                        authentication=Authentication.NONE,
                        unicast_peers=unicast if router.unicast_peers else (),
                    ),
                ),
                world=self.stage.world,
                network=self.stage.network,
                log=self.stage.log,
                beside=self.stage.beside if router.paths else None,
            )
            self.stage.directors[node] = director
            director.start()
        self._name = name

    def masters(self) -> tuple[str, ...]:
        return tuple(
            node
            for node, director in self.stage.directors.items()
            if director.is_master(self._name) and not director.is_frozen and director.link_up
        )

    def watch(self) -> None:
        self.began = self._last = self.stage.world.now
        self.stage.world.after_step = self.look

    def look(self) -> None:
        """Count the time since the last look as what it was then."""
        now = self.stage.world.now
        self.none += (now - self._last) * self._was_none
        self.double += (now - self._last) * self._was_double
        self._last = now
        self._was_none = not self.masters()
        holders = sum(
            bool(director.kernel.bound) and director.link_up for director in self.stage.directors.values()
        )
        self._was_double = holders > 1


def _address(family: int, number: int) -> Address:
    return IPv4Address(f"192.0.2.{number}") if family == 4 else IPv6Address(f"fe80::{number}")
