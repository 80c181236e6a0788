"""The master dies; it boots again; within seconds the other one dies. Every connection is older than both.

A kernel that learned its connections by synchronisation does not announce them on: the director that came
back hears of a connection only after fifty more of its packets, or when its state changes.
"""

from dataclasses import replace

from lvsha.lab.scenario import Outcome
from lvsha.lab.scenarios._reboot import come_back, die, other
from lvsha.lab.scenarios._takeover import await_takeover, connect, judge
from lvsha.lab.stage import Stage

SUMMARY = "the master dies and boots again; then the other one dies"

PAUSE_S = 1.0
"""Between the return of the first and the death of the second."""


def play(stage: Stage) -> Outcome:
    stage.start_pair()
    connect(stage)
    stage.wait_for_the_moment()

    stage.mark_fault("lb1 dies: cables, processes, memory")
    die(stage, "lb1")
    stage.wait_for_holder("lb2")
    stage.settle()
    between = stage.check_connections()
    stage.story.say(f"{between['survived']} of {between['established']} connections go on over lb2")

    come_back(stage, "lb1")
    stage.pump(PAUSE_S)
    holder = "lb1" if "lb1" in stage.timeline.holders.get(stage.vip, ()) else "lb2"
    stage.forget_fault()
    stage.mark_fault(f"{holder} dies as well, {PAUSE_S:g} s after lb1 is back")
    stage.crash(holder)
    await_takeover(stage, other(holder))

    outcome = judge(stage, new_master=other(holder))
    return replace(outcome, extras=outcome.extras | {"survived_first_failure": between["survived"]})
