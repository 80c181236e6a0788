"""The doctor in a real set-up: silent while it is sound, and right about the faults that are made in it.

Faults that do not touch each other are made at once; ``tests/bench/bench_doctor.py`` makes
every fault by itself.
"""

import json
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.kernel.doctor_faults import FAULTS
from tests.kernel.doctor_rig import Rig
from tests.kernel.ssh_rig import PLAIN_PATH, Target, client, lvsha_path, make_keys, sshd

pytestmark = pytest.mark.kernel


@pytest.mark.parametrize("kind", ["dr", "nat", "nat-one", "tun"])
def test_sound_and_unsound(kind: str, tmp_path: Path) -> None:
    with Rig(kind) as rig:
        with rig.traffic():
            assert [str(finding) for finding in rig.diagnose(1.5)] == []
        if kind == "dr":
            by_ssh(rig, tmp_path)
        for group in ("a", "b"):
            faults = [each for each in FAULTS if each.rig == kind and each.group == group]
            if not faults:
                continue
            for fault in faults:
                fault.inject(rig)
            findings = rig.diagnose(max(fault.listen_s for fault in faults))
            rig.undo.close()
            found = {finding.kind.id for finding in findings}
            needed = {fault.finds for fault in faults}
            allowed = needed | {name for fault in faults for name in fault.with_it}
            said = "\n".join(f"{each.kind.id} {each.host}: {each.evidence}" for each in findings)
            assert needed <= found <= allowed, f"missing {needed - found}, too many {found - allowed}\n{said}"


def by_ssh(rig: Rig, folder: Path) -> None:
    """The command itself, through a real sshd: two machines with a fault each, then all who do not answer."""
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
    rig.undo.close()

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
