"""The program around the grammar, with a kernel that is a fake socket."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lvsha.cli import ipvsadm
from lvsha.cli.ipvsadm import Program
from lvsha.io.netlink import NetlinkError
from lvsha.ipvs.ipvsadm.names import Names


class FakeRows:
    """Takes every request but those whose index among all it was told to refuse."""

    info = (0x010201, 4096)

    def __init__(self, *refused: int) -> None:
        self.refused = refused
        self.batches: list[int] = []

    def apply(self, payloads: list[bytes]) -> list[tuple[int, int, str]]:
        before = sum(self.batches)
        self.batches.append(len(payloads))
        return [
            (index - before, 17, "") for index in self.refused if before <= index < before + len(payloads)
        ]

    def close(self) -> None:
        pass


def run(kernel: Any, *words: str, stdin: list[str]) -> tuple[int, str, list[str]]:
    err: list[str] = []
    told: list[str] = []
    program = Program(
        name="ipvsadm",
        connect=lambda: kernel,
        names=Names(),
        stdin=stdin,
        err=err.append,
        progress=told.append,
    )
    return program.run(words), "".join(err), told


def lines(count: int) -> list[str]:
    return [f"-A -f {mark}\n" for mark in range(1, count + 1)]


def test_lines_are_sent_in_batches_and_refusals_told_by_line() -> None:
    kernel = FakeRows(1, 450)

    status, err, told = run(kernel, "-R", stdin=lines(ipvsadm.BATCH + 60))

    assert kernel.batches == [ipvsadm.BATCH, 60]
    assert err == ("Service already exists (line 2: -A -f 2)\nService already exists (line 451: -A -f 451)\n")
    assert told == ["\r400 lines\r"]
    assert status == 0


def test_the_last_lines_refusal_is_the_exit_status() -> None:
    """ipvsadm's way; see docs/reference/ipvs.md."""
    status, _, _ = run(FakeRows(2), "-R", stdin=lines(3))

    assert status == 255


def test_a_word_that_is_no_option_ends_one_line_a_wrong_number_ends_all() -> None:
    kernel = FakeRows()

    status, err, _ = run(kernel, "-R", stdin=["-A -f 1\n", "-A -q\n", "-A -f 2\n", "-A -f 0\n", "-A -f 3\n"])

    assert status == 2
    assert sum(kernel.batches) == 2
    assert err.splitlines() == [
        "-q: unknown option (line 2: -A -q)",
        "invalid fwmark value `0' specified (line 4: -A -f 0)",
    ]


@pytest.mark.parametrize(
    ("errno", "reason"), [(1, "Permission denied (you must be root)"), (2, "Protocol not available")]
)
def test_a_kernel_without_ipvs_is_told_as_ipvsadm_tells_it(errno: int, reason: str) -> None:
    def connect() -> Any:
        raise NetlinkError(errno)

    err: list[str] = []
    status = Program(name="ipvsadm", connect=connect, names=Names(), err=err.append).run(["-Ln"])

    assert status == 2
    assert "".join(err).splitlines() == [
        f"Can't initialize ipvs: {reason}",
        "Are you sure that IP Virtual Server is built in the kernel or as module?",
    ]


@pytest.mark.parametrize("words", [["sysctl", "--json"], ["-h"], ["top", "--help"]])
def test_what_the_installed_program_prints_arrives(words: list[str]) -> None:
    """It ends without the interpreter's cleaning up: nothing may be left in a buffer."""
    script = Path(__file__).parents[2] / "lvsha" / "native" / "lvsha-ipvsadm"

    done = subprocess.run([sys.executable, script, *words], capture_output=True, text=True, check=True)

    assert len(done.stdout) > 300


def test_a_full_disk_is_told() -> None:
    script = Path(__file__).parents[2] / "lvsha" / "native" / "lvsha-ipvsadm"

    with open("/dev/full", "w", encoding="ascii") as full:
        done = subprocess.run(
            [sys.executable, script, "sysctl"], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )

    assert done.returncode == 1
    assert "could not be written" in done.stderr
