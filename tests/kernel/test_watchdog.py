"""The kernel's own software watchdog: started, petted, left to a successor, closed."""

import os
import subprocess
from pathlib import Path

import pytest

from lvsha.io.watchdog import WatchdogDevice

pytestmark = pytest.mark.kernel

CLASS = Path("/sys/class/watchdog")


@pytest.fixture
def device(tmp_path: Path) -> str:
    """Its path. It bites nobody (``soft_noboot``)."""
    before = set(CLASS.iterdir()) if CLASS.exists() else set()
    folders = ["-d", "/run/lm"] if Path("/run/lm").exists() else []
    subprocess.run(["modprobe", *folders, "softdog", "soft_noboot=1"], check=True)
    (folder,) = set(CLASS.iterdir()) - before
    major, minor = map(int, (folder / "dev").read_text().split(":"))
    path = tmp_path / "watchdog"
    os.mknod(path, 0o600 | 0o020000, os.makedev(major, minor))
    return str(path)


def test_a_softdog(device: str) -> None:
    dog = WatchdogDevice(device, 600)

    dog.pet()

    assert (dog.facts.timeout_s, dog.facts.can_stop) == (600, True)
    assert "Watchdog" in dog.facts.identity
    with pytest.raises(OSError, match="busy"):
        WatchdogDevice(device, 600)
    dog.close(stop=False)
    WatchdogDevice(device, 600).close(stop=True)
