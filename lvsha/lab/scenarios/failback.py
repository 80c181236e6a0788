"""A director with the higher priority boots while connections are up, and takes its address back.

It must have the connections before it does. Five seconds later it dies for good.
"""

from dataclasses import replace

from lvsha.lab.scenario import Outcome
from lvsha.lab.scenarios._reboot import come_back, die
from lvsha.lab.scenarios._takeover import await_takeover, connect, judge
from lvsha.lab.stage import Stage, now
from lvsha.lab.timeline import milliseconds

SUMMARY = "the first master boots again and takes its address back; then it dies again"

SECOND_FAILURE_S = 5.0


def play(stage: Stage) -> Outcome:
    stage.peer.preempts = True
    stage.start_pair()
    connect(stage)
    stage.wait_for_the_moment()

    stage.mark_fault("lb1 dies: cables, processes, memory")
    die(stage, "lb1")
    stage.wait_for_holder("lb2")
    stage.settle()
    came_back_at = stage.mark_fault("lb1's machine is switched on again")
    come_back(stage, "lb1")
    taken_back_at = stage.wait_for_holder("lb1", 60.0)
    stage.settle()
    after_return = stage.check_connections()
    stage.story.say(
        f"lb1 has taken the address back: {after_return['survived']} of {after_return['established']} "
        "connections go on"
    )

    left_s = SECOND_FAILURE_S - (now() - taken_back_at) / 1e9
    stage.pump(max(0.0, left_s))
    stage.forget_fault()
    stage.mark_fault("lb1 dies again")
    stage.crash("lb1")
    await_takeover(stage, "lb2")

    outcome = judge(stage, new_master="lb2")
    return replace(
        outcome,
        extras=outcome.extras
        | {
            "survived_failback": after_return["survived"],
            "took_back_ms": milliseconds(taken_back_at - came_back_at),
        },
    )
