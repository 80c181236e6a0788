"""A director's processes are killed, not its machine: the kernel goes on forwarding, nothing should happen.

What is killed is started again by the director's own supervisor, or, when that was killed too, by the
machine's after a while. It must take up what the kernel holds instead of tearing it down, and must not fight
a director that took over meanwhile.
"""

from dataclasses import replace

from lvsha.lab.scenario import Outcome
from lvsha.lab.scenarios._takeover import connect, judge
from lvsha.lab.settings import Process
from lvsha.lab.stage import Stage
from lvsha.lab.timeline import milliseconds

SUMMARY = "processes of the master director get SIGKILL and are started again (--process)"

CLOCK_MS = 50.0
"""Of slack in comparisons: what a busy user-mode guest may be late."""


def play(stage: Stage) -> Outcome:
    process = stage.settings.process
    stage.start_pair()
    connect(stage)
    stage.wait_for_the_moment()

    names = {Process.ALL: "the whole director", Process.BOTH: "vrrpd and directord"}
    what = names.get(process, f"{process}")
    killed_at = stage.mark_fault(f"SIGKILL to {what} on lb1")
    stage.peer.kill("lb1", process)
    if not stage.peer.restarts_itself(process):
        stage.pump(stage.settings.restart_after_s)
        stage.start_director("lb1")
        stage.story.say("lb1 is started again")
    stage.settle(extra_s=3.0)

    outcome = judge(stage, new_master=None)
    down_interval_ms = stage.settings.advert_s * 4 * 1000
    double_ms = stage.holders()["double_holder_ms"]
    holders = stage.timeline.holders.get(stage.vip, set())
    bound = [
        event
        for event in stage.timeline.events
        if event["event"] == "bound" and event["address"] == stage.vip and event["at"] > killed_at
    ]
    wiped = [
        at
        for name in stage.topology.realservers
        for at, weight in stage.timeline.weights_of("lb1", stage.destination(name))
        if weight is None and at > killed_at
    ]
    complaints = []
    if len(holders) != 1:
        complaints.append(f"{len(holders)} directors hold {stage.vip} at the end")
    if double_ms > down_interval_ms + CLOCK_MS:
        complaints.append(f"both held it for {double_ms:.0f} ms")
    if wiped:
        complaints.append("lb1's table was emptied")
    return replace(
        outcome,
        ok=outcome.ok and not complaints,
        verdict="; ".join([outcome.verdict, *complaints]),
        extras=outcome.extras
        | {
            "process": str(process),
            "takeovers": len({event["director"] for event in bound} - {"lb1"}),
            "times_bound": len(bound),
            "table_emptied_ms": milliseconds(min(wiped) - killed_at) if wiped else None,
            "kernel_writes": stage.timeline.writes("lb1", killed_at),
        },
    )
