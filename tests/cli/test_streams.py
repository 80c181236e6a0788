"""Nobody listens, the disk is full, the terminal knows no letters: no command ends in a traceback."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

CAPTURE = str(Path(__file__).parents[2] / "proto/captures/v1_tcp_droute.pcap")
COMMANDS = [["--help"], ["sync", "decode", CAPTURE], ["config", "schema", "--markdown"]]
PROGRAM = [sys.executable, "-m", "lvsha.cli.main"]


def run(words: list[str], *, out: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """``out``: a redirection of the shell's."""
    return subprocess.run(
        ["sh", "-c", f'exec "$@" {out}', "sh", *PROGRAM, *words],
        stderr=subprocess.PIPE,
        env={**os.environ, **environment},
        check=False,
    )


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_output_that_cannot_be_taken_is_no_traceback(words: list[str]) -> None:
    full = run(words, out=">/dev/full")
    assert (full.returncode, full.stderr) == (
        1,
        b"lvsha: No space left on device: what was to be written is not complete\n",
    )

    closed = run(words, out=">&-")
    assert (closed.returncode, closed.stderr) == (0, b"")

    letters = run(words, out=">/dev/null", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0", LC_ALL="C")
    assert (letters.returncode, letters.stderr) == (0, b"")


def test_a_reader_that_goes_is_no_error() -> None:
    """More than a pipe holds, and nobody reads it."""
    reader, writer = os.pipe()
    command = subprocess.Popen(
        [*PROGRAM, "config", "schema", "--markdown"], stdout=writer, stderr=subprocess.PIPE
    )
    os.close(writer)
    os.close(reader)

    _, err = command.communicate()

    assert (command.returncode, err) == (0, b"")
