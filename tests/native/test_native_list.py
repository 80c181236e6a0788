"""The program that lists without Python: what it leaves to Python, and where it is built.

Its lists are compared with ipvsadm's in ``tests/kernel/test_ipvsadm_same.py``.
"""

import importlib.util
import shutil
import subprocess
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def hook() -> ModuleType:
    specification = importlib.util.spec_from_file_location("hatch_build", ROOT / "hatch_build.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("source")
    shutil.copytree(ROOT / "lvsha/native", folder / "lvsha/native")
    return folder


@pytest.fixture(scope="module")
def program(source: Path, hook: ModuleType) -> Path:
    """Beside it a script in Python's place that says how it was called."""
    found: Path | None = hook.compiled(source)
    if found is None:
        pytest.skip("no C compiler")
    script = found.with_name("lvsha-ipvsadm.py")
    script.write_text('#!/bin/sh\nprintf "%s|" "$LVSHA_IPVSADM_NAME" "$@"\nexit 3\n')
    script.chmod(0o755)
    return found


def data(hook: ModuleType, source: Path) -> dict[str, Any]:
    found: dict[str, Any] = {"shared_scripts": {}, "pure_python": True}
    hook.Hook(str(source), {}, None, None, "", "wheel").initialize("standard", found)
    return found


@pytest.mark.parametrize(
    "words",
    [
        "",
        "-L",
        "-n -L",
        "-Lnc",
        "-Ln --stats",
        "-Ln -t 192.0.2.1:80",
        "-L -n -n",
        "-R",
        "-h",
        "--list --json",
    ],
)
def test_other_words_are_pythons(program: Path, words: str) -> None:
    done = subprocess.run(["called", *words.split()], executable=program, capture_output=True, text=True)

    assert done.stdout == "|".join(["called", *words.split(), ""])
    assert done.returncode == 3


def test_python_is_found_from_a_link_and_in_a_chroot(program: Path, tmp_path: Path) -> None:
    link = tmp_path / "ipvsadm"
    link.symlink_to(program)

    done = subprocess.run([link, "-S"], cwd="/", capture_output=True, text=True)

    assert done.stdout == f"{link}|-S|"
    assert b"/proc" not in program.read_bytes()


def test_a_list_that_cannot_be_asked_for_is_pythons(program: Path) -> None:
    """Here because the netlink socket would become its standard error."""
    done = subprocess.run(["sh", "-c", 'exec "$0" -Ln 2>&-', str(program)], capture_output=True, text=True)

    assert done.stdout == f"{program}|-Ln|"


def test_without_python_it_says_what_is_missing(program: Path, tmp_path: Path) -> None:
    alone = tmp_path / "alone"
    shutil.copy(program, alone)

    done = subprocess.run([alone, "-L"], capture_output=True, text=True)

    assert (done.returncode, done.stderr) == (2, f"{alone}.py: No such file or directory\n")


def test_with_a_compiler_the_program_is_installed_and_python_beside_it(
    hook: ModuleType, source: Path, program: Path
) -> None:
    found = data(hook, source)

    assert found["shared_scripts"] == {
        "build/native/lvsha-ipvsadm": "lvsha-ipvsadm",
        "lvsha/native/lvsha-ipvsadm": "lvsha-ipvsadm.py",
    }
    assert found["tag"].startswith("py3-none-linux_")
    assert not found["pure_python"]


def test_without_a_compiler_python_is_installed(
    hook: ModuleType, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CC", "false")

    assert data(hook, source) == {
        "shared_scripts": {"lvsha/native/lvsha-ipvsadm": "lvsha-ipvsadm"},
        "pure_python": True,
    }
