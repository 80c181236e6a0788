"""The doctor in a real set-up: silent while it is sound, and right about the faults that are made in it.

Faults that do not touch each other are made at once; ``tests/bench/bench_doctor.py`` makes
every fault by itself.
"""

import pytest

from tests.kernel.doctor_faults import FAULTS
from tests.kernel.doctor_rig import Rig

pytestmark = pytest.mark.kernel


@pytest.mark.parametrize("kind", ["dr", "nat", "nat-one", "tun"])
def test_sound_and_unsound(kind: str) -> None:
    with Rig(kind) as rig:
        with rig.traffic():
            assert [str(finding) for finding in rig.diagnose(1.5)] == []
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
