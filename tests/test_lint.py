"""`./run lint` as a test, so that one command says everything."""

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.timeout(600)  # mypy without its cache, on a busy machine
def test_linters_have_nothing_to_say() -> None:
    result = subprocess.run(
        ["./run", "lint"], cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )

    assert result.returncode == 0, result.stdout + result.stderr
