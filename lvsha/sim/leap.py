"""Leaping over time in which nothing new happens, exactly.

A MASTER whose network is quiet does the same every ``advert_interval``, and with leases and
announcements the same every few seconds. Whoever has seen one whole turn of a clock need not
watch the next thousand: he moves the hands.

The rule
--------
All that machines, kernels, networks and the counts of a life consist of is written down at
an instant ``t`` and again at ``t + period``, every event between them played. If in between

1. every instant (a deadline, a time something was heard) stood still or moved by the period,
   every number of an advert stood still or moved by the period's microseconds, every count
   grew, and everything else is equal,
2. no instant that stood still was passed (a deadline that did not move, a penance that ended, a delay),
3. no chance is at work (loss, duplication, delays that differ), nobody is late, frozen,
   trapped, interrupted or drifting, and the watch waits for nothing,

then the next period is the same again, for machines look at the clock only to compare it with
instants that they hold. So ``k`` periods are leapt over: what moved moves ``k`` times as far, what
was counted is counted ``k`` times, and the world's time goes on by as much. A leap ends before any
instant that stood still and before anything that the world was asked for (a thaw, a replayed advert).

What this module does not know it does not leap over: an attribute of a machine that is a number
and not in ``_ROLES``, or an object of another class, ends it. Whether the tables are right is not
believed but tried: ``Leaping.PROVE`` computes where the leap would land, plays everything, and
compares; the tests live the same seeds with and without leaping.

Two periods are tried, the longer one by way of the shorter: that of the adverts, where many
of them lie between two renewals and announcements, which end such a leap; and that of all together.
"""

import heapq
import math
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum, StrEnum
from functools import cache
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface
from typing import Any

from lvsha.core.bounded import ReasonCounter
from lvsha.core.instant import MICROSECOND, MILLISECOND, Instant
from lvsha.sim.clock import Clock
from lvsha.sim.director import Director, LastWords
from lvsha.sim.kernel import Kernel
from lvsha.sim.network import Network
from lvsha.sim.stage import Stage, Tally
from lvsha.sim.world import NEVER, World
from lvsha.vrrp import announce, conflict, lease
from lvsha.vrrp.complaints import Complaints
from lvsha.vrrp.endpoint import Endpoint
from lvsha.vrrp.hearing import Hearing
from lvsha.vrrp.held import HeldAddresses
from lvsha.vrrp.pace import Pace
from lvsha.vrrp.preemption import Preemption
from lvsha.vrrp.replay import ReplayGuard
from lvsha.vrrp.router import VirtualRouter

WORTH = 4
"""Periods that must be left: one is played to see whether it repeats."""
ROOM = 8
"""Adverts between two renewals or announcements: with fewer, leaping between them gains nothing."""
PATIENCE = 64
"""Periods between two looks, at most, while nothing repeats."""


class Leaping(StrEnum):
    LEAP = "leap"
    PLAY = "play"
    """Every event."""
    PROVE = "prove"
    """Every event, and where each leap would have landed is compared."""


class Role(Enum):
    """What a number is."""

    INSTANT = "instant"
    NUMBER = "number of an advert"
    COUNT = "count"
    LOUD = "count that is told at powers of ten"
    EQUAL = "equal"
    """Must be what it was."""
    SKIP = "not looked at"


def _roles(**roles: str) -> dict[str, Role]:
    return {name: Role[role.upper()] for role, names in roles.items() for name in names.split()}


_ROLES: dict[type, dict[str, Role]] = {
    World: _roles(count="steps", skip="now after_step _to_come _tickets _parties"),
    Tally: _roles(count="adverts", equal="takeovers lines"),
    Network: _roles(count="carried", skip="tap _world _dice _nodes _addresses"),
    Director: _roles(
        equal="lag queue overflowed wall_error",
        number="_last_number",
        skip="due _wakes _world _network _log _keys _speaker",
    ),
    Clock: _roles(equal="ppm", instant="_true _shown", skip="_world"),
    LastWords: _roles(instant="at"),
    Kernel: _roles(equal="bind_errno unbind_errno send_errno writes", instant="leases due"),
    VirtualRouter: _roles(
        equal="priority master_priority master_advert_interval _granted _sends_failed _retry _late",
        instant="since _timer _last_heard _release_over",
    ),
    Hearing: _roles(instant="since asked_at"),
    HeldAddresses: _roles(instant="retry"),
    Preemption: _roles(instant="_penance _worse_since"),
    Pace: _roles(equal="interval promised _calm"),
    Complaints: _roles(instant="_episodes"),
    ReasonCounter: _roles(loud="_counts"),
    Endpoint: _roles(equal="family", count="accepted", skip="_guard _keys _routers"),
    ReplayGuard: _roles(equal="_offset", number="_last _before _heard"),
    announce.Announcer: _roles(count="_tickets", instant="_not_before", skip="_queue _first _is_known"),
    announce._Entry: _roles(instant="due again", equal="rounds form", count="ticket"),
    lease.Leases: _roles(instant="_deadline"),
    lease._Held: _roles(equal="lease turn", instant="due"),
    conflict.ConflictWatch: {},
    conflict._Held: _roles(instant="last", equal="count"),
}
"""Of the attributes that are numbers, or hold numbers, and of those that are wiring or follow from others."""
_ADDRESSES = {IPv4Address, IPv6Address, IPv4Interface, IPv6Interface}
_VALUES = frozenset({bool, str, bytes, tuple, frozenset, type(None)} | _ADDRESSES)


class _UnknownError(Exception):
    """Something that ``_ROLES`` does not know."""


@dataclass(slots=True)
class Look:
    """Everything there is, at an instant: places, and what was there."""

    at: Instant
    places: list[tuple[Any, Any, Role]]
    """Container (an object, a dict), its attribute or key, and the role."""
    values: list[Any]
    thresholds: list[Instant]
    """Instants that follow from others: when ``preempt_delay`` is over."""
    expected: tuple[tuple[Instant, int], ...]


class Leaper:
    def __init__(self, stage: Stage, is_calm: Callable[[], bool], leaping: Leaping) -> None:
        """``is_calm``: whoever watches waits for nothing."""
        self.leapt = 0
        """Nanoseconds."""
        self.leaps = 0
        self._stage = stage
        self._world = stage.world
        self._is_calm = is_calm
        self._leaping = leaping

    def run_until(self, instant: Instant) -> None:
        """As ``World.run_until``, by leaps where that is the same."""
        self._run(instant, [] if self._leaping is Leaping.PLAY else self._periods())

    def _periods(self) -> list[int]:
        """All together, then the adverts alone where they are many."""
        settings = self._stage.directors[0].settings[0]
        advert = settings.advert_interval
        others = [settings.garp.refresh] if settings.garp.refresh else []
        if settings.lease:
            others.append(settings.lease // lease.RENEWALS)
        together = math.lcm(advert, *others)
        is_fine = together > advert and min(others) >= ROOM * advert
        return [together, advert] if is_fine else [together]

    def _run(self, target: Instant, periods: list[int]) -> None:
        world = self._world
        if not periods:
            world.run_until(target)
            return
        period, *finer = periods
        wait = 1
        while target - world.now >= WORTH * period:
            over = self._leap(period, finer, target) if self._may_leap() else None
            if over is None:
                self._run(min(target, Instant(world.now + wait * period)), finer)
                wait = min(2 * wait, PATIENCE)
            else:
                wait = 1
                world.run_until(min(target, over))
        self._run(target, finer)

    def _may_leap(self) -> bool:
        stage = self._stage
        return (
            self._is_calm()
            and stage.network.is_regular
            and (stage.beside is None or stage.beside.is_regular)
            and not any(
                not each.clock.is_true or each.lag or each.queue or each.is_frozen or each.trap or each.inbox
                for each in stage.directors
            )
        )

    def _leap(self, period: int, finer: list[int], target: Instant) -> Instant | None:
        """Play one period and leap over as many as are like it; until when it is like it, or None."""
        world = self._world
        try:
            self._let_arrive(target)
            before = self.look()
            self._run(Instant(world.now + period), finer)
            if not self._may_leap():
                return None
            after = self.look()
        except _UnknownError:
            return None
        moved = _moved(before, after, period)
        if moved is None:
            return None
        until = _until(before, after)
        times = (min(target, Instant(until - 1)) - world.now) // period
        silent = _silent(after, moved)
        if silent < times:
            times, until = silent, Instant(after.at + (silent + 1) * period)
        if times < 1:
            return None
        if self._leaping is Leaping.PROVE:
            self._prove(after, moved, times, period)
        else:
            self._go(after, moved, times, period)
        self.leapt += times * period
        self.leaps += 1
        return until

    def _let_arrive(self, target: Instant) -> None:
        """What is under way on the network."""
        world = self._world
        while (expected := world.expected) and expected[0][0] <= min(target, world.now + MILLISECOND):
            world.run_until(expected[0][0])

    def look(self) -> Look:
        """Everything, as it is now."""
        stage = self._stage
        look = Look(self._world.now, [], [], [], self._world.expected)
        for root in (self._world, stage.network, stage.beside, stage.tally, *stage.directors):
            if root is not None:
                _write_down(root, look)
        look.values.append(len(stage.recorded))
        look.places.append((None, None, Role.EQUAL))
        for director in stage.directors:
            for router in director.routers.values():
                look.thresholds.extend(_thresholds(router))
        return look

    def _go(self, look: Look, moved: list[int], times: int, period: int) -> None:
        world = self._world
        for (container, key, _), value, step in zip(look.places, look.values, moved, strict=True):
            if step:
                _put(container, key, value + times * step)
        world.now = Instant(world.now + times * period)
        for director in self._stage.directors:
            _requeue(director.announcer)
            director.arm()

    def _prove(self, look: Look, moved: list[int], times: int, period: int) -> None:
        """Play it, and compare where everything is with where the leap would have put it."""
        self._world.run_until(Instant(look.at + times * period))
        played = self.look()
        assert len(played.values) == len(look.values), "a leap would have missed something"
        for place, value, step, is_now in zip(look.places, look.values, moved, played.values, strict=True):
            would_be = value + times * step if step else value
            assert would_be == is_now, f"a leap makes {place[1]} of {place[0]} {would_be}, not {is_now}"


def _thresholds(router: VirtualRouter) -> Iterator[Instant]:
    """When what a machine compares with ``now`` is passed, where that is not an instant that it holds."""
    worse_since = router._preemption._worse_since
    if worse_since is not None:
        yield Instant(worse_since + router.settings.preempt_delay)


def _write_down(thing: Any, look: Look) -> None:
    """Every value below ``thing``, in an order that is always the same.

    Raises:
        _UnknownError: a number without a role, or an object that is neither known nor frozen.
    """
    for name, role in _attributes(thing):
        _write_value(thing, name, getattr(thing, name), role, look)


def _write_value(container: Any, key: Any, value: Any, role: Role | None, look: Look) -> None:
    kind: Any = type(value)
    if kind is int:
        if role is None:
            raise _UnknownError(f"{key} of {type(container).__name__}")
        look.places.append((container, key, role))
        look.values.append(value)
    elif kind in _VALUES or isinstance(value, Enum) or _is_frozen(kind):
        look.places.append((container, key, Role.EQUAL))
        look.values.append(value)
    elif kind in _ROLES:
        _write_down(value, look)
    elif isinstance(value, dict):
        look.places.append((container, key, Role.EQUAL))
        look.values.append(tuple(value))
        for each, held in value.items():
            if type(container) is Complaints and key == "_episodes":
                counter, last = held
                _write_down(counter, look)
                look.places.append((value, each, Role.INSTANT))
                look.values.append(last)
            else:
                _write_value(value, each, held, role, look)
    elif kind in (set, deque, list):
        look.places.append((container, key, Role.EQUAL))
        look.values.append(tuple(sorted(value)) if kind is set else tuple(value))
    else:
        raise _UnknownError(f"{key} of {type(container).__name__}: {kind.__name__}")


@cache
def _names(kind: type, names: tuple[str, ...]) -> tuple[tuple[str, Role | None], ...]:
    roles = _ROLES[kind]
    return tuple((name, role) for name in names if (role := roles.get(name)) is not Role.SKIP)


def _attributes(thing: Any) -> tuple[tuple[str, Role | None], ...]:
    """Names with their roles, those left out that are not looked at."""
    kind: Any = type(thing)
    return _names(kind, tuple(vars(thing)) if hasattr(thing, "__dict__") else kind.__slots__)


@cache
def _is_frozen(kind: type) -> bool:
    parameters = getattr(kind, "__dataclass_params__", None)
    return parameters is not None and bool(parameters.frozen)


def _moved(before: Look, after: Look, period: int) -> list[int] | None:
    """How far each value goes in one period; None: the next one may be another."""
    if before.expected != after.expected or len(before.values) != len(after.values):
        return None
    if before.thresholds != after.thresholds or _is_passed(after.thresholds, before.at, after.at):
        return None
    moved: list[int] = []
    numbers = period // MICROSECOND if period % MICROSECOND == 0 else None
    for was, now, (_, _, role) in zip(before.values, after.values, after.places, strict=True):
        if was is now or was == now:
            if role is Role.INSTANT and type(now) is int and before.at < now <= after.at:
                return None
            moved.append(0)
            continue
        if type(was) is not int or type(now) is not int:
            return None
        step = now - was
        if not (
            (role is Role.INSTANT and step == period)
            or (role is Role.NUMBER and step == numbers)
            or (role in (Role.COUNT, Role.LOUD) and step > 0)
        ):
            return None
        moved.append(step)
    return moved


def _is_passed(instants: list[Instant], begin: Instant, end: Instant) -> bool:
    return any(begin < instant <= end for instant in instants)


def _until(before: Look, after: Look) -> Instant:
    """The first instant that stands still, or that the world was asked for."""
    until = NEVER
    for instant in after.thresholds:
        if after.at < instant < until:
            until = instant
    for was, now, (_, _, role) in zip(before.values, after.values, after.places, strict=True):
        if role is Role.INSTANT and was == now and type(now) is int and after.at < now < until:
            until = Instant(now)
    if after.expected:
        until = min(until, after.expected[0][0])
    return until


def _silent(look: Look, moved: list[int]) -> int:
    """For how many periods no count gets to where it is told."""
    times: int = NEVER
    for value, step, (_, _, role) in zip(look.values, moved, look.places, strict=True):
        if role is Role.LOUD and step:
            times = min(times, (10 ** len(str(value)) - 1 - value) // step)
    return times


def _put(container: Any, key: Any, value: int) -> None:
    if isinstance(container, dict):
        there = container[key]
        container[key] = (there[0], value) if isinstance(there, tuple) else value
    else:
        setattr(container, key, value)


def _requeue(announcer: announce.Announcer) -> None:
    """The queue is the entries, sorted by when they are due."""
    announcer._queue = [(entry.due, entry.ticket, key) for key, entry in announcer._entries.items()]
    heapq.heapify(announcer._queue)
    announcer._is_known = False
