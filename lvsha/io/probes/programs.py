"""Probes that ask this machine: a program, a file."""

import contextlib
import os
import select
import signal
import subprocess
from typing import Any

from lvsha.checker.probes.dialogue import Verdict
from lvsha.checker.probes.file import CONTENT_LIMIT
from lvsha.checker.probes.file import judge as judge_file
from lvsha.checker.probes.program import judge as judge_program
from lvsha.checker.result import Reason, bounded_detail
from lvsha.checker.settings import ExecOptions, FileOptions
from lvsha.core.instant import Instant
from lvsha.io.probes.engine import Done, Engine
from lvsha.io.probes.prepare import Prepared
from lvsha.io.probes.probe import Probe

_OUTPUT_LIMIT = 4096
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class ProgramProbe(Probe):
    """One run of a program, in a session of its own: the whole process group ends with it."""

    __slots__ = ("_options", "_output", "_pidfd", "_process")

    def __init__(self, engine: Engine, check_id: str, prepared: Prepared, done: Done) -> None:
        super().__init__(engine, check_id, prepared, done)
        options = prepared.settings.options
        assert isinstance(options, ExecOptions), "an exec check has a command"
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None
        self._pidfd = -1
        self._output = -1

    def start(self) -> None:
        settings = self.prepared.settings
        reading, writing = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._output = reading
        try:
            self._process = subprocess.Popen(
                self._options.argv,
                stdin=subprocess.DEVNULL,
                stdout=writing,
                stderr=writing,
                cwd="/",
                env={
                    "PATH": os.environ.get("PATH", _PATH),
                    "LVSHA_CHECK_ADDRESS": str(settings.address),
                    "LVSHA_CHECK_PORT": str(settings.port),
                },
                start_new_session=True,
                **_rights(self._options.user),
            )
            self._pidfd = os.pidfd_open(self._process.pid)
        except (OSError, KeyError, ValueError) as error:
            words = f"{self._options.argv[0]}: {error.strerror if isinstance(error, OSError) else error}"
            self.conclude(Verdict(Reason.MISCONFIGURED, bounded_detail(words)), ours=True)
            return
        finally:
            os.close(writing)
        self.engine.put(self, Instant(self.started + settings.timeout))
        self.engine.watch(self._pidfd, self, select.EPOLLIN)

    def release(self) -> None:
        self._end_group()
        if self._pidfd >= 0:
            self.engine.unwatch(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = -1
        if self._output >= 0:
            os.close(self._output)
            self._output = -1

    def timed_out(self) -> Verdict:
        return Verdict(Reason.TIMEOUT, bounded_detail(f"{self._options.argv[0]} was still running: killed"))

    def on_event(self, mask: int) -> None:
        said = b""
        with contextlib.suppress(OSError):
            said = os.read(self._output, _OUTPUT_LIMIT)
        status = self._end_group()
        if status is not None:
            self.conclude(judge_program(self._options, status, said))

    def _end_group(self) -> int | None:
        """Kill what runs, reap the program; its exit status, None: it was not running."""
        process, self._process = self._process, None
        if process is None:
            return None
        # Before it is reaped, so that the number of the group is still its own.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        return process.wait()  # at once: it is dead, or SIGKILL has just made it so


def _rights(user: str | None) -> dict[str, Any]:
    """Keywords for Popen.

    Raises:
        KeyError: there is no such user.
    """
    if user is None:
        return {}
    import pwd

    entry = pwd.getpwnam(user)
    return {
        "user": entry.pw_uid,
        "group": entry.pw_gid,
        "extra_groups": os.getgrouplist(user, entry.pw_gid),
    }


class FileProbe(Probe):
    """One look at a file."""

    __slots__ = ()

    def start(self) -> None:
        options = self.prepared.settings.options
        assert isinstance(options, FileOptions), "a file check has a path"
        content: bytes | None = None
        try:
            descriptor = os.open(options.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                content = os.read(descriptor, CONTENT_LIMIT)
            finally:
                os.close(descriptor)
        except FileNotFoundError:
            pass
        except OSError as error:
            if not options.weight_from_content and os.path.exists(options.path):
                content = b""  # it is there, though we may not read it
            elif error.errno is not None and not options.weight_from_content:
                words = f"{options.path}: {error.strerror}"
                self.conclude(Verdict(Reason.MISCONFIGURED, bounded_detail(words)), ours=True)
                return
        self.conclude(judge_file(options, content))

    def release(self) -> None:
        pass

    def timed_out(self) -> Verdict:
        raise AssertionError("a look at a file waits for nothing")
