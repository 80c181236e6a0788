"""The director: who is healthy, and therefore what the kernel should hold.

Engines do not know each other; here they meet. Checks say what is up, pools
make weights of it, and ``desired`` puts them into one table. The shell starts
the probes that are asked for, and brings the kernel to ``desired`` whenever
``ReconcileTable`` comes back (and on its own clock, against drift).

Identical checks of one target, in however many services, run once: a check
belongs to its settings, and its verdict goes to every member that follows it.

After a restart the kernel's own table says who was up: nothing is written, and
every adopted realserver needs its whole ``rise`` or ``fall`` to change.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from lvsha.checker.check import Check, CheckFell, CheckRose, CheckWeighed
from lvsha.checker.fleet import Fleet
from lvsha.checker.pool import Pool, PoolView
from lvsha.checker.result import ProbeResult
from lvsha.checker.settings import CheckSettings, Initial
from lvsha.config.settings import RealServerSettings, ServiceSettings, Settings
from lvsha.core.instant import Instant, earliest
from lvsha.core.machine import Action, Output
from lvsha.director.desired import desired_table
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
        self._fleet = Fleet(random=random)
        self._ids: dict[CheckSettings, str] = {}
        self._followers: dict[str, list[Follower]] = {}
        self._pools: dict[str, Pool] = {}
        self._found = actual

    # Inputs

    def start(self, now: Instant) -> list[Output]:
        """Begin: pools stand, checks are spread over their first interval."""
        found, self._found = self._found, {}
        return self._take(now, found)

    def on_deadline(self, now: Instant) -> list[Output]:
        outputs = self._follow(self._fleet.on_deadline(now), now)
        for pool in self._pools.values():
            if pool.deadline is not None and pool.deadline <= now:
                outputs += [*pool.on_deadline(now), ReconcileTable()]
        return outputs

    def on_probe(self, check_id: str, result: ProbeResult, now: Instant) -> list[Output]:
        """A probe's result; of a check that is gone it means nothing."""
        return self._follow(self._fleet.on_result(check_id, result, now), now)

    def reconfigure(self, settings: Settings, now: Instant) -> list[Output]:
        """Other settings; what did not change keeps its state."""
        self.settings = settings
        return self._take(now, {})

    # What follows from it

    @property
    def deadline(self) -> Instant | None:
        return earliest(self._fleet.deadline, *(pool.deadline for pool in self._pools.values()))

    def desired(self) -> DesiredTable:
        """What the kernel should hold of ours."""
        sync = self.settings.sync
        nudge = sync is not None and sync.nudge_interval > 0
        return desired_table(self.settings.services, self.views(), nudge=nudge)

    def views(self) -> dict[str, PoolView]:
        return {name: pool.view() for name, pool in self._pools.items()}

    def check_of(self, realserver: RealServerSettings) -> Check | None:
        """The check whose verdict counts for ``realserver``; None: it is not checked."""
        check_id = self._ids.get(realserver.check) if realserver.check is not None else None
        return self._fleet.get(check_id) if check_id is not None else None

    @property
    def check_count(self) -> int:
        """Distinct checks that run."""
        return len(self._fleet)

    # Within

    def _members(self) -> Iterator[tuple[ServiceSettings, RealServerSettings]]:
        for service in self.settings.services:
            for realserver in service.realservers:
                yield service, realserver

    def _take(self, now: Instant, found: Table) -> list[Output]:
        """Make checks and pools what the settings say."""
        before = {follower: check_id for check_id, them in self._followers.items() for follower in them}
        ids: dict[CheckSettings, str] = {}
        followers: dict[str, list[Follower]] = {}
        adopted: dict[str, bool] = {}
        for service, realserver in self._members():
            check = realserver.check
            if check is None:
                continue
            follower = (service.name, realserver.name)
            if check not in ids:
                # A check that goes on keeps its id; one whose settings changed is asked
                # afresh under the id it had, and keeps its verdict until then.
                candidates = (self._ids.get(check), before.get(follower), "/".join(follower))
                ids[check] = next(
                    candidate
                    for candidate in (
                        *candidates,
                        f"{'/'.join(follower)} {check.target()}",
                        f"{follower} {check!r}",
                    )
                    if candidate is not None and candidate not in followers
                )
            check_id = ids[check]
            followers.setdefault(check_id, []).append(follower)
            if _was_up(service, realserver, found):
                adopted[check_id] = True
        self._ids, self._followers = ids, followers
        wanted = {check_id: check for check, check_id in ids.items()}
        started = self._fleet.reconfigure(wanted, now, adopted=adopted)
        outputs = self._take_pools(now)
        return [*outputs, *self._follow(started, now), ReconcileTable()]

    def _take_pools(self, now: Instant) -> list[Output]:
        outputs: list[Output] = []
        pools: dict[str, Pool] = {}
        for service in self.settings.services:
            up = frozenset(realserver.name for realserver in service.realservers if self._is_up(realserver))
            pool = self._pools.get(service.name)
            if pool is None:
                pool = Pool(service.pool, up=up)
            else:
                outputs += pool.reconfigure(service.pool, now, up=up)
                for realserver in service.realservers:
                    outputs += pool.on_check(realserver.name, realserver.name in up, "reconfigured", now)
            pools[service.name] = pool
        self._pools = pools
        return outputs

    def _is_up(self, realserver: RealServerSettings) -> bool:
        check = self.check_of(realserver)
        if check is not None:
            return check.up
        return realserver.check is None or realserver.check.initial is Initial.UP

    def _follow(self, outputs: list[Output], now: Instant) -> list[Output]:
        """Take the checks' verdicts to the pools of those who follow them."""
        following: list[Output] = []
        for output in outputs:
            following.append(output)
            if not isinstance(output, (CheckRose, CheckFell, CheckWeighed)):
                continue
            for service, member in self._followers.get(output.check_id, ()):
                pool = self._pools[service]
                if isinstance(output, CheckRose):
                    changed = pool.on_check(member, True, "check passed", now)
                elif isinstance(output, CheckFell):
                    changed = pool.on_check(member, False, f"{output.reason}: {output.detail}", now)
                else:
                    changed = pool.on_weight(member, now, weight=output.weight, percent=output.percent)
                if changed:
                    following += [*changed, ReconcileTable()]
        return following
