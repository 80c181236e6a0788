"""The parts that scenarios with a takeover share."""

import contextlib

from lvsha.lab.errors import LabError
from lvsha.lab.scenario import Outcome
from lvsha.lab.stage import Stage
from lvsha.lab.timeline import milliseconds

TAKEOVER_LIMIT_S = 10.0
AFTERMATH_S = 1.0


def connect(stage: Stage, *, avoid: str = "", on_the_wire: bool = False) -> None:
    """Open the connections, then start the heartbeat (not on realserver ``avoid``)."""
    answer = stage.open_connections()
    stage.start_heartbeat(avoid=avoid, on_the_wire=on_the_wire)
    spread = ", ".join(f"{count} on {name}" for name, count in sorted(answer["servers"].items()))
    kind = stage.settings.protocol.upper()
    stage.story.say(f"the client has {answer['opened']} {kind} connections to {stage.vip}: {spread}")


def await_takeover(stage: Stage, new_master: str) -> None:
    """Until it holds the VIP, and a while longer: what happens right after a takeover counts too."""
    with contextlib.suppress(LabError):  # it does not: ``judge`` will say so
        stage.wait_for_holder(new_master, TAKEOVER_LIMIT_S)
    stage.pump(AFTERMATH_S)


def judge(stage: Stage, *, new_master: str | None) -> Outcome:
    """Ask every connection for one more round trip; ``new_master`` must hold the VIP (None: anybody)."""
    count = stage.check_connections()
    stage.stop_heartbeat()
    silence = stage.silence()
    assert stage.fault_at is not None
    survived, established = count["survived"], count["established"]
    extras: dict[str, object] = {}
    ok = survived == established
    parts = [f"{survived} of {established} connections go on"]
    if count["died"]:
        parts.append("the others died: " + ", ".join(f"{n} x {name}" for name, n in count["died"].items()))
    taken = {
        node: stage.timeline.first("bound", stage.fault_at, director=node, address=stage.vip)
        for node in stage.topology.directors
    }
    if new_master is not None:
        at = taken[new_master]
        extras["takeover_ms"] = milliseconds(at - stage.fault_at) if at is not None else None
        if new_master not in stage.timeline.holders.get(stage.vip, ()):
            ok = False
            parts.append(f"{new_master} does not hold {stage.vip}")
    parts.append(f"longest silence {silence['longest_silence_ms']:.0f} ms")
    return Outcome(
        ok=ok,
        verdict="; ".join(parts),
        established=established,
        survived=survived,
        died=count["died"],
        extras=extras,
    )
