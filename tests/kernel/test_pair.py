"""What is ordered on one director holds on the other, also when the first is gone.

The tests follow one another.
"""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from lvsha.io.ipvs_genl import IpvsSocket
from lvsha.lab.peers.lvsha import RELAY_KEY
from tests.kernel import director_rig
from tests.kernel.director_rig import EditedLvsha, Process, Rig, running_pair

pytestmark = [pytest.mark.kernel, pytest.mark.timeout(180)]

WITHIN = 30.0


class OneFile(EditedLvsha):
    """Both directors have the same file, as on two machines: what differs is on the command line."""

    def config(self, node: str) -> str:
        text = re.sub(r"(?m)^(run_dir|state_dir) = .*\n", "", super().config(node))
        return re.sub(r'key_file = ".*"', f'key_file = "{self.folder / "relay.key"}"', text)

    def write_config(self, node: str) -> None:
        super().write_config(node)
        key = self.folder / "relay.key"
        key.touch(mode=0o600)
        key.write_text(RELAY_KEY)

    def command(self, node: str) -> list[str]:
        return [*super().command(node), "--run-dir", str(self.node_folder(node) / "run")]


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    with (
        pytest.MonkeyPatch.context() as patch,
        running_pair_of(patch, tmp_path_factory.mktemp("pair")) as rig,
    ):
        rig.until(lambda: agreed(rig), "both know of each other's orders", within=WITHIN)
        yield rig


@contextmanager
def running_pair_of(patch: pytest.MonkeyPatch, folder: Path) -> Iterator[Rig]:
    patch.setattr(director_rig, "EditedLvsha", OneFile)
    with running_pair(folder) as rig:
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


def heavier(rig: Rig, weight: int) -> str:
    """The configuration, with another weight of rs1."""
    name = str(rig.stage.topology.realserver_address("rs1"))
    text = (rig.peer.node_folder("lb1") / "lvsha.toml").read_text()
    return re.sub(rf'(address = "{name}", weight = )\d+', rf"\g<1>{weight}", text)


def both(rig: Rig, weight: int) -> bool:
    name = str(rig.stage.topology.realserver_address("rs1"))
    return all(weights(rig, node, name) == {weight} for node in ("lb1", "lb2"))


def test_a_configuration_that_is_pushed_runs_on_both_and_stays_when_it_is_confirmed(rig: Rig) -> None:
    files = [rig.peer.node_folder(node) / "lvsha.toml" for node in ("lb1", "lb2")]
    before = [file.read_text() for file in files]
    assert before[0] == before[1]
    new = rig.folder / "new.toml"

    new.write_text(heavier(rig, 5) + "[[service]]\n")
    status, said, complaint = order(rig, "lb1", "config", "push", str(new))
    assert status == 1
    assert "lb2 refuses it; nothing has changed anywhere" in complaint
    assert "service" in said

    new.write_text(heavier(rig, 5))
    status, said, complaint = order(rig, "lb1", "config", "push", str(new))
    assert (status, complaint) == (0, "")
    assert said.count("weight: 1 -> 5") == 4  # of TCP and of UDP, on both
    rig.until(lambda: both(rig, 5), "weight 5 on both", within=WITHIN)
    assert [file.read_text() for file in files] == before

    status, said, _ = order(rig, "lb1", "config", "rollback")
    assert (status, said) == (0, "rolled back: lb2, lb1\n")
    rig.until(lambda: both(rig, 1), "weight 1 on both again", within=WITHIN)

    assert order(rig, "lb1", "config", "push", str(new), "--confirm-within", "0")[0] == 0
    rig.until(lambda: both(rig, 5), "weight 5 on both for good", within=WITHIN)
    assert [file.read_text() for file in files] == [new.read_text()] * 2
    rig.until(lambda: agreed(rig), "both run the same", within=WITHIN)

    new.write_text(heavier(rig, 1))
    assert order(rig, "lb2", "config", "push", str(new), "--confirm-within", "0")[0] == 0
    rig.until(lambda: both(rig, 1), "as it was", within=WITHIN)


def test_a_trial_that_nobody_confirms_ends_by_itself(rig: Rig) -> None:
    new = rig.folder / "new.toml"
    new.write_text(heavier(rig, 7))

    assert order(rig, "lb2", "config", "apply", str(new), "--confirm-within", "3s")[0] == 0

    def reasons() -> list[str]:
        return [event["reason"] for event in rig.events("director.config_rolled_back", node="lb2")]

    rig.until(lambda: "not confirmed in time" in reasons(), "the trial is over", within=WITHIN)
    rig.until(lambda: both(rig, 1), "what ran before", within=WITHIN)
    status, _, complaint = order(rig, "lb2", "config", "confirm")
    assert status == 1
    assert "no configuration is on trial here" in complaint


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

    at = time.time()
    os.kill(rig.main_pid("lb1"), signal.SIGSTOP)  # nobody brings its workers back
    for process in (Process.DIRECTORD, Process.VRRPD):
        os.kill(rig.worker(process, "lb1"), signal.SIGSTOP)
    try:
        rig.until(lambda: rig.holders() >= {"lb2"}, "lb2 holds the address", within=WITHIN)
        assert weights(rig, "lb2", name) == {0}
        rig.event("relay.peer_lost", node="lb2", since=at, within=WITHIN)
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
