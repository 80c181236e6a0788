"""Kernel settings, on a folder that stands for ``/proc/sys``."""

import errno
from pathlib import Path

import pytest

from lvsha.core.errors import KernelError
from lvsha.io.sysctl import (
    SavedSysctl,
    change_sysctls,
    read_sysctl,
    restore_sysctls,
    sysctl_path,
    write_sysctl,
)

NAME = "net.ipv4.vs.sync_threshold"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "net/ipv4/vs"
    folder.mkdir(parents=True)
    (folder / "sync_threshold").write_text("3\t50\n")
    (folder / "drop_entry").write_text("0\n")
    return tmp_path


def test_several_values_are_separated_by_single_blanks(root: Path) -> None:
    assert read_sysctl(NAME, root=root) == "3 50"


def test_what_is_written_is_read(root: Path) -> None:
    write_sysctl(NAME, "0 0", root=root)

    assert read_sysctl(NAME, root=root) == "0 0"
    assert sysctl_path(NAME, root).read_text().startswith("0 0\n")


def test_a_setting_that_this_kernel_lacks_is_not_made(root: Path) -> None:
    with pytest.raises(KernelError) as caught:
        write_sysctl("net.ipv4.vs.nosuch", "1", root=root)

    assert caught.value.errno == errno.ENOENT
    assert "no such setting" in str(caught.value)
    assert not (root / "net/ipv4/vs/nosuch").exists()


def test_a_setting_that_cannot_be_read_is_a_kernel_error(root: Path) -> None:
    with pytest.raises(KernelError, match=r"read net\.ipv4\.vs\.nosuch"):
        read_sysctl("net.ipv4.vs.nosuch", root=root)


def test_the_dot_in_an_interface_is_a_slash() -> None:
    path = sysctl_path("net.ipv4.conf.eth0/10.arp_ignore", Path("/proc/sys"))

    assert path == Path("/proc/sys/net/ipv4/conf/eth0.10/arp_ignore")


@pytest.mark.parametrize("name", ["", "net..ipv4", ".net", "net.//.passwd", "net./.x"])
def test_a_name_never_leads_out_of_the_tree(name: str) -> None:
    with pytest.raises(ValueError, match="not the name of a kernel setting"):
        sysctl_path(name)


def test_only_what_differs_is_changed_and_what_failed_is_told(root: Path) -> None:
    saved, failures = change_sysctls(
        {NAME: "0  0", "net.ipv4.vs.drop_entry": "0", "net.ipv4.vs.nosuch": "1"}, root=root
    )

    assert saved == [SavedSysctl(name=NAME, before="3 50", ours="0 0")]
    assert [failure.errno for failure in failures] == [errno.ENOENT]


def test_restoring_leaves_what_somebody_else_set_meanwhile(root: Path) -> None:
    saved, _ = change_sysctls({NAME: "0 0", "net.ipv4.vs.drop_entry": "1"}, root=root)
    (root / "net/ipv4/vs/drop_entry").write_text("3\n")

    failures = restore_sysctls(saved, root=root)

    assert failures == []
    assert read_sysctl(NAME, root=root) == "3 50"
    assert read_sysctl("net.ipv4.vs.drop_entry", root=root) == "3"


def test_what_cannot_be_restored_is_told_and_the_rest_is_done(root: Path) -> None:
    saved, _ = change_sysctls({NAME: "0 0", "net.ipv4.vs.drop_entry": "1"}, root=root)
    (root / "net/ipv4/vs/drop_entry").unlink()

    failures = restore_sysctls(saved, root=root)

    assert [failure.errno for failure in failures] == [errno.ENOENT]
    assert read_sysctl(NAME, root=root) == "3 50"
