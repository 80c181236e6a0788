"""docs/reference/sync-protocol.md proves what it says with vectors and captures that there are."""

import re
from pathlib import Path

from lvsha.core.errors import DropReason
from tests.conformance.ipvs_sync_vectors import load_vectors
from tests.conformance.sync_captures import capture_paths

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "reference" / "sync-protocol.md").read_text(encoding="utf-8")


def test_every_vector_it_names_exists_and_every_reason_is_explained() -> None:
    vectors = load_vectors()
    named = set(re.findall(r"\bv[01]\.[a-z0-9_]+", PAGE))
    reasons = {problem.reason for vector in vectors for problem in vector.problems} - {
        DropReason.NEVER_HASHED
    }

    assert named <= {vector.name for vector in vectors}
    assert len(named) > 100
    assert {reason for reason in reasons if f"`{reason}`" not in PAGE} == set()


def test_every_capture_it_names_exists() -> None:
    readme = (ROOT / "proto" / "README.md").read_text(encoding="utf-8")
    captures = {path.stem for path in capture_paths()}

    assert set(re.findall(r"capture\s+(v[01]_[a-z0-9_]+)", PAGE)) <= captures
    assert {name for name in captures if f"`{name}`" not in readme} == set()
