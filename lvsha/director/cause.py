"""Why a weight is what it is: the causes that hold now, the decisive one first.

Read from the state, not from what was said on the way to it, so there is always an answer.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from lvsha.checker.check import Check
from lvsha.checker.pool import RAMP_STEPS, MemberState, PoolView
from lvsha.config.settings import RealServerSettings, ServiceSettings
from lvsha.core.instant import Instant, to_seconds
from lvsha.director.director import Director
from lvsha.director.drain import Phase
from lvsha.director.overrides import OverrideKind, base_weight, is_out


class CauseKind(StrEnum):
    """What kind of thing caused a change. The values are stable."""

    PROBE = "probe"
    """A check's results."""
    UNPROVEN = "unproven"
    """The first check has not ended."""
    CHECK_WEIGHT = "check_weight"
    """The check itself says a weight or a share."""
    RAMP = "ramp"
    BRAKE = "brake"
    QUORUM = "quorum"
    OVERRIDE = "override"
    DRAIN = "drain"
    CONFIG = "config"
    FOREIGN = "foreign"
    """Somebody else wrote to the kernel."""
    REPAIR = "repair"
    START = "start"
    ADOPTED = "adopted"
    TAKEOVER = "takeover"
    PEER = "peer"
    """Another director's advert."""
    ORDER = "order"
    """An operator's order about the role."""
    FAULT = "fault"
    LEASE = "lease"
    TRACK = "track"
    UNSEEN = "unseen"
    """It happened while one of the two processes was away."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """One link of a chain."""

    kind: CauseKind
    text: str
    """A sentence without its full stop."""
    evidence: Mapping[str, Any] = field(default_factory=dict)
    """What it rests on, as JSON carries it."""

    def as_json(self) -> dict[str, Any]:
        return {"kind": str(self.kind), "text": self.text, "evidence": dict(self.evidence)}


def weight_causes(
    director: Director, service: ServiceSettings, realserver: RealServerSettings, view: PoolView, now: Instant
) -> tuple[Cause, ...]:
    """Why this realserver has the weight that it has; at least one."""
    place = (service.name, realserver.name)
    state = director.member(place)
    assert state is not None, "every realserver is in its pool"
    causes = [*_orders(director, place, now)]
    if view.sorry_active:
        causes.append(_sorry(view, service))
    check = director.check_of(realserver)
    braked = realserver.name in view.pooled_though_down
    if braked:
        percent = service.pool.minimum_pooled_percent
        text = f"down, kept in by the brake: at least {percent} % of the pool stays"
        causes.append(Cause(kind=CauseKind.BRAKE, text=text))
    causes.append(_health(check, state, now))
    if state.up or braked:
        causes += _weights(director, realserver, place, state)
    return tuple(causes)


def _orders(director: Director, place: tuple[str, str], now: Instant) -> list[Cause]:
    order = is_out(director.ordered(place))
    if order is None:
        return []
    causes = []
    drain = director.drain(place, now)
    if drain is not None and drain.phase is not Phase.DRAINING:
        text = (
            "drained: no connection was left"
            if drain.phase is Phase.DRAINED
            else f"cut off at the drain's deadline with {drain.connections} connections left"
        )
        causes.append(Cause(kind=CauseKind.DRAIN, text=text, evidence={"connections": drain.connections}))
    words = {
        OverrideKind.DRAIN: "is being drained",
        OverrideKind.DISABLE: "is disabled",
        OverrideKind.MAINTENANCE: "is in maintenance",
    }
    why = f": {order.reason}" if order.reason else ""
    evidence = {
        "order": str(order.kind),
        "target": str(order.target),
        "owner": order.owner,
        "reason": order.reason,
        "node": order.node,
        "set_at": order.set_at,
        "expires_at": order.expires_at,
    }
    text = f"{words[order.kind]} by {order.owner or 'an operator'}{why}"
    return [*causes, Cause(kind=CauseKind.OVERRIDE, text=text, evidence=evidence)]


def _sorry(view: PoolView, service: ServiceSettings) -> Cause:
    evidence = {
        "alive_weight": view.alive_weight,
        "alive_servers": view.alive_servers,
        "quorum": service.pool.quorum,
    }
    text = f"the quorum of {service.name} is lost: the sorry server gets everything"
    return Cause(kind=CauseKind.QUORUM, text=text, evidence=evidence)


def _health(check: Check | None, state: MemberState, now: Instant) -> Cause:
    if check is None:
        return Cause(kind=CauseKind.CONFIG, text="has no check and counts as up")
    result = check.last_result
    evidence: dict[str, Any] = {"check": check.settings.target()}
    if result is not None and check.last_at is not None:
        evidence |= {
            "ok": result.ok,
            "reason": str(result.reason),
            "detail": result.detail,
            "took_ms": round(result.timings.total / 1e6, 3),
            "ago_s": round(to_seconds(now - check.last_at), 3),
            "ours": result.ours,
        }
    if state.up and not check.proven:
        return Cause(
            kind=CauseKind.UNPROVEN, text="counts as up until its first check ends", evidence=evidence
        )
    if state.up:
        evidence["successes"] = check.successes
        return Cause(kind=CauseKind.PROBE, text=f"{check.settings.target()} passes", evidence=evidence)
    if not check.proven:
        text = "its first check has not ended"
        return Cause(kind=CauseKind.UNPROVEN, text=text, evidence=evidence)
    evidence["failures"] = check.failures
    why = state.reason if state.reason not in ("reconfigured", "") else str(evidence.get("reason", "told so"))
    text = f"{check.settings.target()} failed: {why}"
    return Cause(kind=CauseKind.PROBE, text=text, evidence=evidence)


def _weights(
    director: Director, realserver: RealServerSettings, place: tuple[str, str], state: MemberState
) -> list[Cause]:
    causes: list[Cause] = []
    if state.ramp_step < RAMP_STEPS:
        text = f"starts slowly: step {state.ramp_step} of {RAMP_STEPS}"
        causes.append(Cause(kind=CauseKind.RAMP, text=text))
    if state.check_weight is not None:
        text = f"its check says weight {state.check_weight}"
        causes.append(Cause(kind=CauseKind.CHECK_WEIGHT, text=text))
    if state.check_percent is not None:
        text = f"its check says {state.check_percent} % of the weight"
        causes.append(Cause(kind=CauseKind.CHECK_WEIGHT, text=text))
    base = base_weight(director.ordered(place))
    if base is not None:
        why = f": {base.reason}" if base.reason else ""
        text = f"weight {base.weight} was ordered by {base.owner or 'an operator'}{why}"
        evidence = {"owner": base.owner, "reason": base.reason, "set_at": base.set_at, "node": base.node}
        causes.append(Cause(kind=CauseKind.OVERRIDE, text=text, evidence=evidence))
    else:
        text = f"weight {realserver.destination.weight} is configured"
        causes.append(Cause(kind=CauseKind.CONFIG, text=text, evidence={"generation": director.generation}))
    return causes


def sorry_causes(view: PoolView, service: ServiceSettings) -> tuple[Cause, ...]:
    """Why the sorry server gets everything, or nothing."""
    if view.sorry_active:
        return (_sorry(view, service),)
    evidence = {"alive_weight": view.alive_weight, "quorum": service.pool.quorum}
    met = "met" if view.quorum_met else "lost"
    text = f"the quorum of {service.name} is {met}: weight {view.alive_weight} is alive"
    return (Cause(kind=CauseKind.QUORUM, text=text, evidence=evidence),)
