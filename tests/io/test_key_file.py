"""Whose file of keys is taken, and what is said of another."""

import os
from pathlib import Path

import pytest

from lvsha.core.errors import ConfigErrors
from lvsha.io.key_file import read_key_text

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="gives a file away")


def key_file(folder: Path, mode: int, *, uid: int | None = None) -> Path:
    path = folder / "relay.key"
    path.write_text("secret\n")
    if uid is not None:
        os.chown(path, uid, uid)
    path.chmod(mode)
    return path


@as_root
@pytest.mark.parametrize("mode", [0o600, 0o640])
def test_roots_file_may_be_read_by_a_group(mode: int, tmp_path: Path) -> None:
    assert read_key_text(key_file(tmp_path, mode), "sync.relay.key_file") == "secret\n"


@pytest.mark.parametrize("mode", [0o604, 0o620, 0o660])
def test_a_file_that_others_may_read_or_change_is_refused(mode: int, tmp_path: Path) -> None:
    path = key_file(tmp_path, mode)

    with pytest.raises(ConfigErrors, match=f"chmod 600 {path}"):
        read_key_text(path, "sync.relay.key_file")


@as_root
def test_a_group_that_somebody_else_chose_is_refused(tmp_path: Path) -> None:
    path = key_file(tmp_path, 0o640, uid=4321)

    with pytest.raises(ConfigErrors, match="read by others"):
        read_key_text(path, "sync.relay.key_file")


@as_root
def test_who_may_not_read_it_is_told_how_to_let_him(tmp_path: Path) -> None:
    path = key_file(tmp_path, 0o600)
    tmp_path.chmod(0o755)
    for folder in list(tmp_path.parents)[:2]:
        folder.chmod(0o755)
    os.setegid(4321)
    os.seteuid(4321)
    try:
        with pytest.raises(ConfigErrors, match=f"chown root:4321 {path} && chmod 640 {path}"):
            read_key_text(path, "sync.relay.key_file")
    finally:
        os.seteuid(0)
        os.setegid(0)
