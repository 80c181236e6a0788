"""A takeover of very many addresses: is the last one served as soon as the first, and does an advert wait?"""

from dataclasses import replace
from itertools import pairwise

from lvsha.lab.scenario import Outcome
from lvsha.lab.scenarios._roles import CLOCK_MS, start_and_connect
from lvsha.lab.scenarios._takeover import judge
from lvsha.lab.stage import Stage
from lvsha.lab.timeline import milliseconds

SUMMARY = "the master of 2,000 addresses loses its cables; when is the last one served?"

DEFAULTS = {"vips": 2000}
LIMIT_MS = 1000.0
"""From the crash to the last address, on top of the time until somebody takes over."""


def play(stage: Stage) -> Outcome:
    start_and_connect(stage)
    stage.wait_for_the_moment()

    at = stage.mark_fault("lb1 crashes: its cables are pulled")
    stage.crash("lb1")
    stage.settle(extra_s=3.0)

    outcome = judge(stage, new_master="lb2")
    source = str(stage.topology.director_address("lb2"))
    heard = [
        int(event["at"])
        for event in stage.timeline.events
        if event["event"] == "advert" and event["source"] == source and event["at"] >= at
    ]
    late_ms = (
        milliseconds(max((b - a for a, b in pairwise(heard)), default=0)) - stage.settings.advert_s * 1000
    )
    last_ms = stage.silence().get("last_vip_silence_ms")
    timely = last_ms is not None and last_ms <= 4 * stage.settings.advert_s * 1000 + LIMIT_MS
    calm = late_ms <= stage.settings.advert_s * 1000 + CLOCK_MS
    return replace(
        outcome,
        ok=outcome.ok and timely and calm,
        verdict=f"the last address was silent for {last_ms} ms, the latest advert {late_ms:.0f} ms late; "
        + outcome.verdict,
        extras=outcome.extras | {"vips": stage.settings.vips, "latest_advert_ms": round(late_ms, 1)},
    )
