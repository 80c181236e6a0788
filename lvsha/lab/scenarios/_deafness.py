"""What the scenarios share in which directors stop hearing adverts for a while."""

from collections.abc import Sequence
from dataclasses import replace

from lvsha.lab.scenario import Outcome
from lvsha.lab.scenarios._roles import (
    CLOCK_MS,
    block_vrrp,
    start_and_connect,
    takeovers,
    unblock_vrrp,
    until_one_holder,
)
from lvsha.lab.scenarios._takeover import judge
from lvsha.lab.stage import Stage, now


def play_deaf(stage: Stage, deaf: Sequence[str]) -> Outcome:
    """The directors ``deaf`` hear no advert for ``duration_s``: how soon is one holder left afterwards?"""
    start_and_connect(stage)
    stage.wait_for_the_moment()

    stage.mark_fault("adverts are dropped on their way into " + " and ".join(deaf))
    for node in deaf:
        block_vrrp(stage, node)
    stage.pump(stage.settings.duration_s)
    for node in deaf:
        unblock_vrrp(stage, node)
    healed_at = now()
    stage.story.say("they pass again")
    stage.settle(extra_s=1.0)
    one_ms = until_one_holder(stage, healed_at, 10.0)

    outcome = judge(stage, new_master=None)
    limit_ms = 2 * stage.settings.advert_s * 1000 + CLOCK_MS
    healed = one_ms is not None and one_ms <= limit_ms
    said = (
        "never one holder again" if one_ms is None else f"one holder {one_ms:.0f} ms after the network healed"
    )
    return replace(
        outcome,
        ok=outcome.ok and healed,
        verdict=f"{said}; {outcome.verdict}",
        extras=outcome.extras
        | {
            "healed_ms": one_ms,
            "healed_limit_ms": limit_ms,
            "takeovers": takeovers(stage, stage.fault_at or 0),
        },
    )
