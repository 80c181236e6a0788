"""A director joins one that holds a hundred thousand connections, and has to take over.

The kernel's synchronisation never sends an old row. How long does the whole table take, what does it cost?
"""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from lvsha.lab.scenario import Outcome
from lvsha.lab.scenarios._takeover import await_takeover, judge
from lvsha.lab.settings import Process
from lvsha.lab.stage import SECOND, Stage, now

SUMMARY = "100,000 rows beside the connections (--entries); the backup starts, then the master crashes"

KERNEL = ("ip_vs.conn_tab_bits=18",)
"""As whoever has so many connections sets it; with the default of 12 the table is read in half a minute."""
LIMIT_S = 3.0
JOIN_S = 60.0
READ_S = 180.0
"""Printing a table is slower than linear before Linux 6.14."""
KERNEL_ONLY_S = 5.0
"""How long a director without a resync is given."""
_TICKS = os.sysconf("SC_CLK_TCK")
"""Of a second in /proc/PID/stat."""


def play(stage: Stage) -> Outcome:
    entries = stage.settings.entries
    stage.fill("lb1", entries)
    stage.story.say(f"lb1's kernel has {entries} connections")
    stage.start_director("lb1")
    stage.wait_for_holder("lb1")
    stage.wait_until_ready("lb1")
    if stage.peer.name == "lvsha":
        stage.wait(
            "lb1 has read its table", lambda: stage.peer.has_said("lb1", "sync.seeded"), READ_S, node="lb1"
        )
    stage.open_connections()
    stage.pump(1.0)
    stage.start_director("lb2")
    resync = _resync(stage) if stage.peer.name == "lvsha" else _wait(stage)
    arrived = stage.counted("lb2", stage.topology.vips[0].ip)
    stage.story.say(f"lb2 has joined; {arrived} connections came into its kernel: {resync}")
    # Not before: a packet each 2 ms takes a third of the guest's one processor.
    stage.start_heartbeat()
    stage.pump(1.0)

    stage.mark_fault("lb1 crashes: its cables are pulled")
    stage.crash("lb1")
    await_takeover(stage, "lb2")
    outcome = judge(stage, new_master="lb2")
    wall_s = resync.get("wall_s")
    complete = arrived >= entries + outcome.established
    in_time = wall_s is not None and wall_s <= LIMIT_S
    return replace(
        outcome,
        ok=outcome.ok and complete,
        verdict=f"{arrived} of {entries + outcome.established} rows reached lb2's kernel"
        + (f" in {wall_s:.1f} s; " if wall_s is not None else "; ")
        + outcome.verdict,
        extras=outcome.extras
        | {
            "entries": entries,
            "arrived": arrived,
            "resync": resync,
            "wall_limit_s": LIMIT_S,
            "within_limit": in_time,
        },
    )


def _resync(stage: Stage) -> dict[str, Any]:
    """Follow the newcomer's resync: wall clock, processor of both directords, memory."""
    peer = stage.peer
    stage.wait("lb2 meets lb1", lambda: peer.has_said("lb2", "relay.peer_connected"), JOIN_S, node="lb2")
    began, first = now(), _usage(stage)
    stage.wait("lb2 has the table", lambda: peer.knows_connections("lb2"), JOIN_S, node="lb2")
    ended, last = now(), _usage(stage)
    wall_s = (ended - began) / SECOND
    spent = {node: last[node][0] - first[node][0] for node in first}
    rows = stage.settings.entries + stage.settings.connections
    return {
        "wall_s": round(wall_s, 2),
        "cpu_s": {node: round(value, 2) for node, value in spent.items()},
        "cores": {node: round(value / wall_s, 2) for node, value in spent.items()},
        "bytes_per_row": {
            "joining": round((last["lb2"][1] - first["lb2"][1]) / rows),
            "sending": round((last["lb1"][1] - first["lb2"][1]) / rows),
        },
        "dropped": peer.extras("lb2").get("status", {}).get("sync", {}).get("relay", {}).get("dropped"),
    }


def _wait(stage: Stage) -> dict[str, Any]:
    stage.wait_until_ready("lb2")
    stage.pump(KERNEL_ONLY_S)
    return {}


def _usage(stage: Stage) -> dict[str, tuple[float, int]]:
    """Seconds of processor and bytes of memory of each directord."""
    found = {}
    for node in stage.topology.directors:
        pid = stage.peer.pid(node, Process.DIRECTORD)
        words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        found[node] = ((int(words[11]) + int(words[12])) / _TICKS, int(words[21]) * 4096)
    return found
