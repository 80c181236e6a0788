"""What is ordered on one director holds on the other, also when the first is gone.

The tests follow one another.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from lvsha.io.ipvs_genl import IpvsSocket
from tests.kernel.director_rig import Process, Rig, running_pair

pytestmark = [pytest.mark.kernel, pytest.mark.timeout(180)]

WITHIN = 30.0


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    with running_pair(tmp_path_factory.mktemp("pair")) as rig:
        rig.until(lambda: agreed(rig), "both know of each other's orders", within=WITHIN)
        yield rig


def order(rig: Rig, node: str, *words: str) -> tuple[int, str, str]:
    """Exit status, stdout and stderr of a command about a director."""
    command = [sys.executable, "-m", "lvsha.cli.main", *words, "--run-dir", str(rig.run_dir(node))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


def agreed(rig: Rig) -> bool:
    rows = [peer for node in ("lb1", "lb2") for peer in rig.status(node)["peers"] if peer["name"] != node]
    return len(rows) == 2 and all(row.get("same_orders") and row.get("same_config") for row in rows)


def weights(rig: Rig, node: str, address: str) -> set[int]:
    """Of this realserver, in the kernel of a director."""
    with rig.namespace(node).entered(), IpvsSocket() as ipvs:
        return {
            state.destination.weight
            for service in ipvs.table().values()
            for state in service.destinations.values()
            if str(state.destination.address) == address
        }


def orders(rig: Rig, node: str) -> list[dict[str, Any]]:
    return list(rig.status(node)["overrides"])


def test_either_director_answers_for_the_other(rig: Rig) -> None:
    status, said, complaint = order(rig, "lb1", "status", "--json", "--peer")
    assert complaint == ""
    assert (status, json.loads(said)["node"]) == (0, "lb2")

    status, _, complaint = order(rig, "lb1", "status", "--director", "lb9")
    assert status == 1
    assert "there is no other director 'lb9'; known: lb2" in complaint


def test_a_drain_holds_on_both_and_after_the_death_of_who_took_it(rig: Rig) -> None:
    name = str(rig.stage.topology.realserver_address("rs1"))
    assert weights(rig, "lb2", name) == {1}

    status, said, _ = order(
        rig, "lb1", "disable", name, "--reason", "new disk", "--owner", "ann", "--expires", "1h"
    )

    assert status == 0
    assert "lb2 has it too" in said
    rig.until(lambda: weights(rig, "lb2", name) == {0}, "weight 0 on lb2", within=WITHIN)
    (there,) = orders(rig, "lb2")
    assert (there["kind"], there["owner"], there["reason"], there["node"]) == (
        "disable",
        "ann",
        "new disk",
        "lb1",
    )
    assert there["expires_at"] is not None

    os.kill(rig.main_pid("lb1"), signal.SIGSTOP)  # nobody brings its workers back
    for process in (Process.DIRECTORD, Process.VRRPD):
        os.kill(rig.worker(process, "lb1"), signal.SIGSTOP)
    try:
        rig.until(lambda: rig.holders() >= {"lb2"}, "lb2 holds the address", within=WITHIN)
        assert weights(rig, "lb2", name) == {0}
        status, _, complaint = order(rig, "lb2", "status", "--peer")
        assert status == 1
        assert "lb1 is not connected" in complaint

        assert order(rig, "lb2", "enable", name)[0] == 0
        rig.until(lambda: weights(rig, "lb2", name) == {1}, "its weight again on lb2", within=WITHIN)
    finally:
        for pid in (rig.worker(Process.DIRECTORD), rig.worker(Process.VRRPD), rig.main_pid("lb1")):
            os.kill(pid, signal.SIGCONT)

    # What was taken back while it was away is taken back there too.
    rig.until(lambda: not orders(rig, "lb1"), "lb1 has taken it back", within=WITHIN)
    rig.until(lambda: weights(rig, "lb1", name) == {1}, "its weight again on lb1", within=WITHIN)
