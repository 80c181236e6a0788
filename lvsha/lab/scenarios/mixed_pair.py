"""lvsha and keepalived as each other's backup; ``--director`` says who is MASTER first.

As while a site changes from one to the other: both speak VRRP version 3, and the kernel's own daemons
carry the connections. The other one takes over, and gives the role back when the first one returns.
"""

from dataclasses import replace

from lvsha.lab.peers.mixed import MixedPair
from lvsha.lab.scenario import Outcome
from lvsha.lab.scenarios._roles import until_one_holder
from lvsha.lab.scenarios._takeover import await_takeover, connect, judge
from lvsha.lab.stage import Stage, now

SUMMARY = "lvsha and keepalived are each other's backup (--director: who leads first); who goes on?"


def play(stage: Stage) -> Outcome:
    pair = MixedPair(stage.topology, stage.settings, stage.folder / "directors")
    stage.peer = pair
    stage.start_pair()
    connect(stage)
    stage.wait_for_the_moment()

    backup = pair.kinds["lb2"].name
    stage.mark_fault(f"lb1 ({pair.kinds['lb1'].name}) crashes: its cables are pulled")
    stage.crash("lb1")
    await_takeover(stage, "lb2")
    outcome = judge(stage, new_master="lb2")

    stage.story.say(f"lb1 is back; {backup} leads")
    returned = now()
    stage.topology.set_link("lb1", up=True)
    stage.settle(extra_s=2.0)
    one_ms = until_one_holder(stage, returned, 10.0)
    holders = "one holds it" if one_ms is not None else "not one holds it"
    return replace(
        outcome,
        ok=outcome.ok and one_ms is not None,
        verdict=f"{outcome.verdict}; with both there again {holders}",
        extras=outcome.extras | {"lb1": pair.kinds["lb1"].name, "lb2": backup, "one_holder_ms": one_ms},
    )
