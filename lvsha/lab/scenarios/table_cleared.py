"""Somebody types ``ipvsadm -C`` on the master director while its clients work.

Until the table is back, packets of known connections are dropped and those of new ones are refused, so the
kernel's own TCP may reset what it does not know. A client that is asked to wait for a retransmission lives.
"""

from lvsha.lab.errors import LabError
from lvsha.lab.scenario import Outcome
from lvsha.lab.scenarios._takeover import connect, judge
from lvsha.lab.stage import Stage
from lvsha.lab.timeline import milliseconds

SUMMARY = "somebody clears the master's IPVS table by hand; how soon is it back, and who notices?"

REPAIR_LIMIT_MS = 1000.0
NEW_CONNECTIONS = 10


def play(stage: Stage) -> Outcome:
    stage.start_pair()
    connect(stage)
    stage.wait_for_the_moment()

    cleared_at = stage.mark_fault("ipvsadm -C on lb1")
    stage.clear_table("lb1")
    # At work meanwhile: every connection says something at once, into the hole.
    count = stage.check_connections(timeout_s=4.0)
    try:
        repaired_at = stage.wait_until_table_is_back("lb1", cleared_at, timeout_s=3.0)
    except LabError:
        repaired_at = None
    repaired_ms = milliseconds(repaired_at - cleared_at) if repaired_at is not None else None
    back = f"{repaired_ms:.0f} ms later" if repaired_ms is not None else "never"
    stage.story.say(f"the table is back: {back}; {count['survived']} of {count['established']} had an answer")
    try:
        opened = stage.open_connections(NEW_CONNECTIONS)["opened"]
    except LabError:
        opened = 0
    stage.pump(0.5)

    outcome = judge(stage, new_master=None)
    timely = repaired_ms is not None and repaired_ms < REPAIR_LIMIT_MS
    return Outcome(
        ok=outcome.survived == outcome.established and timely and opened == NEW_CONNECTIONS,
        verdict=f"the table is back: {back}; {outcome.verdict}",
        established=outcome.established,
        survived=outcome.survived,
        died=outcome.died,
        extras=outcome.extras
        | {
            "repaired_ms": repaired_ms,
            "survivors": outcome.survived,
            "new_connections_opened": opened,
        },
    )
