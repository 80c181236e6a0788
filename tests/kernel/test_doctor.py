"""The doctor in a real set-up: silent while it is sound, and right about the faults that are made in it.

Faults that do not touch each other are made at once; ``tests/bench/bench_doctor.py`` makes
every fault by itself.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.kernel.doctor_faults import FAULTS
from tests.kernel.doctor_rig import Rig

pytestmark = pytest.mark.kernel


@pytest.mark.parametrize("kind", ["dr", "nat", "nat-one", "tun"])
def test_sound_and_unsound(kind: str) -> None:
    with Rig(kind) as rig:
        with rig.traffic():
            assert [str(finding) for finding in rig.diagnose(1.5)] == []
        if kind == "dr":
            commanded(rig)
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


def commanded(rig: Rig) -> None:
    """The command itself, asking another machine as it would by ssh, with one fault."""
    rig.ip("rs1", "address del 10.0.0.10/32 dev lo")
    lvsha = str(Path(sys.executable).with_name("lvsha"))
    command = [lvsha, "doctor", "--json", "--listen=0", "--here", "--host=rs1", "--name=lb1"]
    with rig.spaces["lb1"].entered():
        done = subprocess.run(
            [*command, "--ssh=ip netns exec", f"--program={lvsha}"],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
    rig.ip("rs1", "address add 10.0.0.10/32 dev lo")
    report = json.loads(done.stdout)
    assert done.returncode == 1, done.stderr
    assert [(each["id"], each["host"]) for each in report["findings"]] == [("vip-missing-on-lo", "rs1")]
    assert {each["host"]: each["role"] for each in report["hosts"]} == {
        "lb1": "director",
        "rs1": "realserver",
    }
