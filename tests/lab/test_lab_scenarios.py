"""Whole scenarios with real directors on a real kernel, played as a user plays them."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.kernel, pytest.mark.timeout(240)]

ROOT = Path(__file__).resolve().parents[2]


def play(folder: Path, *words: str) -> tuple[int, dict[str, Any]]:
    target = folder / "result.json"
    command = [sys.executable, "-m", "lvsha.cli.main", "lab", "run", *words, "--json", str(target)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert target.exists(), f"{done.stdout}\n{done.stderr}"
    result: dict[str, Any] = json.loads(target.read_text())
    return done.returncode, result


@pytest.mark.parametrize("method", ["dr", "nat"])
def test_young_connections_survive_the_crash_of_their_director(method: str, tmp_path: Path) -> None:
    status, result = play(tmp_path, "crash", "--crash-after", "0.1", "--method", method)

    assert result["connections"] == {"established": 100, "survived": 100}, result["verdict"]
    assert result["double_holder_ms"] == 0
    assert status == 0


def test_nobody_loses_a_connection_when_the_master_is_stopped(tmp_path: Path) -> None:
    status, result = play(tmp_path, "planned")

    assert result["connections"] == {"established": 100, "survived": 100}, result["verdict"]
    assert status == 0


def test_a_killed_directord_is_not_noticed(tmp_path: Path) -> None:
    """Its successor adopts the table: it is never emptied, and nobody takes over."""
    status, result = play(tmp_path, "agent-kill", "--process", "directord")

    assert result["connections"] == {"established": 100, "survived": 100}, result["verdict"]
    assert (result["takeovers"], result["times_bound"], result["table_emptied_ms"]) == (0, 0, None)
    assert status == 0


def test_the_lab_sees_a_connection_die(tmp_path: Path) -> None:
    """keepalived leaves young connections to the kernel's part-filled buffer; the probe must notice."""
    if shutil.which("keepalived") is None:
        pytest.skip("keepalived is not installed: apt-get install keepalived")

    status, result = play(tmp_path, "crash", "--director", "keepalived", "--crash-after", "0.1")

    assert result["connections"]["established"] == 100
    assert result["connections"]["survived"] < 100
    assert result["connections_died"]["ECONNRESET"] == 100 - result["connections"]["survived"]
    assert status == 1
    shutil.rmtree(result["artifacts"])
