"""Another version of lvsha takes the place of a running supervisor, and no address moves.

``exec`` keeps the process: its children stay its children, its locks stay held, and systemd sees the
same main process. So the workers of the old version go on while the new one starts; then it replaces
them one after another, as if they had died: directord leaves the kernel as it is, and the successor of
vrrpd is warm before vrrpd is killed. Before all this the new version is rehearsed: a program that does
not start, or is not complete yet, is not begun with.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import NoReturn

REHEARSE = "--rehearse"
_VARIABLE = "LVSHA_HANDED_OVER"
_LIMIT_S = 300.0
_ERROR_MAX = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Handed:
    """What the program before us has left open for us."""

    children: tuple[tuple[str, int, int], ...]
    """Each worker's name, process and control descriptor."""
    locks: tuple[int, ...]
    """Descriptors that hold the run directory."""
    notify_socket: str | None = None


def received() -> Handed | None:
    """What was handed over to this process, the first time it is asked; None: a start like any other."""
    text = os.environ.pop(_VARIABLE, None)
    if text is None:
        return None
    fields = json.loads(text)
    if fields["notify_socket"] is not None:
        os.environ["NOTIFY_SOCKET"] = fields["notify_socket"]
    children = tuple((name, pid, fd) for name, pid, fd in fields["children"])
    for fd in (*(fd for _, _, fd in children), *fields["locks"]):
        os.set_inheritable(fd, False)
    return Handed(children=children, locks=tuple(fields["locks"]), notify_socket=fields["notify_socket"])


def hand_over(command: Sequence[str], handed: Handed) -> NoReturn:
    """Be the program that is on the disk now.

    Raises:
        OSError: it cannot be executed; nothing has changed.
    """
    descriptors = (*(fd for _, _, fd in handed.children), *handed.locks)
    for fd in descriptors:
        os.set_inheritable(fd, True)
    sys.stderr.flush()
    try:
        environment = os.environ | {_VARIABLE: json.dumps(asdict(handed))}
        os.execve(command[0], list(command), environment)
    except OSError:
        for fd in descriptors:
            os.set_inheritable(fd, False)
        raise


def own_command(argv: Sequence[str]) -> tuple[str, ...] | None:
    """How this program was called, which is ``lvsha agent`` with ``argv``; None: it was not, but forked."""
    if sys.orig_argv[-len(argv) - 1 :] != ["agent", *argv]:
        return None
    return (sys.executable, *sys.orig_argv[1:])


class Rehearsal:
    """The program that is on the disk now, asked whether it would start. It runs beside us."""

    def __init__(self, command: Sequence[str]) -> None:
        self._process = subprocess.Popen(
            [*command, REHEARSE],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        self._deadline = time.monotonic() + _LIMIT_S

    def problem(self) -> str | None:
        """Why it would not start, empty when it would; None: it is not known yet."""
        status = self._process.poll()
        if status is None:
            if time.monotonic() < self._deadline:
                return None
            self.close()
            return f"it was not ready after {_LIMIT_S:.0f} s"
        assert self._process.stderr is not None
        with self._process.stderr as stream:
            # What is left of it in the pipe; a process that ended writes no more.
            said = stream.read().decode(errors="replace").strip()
        if status == 0:
            return ""
        return (said.splitlines() or [f"it ended with status {status}"])[-1][:_ERROR_MAX]

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.communicate()
