"""The last configuration that was not refused, beside the agent's other state.

A file that is broken when the agent starts must not take the services with it: the agent
then runs by this copy, and says so until a good file is loaded. Its first line names the
file that it is a copy of, so that another file's start never finds it.
"""

import contextlib
import os
import re
import tomllib
from pathlib import Path
from typing import NamedTuple

NAME = "last-good.toml"
_HEAD = "# last good configuration of "
_STATE_DIR = re.compile(r"""^\s*state_dir\s*=\s*(["'])(/[^"']*)\1""", re.MULTILINE)


class LastGood(NamedTuple):
    text: str
    at: float
    """When it was loaded first, seconds since 1970."""


def keep(state_dir: Path, source: str, text: str) -> None:
    """Of the same text nothing is written. Readable by its owner alone: it may hold secrets.

    Raises:
        OSError: it cannot be written.
    """
    whole = f"{_HEAD}{os.path.abspath(source)}\n{text}".encode()
    path = state_dir / NAME
    with contextlib.suppress(OSError):
        if path.read_bytes() == whole:
            return
    state_dir.mkdir(parents=True, exist_ok=True)
    # Two supervisors may do it at the same time, each with a file of its own.
    new = state_dir / f".{NAME}.{os.getpid()}"
    try:
        fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with open(fd, "wb") as file:
            file.write(whole)
            file.flush()
            os.fsync(fd)
        new.replace(path)
    except OSError:
        new.unlink(missing_ok=True)
        raise


def recall(state_dir: Path, source: str) -> LastGood | None:
    """What was kept of this file."""
    path = state_dir / NAME
    try:
        head, _, text = path.read_bytes().decode().partition("\n")
        at = path.stat().st_mtime
    except (OSError, UnicodeDecodeError):
        return None
    return LastGood(text, at) if head == f"{_HEAD}{os.path.abspath(source)}" else None


def state_dir_of(text: str, default: str) -> str:
    """Where a file that may not parse says that its state is."""
    with contextlib.suppress(tomllib.TOMLDecodeError, AttributeError):
        said = tomllib.loads(text).get("agent", {}).get("state_dir")
        if isinstance(said, str):
            return said
    found = _STATE_DIR.search(text)
    return found[2] if found is not None else default
