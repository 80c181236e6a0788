"""The doctor asks other machines through Debian's own sshd."""

import json
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.kernel.doctor_rig import Rig
from tests.kernel.ssh_rig import PLAIN_PATH, Target, client, lvsha_path, make_keys, sshd

pytestmark = pytest.mark.kernel


@pytest.mark.timeout(300)
def test_two_machines_with_a_fault_each_and_all_who_do_not_answer(tmp_path: Path) -> None:
    with Rig("dr") as rig:
        merged, refused = looked_at(rig, tmp_path)

    assert [(each["id"], each["host"]) for each in merged["findings"]] == [
        ("vip-missing-on-lo", "rs1"),
        ("expire-nodest-conn", "lb1"),
    ], merged
    assert merged["hosts"] == [{"host": "lb1", "role": "director"}, {"host": "rs1", "role": "realserver"}]
    assert (refused["hosts"], refused["findings"]) == ([], [])
    why = {each["host"]: each["why"] for each in refused["blind_spots"]}
    assert "pip install lvsha" in why.pop("bare"), refused
    assert "ssh-copy-id locked" in why.pop("locked"), refused
    assert "timed out" in why.pop("mute"), refused
    assert "Connection refused" in why.pop("closed"), refused
    assert "is sshd running there" in why.pop("gone"), refused
    assert not why


def looked_at(rig: Rig, folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """What is said of two machines that answer, and of five that do not."""
    make_keys(folder)
    shell = client(
        folder,
        {
            "lb1": Target(rig.address("lb1")),
            "rs1": Target(rig.address("rs1")),
            "bare": Target(rig.address("lb2")),
            "locked": Target(rig.address("lb1"), key="unknown"),
            "mute": Target(rig.address("rs2"), limit_s=3),
            "closed": Target(rig.address("client")),
            "gone": Target("10.0.0.77", limit_s=10),
        },
    )
    paths = {"lb1": lvsha_path(), "rs1": lvsha_path(), "lb2": PLAIN_PATH}

    rig.ip("rs1", "address del 10.0.0.10/32 dev lo", "address add 10.0.0.10/32 dev lo")
    rig.sysctl("lb1", "net/ipv4/vs/expire_nodest_conn", "1")
    with rig.spaces["rs2"].entered():
        mute = socket.create_server(("", 22))  # its backlog takes the connection, nobody speaks
    with mute, sshd(rig, folder, paths), rig.spaces["client"].entered():
        merged = asked(shell, "root@lb1", "root@rs1")
        refused = asked(shell, "bare", "locked", "mute", "closed", "gone")
    return merged, refused


def asked(shell: str, *hosts: str) -> dict[str, Any]:
    """What the command says of them; each that does not answer has one line on standard error."""
    command = [
        str(Path(sys.executable).with_name("lvsha")),
        "doctor",
        "--json",
        "--listen=0",
        f"--ssh={shell}",
    ]
    done = subprocess.run(
        [*command, *(f"--host={host}" for host in hosts)],
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == 1, done.stderr
    report = json.loads(done.stdout)
    silent = [each for each in report["blind_spots"] if each["what"] == "host"]
    assert len(done.stderr.splitlines()) == len(silent)
    return dict(report)
