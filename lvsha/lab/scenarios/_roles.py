"""The parts that scenarios about who leads share."""

import contextlib
import os
import signal

from lvsha.lab.scenarios._takeover import connect
from lvsha.lab.settings import Process
from lvsha.lab.stage import SECOND, Stage
from lvsha.lab.timeline import milliseconds

CLOCK_MS = 50.0
"""Of slack in comparisons: what a busy user-mode guest may be late."""


def start_and_connect(stage: Stage) -> None:
    """A pair in which the backup listens already, and the client's connections."""
    stage.start_pair()
    log = stage.peer.log("lb2")
    words = ("vrrp.became_backup", "Entering BACKUP STATE")
    stage.wait(
        "lb2 listens as BACKUP",
        lambda: any(word in log.read_text(errors="replace") for word in words),
        node="lb2",
    )
    connect(stage)


def send_signal(stage: Stage, node: str, number: signal.Signals) -> None:
    """To every process of a director."""
    for pid in stage.peer.pids(node, Process.ALL):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def block_vrrp(stage: Stage, node: str) -> None:
    """This director hears no adverts any more; what it sends still leaves."""
    _filter(stage, node, "-I")


def unblock_vrrp(stage: Stage, node: str) -> None:
    _filter(stage, node, "-D")


def _filter(stage: Stage, node: str, verb: str) -> None:
    program = "iptables-legacy" if stage.settings.family == 4 else "ip6tables-legacy"
    words = [program, "-w", verb, "INPUT", "-p", "112", "-j", "DROP"]
    stage.topology.directors[node].run(words)


def takeovers(stage: Stage, after: int) -> int:
    """How often the first VIP was bound since ``after``."""
    return sum(
        event["event"] == "bound" and event["address"] == stage.vip and event["at"] >= after
        for event in stage.timeline.events
    )


def until_one_holder(stage: Stage, since: int, timeout_s: float) -> float | None:
    """Milliseconds from ``since`` until one director alone holds the VIP; None: not in time."""
    end = since + round(timeout_s * SECOND)
    stage.pump(0.0)
    while len(stage.timeline.holders.get(stage.vip, ())) != 1:
        last = stage.timeline.events[-1]["at"]
        if last > end:
            return None
        stage.pump(0.05)
        if not stage.timeline.adverts:
            return None
    at = max(
        (
            int(event["at"])
            for event in stage.timeline.events
            if event["event"] in ("bound", "unbound") and event["address"] == stage.vip
        ),
        default=since,
    )
    return max(0.0, milliseconds(at - since))
