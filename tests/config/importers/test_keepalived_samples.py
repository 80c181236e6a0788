"""keepalived's own samples: all are read, and of what keepalived complains we have a remark."""

import re
import subprocess
from pathlib import Path

import pytest

from lvsha.config.importers.convert import detect, to_toml, verified
from lvsha.config.importers.keepalived import convert_keepalived
from lvsha.config.importers.report import Imported, Reader, Remark
from lvsha.config.load import loads

SAMPLES = sorted(Path("/usr/share/doc/keepalived/samples").glob("keepalived.conf.*"))
FAULTED = {
    "SSL_GET": "auth_type",
    "fwmark": "protocol",
    "track_interface": "virtual_routes",
    "vrrp.localcheck": "vrrp_script",
    "vrrp.lvs_syncd": "lvs_sync_daemon_interface",
    "vrrp.routes": "virtual_routes",
    "vrrp.rules": "virtual_rules",
    "vrrp.static_ipaddress": "virtual_routes",
}
"""Those that keepalived 2.2.7 ends with a status other than 0 for (``-t -i high``), and our word for why."""

pytestmark = pytest.mark.skipif(len(SAMPLES) != 25, reason="keepalived's samples are not installed")


def converted(path: Path) -> tuple[Imported, str, tuple[Remark, ...]]:
    result = convert_keepalived(path.name, path.read_text(), Reader(config_id="high"))
    text = to_toml(result)
    return result, text, verified(result, text, path.name)


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.suffix)
def test_every_sample_is_read(path: Path) -> None:
    result, text, remarks = converted(path)

    assert detect(path.read_text()) == "keepalived"
    assert result.blocks
    assert 0 < result.carried <= result.statements
    assert not [remark for remark in remarks if "unknown" in remark.message]
    refused = [remark.message for remark in remarks if "lvsha refuses this part" in remark.message]
    if path.suffix == ".virtual_server_group":  # a realserver with the address of the virtual one
        assert len(refused) == 1
    else:
        assert not refused
        loads(text, node="director")


def test_whole_samples() -> None:
    """How many are carried over without a remark that matters."""
    whole = [path for path in SAMPLES if not any(remark.matters for remark in converted(path)[2])]

    assert len(whole) == 15


@pytest.mark.parametrize("name", FAULTED)
def test_a_sample_that_keepalived_faults_has_our_remark(name: str) -> None:
    (path,) = (each for each in SAMPLES if each.name == f"keepalived.conf.{name}")

    assert FAULTED[name] in {remark.keyword for remark in converted(path)[2]}


@pytest.mark.interop
def test_each_line_that_keepalived_complains_of_has_a_remark() -> None:
    """Not what it says of interfaces that this machine does not have."""
    complaints = {}
    for path in SAMPLES:
        command = ["keepalived", "-t", "-i", "high", "-f", str(path)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=20)
        for line in (done.stdout + done.stderr).splitlines():
            if (found := re.search(r"Line (\d+)\) (.*)", line)) and "doesn't exist" not in line:
                complaints[path, int(found[1])] = found[2]

    remarks = {(path, remark.place.line) for path in SAMPLES for remark in converted(path)[2]}

    assert len(complaints) >= 12
    assert not {at: text for at, text in complaints.items() if at not in remarks}
