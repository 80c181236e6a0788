"""Connections that say little, for longer than their time-out in the kernel.

The kernel refreshes a copy only now and then, by the packet. A copy whose timer ends first is lost, though
its original lives on.
"""

from dataclasses import replace

from lvsha.lab.scenario import Outcome
from lvsha.lab.scenarios._takeover import connect, judge
from lvsha.lab.stage import Stage

SUMMARY = "connections with one packet every two seconds, for longer than the kernel's time-out; then a crash"

TIMEOUT_S = 12
EVERY_S = 2.0
LENGTH_S = 2 * TIMEOUT_S


def play(stage: Stage) -> Outcome:
    stage.peer.idle_timeout_s = TIMEOUT_S
    stage.start_pair()
    connect(stage)

    for _ in range(round(LENGTH_S / EVERY_S)):
        stage.pump(EVERY_S)
        stage.check_connections()
    stage.story.say(
        f"for {LENGTH_S} s each said something every {EVERY_S:g} s; the time-out is {TIMEOUT_S} s"
    )
    stage.mark_fault("lb1 crashes: its cables are pulled")
    stage.crash("lb1")
    stage.wait_for_holder("lb2")
    stage.settle()

    outcome = judge(stage, new_master="lb2")
    return replace(outcome, extras=outcome.extras | {"timeout_s": TIMEOUT_S, "length_s": LENGTH_S})
