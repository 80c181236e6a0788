"""IPVS settings that somebody else changes are set again, and told once."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lvsha.agent import kernel_sync
from lvsha.agent.kernel_sync import KernelSync
from lvsha.core.errors import KernelError


class Journal:
    def __init__(self) -> None:
        self.lines: list[tuple[str, dict[str, Any]]] = []

    def write(self, event: str, **values: Any) -> None:
        self.lines.append((event, values))


class Kernel:
    """``net.ipv4.vs`` of a machine."""

    def __init__(self, **values: str) -> None:
        self.values = {f"net.ipv4.vs.{name}": value for name, value in values.items()}
        self.writes: list[tuple[str, str]] = []

    def read(self, name: str) -> str:
        if name not in self.values:
            raise KernelError(f"read {name}", 2)
        return self.values[name]

    def write(self, name: str, value: str) -> None:
        self.writes.append((name, value))
        self.values[name] = value


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    kernel = Kernel(sync_threshold="0 0", drop_entry="1")
    monkeypatch.setattr(kernel_sync, "read_sysctl", kernel.read)
    monkeypatch.setattr(kernel_sync, "write_sysctl", kernel.write)
    return kernel


WANTED = {"sync_threshold": "0 0", "drop_entry": "1", "of_a_newer_kernel": "1"}


def test_a_changed_setting_is_set_again_and_told_once(kernel: Kernel, tmp_path: Path) -> None:
    journal: Any = Journal()
    ipvs: Any = None
    sync = KernelSync(None, ipvs, journal, tmp_path)
    sync.repair_sysctls(WANTED)
    assert (kernel.writes, journal.lines) == ([], [])

    for _ in range(2):
        kernel.values["net.ipv4.vs.sync_threshold"] = "3\t50"
        sync.repair_sysctls(WANTED)

    assert kernel.writes == [("net.ipv4.vs.sync_threshold", "0 0")] * 2
    assert journal.lines == [
        (
            "sync.sysctl_drifted",
            {"sysctl": "net.ipv4.vs.sync_threshold", "found": "3\t50", "wanted": "0 0"},
        )
    ]


def test_the_kernels_own_step_from_1_to_2_is_no_drift(kernel: Kernel, tmp_path: Path) -> None:
    journal: Any = Journal()
    ipvs: Any = None
    kernel.values["net.ipv4.vs.drop_entry"] = "2"

    KernelSync(None, ipvs, journal, tmp_path).repair_sysctls(WANTED)

    assert kernel.writes == []


def test_without_synchronisation_the_files_settings_are_kept_and_put_back(
    kernel: Kernel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernel_sync, "remove_private_link", lambda: None)
    journal: Any = Journal()
    ipvs: Any = SimpleNamespace(stop_daemon=lambda role: None)
    kernel.values["net.ipv4.vs.amemthresh"] = "1024"
    sync = KernelSync(None, ipvs, journal, tmp_path, {"drop_entry": "3", "amemthresh": "4096"})

    sync.start()
    assert kernel.values["net.ipv4.vs.drop_entry"] == "3"

    sync.reconfigure(None, {"amemthresh": "4096"})
    assert (kernel.values["net.ipv4.vs.drop_entry"], kernel.values["net.ipv4.vs.amemthresh"]) == ("1", "4096")

    KernelSync(None, ipvs, journal, tmp_path, {"amemthresh": "4096"}).stop()  # after the first was killed
    assert kernel.values["net.ipv4.vs.amemthresh"] == "1024"
