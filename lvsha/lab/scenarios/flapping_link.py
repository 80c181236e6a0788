"""The master director's cable goes and comes, again and again: how often does the role move?"""

from dataclasses import replace

from lvsha.lab.scenario import Outcome
from lvsha.lab.scenarios._roles import start_and_connect, takeovers, until_one_holder
from lvsha.lab.scenarios._takeover import judge
from lvsha.lab.stage import Stage, now

SUMMARY = "the master's cable goes and comes every second; how often does the role move?"

DOWN_S, UP_S = 0.6, 0.4
DEFAULTS = {"duration_s": 8.0}


def play(stage: Stage) -> Outcome:
    start_and_connect(stage)
    stage.wait_for_the_moment()

    stage.mark_fault("lb1's cable begins to flap")
    began, flaps = now(), 0
    while now() - began < stage.settings.duration_s * 1e9:
        stage.crash("lb1")
        stage.pump(DOWN_S)
        stage.topology.set_link("lb1", up=True)
        stage.pump(UP_S)
        flaps += 1
    calm_at = now()
    stage.story.say(f"it is quiet again after {flaps} times")
    stage.settle(extra_s=1.0)
    one_ms = until_one_holder(stage, calm_at, 10.0)
    moves = takeovers(stage, began)

    outcome = judge(stage, new_master=None)
    return replace(
        outcome,
        ok=outcome.ok and one_ms is not None and moves <= 1,
        verdict=f"the role moved {moves} times in {flaps} flaps; {outcome.verdict}",
        extras=outcome.extras | {"flaps": flaps, "takeovers": moves},
    )
