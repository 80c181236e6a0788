"""A service is added to the master first, and clients use it before the other director has heard of it.

A row that comes before its service is bound to no realserver: it is not counted there, and nothing in the
kernel binds it later.
"""

from dataclasses import replace

from lvsha.core.addr import Address
from lvsha.lab.scenario import Outcome
from lvsha.lab.scenarios._takeover import await_takeover, connect, judge
from lvsha.lab.stage import SECOND, Stage, now

SUMMARY = "a service is added to the master, used, and only then added to the backup; then the master crashes"

DEFAULTS = {"vips": 2}
LAG_S = 2.0
PATIENCE_S = 5.0


def play(stage: Stage) -> Outcome:
    first, added = stage.topology.service_addresses
    stage.peer.served = [first]
    stage.start_pair()
    connect(stage)

    stage.peer.served = [first, added]
    _reload(stage, "lb1")
    count = stage.settings.connections // 2
    stage.open_connections(count, address=str(added))
    stage.story.say(f"{added} has a service on lb1 alone, and {count} connections")
    stage.pump(LAG_S)
    _reload(stage, "lb2")
    counted_after_s = _until_counted(stage, added, count)
    counted = stage.counted("lb2", added)
    stage.story.say(f"lb2 has the service, and counts {counted} of its {count} connections")

    stage.mark_fault("lb1 crashes: its cables are pulled")
    stage.crash("lb1")
    await_takeover(stage, "lb2")

    outcome = judge(stage, new_master="lb2")
    return replace(
        outcome,
        ok=outcome.ok and counted == count,
        verdict=f"{counted} of {count} connections of the added service are counted on lb2; "
        + outcome.verdict,
        extras=outcome.extras | {"added": count, "counted": counted, "counted_after_s": counted_after_s},
    )


def _reload(stage: Stage, node: str) -> None:
    stage.peer.write_config(node)
    stage.peer.reload(node)
    stage.wait_until_ready(node)


def _until_counted(stage: Stage, address: Address, count: int) -> float | None:
    began = now()
    while now() < began + round(PATIENCE_S * SECOND):
        if stage.counted("lb2", address) == count:
            return round((now() - began) / SECOND, 2)
        stage.pump(0.1)
    return None
