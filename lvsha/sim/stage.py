"""What a life is played on: two to five directors with random settings, their network, and an attacker."""

from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface
from random import Random

from lvsha.core.addr import Address
from lvsha.core.instant import MILLISECOND, SECOND, Instant
from lvsha.core.machine import Output
from lvsha.sim.director import Director
from lvsha.sim.network import CALM, Datagram, Network
from lvsha.sim.world import World
from lvsha.vrrp.settings import Authentication, GarpSettings, Prefix, RouterSettings
from lvsha.wire.vrrp_auth import AuthKeys

GARP = GarpSettings(refresh=2 * SECOND)
RECORDED = 40
"""Adverts that an attacker writes down."""
_KEYS = AuthKeys([bytes(range(32))])


@dataclass(slots=True)
class Tally:
    """What a life counts."""

    adverts: int = 0
    takeovers: int = 0
    lines: int = 0
    """Of its transcript."""


class Stage:
    def __init__(self, dice: Random, log: Callable[[str, Output], None]) -> None:
        self.dice = dice
        self.world = World()
        self.network = Network(self.world, Random(dice.random()))
        self.beside: Network | None = None
        """A second path, which nothing befalls."""
        self.recorded: list[Datagram] = []
        """What an attacker has heard, some of it."""
        self.boots = 0
        self.tally = Tally()
        self.directors = self._make(log)

    @property
    def interval(self) -> int:
        """Nanoseconds between two adverts, as configured."""
        return self.directors[0].settings[0].advert_interval

    @property
    def authenticates(self) -> bool:
        return self.directors[0].settings[0].authentication is not Authentication.NONE

    @property
    def has_tie(self) -> bool:
        """Two of them have the same priority, as it is now."""
        priorities = [router.priority for each in self.directors for router in each.routers.values()]
        return len(set(priorities)) < len(priorities)

    @property
    def down(self) -> int:
        """The longest down interval that anybody can have, as adverts promise it now."""
        settings = self.directors[0].settings[0]
        longest = max(settings.advert_interval, SECOND if settings.version == 2 else 0)
        slowest = 0
        for director in self.directors:
            slowest = max(slowest, abs(director.clock.ppm))
            for router in director.routers.values():
                longest = max(longest, router.promised_interval, router.master_advert_interval)
        return 4 * (longest + 2 * longest * slowest // 1_000_000)

    def record(self, datagram: Datagram) -> None:
        """The tap of an attacker. What somebody has not heard would deceive him for a minute: numbers
        promise no more (``proto/lvsha_vrrp_auth.md`` section 4), so that is not written down."""
        if len(self.recorded) < RECORDED and self._everybody_hears:
            self.recorded.append(datagram)

    @property
    def _everybody_hears(self) -> bool:
        return self.network.is_clean and all(
            each.is_running and each.link_up and not each.is_frozen and not each.lag
            for each in self.directors
        )

    def boot(self, director: Director) -> None:
        """Start it. A reboot takes longer than the minute in which what was recorded could deceive it."""
        if not director.remembers:
            self.recorded.clear()
            self.boots += 1
        director.start()

    def freeze(self, director: Director) -> int:
        """It stands still for about as long as the others wait; nanoseconds."""
        director.freeze()
        length = round(self.dice.expovariate(1 / self.down))
        self.world.at(Instant(self.world.now + length), director.thaw)
        return length

    def calm(self) -> None:
        """Whatever is around the directors is as it should be; they are as they are."""
        self.network.heal()
        self.network.weather = CALM
        for director in self.directors:
            kernel = director.kernel
            kernel.bind_errno = kernel.unbind_errno = kernel.send_errno = 0
            director.lag = 0
            director.trap = None
            director.thaw()

    def _make(self, log: Callable[[str, Output], None]) -> list[Director]:
        dice = self.dice
        version = dice.choice([3, 3, 3, 2])
        family = 4 if version == 2 else dice.choice([4, 4, 6])
        interval = SECOND if version == 2 else dice.choice([10, 100, 100, 1000]) * MILLISECOND
        count = dice.choice([2, 2, 2, 3, 3, 5])
        priorities = [dice.choice([100, 100, 150, 200, 254]) for _ in range(count)]
        own: list[Address] = [
            IPv4Address(f"10.0.0.{1 + number}") if family == 4 else IPv6Address(f"fe80::{1 + number}")
            for number in range(count)
        ]
        virtual: tuple[Prefix, ...] = (
            (IPv4Interface("10.0.0.100/24"), IPv4Interface("10.0.0.101/24"))
            if family == 4
            else (IPv6Interface("fe80::100/64"),)
        )
        preempts = dice.random() < 0.7
        delay = dice.choice([0, 0, 2 * SECOND])
        lease = dice.choice([0, 2 * SECOND, 3 * SECOND])
        unicast = dice.random() < 0.3
        authenticates = dice.random() < 0.4
        if dice.random() < 0.3:
            self.beside = Network(self.world, Random(1))
        directors = [
            Director(
                name="abcde"[number],
                address=own[number],
                routers=(
                    RouterSettings(
                        name="r",
                        interface="eth0",
                        vrid=51,
                        family=family,
                        version=version,
                        priority=priorities[number],
                        advert_interval=interval,
                        addresses=virtual,
                        preempts=preempts,
                        preempt_delay=delay,
                        lease=lease,
                        garp=GARP,
                        unicast_peers=tuple(a for a in own if a != own[number]) if unicast else (),
                        authentication=Authentication.HMAC if authenticates else Authentication.NONE,
                        key_file="keys" if authenticates else None,
                    ),
                ),
                keys=_KEYS if authenticates else None,
                beside=self.beside,
                world=self.world,
                network=self.network,
                log=log,
            )
            for number in range(count)
        ]
        if dice.random() < 0.15:
            for director in directors:
                director.clock.drift(dice.choice([0, 50, -50, 20_000, -20_000]))
        return directors
