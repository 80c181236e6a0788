"""The master director is cut off from every network at once; its connections go on over the other one."""

from lvsha.lab.scenario import Outcome
from lvsha.lab.scenarios._takeover import await_takeover, connect, judge
from lvsha.lab.stage import Stage

SUMMARY = "the master director loses its cables; who goes on?"


def play(stage: Stage) -> Outcome:
    stage.start_pair()
    connect(stage)
    stage.wait_for_the_moment()

    stage.mark_fault("lb1 crashes: its cables are pulled")
    stage.crash("lb1")
    await_takeover(stage, "lb2")

    return judge(stage, new_master="lb2")
