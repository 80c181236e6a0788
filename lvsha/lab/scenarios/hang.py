"""The master director's processes stop without dying (SIGSTOP; a hypervisor that does not run it).

Its kernel goes on answering for the address that the other director takes over, until somebody takes it away.
"""

import signal
from dataclasses import replace

from lvsha.lab.scenario import Outcome
from lvsha.lab.scenarios._roles import CLOCK_MS, send_signal, start_and_connect
from lvsha.lab.scenarios._takeover import judge
from lvsha.lab.stage import Stage

SUMMARY = "the master director hangs (SIGSTOP) and goes on later; how long do two hold the address?"

LEASE_MS = 3000.0
"""lvsha's default; the kernel looks at leases about once a second."""
SLACK_MS = 300.0


def play(stage: Stage) -> Outcome:
    start_and_connect(stage)
    stage.wait_for_the_moment()

    stage.mark_fault("every process of lb1 gets SIGSTOP")
    send_signal(stage, "lb1", signal.SIGSTOP)
    stage.pump(max(6.0, stage.settings.duration_s / 2))
    frozen_ms = stage.holders()["double_holder_ms"]
    send_signal(stage, "lb1", signal.SIGCONT)
    stage.story.say(f"lb1 goes on; until then, two held {stage.vip} for {frozen_ms:.0f} ms")
    stage.settle(extra_s=3.0)

    outcome = judge(stage, new_master=None)
    holders = stage.timeline.holders.get(stage.vip, set())
    calm = frozen_ms <= LEASE_MS + SLACK_MS + CLOCK_MS
    return replace(
        outcome,
        ok=outcome.ok and calm and len(holders) == 1,
        verdict=f"two holders for {frozen_ms:.0f} ms, {len(holders)} at the end; {outcome.verdict}",
        extras=outcome.extras | {"two_holders_ms": frozen_ms, "holders_at_end": sorted(holders)},
    )
