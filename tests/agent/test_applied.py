"""What stands in the place of the file: on trial for a while, or confirmed; the edited file wins."""

from pathlib import Path

import pytest

from lvsha.agent import applied
from lvsha.agent.applied import CONFIRMED, TRIAL, Applied, digest, in_force, keep, recall

OLD, NEW, EDITED = "old = 1\n", "new = 2\n", "edited = 3\n"
SOURCE = "/etc/lvsha/lvsha.toml"


def trial(text: str = NEW, *, over: str = OLD, until: float | None = 100.0) -> Applied:
    return Applied(text, digest(over), until, "ann", True)


def test_a_trial_stands_until_its_time_is_over(tmp_path: Path) -> None:
    keep(tmp_path, SOURCE, TRIAL, trial())

    assert in_force(tmp_path, SOURCE, OLD, at=99.9) == trial()
    assert in_force(tmp_path, SOURCE, OLD, at=100.0) is None
    assert (tmp_path / TRIAL).stat().st_mode & 0o777 == 0o600


def test_a_file_that_is_edited_meanwhile_wins(tmp_path: Path) -> None:
    keep(tmp_path, SOURCE, TRIAL, trial())
    keep(tmp_path, SOURCE, CONFIRMED, trial(until=None))

    assert in_force(tmp_path, SOURCE, EDITED, at=0) is None


def test_what_is_confirmed_stands_for_good_and_beneath_a_trial(tmp_path: Path) -> None:
    keep(tmp_path, SOURCE, CONFIRMED, trial("kept = 1\n", until=None))
    keep(tmp_path, SOURCE, TRIAL, trial())

    assert in_force(tmp_path, SOURCE, OLD, at=50.0) == trial()
    found = in_force(tmp_path, SOURCE, OLD, at=1e12)
    assert found is not None
    assert found.text == "kept = 1\n"


def test_another_file_and_a_broken_one_are_not_found(tmp_path: Path) -> None:
    keep(tmp_path, SOURCE, TRIAL, trial())
    assert recall(tmp_path, "/etc/other.toml", TRIAL) is None

    for text in (b"", b"{}", b"# lvsha in the place of {}\nx", b"\xff\n"):
        (tmp_path / TRIAL).write_bytes(text)
        assert recall(tmp_path, SOURCE, TRIAL) is None


def test_a_file_is_replaced_as_a_whole_with_its_mode_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "lvsha.toml"
    file.write_text(OLD)
    file.chmod(0o640)

    applied.write(file, NEW)
    assert (file.read_text(), file.stat().st_mode & 0o777) == (NEW, 0o640)

    def full(*_: object) -> None:
        raise OSError(28, "no space left")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="no space"):
        applied.write(file, EDITED)
    assert file.read_text() == NEW
    assert sorted(each.name for each in tmp_path.iterdir()) == ["lvsha.toml"]
