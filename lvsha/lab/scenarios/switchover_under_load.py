"""An operator hands the addresses over while clients connect, beside many connections that say nothing.

The kernel's buffer, thrown away when a director stops, holds the youngest of them. With ``--handovers``
several are played in one run; who leads then hands over to the other, once that one is ready.
"""

from dataclasses import replace
from statistics import median
from typing import Any

from lvsha.lab.scenario import Outcome
from lvsha.lab.scenarios._reboot import other
from lvsha.lab.scenarios._takeover import judge
from lvsha.lab.stage import SECOND, Stage, now
from lvsha.lab.topology import DIRECTORS

SUMMARY = "200 new connections a second and 10,000 idle ones; then a planned switchover (--rate, --idle)"

DEFAULTS = {"rate": 200}
SILENCE_MS = 10.0
BATCH = 1000
TOLD_S = 30.0
CALM_S = 2.0
"""Of load before each handover: how silent is it without one?"""
BACK_S = 20.0
"""Until a director that takes its address back holds it."""


def play(stage: Stage) -> Outcome:
    settings = stage.settings
    stage.start_pair()
    began = now()
    for count in _batches(settings.idle):
        stage.open_connections(count, rounds=1)
    stage.story.say(f"{settings.idle} connections are open, after {(now() - began) / SECOND:.0f} s")
    _until_told(stage)
    stage.start_heartbeat(on_the_wire=True)
    stage.start_load(settings.rate)

    orders: list[tuple[int, int, int]] = []
    refused = ""
    leader = DIRECTORS[0]
    while len(orders) < settings.handovers and not refused:
        if orders:
            leader = _be_two_again(stage, leader)
        calm_from = now()
        stage.pump(CALM_S)
        at = stage.mark_fault(
            f"{leader} is told to hand over, under {settings.rate} new connections a second"
        )
        refused = stage.peer.switch_over(leader)
        if not refused:
            stage.wait_for_holder(other(leader), 20.0)
        stage.settle()
        orders.append((calm_from, at, now()))
    # The last questions on all connections take the one processor for seconds.
    stage.stop_heartbeat()
    load = stage.stop_load()
    stage.story.say(
        f"of {load['tried']} connections tried ({load['rate']:g} a second) {load['opened']} were opened; "
        f"{load['check']['survived']} of them go on"
    )

    outcome = judge(stage, new_master=other(leader))
    handovers = [_handover(stage, *times) for times in orders]
    silences = [each["silence_ms"] for each in handovers]
    lost = load["tried"] - load["check"]["survived"]
    return replace(
        outcome,
        established=outcome.established + load["tried"],
        survived=outcome.survived + load["check"]["survived"],
        ok=outcome.ok and not lost and not refused,
        verdict=(f"refused: {refused}; " if refused else "")
        + f"{lost} of {load['tried']} connections of the load lost, its slowest answer after "
        f"{load['slowest_ms']:g} ms; of the idle ones {outcome.verdict}",
        extras=outcome.extras
        | {
            "load": load,
            "idle": {"established": outcome.established, "survived": outcome.survived},
            "lost": lost + outcome.established - outcome.survived,
            "handovers": handovers,
            "silence_median_ms": median(silences),
            "longest_silence_ms": max(silences),
            "silence_limit_ms": SILENCE_MS,
            "silence_within_limit": max(silences) <= SILENCE_MS,
            "refused": refused,
        },
    )


def _batches(total: int) -> list[int]:
    return [min(BATCH, total - done) for done in range(0, total, BATCH)]


def _until_told(stage: Stage) -> None:
    """The other director has been told of all of them, as far as it ever will be."""
    wanted = stage.rows("lb1")
    end = now() + round(TOLD_S * SECOND)
    while now() < end and not wanted <= stage.rows("lb2"):
        stage.pump(1.0)


def _be_two_again(stage: Stage, left: str) -> str:
    """Whoever left takes part again; returns who leads then."""
    stage.peer.take_part(left)
    stage.wait_until_ready(left)
    if not stage.peer.takes_back:
        return other(left)
    stage.wait_for_holder(DIRECTORS[0], BACK_S)
    stage.settle()
    return DIRECTORS[0]


def _handover(stage: Stage, calm_from: int, at: int, end: int) -> dict[str, Any]:
    """How silent it was, beside the time before, in which nothing was asked of the directors."""
    found = stage.silence(at, end)
    return {
        "silence_ms": found["longest_silence_ms"],
        "began_ms": found["silence_began_ms"],
        "beats_lost": found["heartbeats_lost"],
        "calm_ms": stage.silence(calm_from, at)["longest_silence_ms"],
    } | {key: found[key] for key in ("director_delay_ms", "not_passed_on", "client_pause_ms") if key in found}
