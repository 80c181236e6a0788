"""The master dies while clients connect: connections of any age, down to none, that have sent nothing yet.

What the kernel has not announced, nobody can know. This measures how old a connection must be to be safe.
"""

from dataclasses import replace

from lvsha.lab.scenario import Outcome
from lvsha.lab.scenarios._takeover import judge
from lvsha.lab.stage import Stage

SUMMARY = "the master crashes while connections are being opened that have sent nothing yet"

SAFE_MS = 20.0
"""The age from which every connection must survive."""
GROUP = 5
PAUSE_S = 0.01


def play(stage: Stage) -> Outcome:
    stage.start_pair()
    stage.start_heartbeat()
    stage.pump(1.0)

    # Nobody has heard of a UDP flow before it has said something.
    answer = stage.open_connections(rounds=0 if stage.settings.protocol == "tcp" else 1)
    stage.crash("lb1")
    fault_at = stage.mark_fault(
        f"lb1 crashes right after {answer['opened']} were opened: its cables are pulled"
    )
    stage.wait_for_holder("lb2")
    stage.settle()

    outcome = judge(stage, new_master="lb2")
    found = stage.connections_by_age(fault_at, [SAFE_MS])
    young, old = found["rows"]
    share = old["survived"] / old["established"] if old["established"] else 0.0
    lost = found["oldest_lost_ms"]
    return replace(
        outcome,
        ok=share >= 0.99,
        verdict=f"{old['survived']} of {old['established']} connections older than {SAFE_MS:g} ms go on, "
        f"{young['survived']} of {young['established']} younger ones; "
        + (f"the oldest lost was {lost:.1f} ms old; " if lost is not None else "none was lost; ")
        + outcome.verdict,
        extras=outcome.extras | {"safe_ms": SAFE_MS, "older": old, "younger": young, "oldest_lost_ms": lost},
    )
