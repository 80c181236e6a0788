"""Every finding has its page, its place in the index, and a fault that is injected for it."""

from collections import Counter
from pathlib import Path

import pytest

from lvsha.doctor.catalogue import ALL, BY_ID, Kind
from tests.kernel.doctor_faults import FAULTS, NO_IP_VS

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.id)
def test_a_finding_has_a_page_that_the_index_names(kind: Kind) -> None:
    index = (ROOT / "docs/failures/README.md").read_text()

    assert "**What to do.**" in (ROOT / kind.page).read_text()
    assert f"({kind.id}.md)" in index


def test_the_reference_has_a_row_for_each_finding() -> None:
    """As ``--list`` says it, and with what was injected."""
    page = (ROOT / "docs/reference/doctor.md").read_text()
    rows = {row.split("`")[1]: row for row in page.splitlines() if row.startswith("| [`")}
    injected = Counter(fault.finds for fault in (*FAULTS, NO_IP_VS))

    assert set(rows) == set(BY_ID)
    for kind in ALL:
        count = injected[kind.id]
        said = f"| {kind.severity.value} | {kind.title} | {count} / {count} |"
        assert rows[kind.id].endswith(f"(../failures/{kind.id}.md) {said}")


def test_every_finding_is_injected_and_every_fault_finds_something_that_exists() -> None:
    injected = {fault.finds for fault in (*FAULTS, NO_IP_VS)}

    assert injected == set(BY_ID)
    assert {name for fault in FAULTS for name in fault.with_it} <= set(BY_ID)
    assert len(BY_ID) == len(ALL)
