"""Both directors are stopped and started, one after the other, as a package upgrade does."""

from dataclasses import replace

from lvsha.lab.scenario import Outcome
from lvsha.lab.scenarios._roles import start_and_connect, takeovers
from lvsha.lab.scenarios._takeover import judge
from lvsha.lab.stage import Stage

SUMMARY = "the backup, then the master are stopped and started again; who notices?"


def play(stage: Stage) -> Outcome:
    start_and_connect(stage)
    stage.wait_for_the_moment()

    at = stage.mark_fault("lb2 is upgraded: SIGTERM, then started again")
    for node in ("lb2", "lb1"):
        stage.peer.terminate(node)
        stage.wait(f"{node} has ended", lambda node=node: stage.peer.has_ended(node))  # type: ignore[misc]
        if node == "lb1":
            stage.wait_for_holder("lb2")
        stage.start_director(node)
        stage.wait_until_ready(node)
        stage.story.say(f"{node} runs again")
        stage.pump(1.0)

    outcome = judge(stage, new_master="lb2")
    moves = takeovers(stage, at)
    return replace(
        outcome,
        ok=outcome.ok and moves == 1,
        verdict=f"the role moved {moves} times; {outcome.verdict}",
        extras=outcome.extras | {"takeovers": moves},
    )
