"""Facts as JSON, and the facts of other machines by ssh."""

import shlex
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from lvsha.core.errors import LvshaError
from lvsha.doctor.facts import Facts
from lvsha.doctor.programs import read_all

MAX_BYTES: Final = 16 << 20
GRACE_S: Final = 30.0
"""How much longer than it listens a machine may take: to log in, and to look."""


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


def answer(remote: Remote, timeout_s: float, rename: Callable[[Facts, str], Facts]) -> Facts:
    """Waits for the facts.

    Raises:
        LvshaError: there are none, and what to do.
    """
    process = remote.process
    assert process.stdout is not None
    assert process.stderr is not None
    with process:
        try:
            output = read_all(process.stdout.fileno(), timeout_s, MAX_BYTES)
        except LvshaError as error:
            process.kill()
            raise LvshaError(f"{remote.host}: {error}") from None
        said = process.stderr.read(4096)
    status = process.returncode
    if status == 0:
        try:
            return rename(from_json(output), remote.host)
        except LvshaError as error:
            raise LvshaError(f"{remote.host}: {error}") from None
    last = said.decode(errors="replace").strip().splitlines()[-1:] or [f"exit status {status}"]
    if status == 127 or "not found" in last[0] or "No such file" in last[0]:
        raise LvshaError(
            f"{remote.host}: no lvsha there: `pip install lvsha` there, or say where it is with --program"
        )
    if "there is no verb" in last[0]:
        raise LvshaError(f"{remote.host}: its lvsha is older and has no doctor: upgrade it")
    raise LvshaError(f"{remote.host}: {last[0]}; does `ssh {remote.host} true` work without a password?")
