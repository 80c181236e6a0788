"""Another version takes over a running supervisor: what is handed over, and what is not begun with."""

import json
import os
import sys
import textwrap
import time
from pathlib import Path

import pytest

from lvsha.agent import renewal
from lvsha.agent.renewal import Handed, Rehearsal, own_command, received


def rehearsed(program: str) -> str:
    rehearsal = Rehearsal([sys.executable, "-c", program])
    while (problem := rehearsal.problem()) is None:
        time.sleep(0.005)  # another process's doing
    return problem


def test_a_version_that_would_start_is_begun_with() -> None:
    assert rehearsed(f"import sys; assert sys.argv[-1] == {renewal.REHEARSE!r}") == ""


@pytest.mark.parametrize(
    ("program", "problem"),
    [
        ("import lvsha_that_is_half_unpacked", "No module named 'lvsha_that_is_half_unpacked'"),
        ("import sys; print('first'); sys.exit('lvsha agent: unknown key')", "lvsha agent: unknown key"),
        ("import sys; sys.exit(3)", "it ended with status 3"),
        ("import os; os.kill(os.getpid(), 9)", "it ended with status -9"),
    ],
)
def test_a_version_that_would_not_start_says_why(program: str, problem: str) -> None:
    assert rehearsed(program).endswith(problem)


def test_a_version_that_never_gets_ready_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(renewal, "_LIMIT_S", 0.0)

    assert "not ready" in rehearsed("import time; time.sleep(600)")


def test_a_start_like_any_other_is_handed_nothing() -> None:
    assert received() is None


NEXT = """
import os, sys
from lvsha.agent.renewal import received
handed = received()
(name, pid, fd), = handed.children
os.write(fd, f"{name} {pid} {os.getpid()} {os.environ['NOTIFY_SOCKET']} {received()}".encode())
os.fstat(handed.locks[0])
assert not os.get_inheritable(fd) and not os.get_inheritable(handed.locks[0])
"""

BEFORE = """
import os, sys
from lvsha.agent.renewal import Handed, hand_over
lock = os.open("/dev/null", os.O_RDONLY)
report = int(sys.argv[1])
os.set_inheritable(report, False)
hand_over(
    [sys.executable, "-c", sys.argv[2]],
    Handed(children=(("vrrpd", 77, report),), locks=(lock,), notify_socket="/run/notify"),
)
"""


def test_what_is_handed_over_survives_the_change_of_program() -> None:
    read_end, write_end = os.pipe()
    os.set_inheritable(write_end, True)
    pid = os.posix_spawn(
        sys.executable,
        [sys.executable, "-c", textwrap.dedent(BEFORE), str(write_end), textwrap.dedent(NEXT)],
        os.environ,
    )
    os.close(write_end)

    with os.fdopen(read_end) as report:
        said = report.read()
    _, status = os.waitpid(pid, 0)

    assert (said, status) == (f"vrrpd 77 {pid} /run/notify None", 0)


def test_a_program_that_cannot_be_executed_changes_nothing(tmp_path: Path) -> None:
    read_end, write_end = os.pipe()
    handed = Handed(children=(("vrrpd", 77, write_end),), locks=(read_end,))

    with pytest.raises(FileNotFoundError):
        renewal.hand_over([str(tmp_path / "none")], handed)

    assert not os.get_inheritable(write_end)
    assert received() is None
    os.close(read_end)
    os.close(write_end)


def test_only_a_program_that_was_called_as_an_agent_is_called_again(monkeypatch: pytest.MonkeyPatch) -> None:
    argv = ["-f", "/etc/lvsha/lvsha.toml"]
    monkeypatch.setattr(sys, "orig_argv", ["python3", "-Es", "/opt/lvsha/bin/lvsha", "agent", *argv])
    assert own_command(argv) == (sys.executable, "-Es", "/opt/lvsha/bin/lvsha", "agent", *argv)

    monkeypatch.setattr(sys, "orig_argv", ["python3", "-m", "lvsha.lab.play", json.dumps(argv)])
    assert own_command(argv) is None
