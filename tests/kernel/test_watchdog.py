"""The kernel's own software watchdog: started, petted, stopped by a magic close, or not."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from lvsha.io.watchdog import WatchdogDevice

pytestmark = pytest.mark.kernel

CLASS = Path("/sys/class/watchdog")


@pytest.fixture(params=[False, True], ids=["stops", "nowayout"])
def device(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, Path, bool]]:
    """Its path, its folder in sysfs, whether it has no way out. It bites nobody (``soft_noboot``)."""
    no_way_out: bool = request.param
    words = ["softdog", "soft_noboot=1", f"nowayout={no_way_out:d}"]
    before = set(CLASS.iterdir()) if CLASS.exists() else set()
    folders = ["-d", "/run/lm"] if Path("/run/lm").exists() else []
    if subprocess.run(["modprobe", "-q", *folders, *words], check=False).returncode:
        pytest.skip("this kernel has no softdog")
    new = set(CLASS.iterdir()) - before
    if not new:
        pytest.skip("softdog was loaded already, by somebody else")
    (folder,) = new
    major, minor = map(int, (folder / "dev").read_text().split(":"))
    path = tmp_path / "watchdog"
    os.mknod(path, 0o600 | 0o020000, os.makedev(major, minor))
    yield str(path), folder, no_way_out
    if not no_way_out:  # else it holds its module
        subprocess.run(["modprobe", "-q", *folders, "-r", "softdog"], check=True)


def test_a_softdog(device: tuple[str, Path, bool]) -> None:
    path, folder, no_way_out = device
    dog = WatchdogDevice(path, 600)

    dog.pet()

    facts = dog.facts
    assert (facts.timeout_s, facts.can_stop) == (600, not no_way_out)
    assert "Watchdog" in facts.identity
    assert (folder / "state").read_text().strip() == "active"
    with pytest.raises(OSError, match="busy"):
        WatchdogDevice(path, 600)
    dog.close(stop=False)
    assert (folder / "state").read_text().strip() == "active", "a successor has 600 s to come"

    WatchdogDevice(path, 600).close(stop=True)
    assert (folder / "state").read_text().strip() == ("active" if no_way_out else "inactive")
