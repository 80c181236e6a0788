"""The language of keepalived.conf: lines to a tree of statements.

Source: keepalived.conf(5), sections "Configuration parser" and "Advanced
configuration": comments, quotes, continued lines, includes, ``@id`` conditions,
``$PARAMETERS``, ``~SEQ``, ``~SEQx`` and ``~LST``. What the words mean is not
known here.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from lvsha.config.importers.report import Notebook, Place, Reader

MAX_LINES: Final = 100_000
"""After expansion; a runaway ``~SEQ`` or a circle of parameters ends here."""
MAX_DEPTH: Final = 32
"""Of includes, of parameters within parameters, and of blocks."""

_DEFINITION = re.compile(r"\$([A-Za-z_][A-Za-z0-9_]*)=(.*)", re.DOTALL)
_PARAMETER = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)([^}]*)\}|\$([A-Za-z_][A-Za-z0-9_]*)(?=\s|$)")
_CONDITION = re.compile(r"@(\^?)([^\s]*)\s*")
_INCLUDE = re.compile(r"include[rmwba]?\s+(\S.*)")
_REPEAT = re.compile(r"~(SEQx?|LST)\(")
_ESCAPES: Final = {"a": "\a", "b": "\b", "E": "\x1b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """A line's words, and the block behind it if there is one."""

    words: tuple[str, ...]
    place: Place
    children: tuple["Statement", ...] | None = None

    @property
    def keyword(self) -> str:
        return self.words[0]

    @property
    def values(self) -> tuple[str, ...]:
        return self.words[1:]

    def __iter__(self) -> Iterator["Statement"]:
        return iter(self.children or ())


def statements(name: str, text: str, reader: Reader, notebook: Notebook) -> tuple[Statement, ...]:
    """The tree of a file and all that it includes. Nothing is refused: what is odd becomes a remark."""
    lines = _Preprocessor(reader, notebook).lines(name, text)
    return _tree(lines, notebook)


# --- lines ----------------------------------------------------------------------------------------


class _Preprocessor:
    def __init__(self, reader: Reader, notebook: Notebook) -> None:
        self._reader = reader
        self._notebook = notebook
        self._parameters: dict[str, list[str]] = {}
        self._count = 0
        self._stopped = False
        self._files = 0

    def lines(self, name: str, text: str) -> Iterator[tuple[Place, str]]:
        """Every line to be parsed, expanded, without its comment."""
        self._files += 1
        depth = self._files
        try:
            if depth > MAX_DEPTH:
                self._stop(Place(file=name, line=1), "include", "files include each other in a circle")
                return
            for number, line in _joined(text):
                place = Place(file=name, line=number)
                if match := _INCLUDE.fullmatch(_without_comment(line).strip()):
                    yield from self._included(match[1].strip().strip("\"'"), place)
                else:
                    yield from self._expanded(line, place, 0)
                if self._stopped:
                    return
        finally:
            self._files -= 1

    def _included(self, pattern: str, place: Place) -> Iterator[tuple[Place, str]]:
        found = list(self._reader.find(pattern, place.file))
        self._notebook.statements += 1
        if found:
            self._notebook.take()
        else:
            self._notebook.suspicious(place, "include", f"no file matches {pattern}", matters=True)
        for path, text in found:
            yield from self.lines(path, text)

    def _expanded(self, line: str, place: Place, depth: int) -> Iterator[tuple[Place, str]]:
        if depth > MAX_DEPTH:
            self._stop(place, "$", "a parameter stands for itself")
            return
        line = _without_comment(line).strip()
        while line.startswith("@"):
            match = _CONDITION.match(line)
            assert match is not None, "an @ alone is a condition too"
            names = match[2].strip("()").split("|")
            if (self._reader.config_id in names) == bool(match[1]):
                return
            line = line[match.end() :]
        if match := _DEFINITION.fullmatch(line):
            self._parameters[match[1]] = _body(match[2])
            return
        if not line:
            return
        if match := _REPEAT.match(line):
            yield from self._repeated(match, line, place, depth)
            return
        expanded = self._substituted(line, place, 0)
        if expanded != line:
            for part in expanded.split("\n"):
                yield from self._expanded(part, place, depth + 1)
                if self._stopped:
                    return
            return
        self._count += 1
        if self._count > MAX_LINES:
            self._stop(place, "~SEQ", f"the file grows beyond {MAX_LINES} lines")
            return
        yield place, line.replace(_HASH, "#").replace(_BANG, "!")

    def _substituted(self, line: str, place: Place, depth: int) -> str:
        def value(match: re.Match[str]) -> str:
            name = match[1] or match[3]
            if name in self._parameters:
                return "\n".join(self._parameters[name])
            return self._predefined(name, match[2] or "", place) or match[0]

        return _PARAMETER.sub(value, line)

    def _predefined(self, name: str, arguments: str, place: Place) -> str | None:
        if name == "_PWD":
            return place.file.rpartition("/")[0] or "."
        if name == "_INSTANCE":
            return self._reader.config_id
        if name == "_HASH":
            return _HASH
        if name == "_BANG":
            return _BANG
        if name.startswith("_ENV"):
            return self._reader.environment.get((name.removeprefix("_ENV") + arguments).strip(" _"))
        if name == "_RANDOM":
            numbers = [int(word) for word in arguments.split() if word.isdecimal()]
            return str(numbers[0] if numbers else 0)  # the least of the range: one file, one result
        return None

    def _repeated(
        self, match: re.Match[str], line: str, place: Place, depth: int
    ) -> Iterator[tuple[Place, str]]:
        end = _closing(line, match.end() - 1)
        if end < 0:
            self._notebook.suspicious(place, line[:20], "the bracket is not closed", matters=True)
            return
        inner = self._substituted(line[match.end() : end], place, 0)
        rest = line[end + 1 :].strip()
        if match[1] == "LST":
            bindings = _list_bindings(inner)
        else:
            bindings = _sequence_bindings(inner, is_hexadecimal=match[1] == "SEQx")
        if bindings is None:
            self._notebook.suspicious(place, f"~{match[1]}", f"cannot read ({inner})", matters=True)
            return
        for binding in bindings:
            for name, value in binding.items():
                self._parameters[name] = [value]
            yield from self._expanded(rest, place, depth + 1)
            if self._stopped:
                return

    def _stop(self, place: Place, keyword: str, message: str) -> None:
        if not self._stopped:
            self._notebook.lost(place, keyword, f"{message}: the rest is not read")
        self._stopped = True


_HASH: Final = "\ue000"
_BANG: Final = "\ue001"
"""Stand for # and ! that are no comment, until the line is done."""


def _joined(text: str) -> Iterator[tuple[int, str]]:
    """Lines by number of their first; continued ones as one, a definition's lines kept apart by LF."""
    pending: list[str] = []
    first = 0
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.rstrip()
        if not pending:
            first = number
        elif not line.strip() and _is_definition(pending):
            continue  # an empty line within a definition of several lines
        is_continued = line.endswith("\\")
        pending.append(line[:-1].rstrip() if is_continued else line)
        if not is_continued:
            yield first, ("\n" if _is_definition(pending) else " ").join(pending)
            pending = []
    if pending:
        yield first, ("\n" if _is_definition(pending) else " ").join(pending)


def _is_definition(lines: list[str]) -> bool:
    return len(lines) > 0 and re.fullmatch(r"\s*(@\S+\s+)?\$[A-Za-z0-9_]+=\s*", lines[0]) is not None


def _body(text: str) -> list[str]:
    lines = [line.strip() for line in text.split("\n")]
    return [line for line in lines if line] if len(lines) > 1 else lines


def _without_comment(line: str) -> str:
    if "\n" in line:
        return "\n".join(_without_comment(part) for part in line.split("\n"))
    quote = ""
    escaped = False
    for at, character in enumerate(line):
        if escaped:
            escaped = False
        elif quote:
            if character == "\\":
                escaped = True
            elif character == quote:
                quote = ""
        elif character in "\"'":
            quote = character
        elif character in "#!":
            return line[:at]
    return line


def _closing(line: str, opening: int) -> int:
    depth = 0
    for at in range(opening, len(line)):
        if line[at] in "([{":
            depth += 1
        elif line[at] in ")]}":
            depth -= 1
            if depth == 0:
                return at
    return -1


def _list_bindings(inner: str) -> list[dict[str, str]] | None:
    """``VAR, a, b`` or ``{V1, V2}, {a, b}, {c, d}``."""
    items = [item.strip() for item in re.findall(r"\{[^}]*\}|[^,{}]+", inner) if item.strip()]
    if len(items) < 2:
        return None
    names = [name.strip() for name in items[0].strip("{}").split(",")]
    bindings = []
    for item in items[1:]:
        values = [value.strip() for value in item.strip("{}").split(",")] if len(names) > 1 else [item]
        if len(values) != len(names):
            return None
        bindings.append(dict(zip(names, values, strict=True)))
    return bindings


def _sequence_bindings(inner: str, *, is_hexadecimal: bool) -> list[dict[str, str]] | None:
    """``VAR[, start][[, step], end]`` as the manual page defines it."""
    name, *texts = [part.strip() for part in inner.split(",")]
    try:
        numbers = [int(text, 0) for text in texts]
    except ValueError:
        return None
    if len(numbers) == 1:
        end = numbers[0]
        start, step = (1, 1) if end > 0 else (-1, -1)
    elif len(numbers) == 2:
        start, end = numbers
        step = 1 if end >= start else -1
    elif len(numbers) == 3:
        start, step, end = numbers
    else:
        return None
    if step == 0 or abs(end - start) // abs(step) > MAX_LINES:
        return None
    form = "{:x}" if is_hexadecimal else "{}"
    return [{name: form.format(value)} for value in range(start, end + (1 if step > 0 else -1), step)]


# --- words ----------------------------------------------------------------------------------------


def words_of(line: str) -> list[str]:
    """Split at white space; quotes hold together, and understand escapes. Braces stand alone."""
    words: list[str] = []
    current: list[str] = []
    started = False
    quote = ""
    at = 0
    while at < len(line):
        character = line[at]
        at += 1
        if quote:
            if character == quote:
                quote = ""
            elif character == "\\" and at < len(line):
                text, at = _escape(line, at)
                current.append(text)
            else:
                current.append(character)
        elif character in "\"'":
            quote, started = character, True
        elif character == "{" and current and current[-1] == "$" and (end := line.find("}", at)) > 0:
            current.append(line[at - 1 : end + 1])  # a parameter that nobody defined stays as it is
            at = end + 1
        elif character.isspace() or character in "{}":
            if started:
                words.append("".join(current))
            current, started = [], False
            if character in "{}":
                words.append(_BRACES[character])
        else:
            current.append(character)
            started = True
    if started:
        words.append("".join(current))
    return words


_OPEN: Final = "\ue002"
_CLOSE: Final = "\ue003"
_BRACES: Final = {"{": _OPEN, "}": _CLOSE}
"""Unquoted braces, told apart from quoted ones."""


def _escape(line: str, at: int) -> tuple[str, int]:
    character = line[at]
    if match := re.compile(r"[0-7]{1,3}").match(line, at):
        return chr(int(match[0], 8) & 0xFF), match.end()
    if match := re.compile(r"x([0-9A-Fa-f]+)").match(line, at):
        return chr(int(match[1], 16) & 0xFF), match.end()
    if character == "c" and at + 1 < len(line):
        return chr(ord(line[at + 1]) & 0x1F), at + 2
    return _ESCAPES.get(character, character), at + 1


# --- tree -----------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Open:
    """A block that is being read."""

    words: tuple[str, ...]
    place: Place
    children: list[Statement]


def _tree(lines: Iterator[tuple[Place, str]], notebook: Notebook) -> tuple[Statement, ...]:
    stack = [_Open(("",), Place(file="", line=0), [])]
    for place, line in lines:
        words = words_of(line)
        pending: list[str] = []

        def finish(place: Place = place, pending: list[str] = pending) -> None:
            if pending:
                stack[-1].children.append(Statement(words=tuple(pending), place=place))
                notebook.statements += 1
                pending.clear()

        for word in words:
            if word == _OPEN:
                if not pending and stack[-1].children and stack[-1].children[-1].children is None:
                    before = stack[-1].children.pop()  # the brace stands on a line of its own
                    opened = _Open(before.words, before.place, [])
                else:
                    notebook.statements += 1
                    opened = _Open(tuple(pending) or ("{",), place, [])
                pending.clear()
                if len(stack) > MAX_DEPTH:
                    notebook.lost(
                        place, "{", f"blocks are nested more than {MAX_DEPTH} deep; the rest is not read"
                    )
                    return _closed(stack)
                stack.append(opened)
            elif word == _CLOSE:
                finish()
                if len(stack) == 1:
                    notebook.suspicious(place, "}", "closes no block", matters=True)
                else:
                    done = stack.pop()
                    stack[-1].children.append(
                        Statement(words=done.words, place=done.place, children=tuple(done.children))
                    )
            else:
                pending.append(word)
        finish()
    if len(stack) > 1:
        notebook.suspicious(
            stack[-1].place, stack[-1].words[0], "this block is not closed: a } is missing", matters=True
        )
    return _closed(stack)


def _closed(stack: list[_Open]) -> tuple[Statement, ...]:
    while len(stack) > 1:
        done = stack.pop()
        stack[-1].children.append(
            Statement(words=done.words, place=done.place, children=tuple(done.children))
        )
    return tuple(stack[0].children)
