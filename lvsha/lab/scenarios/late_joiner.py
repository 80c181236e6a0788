"""A director that was away comes back while connections are up, and then has to take over at once.

The kernel tells a newcomer of a connection only when that connection has traffic, so without help a director
that joins late knows nothing of the quiet ones.
"""

from dataclasses import replace

from lvsha.lab.scenario import Outcome
from lvsha.lab.scenarios._takeover import await_takeover, connect, judge
from lvsha.lab.stage import Stage, now
from lvsha.lab.timeline import milliseconds

SUMMARY = "the backup is started after the connections, then the master crashes"

MEET_S = 60.0


def play(stage: Stage) -> Outcome:
    stage.start_director("lb1")
    stage.wait_for_holder("lb1")
    stage.wait_until_ready("lb1")
    stage.story.say("lb1 is MASTER and alone")
    connect(stage)

    began = now()
    stage.start_director("lb2")
    met_at = _meets(stage)
    joined: dict[str, float | None] = {"in_sync_ms": None, "in_sync_after_join_ms": None}
    if stage.peer.name == "lvsha" and stage.settings.transport == "relay":
        at = stage.wait("lb2 has lb1's connections", lambda: stage.peer.knows_connections("lb2"), node="lb2")
        joined["in_sync_ms"] = milliseconds(at - began)
        joined["in_sync_after_join_ms"] = milliseconds(at - max(began, met_at))
    stage.wait_until_ready("lb2")
    stage.story.say("lb2 has joined as BACKUP")
    stage.wait_for_the_moment()
    stage.mark_fault("lb1 crashes: its cables are pulled")
    stage.crash("lb1")
    await_takeover(stage, "lb2")

    outcome = judge(stage, new_master="lb2")
    return replace(outcome, extras=outcome.extras | joined)


def _meets(stage: Stage) -> int:
    """When the newcomer met the other one: its machine, its Python and its kernel are up then."""
    if stage.peer.name != "lvsha" or stage.settings.transport != "relay":
        return now()
    return stage.wait(
        "lb2 meets lb1", lambda: stage.peer.has_said("lb2", "relay.peer_connected"), MEET_S, node="lb2"
    )
