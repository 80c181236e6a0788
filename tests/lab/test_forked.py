"""A program that begins as a fork is started, seen and ended as one that is executed."""

import os
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from lvsha.lab.forked import Forked
from lvsha.lab.netns import Namespace

ENVIRONMENT = {"WORD": "of its own"}


class Here(Namespace):
    """No namespace of its own."""

    def enter(self) -> None:
        pass


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module that can be run; the test writes it."""
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path / "forked_program.py"


def start(
    program: Path, *arguments: str, environment: Mapping[str, str] = ENVIRONMENT
) -> tuple[Forked, Path]:
    log = program.with_suffix(".log")
    with log.open("wb") as file:
        forked = Forked(
            program.stem, arguments, namespace=Here("here"), log=file.fileno(), environment=environment
        )
    return forked, log


def test_it_has_its_arguments_its_environment_and_its_log(program: Path) -> None:
    program.write_text("import os, sys\nprint(sys.argv[1:], dict(os.environ), __name__)\nsys.exit(3)\n")

    forked, log = start(program, "-f", "file")

    assert forked.wait(30.0) == 3
    assert log.read_text() == "['-f', 'file'] {'WORD': 'of its own'} __main__\n"


def test_it_is_the_first_of_a_session_and_ends_by_a_signal(program: Path) -> None:
    program.write_text("import signal\nwhile True:\n    signal.pause()\n")
    forked, _ = start(program)

    assert forked.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        forked.wait(0.0)
    while os.getsid(forked.pid) != forked.pid:  # it comes to that
        pass
    forked.send_signal(signal.SIGKILL)
    assert forked.wait(30.0) == -signal.SIGKILL
    forked.terminate()  # again does no harm


def test_an_error_of_it_is_told(program: Path) -> None:
    program.write_text("raise ValueError('no good')\n")

    forked, log = start(program)

    assert forked.wait(30.0) == 1
    assert "ValueError: no good" in log.read_text()
