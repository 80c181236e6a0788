"""What carries connections between the directors loses, reorders and doubles packets.

The kernel's datagrams carry up to 40 connections, and nobody notices one that is lost.
"""

from dataclasses import replace

from lvsha.lab.scenario import Outcome
from lvsha.lab.scenarios._takeover import await_takeover, judge
from lvsha.lab.stage import SECOND, Stage, now

SUMMARY = "packets between the directors are lost (--loss), reordered and doubled; then the master crashes"

DEFAULTS = {"connections": 300}
KERNEL_PORT, RELAY_PORT = 8848, 8849
QUIET_LIMIT_S = 1.0
PATIENCE_S = 5.0


def play(stage: Stage) -> Outcome:
    settings = stage.settings
    stage.start_pair()
    relay = stage.peer.name == "lvsha" and settings.transport == "relay"
    for node in stage.topology.directors:
        if relay:
            stage.topology.disturb(node, loss=settings.loss, port=RELAY_PORT, family=settings.family)
        else:
            stage.topology.disturb(node, loss=settings.loss, port=KERNEL_PORT, family=4)
    stage.story.say(
        f"{settings.loss} % of what carries connections is lost, the rest out of order or doubled"
    )
    stage.open_connections()
    assert stage.last_connection_at is not None
    quiet_at = stage.last_connection_at
    covered_ms, covered_at_limit = _covered(stage, quiet_at)
    stage.story.say(
        f"{covered_at_limit:.1%} of the connections were in lb2's kernel {QUIET_LIMIT_S:g} s after the last; "
        + (f"all after {covered_ms:.0f} ms" if covered_ms is not None else f"never all in {PATIENCE_S:g} s")
    )
    swallowed = sum(stage.topology.disturbed(node) for node in stage.topology.directors)
    stage.start_heartbeat()
    stage.mark_fault("lb1 crashes: its cables are pulled")
    stage.crash("lb1")
    await_takeover(stage, "lb2")

    outcome = judge(stage, new_master="lb2")
    return replace(
        outcome,
        ok=outcome.ok and covered_at_limit == 1.0 and (swallowed > 0 or not settings.loss),
        verdict=f"{covered_at_limit:.1%} covered {QUIET_LIMIT_S:g} s after the last new connection; "
        + outcome.verdict,
        extras=outcome.extras
        | {
            "loss_percent": settings.loss,
            "packets_lost": swallowed,
            "coverage_after_1s": covered_at_limit,
            "covered_after_ms": covered_ms,
        },
    )


def _covered(stage: Stage, quiet_at: int) -> tuple[float | None, float]:
    """Milliseconds until lb2's kernel has every connection of lb1's (None: not in time); share after 1 s."""
    share, limit = 0.0, quiet_at + round(QUIET_LIMIT_S * SECOND)
    at_limit: float | None = None
    while (at := now()) < quiet_at + round(PATIENCE_S * SECOND):
        wanted, found = stage.rows("lb1"), stage.rows("lb2")
        share = len(wanted & found) / len(wanted)
        if at > limit and at_limit is None:
            at_limit = share
        if share == 1.0:
            return (at - quiet_at) / 1e6, 1.0 if at_limit is None else at_limit
        stage.pump(0.02)
    return None, at_limit if at_limit is not None else share
