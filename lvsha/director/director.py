"""The director: who is healthy, and therefore what the kernel should hold.

Engines do not know each other; here they meet. Checks say what is up, pools
make weights of it, and ``desired`` puts them into one table. The shell starts
the probes that are asked for, and brings the kernel to ``desired`` whenever
``ReconcileTable`` comes back (and on its own clock, against drift).

Identical checks of one target, in however many services, run once: a check
belongs to its settings, and its verdict goes to every member that follows it.

What operators order against the configuration (``director.overrides``) enters here as
well: another weight stands where the configured one stood, who is ordered out is drained
in its pools, and who has been drained leaves the table (``director.drain``).

After a restart the kernel's own table says who was up: nothing is written, and
every adopted realserver needs its whole ``rise`` or ``fall`` to change.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import chain, count

from lvsha.checker.check import Check, CheckFell, CheckRose, CheckWeighed, StartProbe
from lvsha.checker.combine import combine
from lvsha.checker.fleet import Fleet
from lvsha.checker.pool import MemberState, Pool, PoolSettings, PoolView
from lvsha.checker.result import ProbeResult
from lvsha.checker.settings import CheckSettings, Initial
from lvsha.config.settings import RealServerSettings, ServiceSettings, Settings
from lvsha.core.instant import Instant, earliest
from lvsha.core.machine import Action, Output
from lvsha.director.desired import DesiredTables
from lvsha.director.drain import Count, Drains, DrainView, Phase
from lvsha.director.overrides import (
    Ended,
    Override,
    OverrideKind,
    Overrides,
    Place,
    Target,
    base_weight,
    is_out,
)
from lvsha.ipvs.model import DesiredTable, Table

Follower = tuple[str, str]
"""Service and member."""


@dataclass(frozen=True, slots=True)
class ReconcileTable(Action):
    """Bring the kernel's table to ``Director.desired()``."""


def _was_up(service: ServiceSettings, realserver: RealServerSettings, actual: Table) -> bool:
    """Whether the kernel's table shows a realserver as up. Weight 0 says nothing: it may never
    have been proven."""
    state = actual.get(service.service.key)
    found = state.destinations.get(realserver.destination.key) if state else None
    return found is not None and found.destination.weight > 0


class Director:
    """See above. ``random`` returns numbers in [0, 1)."""

    def __init__(self, settings: Settings, *, random: Callable[[], float], actual: Table) -> None:
        """``actual``: the kernel's table as it was found, to be adopted."""
        self.settings = settings
        self.generation = ""
        """Which configuration this is, as whoever loads it counts them."""
        self._fleet = Fleet(random=random)
        self._ids: dict[CheckSettings, str] = {}
        self._followers: dict[str, dict[Follower, None]] = {}
        self._services: dict[str, ServiceSettings] = {}
        """By name, as they were taken last."""
        self._several: dict[Follower, RealServerSettings] = {}
        """The members that have more than one check."""
        self._pools: dict[str, Pool] = {}
        self._others_seen = False
        """Whether ``_next_other`` is what pools, overrides and drains say now."""
        self._next_other: Instant | None = None
        self._found = actual
        self.overrides = Overrides(settings.node)
        self._drains = Drains()
        self._tables = DesiredTables()
        self._ordered: dict[Place, tuple[Override, ...]] = {}
        """Who is named by an override, and by which."""

    # Inputs

    def start(
        self,
        now: Instant,
        *,
        at: float = 0.0,
        overrides: Iterable[Override] = (),
        ended: Mapping[Place, Phase] | None = None,
        over: Iterable[Ended] = (),
    ) -> list[Output]:
        """Begin: pools stand, checks are spread over their first interval.

        Args:
            at: the wall clock, seconds since 1970.
            overrides: those that stood when the last process ended.
            ended: the drains that had ended then.
            over: the orders that were over, as far as they were remembered.
        """
        found, self._found = self._found, {}
        expired = self.overrides.load(overrides, now, at=at, ended=over)
        outputs = self._take(now, found, ended=ended)
        return [*expired, *outputs]

    def on_deadline(self, now: Instant) -> list[Output]:
        outputs = self._follow(self._fleet.on_deadline(now), now)
        other = self._next_other if self._others_seen else self._find_other()
        if other is None or now < other:
            return outputs
        self._others_seen = False
        for pool in self._pools.values():
            if pool.deadline is not None and pool.deadline <= now:
                outputs += [*pool.on_deadline(now), ReconcileTable()]
        if self.overrides.deadline is not None and self.overrides.deadline <= now:
            outputs += self._after_orders(self.overrides.on_deadline(now), now)
        if self._drains.deadline is not None and self._drains.deadline <= now:
            outputs += self._after_drains(self._drains.on_deadline(now))
        return outputs

    def order(self, override: Override, now: Instant, *, at: float) -> list[Output]:
        """Take an operator's order.

        Raises:
            OverrideRefused: it cannot be; nothing has changed.
        """
        return self._after_orders(self.overrides.set(override, now, at=at), now)

    def take_back(
        self, kinds: Iterable[OverrideKind], target: Target, now: Instant, *, owner: str, reason: str = ""
    ) -> list[Output]:
        """End an operator's orders of these kinds on this target."""
        return self._after_orders(self.overrides.remove(kinds, target, owner=owner, reason=reason), now)

    def merge(self, records: Iterable[Override | Ended], now: Instant, *, at: float) -> list[Output]:
        """Take the orders that another director has taken."""
        return self._after_orders(self.overrides.merge(records, now, at=at), now)

    def on_table(self, table: Table, now: Instant, *, forwards: bool) -> list[Output]:
        """The kernel's table as it is: drains count their connections in it.

        Args:
            forwards: new connections would come here (MASTER, or nobody else could be).
        """
        if not self._ordered:
            return []
        counts: dict[Place, Count] = {}
        for service, realserver in self._members():
            place = (service.name, realserver.name)
            state = table.get(service.service.key) if place in self._ordered else None
            found = state.destinations.get(realserver.destination.key) if state is not None else None
            if found is not None:
                counts[place] = Count(
                    weight=found.destination.weight, connections=found.active + found.inactive
                )
        return self._after_drains(self._drains.on_counts(counts, now, forwards=forwards))

    def on_probe(self, check_id: str, result: ProbeResult, now: Instant) -> list[Output]:
        """A probe's result; of a check that is gone it means nothing."""
        outputs = self._fleet.on_result(check_id, result, now)
        return self._follow(outputs, now) if outputs else outputs

    def reconfigure(self, settings: Settings, now: Instant) -> list[Output]:
        """Other settings; what did not change keeps its state."""
        self.settings = settings
        return self._take(now, {})

    # What follows from it

    @property
    def deadline(self) -> Instant | None:
        # Asked for after each of ten thousand results: what else is due changes seldom, and is remembered.
        due = self._fleet.deadline
        other = self._next_other if self._others_seen else self._find_other()
        return due if other is None or (due is not None and due <= other) else other

    def _find_other(self) -> Instant | None:
        self._others_seen = True
        self._next_other = earliest(
            self.overrides.deadline,
            self._drains.deadline,
            *(pool.deadline for pool in self._pools.values()),
        )
        return self._next_other

    def desired(self) -> DesiredTable:
        """What the kernel should hold of ours."""
        sync = self.settings.sync
        nudge = sync is not None and sync.nudge_interval > 0
        return self._tables.table(self.settings.services, self.views(), nudge=nudge)

    def views(self) -> dict[str, PoolView]:
        """Of each pool what the table should hold; who has been drained is not in it."""
        views = {name: pool.view() for name, pool in self._pools.items()}
        for service, realserver in self._drains.ended:
            view = views.get(service)
            if view is not None and realserver in view.weights:
                views[service] = replace(view, weights={**view.weights, realserver: None})
        return views

    def ordered(self, place: Place) -> tuple[Override, ...]:
        """The overrides that name it."""
        return self._ordered.get(place, ())

    def drain(self, place: Place, now: Instant) -> DrainView | None:
        """How far its drain is; None: it has none."""
        return self._drains.view(place, now) if self._ordered else None

    @property
    def drained(self) -> dict[Place, Phase]:
        """The drains that have ended."""
        return self._drains.ended

    def member(self, place: Place) -> MemberState | None:
        """What is known of a realserver in its pool."""
        pool = self._pools.get(place[0])
        return pool.state(place[1]) if pool is not None else None

    def check_of(self, realserver: RealServerSettings) -> Check | None:
        """The check of ``realserver``, of several the one that makes it what it is; None:
        it is not checked."""
        checks = self.checks_of(realserver)
        if len(checks) < 2:
            return checks[0] if checks else None
        up = combine(checks, realserver.needs).up
        return next((check for check in checks if check.up is up), checks[0])

    def checks_of(self, realserver: RealServerSettings) -> tuple[Check, ...]:
        """All checks whose verdicts count for ``realserver``."""
        found = []
        for settings in realserver.checks:
            check = self._fleet.get(self._ids[settings]) if settings in self._ids else None
            if check is not None:
                found.append(check)
        return tuple(found)

    def followers(self) -> Iterator[tuple[Check, tuple[Follower, ...]]]:
        """Each check that runs, and the members of pools that follow its verdict."""
        for check in self._fleet:
            yield check, tuple(self._followers.get(check.check_id, ()))

    @property
    def check_count(self) -> int:
        """Distinct checks that run."""
        return len(self._fleet)

    # Within

    def _members(
        self, services: Collection[str] | None = None
    ) -> Iterator[tuple[ServiceSettings, RealServerSettings]]:
        """``services``: of these alone."""
        for service in self.settings.services:
            if services is None or service.name in services:
                for realserver in service.realservers:
                    yield service, realserver

    def _take(
        self, now: Instant, found: Table, *, ended: Mapping[Place, Phase] | None = None
    ) -> list[Output]:
        """Make checks and pools what the settings say; a service that is as it was keeps both."""
        before, self._services = self._services, {each.name: each for each in self.settings.services}
        changed = {
            name
            for name in before.keys() | self._services.keys()
            if before.get(name) != self._services.get(name)
        }
        adopted = self._take_checks([before[name] for name in before if name in changed], changed, found)
        wanted = {check_id: check for check, check_id in self._ids.items()}
        started = self._fleet.reconfigure(wanted, now, adopted=adopted)
        ordered = self._ordered
        self._take_orders(now, ended or {})
        outputs = self._take_pools(now, changed, ordered)
        return [*outputs, *self._follow(started, now), ReconcileTable()]

    def _take_checks(
        self, gone: Iterable[ServiceSettings], changed: Collection[str], found: Table
    ) -> dict[str, bool]:
        """Who follows which check now; those whose realserver the kernel's table shows as up."""
        freed: dict[CheckSettings, str] = {}
        before: dict[Follower, list[str]] = {}
        for service in gone:
            for realserver in service.realservers:
                follower = (service.name, realserver.name)
                self._several.pop(follower, None)
                for check in dict.fromkeys(realserver.checks):
                    check_id = self._ids[check]
                    before.setdefault(follower, []).append(check_id)
                    del self._followers[check_id][follower]
                    if not self._followers[check_id]:
                        del self._followers[check_id]
                        freed[check] = self._ids.pop(check)
        adopted: dict[str, bool] = {}
        for service, realserver in self._members(changed):
            follower = (service.name, realserver.name)
            if len(realserver.checks) > 1:
                self._several[follower] = realserver
            for number, check in enumerate(realserver.checks):
                if check not in self._ids:
                    # A check that goes on keeps its id; one whose settings changed is asked
                    # afresh under the id it had, and keeps its verdict until then.
                    had = before.get(follower, [])
                    self._ids[check] = next(
                        candidate
                        for candidate in chain(
                            (
                                freed.get(check),
                                had[number] if number < len(had) else None,
                                "/".join(follower),
                                f"{'/'.join(follower)} {check.target()}",
                            ),
                            (f"{'/'.join(follower)} {check.target()} {n}" for n in count(2)),
                        )
                        if candidate is not None and candidate not in self._followers
                    )
                check_id = self._ids[check]
                self._followers.setdefault(check_id, {})[follower] = None
                if _was_up(service, realserver, found):
                    adopted[check_id] = True
        return adopted

    def _take_pools(
        self, now: Instant, changed: Collection[str], ordered: Mapping[Place, tuple[Override, ...]]
    ) -> list[Output]:
        """``ordered``: what the overrides named before."""
        outputs: list[Output] = []
        pools: dict[str, Pool] = {}
        for service in self.settings.services:
            pool = self._pools.get(service.name)
            if pool is not None and service.name not in changed and not self._is_other(service, ordered):
                pools[service.name] = pool
                continue
            up = frozenset(realserver.name for realserver in service.realservers if self._is_up(realserver))
            if pool is None:
                pool = Pool(self._operated(service), up=up)
            else:
                outputs += pool.reconfigure(self._operated(service), now, up=up)
                for realserver in service.realservers:
                    outputs += pool.on_check(realserver.name, realserver.name in up, "reconfigured", now)
            outputs += self._order_out(service, pool, now)
            pools[service.name] = pool
        self._pools = pools
        self._others_seen = False
        return outputs

    def _is_other(self, service: ServiceSettings, ordered: Mapping[Place, tuple[Override, ...]]) -> bool:
        """Whether other overrides than these name its realservers."""
        if not ordered and not self._ordered:
            return False
        places = [(service.name, realserver.name) for realserver in service.realservers]
        return any(ordered.get(place) != self._ordered.get(place) for place in places)

    def _operated(self, service: ServiceSettings) -> PoolSettings:
        """The pool's settings with the operator's weights where the configured ones stood."""
        if not self._ordered:
            return service.pool
        members = []
        for member in service.pool.members:
            base = base_weight(self._ordered.get((service.name, member.name), ()))
            members.append(member if base is None else replace(member, weight=base.weight or 0))
        return replace(service.pool, members=tuple(members))

    def _order_out(self, service: ServiceSettings, pool: Pool, now: Instant) -> list[Output]:
        changed: dict[str, bool] = {}
        for member in service.pool.members:
            state = pool.state(member.name)
            out = is_out(self._ordered.get((service.name, member.name), ())) is not None
            if state is not None and state.is_drained is not out:
                changed[member.name] = out
        if len(changed) > 1:
            return pool.drain_several(changed)
        return [output for name, out in changed.items() for output in pool.drain(name, out, now)]

    def _take_orders(self, now: Instant, ended: Mapping[Place, Phase]) -> None:
        self._ordered = self.overrides.resolve(self.settings.services)
        drained: dict[Place, Instant | None] = {}
        for place, overrides in self._ordered.items():
            for override in overrides:
                if override.kind is OverrideKind.DRAIN:
                    drained[place] = self.overrides.cut_at(override)
        self._drains.want(drained, now, ended=ended)

    def _after_orders(self, outputs: list[Output], now: Instant) -> list[Output]:
        """Overrides have changed, or not: make weights of them."""
        self._others_seen = False
        if not outputs:
            return []
        before, following = self._ordered, list(outputs)
        self._take_orders(now, {})
        for service in self.settings.services:
            if self._is_other(service, before):
                pool = self._pools[service.name]
                following += pool.reconfigure(self._operated(service), now)
                following += self._order_out(service, pool, now)
        return [*following, ReconcileTable()]

    def _after_drains(self, outputs: list[Output]) -> list[Output]:
        self._others_seen = False
        return [*outputs, ReconcileTable()] if outputs else []

    def _is_up(self, realserver: RealServerSettings) -> bool:
        checks = self.checks_of(realserver)
        if checks:
            return combine(checks, realserver.needs).up
        return realserver.check is None or realserver.check.initial is Initial.UP

    def _follow(self, outputs: list[Output], now: Instant) -> list[Output]:
        """Take the checks' verdicts to the pools of those who follow them."""
        if not outputs:
            return outputs
        following: list[Output] = []
        for output in outputs:
            following.append(output)
            if type(output) is StartProbe or not isinstance(output, (CheckRose, CheckFell, CheckWeighed)):
                continue
            for service, member in self._followers.get(output.check_id, ()):
                pool = self._pools[service]
                if (service, member) in self._several:
                    changed = self._combine(pool, self._several[service, member], now)
                elif isinstance(output, CheckRose):
                    changed = pool.on_check(member, True, "check passed", now)
                elif isinstance(output, CheckFell):
                    changed = pool.on_check(member, False, f"{output.reason}: {output.detail}", now)
                else:
                    changed = pool.on_weight(member, now, weight=output.weight, percent=output.percent)
                if changed:
                    self._others_seen = False
                    following += [*changed, ReconcileTable()]
        return following

    def _combine(self, pool: Pool, realserver: RealServerSettings, now: Instant) -> list[Output]:
        """Tell a pool what several checks of a member mean together."""
        verdict = combine(self.checks_of(realserver), realserver.needs)
        outputs = pool.on_weight(realserver.name, now, weight=verdict.weight, percent=verdict.percent)
        if verdict.proven:
            outputs += pool.on_check(realserver.name, verdict.up, verdict.reason, now)
        return outputs
