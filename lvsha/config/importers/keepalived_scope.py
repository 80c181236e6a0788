"""Reading one block of keepalived.conf: a method for each keyword, a reason for each other one."""

import difflib
from collections.abc import Callable, Iterable, Mapping
from typing import NoReturn

from lvsha.config.importers.keepalived_keywords import REASONS, known
from lvsha.config.importers.keepalived_text import Statement
from lvsha.config.importers.report import Notebook

Handler = Callable[[Statement], None]

_TRUE = {"on", "true", "yes"}
_FALSE = {"off", "false", "no"}


def read_block(block: Iterable[Statement], handlers: Mapping[str, Handler], notebook: Notebook) -> None:
    """Each statement goes to its handler, which raises ValueError for a value that it cannot read."""
    for statement in block:
        handler = handlers.get(statement.keyword)
        if handler is None:
            leave_out(statement, notebook)
            continue
        before = len(notebook.remarks), notebook.carried
        try:
            handler(statement)
        except (ValueError, IndexError) as error:
            said = str(error) if isinstance(error, ValueError) and str(error) else "its value is missing"
            notebook.suspicious(statement.place, statement.keyword, f"{said}: left out", matters=True)
        else:
            if before == (len(notebook.remarks), notebook.carried):
                notebook.take()


def leave_out(statement: Statement, notebook: Notebook) -> None:
    """Say why a statement is not carried over."""
    word = statement.keyword
    if reason := REASONS.get(word):
        notebook.lost(statement.place, word, reason.text, matters=reason.matters)
        return
    near = difflib.get_close_matches(word, known(), n=1, cutoff=0.75)
    if word in known():
        notebook.suspicious(statement.place, word, "does not belong into this block", matters=True)
    elif near:
        notebook.suspicious(statement.place, word, f"unknown; did you mean {near[0]}?", matters=True)
    else:
        notebook.suspicious(statement.place, word, "unknown to keepalived and to lvsha", matters=True)


def refuse(message: str) -> NoReturn:
    raise ValueError(message)


def number(statement: Statement, low: int, high: int) -> int:
    """The value, a whole number in a range.

    Raises:
        ValueError, IndexError: it is none.
    """
    return whole(statement.values[0], low, high)


def whole(text: str, low: int, high: int) -> int:
    if not text.lstrip("-").isdecimal() or not text.isascii():
        refuse(f"{text!r} is not a whole number")
    value = int(text)
    if not low <= value <= high:
        refuse(f"{value} is not between {low} and {high}")
    return value


def seconds(statement: Statement) -> float:
    """A TIMER.

    Raises:
        ValueError, IndexError: it is none.
    """
    text = statement.values[0]
    try:
        value = float(text)
    except ValueError:
        refuse(f"{text!r} is not a number of seconds")
    if not 0 <= value < 1e8:
        refuse(f"{text} is not a time")
    return value


def truth(statement: Statement) -> bool:
    """A BOOL; a bare keyword is true."""
    if not statement.values:
        return True
    word = statement.values[0].lower()
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    refuse(f"{statement.values[0]!r} is neither on nor off")


def duration(value: float) -> str:
    """Seconds as a duration of lvsha's file.

    >>> duration(0.1), duration(6), duration(1.5)
    ('100ms', '6s', '1500ms')
    """
    milliseconds = round(value * 1000)
    return f"{milliseconds // 1000}s" if milliseconds % 1000 == 0 else f"{milliseconds}ms"
