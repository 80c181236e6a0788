"""Nobody fails: the machine has no processor time to spare. Nothing may happen.

Every process of the lab shares the one processor of a user-mode guest, the directors too; four endless loops
compete with them. The wire is in the same kernel, and its thread would wait with them, for seconds: the loops
are the directors' neighbours and not the switch's, so that thread runs ahead, whoever is on stage.
"""

import contextlib
import os
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

from lvsha.lab.scenario import Outcome
from lvsha.lab.scenarios._roles import start_and_connect, takeovers
from lvsha.lab.scenarios._takeover import judge
from lvsha.lab.stage import Stage
from lvsha.lab.timeline import milliseconds

SUMMARY = "every processor is busy (--duration); does anybody take over from a living master?"

LOOPS = 4


def play(stage: Stage) -> Outcome:
    start_and_connect(stage)
    stage.wait_for_the_moment()

    hurry_the_wire()
    at = stage.mark_fault(f"{LOOPS} endless loops compete with the directors")
    loops = [subprocess.Popen([sys.executable, "-S", "-c", "while True: pass"]) for _ in range(LOOPS)]
    try:
        stage.pump(stage.settings.duration_s)
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()
    stage.settle()

    moves = takeovers(stage, at)
    source = str(stage.topology.director_address("lb1"))
    heard = [
        int(event["at"])
        for event in stage.timeline.events
        if event["event"] == "advert" and event["source"] == source and event["at"] >= at
    ]
    gap = max((later - sooner for sooner, later in pairwise(heard)), default=0)
    outcome = judge(stage, new_master=None)
    return replace(
        outcome,
        ok=outcome.ok and moves == 0,
        verdict=f"{moves} takeovers in {stage.settings.duration_s:g} s; {outcome.verdict}",
        extras=outcome.extras
        | {"takeovers": moves, "adverts": len(heard), "longest_advert_gap_ms": milliseconds(gap)},
    )


def hurry_the_wire() -> None:
    """The threads that carry packets from one interface to the next; a host's are not seen here."""
    for status in Path("/proc").glob("[0-9]*/comm"):
        with contextlib.suppress(OSError):
            if status.read_text().startswith("ksoftirqd/"):
                os.setpriority(os.PRIO_PROCESS, int(status.parent.name), -20)
