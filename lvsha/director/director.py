"""The director: who is healthy, and therefore what the kernel should hold.

Engines do not know each other; here they meet. Checks say what is up, pools
make weights of it, and ``desired`` puts them into one table. The shell starts
the probes that are asked for, and brings the kernel to ``desired`` whenever
``ReconcileTable`` comes back (and on its own clock, against drift).

Identical checks of one target, in however many services, run once: a check is
keyed by its settings, and its verdict goes to every member that follows it.

After a restart the kernel's own table says who was up: nothing is written, and
every adopted realserver needs its whole ``rise`` or ``fall`` to change.
"""

import heapq
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from lvsha.checker.check import Check, CheckFell, CheckRose, CheckWeighed, StartProbe, start_spread
from lvsha.checker.pool import Pool, PoolView
from lvsha.checker.result import ProbeResult
from lvsha.checker.settings import CheckSettings
from lvsha.config.settings import RealServerSettings, ServiceSettings, Settings
from lvsha.core.instant import Instant, earliest
from lvsha.core.machine import Action, Output
from lvsha.director.desired import NUDGE_KEY, desired_table
from lvsha.ipvs.model import DesiredTable, Table

Follower = tuple[str, str]
"""Service and member."""


@dataclass(frozen=True, slots=True)
class ReconcileTable(Action):
    """Bring the kernel's table to ``Director.desired()``."""


@dataclass(slots=True)
class _Watch:
    """One check and who follows it."""

    check: Check
    followers: list[Follower]


def _adopted(service: ServiceSettings, realserver: RealServerSettings, actual: Table) -> bool | None:
    """What the kernel's table says of a realserver: True up, None nothing to go by."""
    state = actual.get(service.service.key)
    found = state.destinations.get(realserver.destination.key) if state else None
    # Weight 0 may be a failed one or one that was never proven: ask it afresh.
    return True if found is not None and found.destination.weight > 0 else None


class Director:
    """See above. ``random`` returns numbers in [0, 1)."""

    def __init__(self, settings: Settings, *, random: Callable[[], float], actual: Table) -> None:
        self.settings = settings
        self._random = random
        self._watches: dict[str, _Watch] = {}
        self._ids: dict[CheckSettings, str] = {}
        self._pools: dict[str, Pool] = {}
        self._due: list[tuple[Instant, str]] = []
        self._adopted: dict[CheckSettings, bool] = {}
        for service, realserver in self._members():
            if realserver.check is not None and _adopted(service, realserver, actual):
                self._adopted[realserver.check] = True

    # Inputs

    def start(self, now: Instant) -> list[Output]:
        """Begin: pools stand, checks are spread over their first interval."""
        return self._take(self.settings, now)

    def on_deadline(self, now: Instant) -> list[Output]:
        outputs: list[Output] = []
        while self._due and self._due[0][0] <= now:
            deadline, check_id = heapq.heappop(self._due)
            watch = self._watches.get(check_id)
            if watch is None or watch.check.deadline != deadline:
                continue  # re-armed or gone since
            outputs += self._follow(watch, watch.check.on_deadline(now), now)
            self._arm(watch.check)
        for pool in self._pools.values():
            if pool.deadline is not None and pool.deadline <= now:
                outputs += pool.on_deadline(now)
                outputs.append(ReconcileTable())
        return outputs

    def on_probe(self, check_id: str, result: ProbeResult, now: Instant) -> list[Output]:
        """A probe's result; of a check that is gone it means nothing."""
        watch = self._watches.get(check_id)
        if watch is None:
            return []
        outputs = self._follow(watch, watch.check.on_result(result, now), now)
        self._arm(watch.check)
        return outputs

    def reconfigure(self, settings: Settings, now: Instant) -> list[Output]:
        """Other settings; what did not change keeps its state."""
        self.settings = settings
        return self._take(settings, now)

    # What follows from it

    @property
    def deadline(self) -> Instant | None:
        while self._due:
            deadline, check_id = self._due[0]
            watch = self._watches.get(check_id)
            if watch is not None and watch.check.deadline == deadline:
                break
            heapq.heappop(self._due)
        return earliest(
            self._due[0][0] if self._due else None, *(pool.deadline for pool in self._pools.values())
        )

    def desired(self) -> DesiredTable:
        """What the kernel should hold of ours."""
        sync = self.settings.sync
        nudge = sync is not None and sync.nudge_interval > 0
        return desired_table(self.settings.services, self.views(), nudge=nudge)

    def views(self) -> dict[str, PoolView]:
        return {name: pool.view() for name, pool in self._pools.items()}

    def check_of(self, realserver: RealServerSettings) -> Check | None:
        """The check whose verdict counts for ``realserver``."""
        if realserver.check is None:
            return None
        check_id = self._ids.get(realserver.check)
        return self._watches[check_id].check if check_id is not None else None

    @property
    def check_count(self) -> int:
        """Distinct checks that run."""
        return len(self._watches)

    # Within

    def _members(self) -> Iterator[tuple[ServiceSettings, RealServerSettings]]:
        for service in self.settings.services:
            for realserver in service.realservers:
                yield service, realserver

    def _take(self, settings: Settings, now: Instant) -> list[Output]:
        outputs: list[Output] = []
        before = {follower: watch.check for watch in self._watches.values() for follower in watch.followers}
        watches: dict[str, _Watch] = {}
        ids: dict[CheckSettings, str] = {}
        fresh: list[Check] = []
        for service, realserver in self._members():
            if realserver.check is None:
                continue
            follower = (service.name, realserver.name)
            known = ids.get(realserver.check)
            if known is None:
                known = self._ids.get(realserver.check)
                if known is not None and known not in watches:
                    watches[known] = _Watch(self._watches[known].check, [])
                elif known is None:
                    check = self._new_check(f"{service.name}/{realserver.name}", watches, realserver, before.get(follower))
                    known = check.check_id
                    watches[known] = _Watch(check, [])
                    fresh.append(check)
                ids[realserver.check] = known
            watches[known].followers.append(follower)
        for check_id, watch in self._watches.items():
            if check_id not in watches or watches[check_id].check is not watch.check:
                outputs += watch.check.stop()
        self._watches, self._ids = watches, ids
        self._take_pools(settings, now)
        by_interval: dict[int, int] = {}
        for check in fresh:
            by_interval[check.settings.interval] = by_interval.get(check.settings.interval, 0) + 1
        for check in fresh:
            interval = check.settings.interval
            started = check.start(now, spread=start_spread(by_interval[interval], interval))
            outputs += self._follow(self._watches[check.check_id], started, now)
            self._arm(check)
        outputs.append(ReconcileTable())
        return outputs

    def _new_check(
        self,
        wanted_id: str,
        taken: dict[str, _Watch],
        realserver: RealServerSettings,
        predecessor: Check | None,
    ) -> Check:
        """A check for settings that none had. It inherits the verdict of the member's former one."""
        assert realserver.check is not None, "only a checked realserver has a check"
        check_id = wanted_id
        suffix = 1
        while check_id in taken or check_id in self._watches:
            suffix += 1
            check_id = f"{wanted_id}#{suffix}"
        adopted = self._adopted.pop(realserver.check, None)
        if predecessor is not None and predecessor.proven:
            adopted = predecessor.up
        return Check(check_id, realserver.check, random=self._random, adopted=adopted)

    def _take_pools(self, settings: Settings, now: Instant) -> None:
        pools: dict[str, Pool] = {}
        for service in settings.services:
            pool = self._pools.get(service.name)
            up = frozenset(
                realserver.name
                for realserver in service.realservers
                if (check := self.check_of(realserver)) is None or check.up
            )
            if pool is None:
                pool = Pool(service.pool, up=up)
            else:
                pool.reconfigure(service.pool, now)
                for realserver in service.realservers:
                    pool.on_check(realserver.name, realserver.name in up, "reloaded", now)
            pools[service.name] = pool
        self._pools = pools

    def _follow(self, watch: _Watch, outputs: list[Output], now: Instant) -> list[Output]:
        """Take a check's outputs to the pools of those who follow it."""
        following: list[Output] = []
        for output in outputs:
            following.append(output)
            if isinstance(output, StartProbe):
                continue
            for service, member in watch.followers:
                pool = self._pools.get(service)
                if pool is None:
                    continue
                changed: list[Output] | None = None
                if isinstance(output, CheckRose):
                    changed = pool.on_check(member, True, "check passed", now)
                elif isinstance(output, CheckFell):
                    changed = pool.on_check(member, False, f"{output.reason}: {output.detail}", now)
                elif isinstance(output, CheckWeighed):
                    changed = pool.on_weight(member, now, weight=output.weight, percent=output.percent)
                if changed is not None:
                    following += changed
                    following.append(ReconcileTable())
        return following

    def _arm(self, check: Check) -> None:
        if check.deadline is not None:
            heapq.heappush(self._due, (check.deadline, check.check_id))


__all__ = ["NUDGE_KEY", "Director", "ReconcileTable"]
