"""An operator stops the master director for maintenance; nobody should notice."""

from lvsha.lab.scenario import Outcome
from lvsha.lab.scenarios._takeover import await_takeover, connect, judge
from lvsha.lab.stage import Stage

SUMMARY = "the master director is stopped with SIGTERM; who notices?"


def play(stage: Stage) -> Outcome:
    stage.start_pair()
    connect(stage, on_the_wire=True)
    stage.wait_for_the_moment()

    stage.mark_fault("lb1 is told to stop (SIGTERM)")
    stage.peer.terminate("lb1")
    await_takeover(stage, "lb2")

    return judge(stage, new_master="lb2")
