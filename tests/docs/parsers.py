"""Shows a command line to the parsers that would read it, and does nothing more."""

import argparse
import contextlib
import io
import re
import shlex
from collections.abc import Iterator, Sequence
from typing import Any

from lvsha.cli import main as command
from lvsha.cli.ipvs_more import take
from lvsha.io.names import SystemNames
from lvsha.ipvs.ipvsadm.command import parse
from lvsha.ipvs.ipvsadm.errors import UsageError

_ENDS = {"|", "||", "&&", "&", ";", "(", ")"}
_REDIRECTIONS = {"<", ">", ">>", "<<"}


class _Parsed(Exception):
    """The words were understood."""


@contextlib.contextmanager
def _stopping_after_the_parser() -> Iterator[None]:
    args, known = argparse.ArgumentParser.parse_args, argparse.ArgumentParser.parse_known_args
    depth = 0

    def parse_known_args(parser: argparse.ArgumentParser, *words: Any, **named: Any) -> Any:
        nonlocal depth
        depth += 1
        try:
            found = known(parser, *words, **named)
        finally:
            depth -= 1
        if depth:
            return found  # called for the verb of a verb, or by parse_args
        raise _Parsed

    def parse_args(parser: argparse.ArgumentParser, *words: Any, **named: Any) -> Any:
        nonlocal depth
        depth += 1
        try:
            args(parser, *words, **named)
        finally:
            depth -= 1
        raise _Parsed

    setattr(argparse.ArgumentParser, "parse_known_args", parse_known_args)  # noqa: B010 - mypy
    setattr(argparse.ArgumentParser, "parse_args", parse_args)  # noqa: B010
    try:
        yield
    finally:
        setattr(argparse.ArgumentParser, "parse_known_args", known)  # noqa: B010
        setattr(argparse.ArgumentParser, "parse_args", args)  # noqa: B010


def complaint(words: Sequence[str]) -> str:
    """What ``lvsha WORDS`` has against its words; empty: nothing."""
    if words[:1] == ["ipvs"] and not (words[1:] and words[1] in ("diff", "sysctl", "top")):
        try:
            parse(take(list(words[1:]))[1], SystemNames())
        except UsageError as error:
            return str(error) or "wrong usage"
        return ""
    said = io.StringIO()
    with _stopping_after_the_parser(), contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
        try:
            status = command.main(words)
        except _Parsed:
            return ""
        except SystemExit as ended:
            status = int(ended.code or 0)
    return (said.getvalue().strip().splitlines() or ["wrong usage"])[-1] if status == 2 else ""


def commands(script: str) -> list[list[str]]:
    """The words of each command of ours in a shell script, without what the shell takes for itself.

    Raises:
        ValueError: a quotation has no end.
    """
    found: list[list[str]] = []
    for line in script.replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(re.sub(r" 2>\S+", "", line), posix=True, punctuation_chars="();<>|&")
        lexer.whitespace_split = True
        segment: list[str] = []
        skips = False
        for word in [*lexer, ";"]:
            if word in _ENDS:
                found += _ours(segment)
                segment = []
            elif word in _REDIRECTIONS:
                skips = True
            elif skips:
                skips = False
            else:
                segment.append(word)
    return found


def _ours(words: Sequence[str]) -> list[list[str]]:
    rest = list(words)
    while rest and (re.match(r"[A-Z_]+=", rest[0]) or rest[0] == "do"):
        rest.pop(0)
    if not rest or rest[0] not in ("lvsha", ".venv/bin/lvsha"):
        return []
    argv = rest[1:]
    inner = argv[argv.index("--") + 1 :] if "--" in argv else []
    return [argv, *_ours(inner)]
