"""A configuration that stands in the place of the file: on trial, or confirmed where the file is read-only.

``lvsha config apply`` does not touch the agent's file before it is confirmed. The text lies
in the state directory; whoever loads the configuration takes it instead of the file
(``in_force``) until its time is over. So nothing has to be brought back after a crash or a
reboot: a trial that is over is not looked at. It holds for the very text of the file that it
was tried over: a file that is edited meanwhile wins.
"""

import contextlib
import hashlib
import json
import os
from pathlib import Path
from typing import NamedTuple

TRIAL = "trial.toml"
CONFIRMED = "confirmed.toml"
_HEAD = "# lvsha in the place of "


class Applied(NamedTuple):
    """One of them."""

    text: str
    over: str
    """``digest`` of the file's text."""
    until: float | None
    """Seconds since 1970; None: confirmed."""
    owner: str
    pair: bool
    """The other director tries it as well."""

    @property
    def generation(self) -> str:
        return digest(self.text)


def digest(text: str) -> str:
    """What ``lvsha status`` calls a generation."""
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def in_force(state_dir: Path, source: str, text: str, *, at: float) -> Applied | None:
    """What stands in the place of ``source``, whose text this is; None: the file itself."""
    for name in (TRIAL, CONFIRMED):
        found = recall(state_dir, source, name)
        if found is not None and found.over == digest(text) and (found.until is None or at < found.until):
            return found
    return None


def recall(state_dir: Path, source: str, name: str) -> Applied | None:
    """What lies there for this file, over or not."""
    try:
        head, _, text = (state_dir / name).read_bytes().decode().partition("\n")
        said = json.loads(head.removeprefix(_HEAD))
        if said["file"] != os.path.abspath(source):
            return None
        until = said["until"]
        return Applied(
            text,
            str(said["over"]),
            None if until is None else float(until),
            str(said["owner"]),
            bool(said["pair"]),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def keep(state_dir: Path, source: str, name: str, applied: Applied) -> None:
    """Whole or not at all; readable by its owner alone: it may hold secrets.

    Raises:
        OSError: it cannot be written.
    """
    head = {
        "file": os.path.abspath(source),
        "over": applied.over,
        "until": applied.until,
        "owner": applied.owner,
        "pair": applied.pair,
    }
    state_dir.mkdir(parents=True, exist_ok=True)
    write(state_dir / name, f"{_HEAD}{json.dumps(head)}\n{applied.text}", mode=0o600)


def forget(state_dir: Path, *names: str) -> None:
    for name in names:
        with contextlib.suppress(OSError):
            (state_dir / name).unlink()


def write(path: Path, text: str, *, mode: int | None = None) -> None:
    """Replace a file as a whole; ``mode`` None: as the old one's.

    Raises:
        OSError: it is as it was.
    """
    if mode is None:
        mode = path.stat().st_mode & 0o777
    new = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
        with open(fd, "wb") as file:
            file.write(text.encode())
            file.flush()
            os.fsync(fd)
        new.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            new.unlink()
        raise
