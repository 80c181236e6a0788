"""Processes of our own that take orders and answer, each a JSON line.

Forked rather than started: on user-mode Linux a new Python costs a quarter of a second, a fork a few
milliseconds. Only for single-threaded parents.
"""

import contextlib
import json
import os
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lvsha.lab.errors import LabError
from lvsha.lab.netns import Namespace


class Helper:
    """A forked process that runs ``work``, with its stdin and stdout in our hands."""

    def __init__(
        self,
        name: str,
        work: Callable[[], None],
        *,
        namespace: Namespace | None,
        log: Path,
        nice: int = 0,
        realtime: int = 0,
    ) -> None:
        """``realtime``: 1-99, before every process of less; 0: an ordinary one, of this nice value."""
        self.name = name
        self._log = log
        self._buffer = b""
        order_r, self._order_w = os.pipe()
        self._answer_r, answer_w = os.pipe()
        sys.stdout.flush()
        self.pid = os.fork()
        if self.pid == 0:
            _become(work, namespace, order_r, answer_w, (self._order_w, self._answer_r), log, nice, realtime)
        os.close(order_r)
        os.close(answer_w)
        self._running = True

    def send(self, order: dict[str, Any]) -> None:
        """Give it a line; it is read when it comes to it."""
        with contextlib.suppress(BrokenPipeError):
            os.write(self._order_w, json.dumps(order).encode() + b"\n")

    def receive(self, timeout_s: float) -> dict[str, Any]:
        """Its next answer.

        Raises:
            LabError: it ended, or said nothing for ``timeout_s``.
        """
        line = self.line(timeout_s)
        if line is None:
            raise LabError(f"{self.name} said nothing for {timeout_s:.0f} s: {self._last_words()}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def line(self, timeout_s: float) -> bytes | None:
        """Its next line; None when there is none in time."""
        end = time.monotonic() + timeout_s
        while b"\n" not in self._buffer:
            readable, _, _ = select.select([self._answer_r], [], [], max(0.0, end - time.monotonic()))
            if not readable:
                return None
            data = os.read(self._answer_r, 1 << 20)
            if not data:
                raise LabError(f"{self.name} ended: {self._last_words()}")
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line

    def kill(self) -> None:
        """End it at once; again and again does no harm."""
        if self._running:
            self._running = False
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(self.pid, 0)
            os.close(self._order_w)
            os.close(self._answer_r)

    def _last_words(self) -> str:
        text = self._log.read_text() if self._log.exists() else ""
        return text.strip().splitlines()[-1] if text.strip() else f"see {self._log}"


def _become(
    work: Callable[[], None],
    namespace: Namespace | None,
    order_r: int,
    answer_w: int,
    others: tuple[int, ...],
    log: Path,
    nice: int,
    realtime: int,
) -> None:
    """The child's whole life."""
    status = 1
    try:
        for fd in others:
            os.close(fd)
        log_fd = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        for source, target in ((order_r, 0), (answer_w, 1), (log_fd, 2)):
            os.dup2(source, target)
        sys.stdin, sys.stdout, sys.stderr = os.fdopen(0), os.fdopen(1, "w"), os.fdopen(2, "w")
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        if namespace is not None:
            namespace.enter()
        if realtime:
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(realtime))
        elif nice:
            os.nice(nice)
        work()
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)
