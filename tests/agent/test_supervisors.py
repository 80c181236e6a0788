"""Who is told to reload: the holders of the locks, nobody else."""

import os
from pathlib import Path

from lvsha.agent.config_life import supervisors
from lvsha.agent.supervisor import lock_run_dir


def test_a_lock_that_nobody_holds_names_nobody(tmp_path: Path) -> None:
    """Its number may be anybody's by now."""
    held = lock_run_dir(tmp_path, "directord")
    (tmp_path / "vrrpd.lock").write_text("1\n")

    assert supervisors(tmp_path) == {os.getpid()}

    os.close(held)
    assert supervisors(tmp_path) == set()
