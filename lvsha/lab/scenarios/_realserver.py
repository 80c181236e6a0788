"""The parts that scenarios with a dying realserver share."""

from typing import Any

from lvsha.lab.stage import SECOND, Stage
from lvsha.lab.timeline import milliseconds
from lvsha.lab.topology import DIRECTORS

DOOMED = "rs2"
SLACK_S = 0.3
"""What a busy user-mode guest may be late, and the witness may look late."""


def die(stage: Stage) -> dict[str, Any]:
    """Cut the doomed realserver off and wait until no director gives it anything new."""
    died_at = stage.mark_fault(f"{DOOMED} dies: its cable is pulled")
    stage.kill_realserver(DOOMED)
    detected = {
        node: milliseconds(stage.wait_for_weight(node, DOOMED, 0, 15.0) - died_at) for node in DIRECTORS
    }
    slowest = max(value for value in detected.values() if value is not None)
    stage.story.say(f"both directors have set the weight of {DOOMED} to 0, {slowest:.0f} ms after it died")
    limit = milliseconds(round((stage.peer.detection_limit_s() + SLACK_S) * SECOND))
    return {"detected_ms": detected, "detection_limit_ms": limit}


def in_time(found: dict[str, Any]) -> bool:
    return bool(max(found["detected_ms"].values()) <= found["detection_limit_ms"])


def others(count: dict[str, Any]) -> tuple[int, int]:
    """(established, survived) of the connections that were not on the doomed realserver."""
    rows = [row for server, row in count["by_server"].items() if server != DOOMED]
    return sum(row["established"] for row in rows), sum(row["survived"] for row in rows)
