"""An operator hands the addresses over while clients connect, beside many connections that say nothing.

The kernel's buffer, thrown away when a director stops, holds the youngest of them.
"""

from dataclasses import replace

from lvsha.lab.scenario import Outcome
from lvsha.lab.scenarios._takeover import judge
from lvsha.lab.stage import SECOND, Stage, now

SUMMARY = "200 new connections a second and 10,000 idle ones; then a planned switchover (--rate, --idle)"

DEFAULTS = {"rate": 200}
SILENCE_MS = 10.0
BATCH = 1000
TOLD_S = 30.0


def play(stage: Stage) -> Outcome:
    settings = stage.settings
    stage.start_pair()
    began = now()
    for count in _batches(settings.idle):
        stage.open_connections(count, rounds=1)
    stage.story.say(f"{settings.idle} connections are open, after {(now() - began) / SECOND:.0f} s")
    _until_told(stage)
    stage.start_heartbeat(on_the_wire=True)
    stage.start_load(settings.rate)
    stage.pump(2.0)

    stage.mark_fault(f"lb1 is told to hand over, under {settings.rate} new connections a second")
    refused = stage.peer.switch_over("lb1")
    if not refused:
        stage.wait_for_holder("lb2", 20.0)
    stage.settle()
    # The last questions on all connections take the one processor for seconds.
    stage.stop_heartbeat()
    load = stage.stop_load()
    stage.story.say(
        f"of {load['tried']} connections tried ({load['rate']:g} a second) {load['opened']} were opened; "
        f"{load['check']['survived']} of them go on"
    )

    outcome = judge(stage, new_master="lb2")
    silence = stage.silence()["longest_silence_ms"]
    lost = load["tried"] - load["check"]["survived"]
    return replace(
        outcome,
        established=outcome.established + load["tried"],
        survived=outcome.survived + load["check"]["survived"],
        ok=outcome.ok and not lost and not refused,
        verdict=(f"refused: {refused}; " if refused else "")
        + f"{lost} of {load['tried']} connections of the load lost, its slowest answer after "
        f"{load['slowest_ms']:g} ms; of the idle ones {outcome.verdict}",
        extras=outcome.extras
        | {
            "load": load,
            "idle": {"established": outcome.established, "survived": outcome.survived},
            "lost": lost + outcome.established - outcome.survived,
            "silence_limit_ms": SILENCE_MS,
            "silence_within_limit": silence <= SILENCE_MS,
            "refused": refused,
        },
    )


def _batches(total: int) -> list[int]:
    return [min(BATCH, total - done) for done in range(0, total, BATCH)]


def _until_told(stage: Stage) -> None:
    """The other director has been told of all of them, as far as it ever will be."""
    wanted = stage.rows("lb1")
    end = now() + round(TOLD_S * SECOND)
    while now() < end and not wanted <= stage.rows("lb2"):
        stage.pump(1.0)
