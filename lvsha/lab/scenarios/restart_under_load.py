"""Both workers of the master director die under traffic and come back: nobody notices, nothing is written."""

from dataclasses import replace

from lvsha.lab.scenario import Outcome
from lvsha.lab.scenarios._roles import start_and_connect, takeovers
from lvsha.lab.scenarios._takeover import judge
from lvsha.lab.settings import Process
from lvsha.lab.stage import Stage

SUMMARY = "the master's workers die under load and are back at once; is a packet lost, is anything written?"

DEFAULTS = {"vips": 100, "crowd": 1000}


def play(stage: Stage) -> Outcome:
    start_and_connect(stage)
    stage.wait_for_the_moment()

    at = stage.mark_fault("SIGKILL to the workers of lb1")
    stage.peer.kill("lb1", Process.BOTH)
    stage.settle(extra_s=4.0)

    outcome = judge(stage, new_master=None)
    lost = stage.silence()["heartbeats_lost"]
    writes = stage.timeline.writes("lb1", at)
    moves = takeovers(stage, at)
    written = sum(writes.values()) if writes is not None else 0
    return replace(
        outcome,
        ok=outcome.ok and not lost and not moves and not written,
        verdict=f"{lost} heartbeats lost, {moves} takeovers, kernel writes {writes}; {outcome.verdict}",
        extras=outcome.extras | {"takeovers": moves, "kernel_writes": writes},
    )
