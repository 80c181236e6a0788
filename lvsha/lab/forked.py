"""A Python program that begins as a fork of ours, with its modules loaded.

Starting the interpreter and reading a director's modules takes user-mode Linux seconds, and half a minute
where its machine is busy. A lab that plays hundreds of runs loads them once. Only for parents of one thread.
"""

import importlib
import os
import runpy
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Iterable, Mapping, Sequence

from lvsha.lab.netns import Namespace

_POLL_S = 0.01
_FILES = 4096


def load(modules: Iterable[str]) -> None:
    """Here, once, for all forks; the parent must do it before the first one."""
    for module in modules:
        importlib.import_module(module)


class Forked:
    """``python -m MODULE ARGUMENT...`` without the start; has what is used here of ``subprocess.Popen``."""

    def __init__(
        self,
        module: str,
        arguments: Sequence[str],
        *,
        namespace: Namespace,
        log: int,
        environment: Mapping[str, str],
    ) -> None:
        """``log``: a descriptor that takes what it prints. It leads a session of its own."""
        sys.stdout.flush()
        sys.stderr.flush()
        self.returncode: int | None = None
        self.pid = os.fork()
        if self.pid == 0:
            _become(module, arguments, namespace, log, environment)

    def poll(self) -> int | None:
        """Its exit status, minus the signal that ended it; None: it runs."""
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Raises: subprocess.TimeoutExpired."""
        end = None if timeout is None else time.monotonic() + timeout
        while (status := self.poll()) is None:
            if end is not None and time.monotonic() > end:
                raise subprocess.TimeoutExpired(str(self.pid), timeout or 0.0)
            time.sleep(_POLL_S)
        return status

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)


def _become(
    module: str, arguments: Sequence[str], namespace: Namespace, log: int, environment: Mapping[str, str]
) -> None:
    """The child's whole life."""
    status = 1
    try:
        os.setsid()
        nothing = os.open(os.devnull, os.O_RDONLY)
        for source, target in ((nothing, 0), (log, 1), (log, 2)):
            os.dup2(source, target)
        namespace.enter()
        os.closerange(3, _FILES)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        os.environ.clear()
        os.environ.update(environment)
        sys.stdin, sys.stdout, sys.stderr = os.fdopen(0), os.fdopen(1, "w", 1), os.fdopen(2, "w", 1)
        sys.argv = [module, *arguments]
        runpy.run_module(module, run_name="__main__", alter_sys=True)
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
