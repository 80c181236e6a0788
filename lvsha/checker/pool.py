"""Which members of a pool get new connections, and with which weight.

The view is a pure function of what is known of the members and of one bit:
whether the quorum was met before (that is what hysteresis is): ``compute_view``
and ``next_quorum`` are all of it. Where rules 3 and 5 have no say, news of one
member can change nothing but its own weight and the sums; then these alone are
computed (``Pool._alone``), because ten thousand verdicts on ten thousand members
would else hold a director up for a minute. A property test holds both equal.

Rules, in the order in which they are applied:

1. A member that is up and not drained has its target weight: the configured
   one, or what its check says, scaled while it starts slowly.
2. Any other member is out: weight 0, or not in the table (``OnFailure``).
3. The depool brake keeps the members that fell last in, with their target
   weight, while fewer than the set share of the pool is up. A member that has
   never been up is no candidate.
4. The quorum counts rule 1 only: members that the brake keeps are not alive.
   Alive weight that meets quorum + hysteresis (or is all there is) gains it;
   less than quorum - hysteresis, or nothing, loses it.
5. While the quorum is lost, a sorry server that stands by gets everything and
   every member is out. It waits for the first verdicts of members not yet
   proven, as long as these could still meet the quorum: nobody is shown an
   apology because a director has just started.

Without a sorry server, members that are alive serve on below the quorum: less
than enough is better than nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from lvsha.core.instant import Instant, after, earliest
from lvsha.core.machine import Event, Output

MAXIMUM_WEIGHT = 65535
"""The kernel takes more; ipvsadm and keepalived do not write it."""

RAMP_STEPS = 10
"""A slow start climbs in this many equal steps."""


class OnFailure(StrEnum):
    """What happens to the destination of a member that is out."""

    WEIGHT_ZERO = "weight-zero"
    """It stays with weight 0: no new connections, and the established ones go on as far as
    the realserver still serves them. The default."""
    REMOVE = "remove"
    """It is deleted; IPVS then drops the packets of its established connections."""


class QuorumUnit(StrEnum):
    """What quorum and hysteresis count."""

    WEIGHT = "weight"
    SERVERS = "servers"


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolMember:
    """One realserver of a pool."""

    name: str
    weight: int = 1
    """What the operator wants it to have, 0-65535. 0: drained by configuration."""
    on_failure: OnFailure | None = None
    """None: as the pool."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolSettings:
    """A virtual service's members and when they suffice."""

    name: str = ""
    members: tuple[PoolMember, ...] = ()
    """Their names differ."""
    quorum: int = 1
    """Enough alive weight (or servers) for the service to count as up. More than there is
    counts as all there is."""
    hysteresis: int = 0
    """Up again at quorum + hysteresis, down below quorum - hysteresis."""
    quorum_unit: QuorumUnit = QuorumUnit.WEIGHT
    on_failure: OnFailure = OnFailure.WEIGHT_ZERO
    has_sorry: bool = False
    """A sorry server stands by: while the quorum is lost it alone gets new connections."""
    minimum_pooled_percent: int = 0
    """The depool brake: this share of the members is never taken out, however many checks
    fail. 0: no brake."""
    slow_start: int = 0
    """A member that comes back reaches its full weight over this duration; 0: at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberState:
    """What is known of a member."""

    up: bool = False
    proven: bool = False
    """Whether ``up`` is a verdict; False: its first check has not ended."""
    fell_at: Instant | None = None
    """When it went from up to down last; None: never."""
    rising_since: Instant | None = None
    """When its slow start began; None: it is not in one."""
    ramp_step: int = RAMP_STEPS
    is_drained: bool = False
    """By the operator."""
    check_weight: int | None = None
    check_percent: int | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolView:
    """What the kernel's table should hold for the pool now."""

    weights: dict[str, int | None]
    """Weight by member; None: not in the table."""
    sorry_active: bool
    quorum_met: bool
    alive_weight: int
    alive_servers: int
    pooled_though_down: tuple[str, ...] = ()
    """Members that only the depool brake keeps in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolChanged(Event):
    """The table of this pool has to change."""

    pool: str
    member: str
    """Whose news caused it; empty: the settings'."""
    reason: str
    alive_weight: int
    alive_servers: int
    sorry_active: bool
    before: PoolView = field(repr=False)
    """Not told in the journal: it has a weight for each member of the pool."""
    after: PoolView = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class QuorumGained(Event):
    pool: str
    alive: int
    needed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class QuorumLost(Event):
    pool: str
    alive: int
    needed: int


def target_weight(member: PoolMember, state: MemberState) -> int:
    """The weight of a member that is up and has finished its slow start."""
    weight = member.weight if state.check_weight is None else state.check_weight
    if not 0 <= weight <= MAXIMUM_WEIGHT:
        weight = 0 if weight < 0 else MAXIMUM_WEIGHT
    if state.check_percent is None or weight == 0:
        return weight
    percent = min(max(state.check_percent, 0), 100)
    # One per cent of weight 1 is 1: only 0 % means nothing.
    return 0 if percent == 0 else max(1, weight * percent // 100)


def _share(member: PoolMember, state: MemberState) -> int:
    """What it adds to the alive weight; 0: it does not serve by right."""
    return target_weight(member, state) if state.up and not state.is_drained else 0


def _alive(settings: PoolSettings, states: Mapping[str, MemberState]) -> tuple[int, int]:
    """Weight and number of the members that serve by right."""
    weight = servers = 0
    for member in settings.members:
        if each := _share(member, states[member.name]):
            weight += each
            servers += 1
    return weight, servers


def _thresholds(settings: PoolSettings) -> tuple[int, int]:
    """(gained at, lost below), both at least 1 and at most all there is."""
    if settings.quorum_unit is QuorumUnit.WEIGHT:
        total = sum(member.weight for member in settings.members)
    else:
        total = sum(1 for member in settings.members if member.weight > 0)
    quorum = max(1, min(settings.quorum, total))
    gained_at = max(1, min(quorum + settings.hysteresis, total))
    return gained_at, max(1, quorum - settings.hysteresis)


def next_quorum(settings: PoolSettings, states: Mapping[str, MemberState], met: bool) -> bool:
    """Whether the quorum is met now, when it was ``met`` before."""
    return _suffices(settings, *_alive(settings, states), met, _thresholds(settings))


def _suffices(
    settings: PoolSettings, weight: int, servers: int, met: bool, thresholds: tuple[int, int]
) -> bool:
    alive = weight if settings.quorum_unit is QuorumUnit.WEIGHT else servers
    gained_at, lost_below = thresholds
    return alive >= lost_below if met else alive >= gained_at


def _braked(settings: PoolSettings, states: Mapping[str, MemberState]) -> tuple[str, ...]:
    """The members that are down and stay in, those that fell last first."""
    if settings.minimum_pooled_percent <= 0:
        return ()
    eligible = [
        member
        for member in settings.members
        if not states[member.name].is_drained and target_weight(member, states[member.name]) > 0
    ]
    floor = -(-len(eligible) * min(settings.minimum_pooled_percent, 100) // 100)
    missing = floor - sum(1 for member in eligible if states[member.name].up)
    if missing <= 0:
        return ()
    fallen = [
        (state.fell_at, member.name)
        for member in eligible
        if not (state := states[member.name]).up and state.fell_at is not None
    ]
    fallen.sort(key=lambda item: item[0], reverse=True)
    return tuple(name for _, name in fallen[:missing])


def _could_meet(settings: PoolSettings, states: Mapping[str, MemberState]) -> bool:
    """Whether first verdicts that are still out could meet the quorum."""
    hopeful = {
        name: state if state.proven or state.up else replace(state, up=True) for name, state in states.items()
    }
    return next_quorum(settings, hopeful, False)


def _weight(settings: PoolSettings, member: PoolMember, state: MemberState, *, serves: bool) -> int | None:
    """A member's place in the table."""
    if serves and not state.is_drained:
        weight = target_weight(member, state)
        if state.up and state.ramp_step < RAMP_STEPS and weight > 0:
            weight = max(1, weight * state.ramp_step // RAMP_STEPS)
        return weight
    if state.is_drained or (member.on_failure or settings.on_failure) is OnFailure.WEIGHT_ZERO:
        # A drain never cuts the connections that it waits for.
        return 0
    return None


def compute_view(settings: PoolSettings, states: Mapping[str, MemberState], quorum_met: bool) -> PoolView:
    """What the table should hold: rules 1 to 5."""
    alive_weight, alive_servers = _alive(settings, states)
    sorry_active = settings.has_sorry and not quorum_met and not _could_meet(settings, states)
    braked = () if sorry_active else _braked(settings, states)
    weights = {
        member.name: _weight(
            settings,
            member,
            state := states[member.name],
            serves=not sorry_active and (state.up or member.name in braked),
        )
        for member in settings.members
    }
    return PoolView(
        weights=weights,
        sorry_active=sorry_active,
        quorum_met=quorum_met,
        alive_weight=alive_weight,
        alive_servers=alive_servers,
        pooled_though_down=braked,
    )


class Pool:
    """The machine of one pool."""

    def __init__(self, settings: PoolSettings, *, up: frozenset[str] = frozenset()) -> None:
        """``up``: members that begin up, by configuration or adopted from the kernel's table."""
        self._set(settings)
        self._states = {
            member.name: MemberState(up=member.name in up, proven=member.name in up)
            for member in settings.members
        }
        self._quorum_met = next_quorum(settings, self._states, False)
        self._view = compute_view(settings, self._states, self._quorum_met)

    @property
    def deadline(self) -> Instant | None:
        """The next step of a slow start."""
        if self.settings.slow_start == 0:
            return None  # asked for after every result of ten thousand checks
        step = self.settings.slow_start // RAMP_STEPS
        return earliest(
            *(
                after(state.rising_since, step * state.ramp_step)
                for state in self._states.values()
                if state.rising_since is not None
            )
        )

    def view(self) -> PoolView:
        """What the kernel's table should hold now."""
        return self._view

    def state(self, member: str) -> MemberState | None:
        """What is known of a member; None: there is no such one."""
        return self._states.get(member)

    def on_check(self, member: str, up: bool, reason: str, now: Instant) -> list[Output]:
        """A verdict on a member. The same verdict again changes nothing."""
        former = state = self._states.get(member)
        if state is None:
            return []
        came_back = up and not state.up and state.fell_at is not None
        ramps = came_back and self.settings.slow_start > 0
        if up and not state.up:
            state = replace(state, rising_since=now if ramps else None, ramp_step=1 if ramps else RAMP_STEPS)
        elif not up:
            fell_at = now if state.up else state.fell_at
            state = replace(state, rising_since=None, ramp_step=RAMP_STEPS, fell_at=fell_at)
        self._states[member] = replace(state, up=up, proven=True, reason=reason)
        return self._settle(member, reason, former)

    def on_weight(
        self, member: str, now: Instant, *, weight: int | None = None, percent: int | None = None
    ) -> list[Output]:
        """The member's own check says a weight, or a share of the configured one. Both None: no longer."""
        state = self._states.get(member)
        if state is None:
            return []
        self._states[member] = replace(state, check_weight=weight, check_percent=percent)
        return self._settle(member, "weight from check", state)

    def drain(self, member: str, drained: bool, now: Instant) -> list[Output]:
        """Give a member no new connections (or again some), whatever its check says."""
        state = self._states.get(member)
        if state is None:
            return []
        self._states[member] = replace(state, is_drained=drained)
        return self._settle(member, "drained" if drained else "undrained", state)

    def drain_several(self, drained: Mapping[str, bool]) -> list[Output]:
        """As ``drain`` for each, told as one change."""
        known = {member: self._states[member] for member in drained if member in self._states}
        for member, state in known.items():
            self._states[member] = replace(state, is_drained=drained[member])
        return self._settle("", "ordered") if known else []

    def on_deadline(self, now: Instant) -> list[Output]:
        """Slow starts climb."""
        step = max(self.settings.slow_start // RAMP_STEPS, 1)
        outputs: list[Output] = []
        for name, state in self._states.items():
            if state.rising_since is None:
                continue
            reached = min(1 + (now - state.rising_since) // step, RAMP_STEPS)
            if reached > state.ramp_step:
                self._states[name] = replace(
                    state,
                    ramp_step=reached,
                    rising_since=None if reached == RAMP_STEPS else state.rising_since,
                )
                outputs += self._settle(name, "slow start", state)
        return outputs

    def reconfigure(
        self, settings: PoolSettings, now: Instant, *, up: frozenset[str] = frozenset()
    ) -> list[Output]:
        """Go on under other settings; members of the same name keep what is known of them.

        ``up``: which of the new members begin up.
        """
        self._set(settings)
        self._states = {
            member.name: self._states.get(
                member.name, MemberState(up=member.name in up, proven=member.name in up)
            )
            for member in settings.members
        }
        if settings.slow_start == 0:
            self._states = {
                name: replace(state, rising_since=None, ramp_step=RAMP_STEPS)
                for name, state in self._states.items()
            }
        return self._settle("", "reconfigured")

    def _set(self, settings: PoolSettings) -> None:
        self.settings = settings
        self._members = {member.name: member for member in settings.members}
        self._thresholds = _thresholds(settings)

    def _alone(self, name: str, former: MemberState) -> tuple[bool, PoolView] | None:
        """Quorum and view after news of one member, which was ``former``; None: others are concerned."""
        settings, view, met = self.settings, self._view, self._quorum_met
        if settings.minimum_pooled_percent > 0:
            return None
        member, state = self._members[name], self._states[name]
        had, has = _share(member, former), _share(member, state)
        alive_weight = view.alive_weight - had + has
        alive_servers = view.alive_servers - bool(had) + bool(has)
        is_met = _suffices(settings, alive_weight, alive_servers, met, self._thresholds)
        if settings.has_sorry and not (met and is_met):
            return None
        weight = _weight(settings, member, state, serves=state.up)
        if had == has and weight == view.weights[name] and is_met is view.quorum_met:
            return is_met, view
        return is_met, replace(
            view,
            weights={**view.weights, name: weight},
            quorum_met=is_met,
            alive_weight=alive_weight,
            alive_servers=alive_servers,
        )

    def _settle(self, member: str, reason: str, former: MemberState | None = None) -> list[Output]:
        """``former``: what was known of ``member``, if there is news of nobody else."""
        outputs: list[Output] = []
        found = self._alone(member, former) if former is not None else None
        if found is None:
            met = next_quorum(self.settings, self._states, self._quorum_met)
            found = met, compute_view(self.settings, self._states, met)
        met, after_ = found
        before, self._view = self._view, after_
        if met is not self._quorum_met:
            self._quorum_met = met
            counts_weight = self.settings.quorum_unit is QuorumUnit.WEIGHT
            alive = self._view.alive_weight if counts_weight else self._view.alive_servers
            gained_at, lost_below = self._thresholds
            outputs.append(
                QuorumGained(pool=self.settings.name, alive=alive, needed=gained_at)
                if met
                else QuorumLost(pool=self.settings.name, alive=alive, needed=lost_below)
            )
        if self._view is not before and self._view != before:
            outputs.append(
                PoolChanged(
                    pool=self.settings.name,
                    member=member,
                    reason=reason,
                    alive_weight=self._view.alive_weight,
                    alive_servers=self._view.alive_servers,
                    sorry_active=self._view.sorry_active,
                    before=before,
                    after=self._view,
                )
            )
        return outputs
