"""Reading a configuration file for the director that runs on this machine."""

import hashlib
import socket
import sys
import tomllib
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from lvsha.config.load import Loader, loads
from lvsha.config.settings import Settings
from lvsha.config.shared import shared_generation
from lvsha.core.addr import Address
from lvsha.core.errors import ConfigErrors, ConfigProblem, LvshaError

DEFAULT_FILE = "/etc/lvsha/lvsha.toml"


def read(name: str) -> str:
    """The text of a file; ``-`` is the standard input.

    What another program reads may be in ISO 8859-1: to that, bytes are bytes.

    Raises:
        ConfigErrors: it is not text.
        LvshaError: it cannot be read.
    """
    try:
        data = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
    except OSError as error:
        raise LvshaError(f"{name}: {error.strerror}; name the configuration file") from None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if (text := _foreign(name, data)) is not None:
            return text
        line = data.count(b"\n", 0, error.start) + 1
        problem = ConfigProblem(
            path="TOML", message="is not UTF-8 text", line=line, suggestion="iconv -t UTF-8"
        )
        raise ConfigErrors(name, [problem]) from None


def _foreign(name: str, data: bytes) -> str | None:
    from lvsha.config.importers.convert import detect

    text = data.decode("iso-8859-1")
    return text if not name.endswith(".toml") and b"\0" not in data and detect(text) else None


def local_addresses() -> set[Address]:
    """Every address that this machine holds now."""
    from lvsha.io.rtnl import RouteSocket

    with RouteSocket() as routes:
        return {address.prefix.ip for address in routes.addresses()}


def load(
    name: str, node: str | None = None, loader: Loader | None = None, *, text: str | None = None
) -> tuple[Settings, tuple[ConfigProblem, ...]]:
    """Settings and warnings for ``node``, or for the director that this machine is.

    ``loader``: who read the version before. ``text`` stands in the place of what the file says.

    A file of keepalived, ldirectord, ipvsadm or the LVS configure script is converted;
    what became of its statements are warnings then.

    Raises:
        ConfigErrors: every problem of the file.
        LvshaError: it cannot be read.
    """
    addresses = local_addresses() if node is None else set()
    text = read(name) if text is None else text
    generation = hashlib.sha256(text.encode()).hexdigest()[:12]
    text, remarks = native(name, text)
    settings, warnings = (loader or Loader()).load(
        text, name, node, hostname=socket.gethostname(), local_addresses=addresses
    )
    shared = shared_generation(text)
    return replace(settings, generation=generation, shared=shared), (*remarks, *warnings)


def load_for_any(name: str) -> Settings:
    """The settings of the file's first director: for what is the same for all of them.

    Raises:
        ConfigErrors, LvshaError: as ``load``.
    """
    text, _ = native(name, read(name))
    return loads(text, name, first_director(text))


def first_director(text: str) -> str | None:
    """The name that comes first in ``[directors]``; None if there is none, or no TOML."""
    try:
        directors = tomllib.loads(text).get("directors")
    except (tomllib.TOMLDecodeError, RecursionError):
        return None  # who loads it says what is wrong
    return next(iter(directors), None) if isinstance(directors, dict) else None


def native(name: str, text: str) -> tuple[str, tuple[ConfigProblem, ...]]:
    """The text itself, or what it is as lvsha's own configuration, with what became of its statements.

    Raises:
        LvshaError: a file that it includes cannot be read.
    """
    if name.endswith(".toml"):
        return text, ()
    from lvsha.config.importers.convert import detect, to_toml

    if (kind := detect(text)) is None:
        return text, ()
    from lvsha.cli.config_convert import converted

    result = converted(name, text, kind)
    return to_toml(result), tuple(
        ConfigProblem(path=remark.keyword, message=f"{remark.fate}: {remark.message}", line=remark.place.line)
        for remark in result.remarks
    )


def problem_lines(source: str, problems: Iterable[ConfigProblem], *, prefix: str = "") -> list[str]:
    """``FILE:LINE: path: message (suggestion)``, as editors and grep take it."""
    return [
        f"{source}{f':{problem.line}' if problem.line is not None else ''}: {prefix}{problem.path}: "
        f"{problem.message}{f' ({problem.suggestion})' if problem.suggestion else ''}"
        for problem in problems
    ]
