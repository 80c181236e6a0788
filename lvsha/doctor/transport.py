"""Facts as JSON, and the facts of other machines by ssh."""

import os
import select
import shlex
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from lvsha.core.errors import LvshaError
from lvsha.doctor.facts import Facts

MAX_BYTES: Final = 16 << 20
MAX_COMPLAINTS: Final = 1 << 16
GRACE_S: Final = 30.0
"""How much longer than it listens a machine may take: to log in, and to look."""
_END_S: Final = 5.0
"""From the end of its output to the end of ssh."""
SSH_FAILED: Final = 255
"""The exit status of ssh where it is not the program's."""
SHELL: Final = "ssh -o BatchMode=yes -o ConnectTimeout=10"
"""Asks for nothing; the limit counts up to the keys, for a machine that takes a connection and is silent."""


def to_json(facts: Facts) -> str:
    """One line."""
    from pydantic import TypeAdapter

    return TypeAdapter(Facts).dump_json(facts).decode()


def from_json(text: str | bytes) -> Facts:
    """Raises: LvshaError: not facts, or those of another version of lvsha."""
    from pydantic import TypeAdapter, ValidationError

    try:
        return TypeAdapter(Facts).validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise LvshaError(f"no facts ({where}: {first['msg']}): the same version of lvsha there?") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class Remote:
    """A machine that is being asked."""

    host: str
    process: "subprocess.Popen[bytes]"


def ask(host: str, arguments: Sequence[str], *, shell: str, program: str) -> Remote:
    """Starts ``ssh HOST lvsha doctor --facts ...``; all machines listen at the same time.

    Raises:
        LvshaError: the host's name is an option, or there is no ssh.
    """
    if host.startswith("-"):
        raise LvshaError(f"{host!r} is not a host")
    quoted = map(shlex.quote, arguments)  # ssh joins its arguments and hands them to a shell
    command = [*shlex.split(shell), host, *shlex.split(program), "doctor", "--facts", *quoted]
    try:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
    except OSError as error:
        raise LvshaError(f"{command[0]}: {error.strerror}; install openssh-client") from None
    return Remote(host=host, process=process)


def answer(remote: Remote, timeout_s: float) -> Facts:
    """Waits for the facts.

    Raises:
        LvshaError: there are none, and what to do.
    """
    process = remote.process
    assert process.stdout is not None
    assert process.stderr is not None
    with process.stdout as output, process.stderr as complaints:
        try:
            facts, said = _read(output.fileno(), complaints.fileno(), timeout_s)
            status = process.wait(_END_S)
            said += _rest(complaints.fileno())
        except subprocess.TimeoutExpired:
            raise LvshaError("ssh does not end") from None
        finally:
            process.kill()
            process.wait()
    if status != 0:
        raise LvshaError(refusal(remote.host, status, said.decode(errors="replace")))
    return replace(from_json(facts), host=remote.host.rpartition("@")[2])


def _read(output: int, complaints: int, limit_s: float) -> tuple[bytes, bytes]:
    """Standard output up to its end, and what came on standard error meanwhile, the last of it.

    The end of standard error is not waited for: a shared connection that ssh leaves behind keeps it open.

    Raises:
        LvshaError: it takes too long, or says too much.
    """
    end = time.monotonic() + limit_s
    files = {output, complaints}
    parts: list[bytes] = []
    said = b""
    size = 0
    while output in files:
        left = end - time.monotonic()
        ready = select.select(files, [], [], max(0.0, left))[0]
        if not ready or left < -_END_S:  # what is there already is still read
            raise LvshaError(f"no answer in {limit_s:.0f} s: it hangs; look there by hand")
        for file in ready:
            data = os.read(file, 1 << 16)
            if not data:
                files.discard(file)
            elif file == complaints:
                said = (said + data)[-MAX_COMPLAINTS:]
            else:
                parts.append(data)
                size += len(data)
        if size > MAX_BYTES:
            raise LvshaError(f"more than {MAX_BYTES >> 20} MiB")
    return b"".join(parts), said


def _rest(complaints: int) -> bytes:
    """What is there already."""
    os.set_blocking(complaints, False)
    try:
        return os.read(complaints, MAX_COMPLAINTS)
    except BlockingIOError:
        return b""


_NO_PROGRAM: Final = ("not found", "No such file")
_UNREACHABLE: Final = (
    "Connection refused",
    "timed out",
    "No route to host",
    "Network is unreachable",
    "Could not resolve",
)


def refusal(host: str, status: int, said: str) -> str:
    """What to do about a machine that gave no facts; ``said`` on standard error, by ssh or by lvsha there."""
    last = (said.strip().splitlines() or [f"exit status {status}"])[-1].strip()
    if status == SSH_FAILED:
        if "Host key verification failed" in said:
            return f"{last}: say yes to `ssh {host}` by hand once, if the key is right"
        if "Permission denied" in last:
            return f"{last}: `ssh {host} true` has to work without a password (ssh-copy-id {host})"
        if any(words in last for words in _UNREACHABLE):
            return f"{last}: is it up, is sshd running there? does `ssh {host} true` work?"
        return f"{last}: does `ssh {host} true` work without a password?"
    if status == 127 or any(words in last for words in _NO_PROGRAM):
        return "no lvsha there: `pip install lvsha` there, or say where it is with --program"
    if "there is no verb" in last:
        return "its lvsha is older and has no doctor: upgrade it"
    return f"lvsha there ended with status {status}: {last}"
