"""The main job from beginning to end: a realserver dies, then the master director dies, and clients go on."""

from dataclasses import replace

from lvsha.lab.scenario import Outcome
from lvsha.lab.scenarios._realserver import DOOMED, die, others
from lvsha.lab.scenarios._takeover import connect, judge
from lvsha.lab.stage import Stage
from lvsha.lab.timeline import milliseconds

SUMMARY = "a realserver dies, then the master director; what the client sees of it"


def play(stage: Stage) -> Outcome:
    story = stage.story
    stage.start_pair()
    connect(stage, avoid=DOOMED)

    stage.pump(0.5)
    found = die(stage)
    count = stage.check_connections(timeout_s=1.0)
    established, survived = others(count)
    lost = stage.forget_dead_connections()
    story.say(
        f"{survived} of {established} connections to the other realserver never noticed; {lost} were on "
        f"{DOOMED} and died with it, so the client opens these again"
    )
    servers = stage.open_connections(lost)["servers"] if lost else {}
    total = survived + sum(servers.values())
    story.say(f"the client has {total} established connections again, none of them to {DOOMED}")

    stage.wait_for_the_moment()
    stage.forget_fault()
    age = stage.settings.crash_after_s
    died_at = stage.mark_fault(f"lb1 dies: its cables are pulled, {age:g} s after the last new connection")
    stage.crash("lb1")
    taken_at = stage.wait_for_holder("lb2")
    story.say(f"lb2 is MASTER of {stage.vip} ({milliseconds(taken_at - died_at):.0f} ms later)")
    stage.settle()

    outcome = judge(stage, new_master="lb2")
    unnoticed = survived == established and DOOMED not in servers
    return replace(
        outcome,
        ok=outcome.ok and unnoticed,
        extras=outcome.extras | found | {"lost_with_realserver": lost, "reopened": sum(servers.values())},
    )
