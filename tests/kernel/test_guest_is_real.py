"""The kernel tier stands on a kernel that has IPVS."""

import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.kernel


def test_kernel_has_ipvs() -> None:
    assert Path("/proc/net/ip_vs").read_text(encoding="ascii").startswith("IP Virtual Server version")


def test_ipvsadm_can_change_and_read_the_table() -> None:
    subprocess.run(["ipvsadm", "-A", "-t", "192.0.2.1:80", "-s", "wlc"], check=True)
    try:
        listed = subprocess.run(["ipvsadm", "-Ln"], capture_output=True, text=True, check=True).stdout
    finally:
        subprocess.run(["ipvsadm", "-D", "-t", "192.0.2.1:80"], check=True)

    assert "TCP  192.0.2.1:80 wlc" in listed
