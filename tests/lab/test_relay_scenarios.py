"""No connection lost where the kernel alone loses all of them; real directors, real kernel."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.kernel, pytest.mark.timeout(240)]

ROOT = Path(__file__).resolve().parents[2]


def play(folder: Path, *words: str) -> dict[str, Any]:
    target = folder / "result.json"
    command = [sys.executable, "-m", "lvsha.cli.main", "lab", "run", *words, "--json", str(target)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert target.exists(), f"{done.stdout}\n{done.stderr}"
    result: dict[str, Any] = json.loads(target.read_text())
    return result


def test_a_director_that_joins_late_gets_every_connection(tmp_path: Path) -> None:
    result = play(tmp_path, "late-joiner", "--connections", "200")

    assert result["connections"] == {"established": 200, "survived": 200}, result["verdict"]


def test_a_director_that_boots_again_has_every_connection_before_the_other_one_dies(tmp_path: Path) -> None:
    """UDP flows of persistent services over IPv6: templates travel too."""
    result = play(tmp_path, "second-failure", "--protocol", "udp", "--family", "6")

    assert result["survived_first_failure"] == 100
    assert result["connections"] == {"established": 100, "survived": 100}, result["verdict"]


def test_a_director_takes_its_address_back_with_every_connection(tmp_path: Path) -> None:
    result = play(tmp_path, "failback", "--method", "nat")

    assert result["survived_failback"] == 100
    assert result["connections"] == {"established": 100, "survived": 100}, result["verdict"]
