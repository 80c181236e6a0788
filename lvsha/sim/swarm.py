"""Many short lives, each from one seed, each watched at every step.

A life: two or three directors with random settings, some dozen misfortunes at random
times (loss, delay, duplication, one-way cuts, power, kills, standstills, links, a
kernel that refuses, releases, priorities, somebody's hand on the addresses), then the
sky clears and things must come right.

Invariants, looked at after every step:

1. A kernel that refuses nothing holds an address exactly while its router does
   (MASTER, or releasing, or adopting).
2. In a network that is whole and loses nothing, or with a second path, for longer than anybody's down
   interval, nobody has been MASTER beside another for longer than a down interval.
3. There, somebody who can be MASTER does not wait for it longer than two down intervals.
4. Only a MASTER announces.
5. A process that does not run, or is frozen, holds nothing when its lease is over.
6. Every queue stays within its bound.

And at the end, after a quiet while: every router that takes part and can is MASTER or
BACKUP, exactly one is MASTER, the best one where all preempt, and the gateway sends
every address to it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface
from random import Random

from lvsha.core.addr import Address
from lvsha.core.instant import MICROSECOND, MILLISECOND, SECOND, Instant, to_seconds
from lvsha.core.machine import Output
from lvsha.sim.director import INBOX, Director, line
from lvsha.sim.network import CALM, Datagram, Network, Weather
from lvsha.sim.world import World
from lvsha.vrrp.outputs import RenewAddresses, SendAdvertisement
from lvsha.vrrp.preemption import PENANCE
from lvsha.vrrp.settings import Authentication, GarpSettings, Prefix, RouterSettings
from lvsha.vrrp.steps import RETRY_LAST
from lvsha.vrrp.transitions import Phase, State
from lvsha.wire.vrrp_auth import AuthKeys

KEPT = 60
"""Lines of the transcript's end that a failure shows."""


_KEYS = AuthKeys([bytes(range(32))])
_GARP = GarpSettings(refresh=2 * SECOND)


RECORDED = 40
"""Adverts that an attacker writes down."""


class Broken(Exception):
    """An invariant does not hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Life:
    """What became of one seed."""

    seed: int
    simulated: int
    """Nanoseconds of virtual time."""
    steps: int
    adverts: int
    takeovers: int
    broken: str
    """Empty: all held."""
    end: tuple[str, ...]
    """The last lines before it broke."""

    @property
    def figures(self) -> dict[str, int]:
        """What there is to count of it."""
        return {"takeovers": self.takeovers, "adverts": self.adverts}


class _Life:
    def __init__(self, seed: int, misfortunes: int) -> None:
        self.dice = Random(seed)
        self.seed = seed
        self.misfortunes = misfortunes
        self.world = World()
        self.network = Network(self.world, Random(self.dice.random()))
        self.lines: list[str] = []
        self.adverts = 0
        self.takeovers = 0
        self.directors = self._make()
        self._changed = True
        """Something but an advert has happened since the last look."""
        self._double_since: Instant | None = None
        self._none_since: Instant | None = None

    def _make(self) -> list[Director]:
        dice = self.dice
        version = dice.choice([3, 3, 3, 2])
        family = 4 if version == 2 else dice.choice([4, 4, 6])
        interval = SECOND if version == 2 else dice.choice([10, 100, 100, 1000]) * MILLISECOND
        count = dice.choice([2, 2, 3])
        priorities = [dice.choice([100, 100, 150, 200, 254]) for _ in range(count)]
        self._no_tie = len(set(priorities)) == count
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
        self.authenticates = dice.random() < 0.4
        self.beside = Network(self.world, Random(1)) if dice.random() < 0.3 else None
        """A second path, which nothing befalls."""
        self.boots = 0
        self.recorded: list[Datagram] = []
        """What an attacker has heard, some of it."""
        return [
            Director(
                name="abc"[number],
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
                        garp=_GARP,
                        unicast_peers=tuple(a for a in own if a != own[number]) if unicast else (),
                        authentication=Authentication.HMAC if self.authenticates else Authentication.NONE,
                        key_file="keys" if self.authenticates else None,
                    ),
                ),
                keys=_KEYS if self.authenticates else None,
                beside=self.beside,
                world=self.world,
                network=self.network,
                log=self._log,
            )
            for number in range(count)
        ]

    @property
    def down(self) -> int:
        """The longest down interval that anybody can have, as adverts promise it now."""
        settings = self.directors[0].settings[0]
        longest = max(settings.advert_interval, SECOND if settings.version == 2 else 0)
        for director in self.directors:
            for router in director.routers.values():
                longest = max(longest, router.promised_interval, router.master_advert_interval)
        return 4 * longest

    def _log(self, node: str, output: Output) -> None:
        if isinstance(output, SendAdvertisement):
            self.adverts += 1
            if output.priority:
                return
        if isinstance(output, RenewAddresses):
            return
        if type(output).__name__ == "BecameMaster":
            self.takeovers += 1
        self._changed = True
        self.lines.append(line(self.world.now, node, output))
        if len(self.lines) > 4 * KEPT:
            del self.lines[:-KEPT]

    def _note(self, text: str) -> None:
        self.lines.append(f"{to_seconds(self.world.now):.3f} -- {text}")

    def record(self, datagram: Datagram) -> None:
        """The tap of an attacker."""
        if len(self.recorded) < RECORDED:
            self.recorded.append(datagram)

    def boot(self, director: Director) -> None:
        """Start it. A reboot takes longer than the minute in which what was recorded could deceive it."""
        if not director.remembers:
            self.recorded.clear()
            self.boots += 1
        director.start()

    # Living

    def live(self) -> None:
        self.world.after_step = self._watch
        interval = self.directors[0].settings[0].advert_interval
        for director in self.directors:
            director.start()
            self.world.advance(self.dice.randrange(2 * interval))
        for _ in range(self.misfortunes):
            self._befall(self.dice.choice(_MISFORTUNES))
            self.world.advance(round(self.dice.expovariate(1 / (6 * interval))))
        self._clear_up()
        self._must_be_right()

    def _befall(self, misfortune: "Callable[[_Life, Director], str]") -> None:
        director = self.dice.choice(self.directors)
        self._note(misfortune(self, director))
        self._changed = True
        self._double_since = self._none_since = None
        self._watch()

    def _clear_up(self) -> None:
        """The sky clears, and whatever had to be waited for has been."""
        self._note("clear up")
        self.network.heal()
        self.network.weather = CALM
        for director in self.directors:
            kernel = director.kernel
            kernel.bind_errno = kernel.unbind_errno = kernel.send_errno = 0
            director.lag = 0
            director.set_link(True)
            director.thaw()
            self.boot(director)
            director.resume()
        self._changed = True
        self.world.advance(2 * _GARP.refresh + 10 * self.down + PENANCE)
        if any(router.state is State.FAULT for each in self.directors for router in each.routers.values()):
            self.world.advance(RETRY_LAST + 10 * self.down)

    # Watching

    def _watch(self) -> None:
        if not self._changed and self._double_since is None and self._none_since is None:
            return
        self._changed = False
        now = self.world.now
        masters = able = 0
        for director in self.directors:
            kernel = director.kernel
            refused = kernel.bind_errno or kernel.unbind_errno
            refused = refused or any(router.unbinds_again for router in director.routers.values())
            if not refused and not director.is_frozen and not director.binds_what_it_should():
                raise Broken(f"{director.name} binds {kernel.bound} in {director.routers['r'].phase}")
            if len(director.inbox) > INBOX:
                raise Broken(f"{director.name}: {len(director.inbox)} datagrams wait")
            addresses = len(director.settings[0].bound_addresses)
            if len(director.announcer) > addresses:
                raise Broken(f"{director.name} announces {len(director.announcer)} of {addresses} addresses")
            if not director.is_running or director.is_frozen:
                late = [prefix for prefix, end in kernel.leases.items() if end < now]
                if late:
                    raise Broken(f"{director.name} does not run and holds {late} beyond the lease")
                continue
            if len(director.announcer) and not director.is_master("r"):
                raise Broken(f"{director.name} announces as {director.routers['r'].phase}")
            masters += director.link_up and director.is_master("r")
            able += director.state("r") is State.BACKUP and not kernel.bind_errno
        if len(self.world) > 10_000:
            raise Broken(f"{len(self.world)} things are to come")
        self._watch_masters(masters, able, now)

    def _watch_masters(self, masters: int, able: int, now: Instant) -> None:
        clean = (
            self.network.is_clean
            and self.network.weather.delay_most <= MILLISECOND
            and not any(director.kernel.send_errno or director.lag for director in self.directors)
        )
        # Who hears each other anywhere agrees, unless it is a tie.
        heard = (
            self.beside is not None
            and self._no_tie
            and not any(director.lag or director.is_frozen for director in self.directors)
        )
        if not (clean or heard) or masters < 2:
            self._double_since = None
        elif self._double_since is None:
            self._double_since = now
        elif now - self._double_since > self.down:
            raise Broken(f"{masters} MASTERs since {to_seconds(self._double_since):.3f} in a whole network")
        if not clean or masters or not able:
            self._none_since = None
        elif self._none_since is None:
            self._none_since = now
        elif now - self._none_since > 2 * self.down:
            raise Broken(f"no MASTER since {to_seconds(self._none_since):.3f} though somebody could")

    def _must_be_right(self) -> None:
        states = {director.name: director.routers["r"] for director in self.directors}
        masters = [name for name, router in states.items() if router.state is State.MASTER]
        if len(masters) != 1:
            raise Broken(f"{len(masters)} MASTERs at the end: {[str(r.phase) for r in states.values()]}")
        for name, router in states.items():
            if name != masters[0] and router.phase is not Phase.BACKUP:
                raise Broken(f"{name} is {router.phase} at the end")
        master = states[masters[0]]
        best = max(router.priority for router in states.values())
        if (
            master.settings.preempts
            and master.priority < best
            and not any(router.is_modest for router in states.values())
        ):
            raise Broken(f"{masters[0]} is MASTER with priority {master.priority}, another has {best}")
        for prefix in master.settings.bound_addresses:
            believed = self.network.beliefs.get(prefix.ip)
            if believed != masters[0]:
                raise Broken(f"the gateway sends {prefix.ip} to {believed}, MASTER is {masters[0]}")


def _weather(life: _Life, _: Director) -> str:
    dice = life.dice
    most = dice.choice([1, 5, 50]) * MILLISECOND
    life.network.weather = Weather(
        loss=dice.choice([0.0, 0.1, 0.3, 0.7]),
        duplication=dice.choice([0.0, 0.2]),
        delay_least=100 * MICROSECOND,
        delay_most=most,
    )
    return f"{life.network.weather}"


def _calm(life: _Life, _: Director) -> str:
    life.network.weather = CALM
    life.network.heal()
    return "calm"


def _cut(life: _Life, director: Director) -> str:
    other = life.dice.choice([each for each in life.directors if each is not director])
    life.network.cut(director.name, other.name)
    return f"cut {director.name} {other.name}"


def _partition(life: _Life, director: Director) -> str:
    life.network.isolate(director.name)
    return f"isolate {director.name}"


def _power(life: _Life, director: Director) -> str:
    director.power_off()
    return f"power_off {director.name}"


def _kill(life: _Life, director: Director) -> str:
    director.kill()
    return f"kill {director.name}"


def _start(life: _Life, director: Director) -> str:
    life.boot(director)
    return f"start {director.name}"


def _restart(life: _Life, director: Director) -> str:
    director.kill()
    director.start()
    return f"kill and start {director.name}"


def _stall(life: _Life, director: Director) -> str:
    director.freeze()
    length = round(life.dice.expovariate(1 / life.down))
    life.world.at(Instant(life.world.now + length), director.thaw)
    return f"freeze {director.name} for {to_seconds(length):.3f}s"


def _lag(life: _Life, director: Director) -> str:
    interval = director.settings[0].advert_interval
    director.lag = life.dice.choice([0, 0, interval // 2, interval, 2 * interval])
    return f"lag {director.name} {to_seconds(director.lag):g}s"


def _link(life: _Life, director: Director) -> str:
    director.set_link(not director.link_up)
    return f"link {director.name} {'up' if director.link_up else 'down'}"


def _refuse(life: _Life, director: Director) -> str:
    what = life.dice.choice(["bind", "unbind", "send"])
    value = life.dice.choice([0, 1])
    setattr(director.kernel, f"{what}_errno", value)
    return f"refuse {director.name} {what} {value}"


def _release(life: _Life, director: Director) -> str:
    director.release()
    return f"release {director.name}"


def _resume(life: _Life, director: Director) -> str:
    director.resume()
    return f"resume {director.name}"


def _priority(life: _Life, director: Director) -> str:
    priority = life.dice.choice([1, 50, 100, 200, 254])
    director.set_priority(priority)
    return f"priority {director.name} {priority}"


def _tamper(life: _Life, director: Director) -> str:
    if not director.is_running or director.is_frozen:
        return "nothing"
    prefix = life.dice.choice(director.settings[0].addresses)
    bound = life.dice.random() < 0.5
    director.tamper(prefix, bound=bound)
    return f"{'bind' if bound else 'unbind'} {director.name} {prefix}"


def _record(life: _Life, director: Director) -> str:
    """An attacker begins, or ends, to write down what passes; with authentication only: else it would win."""
    if not life.authenticates:
        return "nothing"
    life.network.tap = None if life.network.tap else life.record
    return f"the attacker {'listens' if life.network.tap else 'has heard enough'}"


def _replay(life: _Life, director: Director) -> str:
    """All that was written down is sent again, as fast as it came or at once."""
    pause = life.dice.choice([0, director.settings[0].advert_interval])
    boots = life.boots

    def say(datagram: Datagram) -> None:
        if life.boots == boots:
            life.network.forge(datagram)

    for number, datagram in enumerate(life.recorded):
        life.world.at(Instant(life.world.now + number * pause), partial(say, datagram))
    return f"the attacker sends {len(life.recorded)} recorded adverts again"


def _clock(life: _Life, director: Director) -> str:
    """Its wall clock is wrong when it starts the next time."""
    director.wall_error = life.dice.choice([0, -3600, -1_000_000_000, 50, 3600]) * 1_000_000
    return f"clock {director.name} {director.wall_error // 1_000_000} s"


_MISFORTUNES: tuple[Callable[[_Life, Director], str], ...] = (
    *(_weather, _calm, _calm, _cut, _partition, _power, _kill, _start, _start, _start, _restart),
    *(_stall, _stall, _lag, _link, _link, _refuse, _refuse, _release, _resume, _resume, _priority, _tamper),
    *(_record, _replay, _replay, _clock),
)


def live(seed: int, *, misfortunes: int = 40) -> Life:
    """One life, from its seed; the same every time."""
    life = _Life(seed, misfortunes)
    broken = ""
    try:
        life.live()
    except Broken as error:
        broken = str(error)
    except Exception as error:  # a machine that raises is a finding like any other: with its seed
        broken = f"{type(error).__name__}: {error}"
    return Life(
        seed=seed,
        simulated=life.world.now,
        steps=life.world.steps,
        adverts=life.adverts,
        takeovers=life.takeovers,
        broken=broken,
        end=tuple(life.lines[-KEPT:]) if broken else (),
    )
