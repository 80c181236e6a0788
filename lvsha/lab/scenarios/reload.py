"""The configuration of the master director changes under traffic; a reload must not cost a packet."""

from lvsha.lab.errors import LabError
from lvsha.lab.scenario import Outcome
from lvsha.lab.scenarios._takeover import connect, judge
from lvsha.lab.stage import Stage
from lvsha.lab.timeline import milliseconds

SUMMARY = "a realserver's weight changes in the file and the master gets SIGHUP; is a packet lost?"

CHANGED = "rs2"
NEW_WEIGHT = 3


def play(stage: Stage) -> Outcome:
    stage.start_pair()
    connect(stage)
    stage.wait_for_the_moment()

    stage.peer.weights[CHANGED] = NEW_WEIGHT
    stage.peer.write_config("lb1")
    stage.mark_fault(f"{CHANGED} gets weight {NEW_WEIGHT} in lb1's file, and lb1 gets SIGHUP")
    assert stage.fault_at is not None
    stage.peer.reload("lb1")
    try:
        done_at = stage.wait_for_weight("lb1", CHANGED, NEW_WEIGHT, 5.0)
        reloaded_ms = milliseconds(done_at - stage.fault_at)
        said = f"the kernel has the new weight {reloaded_ms:.0f} ms later"
    except LabError as error:
        reloaded_ms, said = None, str(error)
    stage.story.say(said)
    stage.settle()

    outcome = judge(stage, new_master=None)
    lost = stage.silence()["heartbeats_lost"]
    moved = stage.timeline.first("bound", stage.fault_at, address=stage.vip) is not None
    return Outcome(
        ok=outcome.ok and reloaded_ms is not None and not lost and not moved,
        verdict=f"{said}; {lost} heartbeats lost; {outcome.verdict}",
        established=outcome.established,
        survived=outcome.survived,
        died=outcome.died,
        extras=outcome.extras
        | {"reloaded_ms": reloaded_ms, "kernel_writes": stage.timeline.writes("lb1", stage.fault_at)},
    )
