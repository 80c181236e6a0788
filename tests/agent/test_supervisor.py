"""Who may run in a run directory, and what a worker that cannot start means."""

import os
from pathlib import Path

import pytest

from lvsha.agent.supervisor import AlreadyRunning, lock_run_dir
from lvsha.core.errors import LvshaError


def test_a_second_agent_is_refused_with_the_first_ones_pid(tmp_path: Path) -> None:
    first = lock_run_dir(tmp_path, "vrrpd")

    with pytest.raises(AlreadyRunning, match=rf"pid {os.getpid()}.*stop it first") as refusal:
        lock_run_dir(tmp_path, "vrrpd")

    assert "\n" not in str(refusal.value)
    os.close(first)


def test_the_lock_of_an_agent_that_is_gone_holds_nobody_up(tmp_path: Path) -> None:
    os.close(lock_run_dir(tmp_path, "vrrpd"))

    os.close(lock_run_dir(tmp_path, "vrrpd"))


def test_a_run_directory_without_room_for_a_socket_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LvshaError, match="shorter"):
        lock_run_dir(tmp_path / ("x" * 120), "vrrpd")
