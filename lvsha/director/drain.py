"""A drain has an end: out of the table at zero connections, or at its deadline.

::

    DRAINING ── no connection for QUIET ──▶ DRAINED     both are out of the table until the drain
        └────── the deadline ─────────────▶ CUT         is taken back

While it is DRAINING its weight is 0 and it stays in the table: IPVS drops the packets of a
connection whose destination is gone. Both counters of the kernel must be 0, because a
half-closed connection, which may still carry an answer, counts as inactive. And they must
be 0 for a while: synchronised connections of the last moment may still be on their way.

Only a director that forwards ends a drain at zero. The counters of one that stands by
are copies, and may not have come yet.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from lvsha.core.instant import SECOND, Instant, after, earliest, to_seconds
from lvsha.core.machine import Event, Output
from lvsha.director.overrides import Place

QUIET = 3 * SECOND
"""How long there must be no connection. IPVS's sync daemons send after at most 2 s."""
_WINDOW = 60 * SECOND
"""The time that an estimate looks back."""
_SAMPLES = 30


class Phase(StrEnum):
    DRAINING = "draining"
    DRAINED = "drained"
    CUT = "cut"


@dataclass(frozen=True, slots=True)
class DrainEnded(Event):
    """The realserver leaves the table."""

    service: str
    realserver: str
    phase: Phase
    took: int
    """Nanoseconds since the drain began."""
    connections: int
    """What was left: 0, or what is cut off."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DrainView:
    """How far one is."""

    phase: Phase
    connections: int
    """Active and inactive ones, as last counted."""
    eta_s: float | None
    """Until zero at the pace of the last minute, at most until the deadline; None: not to be said."""
    deadline_s: float | None
    """Until the rest is cut off."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """What the kernel says of a destination."""

    weight: int
    connections: int
    """Active and inactive."""


@dataclass(slots=True)
class _Drain:
    began: Instant
    deadline: Instant | None
    phase: Phase = Phase.DRAINING
    quiet_since: Instant | None = None
    connections: int = 0
    samples: tuple[tuple[Instant, int], ...] = ()


class Drains:
    """Every realserver that is drained."""

    def __init__(self) -> None:
        self._drains: dict[Place, _Drain] = {}

    def want(
        self, wanted: Mapping[Place, Instant | None], now: Instant, *, ended: Mapping[Place, Phase]
    ) -> None:
        """These are to be drained, with their deadlines, and no others.

        Args:
            ended: drains that had ended when the last process did.
        """
        for place in self._drains.keys() - wanted.keys():
            del self._drains[place]
        for place, deadline in wanted.items():
            drain = self._drains.get(place)
            if drain is None:
                phase = ended.get(place, Phase.DRAINING)
                self._drains[place] = _Drain(began=now, deadline=deadline, phase=phase)
            elif drain.deadline != deadline:
                drain.deadline = deadline

    def on_counts(self, counts: Mapping[Place, Count], now: Instant, *, forwards: bool) -> list[Output]:
        """What the kernel's table says.

        Args:
            counts: of the drained ones that are in it.
            forwards: new connections would come here: what is counted is all there is.
        """
        outputs: list[Output] = []
        for place, drain in self._drains.items():
            count = counts.get(place)
            if drain.phase is not Phase.DRAINING:
                continue
            if count is None or count.weight:
                drain.quiet_since = None  # our zero is not in force there yet
                continue
            drain.connections = count.connections
            if not drain.samples or now - drain.samples[-1][0] >= _WINDOW // _SAMPLES:
                kept = [sample for sample in drain.samples if now - sample[0] <= _WINDOW]
                drain.samples = (*kept, (now, count.connections))
            if count.connections or not forwards:
                drain.quiet_since = None
            elif drain.quiet_since is None:
                drain.quiet_since = now
        return outputs + self.on_deadline(now)

    @property
    def deadline(self) -> Instant | None:
        return earliest(
            *(
                earliest(
                    drain.deadline, None if drain.quiet_since is None else after(drain.quiet_since, QUIET)
                )
                for drain in self._drains.values()
                if drain.phase is Phase.DRAINING
            )
        )

    def on_deadline(self, now: Instant) -> list[Output]:
        outputs: list[Output] = []
        for (service, realserver), drain in self._drains.items():
            if drain.phase is not Phase.DRAINING:
                continue
            if drain.quiet_since is not None and now - drain.quiet_since >= QUIET:
                drain.phase = Phase.DRAINED
            elif drain.deadline is not None and drain.deadline <= now:
                drain.phase = Phase.CUT
            else:
                continue
            outputs.append(DrainEnded(service, realserver, drain.phase, now - drain.began, drain.connections))
        return outputs

    @property
    def ended(self) -> dict[Place, Phase]:
        """What has left the table, and how."""
        return {
            place: drain.phase for place, drain in self._drains.items() if drain.phase is not Phase.DRAINING
        }

    def view(self, place: Place, now: Instant) -> DrainView | None:
        """None: it is not drained."""
        drain = self._drains.get(place)
        if drain is None:
            return None
        left = None
        if drain.deadline is not None and drain.phase is Phase.DRAINING:
            left = to_seconds(max(0, drain.deadline - now))
        return DrainView(
            phase=drain.phase,
            connections=drain.connections,
            eta_s=_eta(drain, left) if drain.phase is Phase.DRAINING else None,
            deadline_s=left,
        )


def _eta(drain: _Drain, left: float | None) -> float | None:
    """Seconds to zero if connections go on ending as fast as they did."""
    if not drain.connections:
        return 0.0
    estimate = None
    if len(drain.samples) > 1:
        (first, most), (last, least) = drain.samples[0], drain.samples[-1]
        if most > least:
            estimate = drain.connections * to_seconds(last - first) / (most - least)
    if estimate is None or left is None:
        return left if estimate is None else estimate
    return min(estimate, left)
