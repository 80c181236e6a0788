"""The directors lose sight of each other, both serve for a while, and see each other again.

Each half has connections that the other one has never heard of. When the network is whole again one of them
holds the address alone, and needs the other's connections before their next packet.
"""

from dataclasses import replace

from lvsha.lab.scenario import Outcome
from lvsha.lab.scenarios._takeover import connect, judge
from lvsha.lab.stage import Stage

SUMMARY = "the master is cut off and comes back alive; connections that began meanwhile must go on"

APART_S = 5.0


def play(stage: Stage) -> Outcome:
    stage.start_pair()
    connect(stage)
    stage.pump(1.0)

    stage.mark_fault("lb1's cables are pulled; it lives on")
    stage.crash("lb1")
    stage.wait_for_holder("lb2")
    stage.pump(APART_S / 2)
    meanwhile = stage.open_connections(stage.settings.connections // 2)["opened"]
    stage.story.say(f"{meanwhile} connections began over lb2 meanwhile")
    stage.pump(APART_S / 2)
    stage.forget_fault()
    stage.mark_fault("the cables are plugged in again")
    stage.topology.set_link("lb1", up=True)
    stage.settle(extra_s=3.0)
    count = stage.check_connections()
    stage.story.say(f"{count['survived']} of {count['established']} connections go on")

    holder = "lb1" if "lb1" in stage.timeline.holders.get(stage.vip, ()) else "lb2"
    outcome = judge(stage, new_master=holder)
    return replace(outcome, extras=outcome.extras | {"began_meanwhile": meanwhile, "holder": holder})
