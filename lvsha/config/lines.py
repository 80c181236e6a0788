"""On which line of a TOML text each value begins.

``tomllib`` gives values without places and pydantic gives paths without lines;
this scanner closes the gap: ``service[2].realservers[0].port`` is on line 31.
It only has to find keys, so it knows strings, arrays and inline tables and
takes every other value as a run of characters. It never refuses a text: what
it does not understand it skips to the end of the line, and a path that it did
not see is found at its nearest ancestor.
"""

import re
from bisect import bisect_right
from collections.abc import Mapping

Path = tuple[str | int, ...]
"""Keys and array positions from the root of the document."""

_SPACE = re.compile(r"[ \t]*")
_BLANK = re.compile(r"(?:[ \t\r\n]+|#[^\n]*)*")
_KEY = re.compile(
    r"""[ \t]*(?:(?P<bare>[A-Za-z0-9_-]+)|"(?P<basic>(?:[^"\\\n]|\\.)*)"|'(?P<literal>[^'\n]*)')[ \t]*"""
)
_STRING = re.compile(
    r'"""(?:[^\\]|\\.)*?"{3,5}' + r"|'''.*?'{3,5}" + r'|"(?:[^"\\\n]|\\.)*"' + r"|'[^'\n]*'",
    re.DOTALL,
)
_SCALAR = re.compile(r"[^,\]}#\n]+")
_REST_OF_LINE = re.compile(r"[^\n]*")
_ESCAPE = re.compile(r'\\(?:(?P<short>[btnfr"\\])|u(?P<u>[0-9A-Fa-f]{4})|U(?P<U>[0-9A-Fa-f]{8}))')
_SHORT = {"b": "\b", "t": "\t", "n": "\n", "f": "\f", "r": "\r", '"': '"', "\\": "\\"}

DEPTH_LIMIT = 64
"""Values nested deeper than this are skipped; no configuration of ours goes beyond 6."""


def _unescape(text: str) -> str:
    def character(match: re.Match[str]) -> str:
        if match["short"]:
            return _SHORT[match["short"]]
        code = int(match["u"] or match["U"], 16)
        return chr(code) if code < 0x110000 else "\N{REPLACEMENT CHARACTER}"

    return _ESCAPE.sub(character, text) if "\\" in text else text


class _Scanner:
    def __init__(self, text: str) -> None:
        self.text = text
        self.position = 0
        self.lines: dict[Path, int] = {}
        self._starts = [0, *(match.end() for match in re.finditer("\n", text))]
        self._table: Path = ()
        self._elements: dict[Path, int] = {}
        """Arrays of tables: the index of the last ``[[name]]``."""

    def scan(self) -> None:
        while True:
            self._skip(_BLANK)
            if self.position >= len(self.text):
                return
            if self.text.startswith("[", self.position):
                self._header()
            elif not self._pair(self._table, depth=0):
                self._skip(_REST_OF_LINE)

    def _skip(self, pattern: re.Pattern[str]) -> None:
        if match := pattern.match(self.text, self.position):
            self.position = match.end()

    def _record(self, path: Path, position: int) -> None:
        self.lines.setdefault(path, bisect_right(self._starts, position))

    def _keys(self) -> list[str]:
        keys: list[str] = []
        while match := _KEY.match(self.text, self.position):
            if match["bare"] is not None:
                keys.append(match["bare"])
            elif match["basic"] is not None:
                keys.append(_unescape(match["basic"]))
            else:
                keys.append(match["literal"])
            self.position = match.end()
            if not self.text.startswith(".", self.position):
                return keys
            self.position += 1
        return keys

    def _header(self) -> None:
        start = self.position
        is_array = self.text.startswith("[[", start)
        self.position += 2 if is_array else 1
        path: Path = ()
        keys = self._keys()
        for number, key in enumerate(keys):
            path = (*path, key)
            is_last = number == len(keys) - 1
            if is_last and is_array:
                self._record(path, start)
                self._elements[path] = self._elements.get(path, -1) + 1
                path = (*path, self._elements[path])
            elif path in self._elements:
                path = (*path, self._elements[path])
            self._record(path, start)
        self._table = path
        self._skip(_REST_OF_LINE)

    def _pair(self, table: Path, *, depth: int) -> bool:
        start = self.position
        keys = self._keys()
        if not keys or not self.text.startswith("=", self.position):
            return False
        self.position += 1
        path = table
        for key in keys:
            path = (*path, key)
            self._record(path, start)
        self._value(path, depth=depth)
        return True

    def _value(self, path: Path, *, depth: int) -> None:
        self._skip(_SPACE)
        opening = self.text[self.position : self.position + 1]
        if depth >= DEPTH_LIMIT:
            self._skip(_REST_OF_LINE)
        elif opening == "[":
            self.position += 1
            self._array(path, depth=depth + 1)
        elif opening == "{":
            self.position += 1
            self._inline_table(path, depth=depth + 1)
        elif match := _STRING.match(self.text, self.position):
            self.position = match.end()
        else:
            self._skip(_SCALAR)

    def _array(self, path: Path, *, depth: int) -> None:
        index = 0
        while True:
            self._skip(_BLANK)
            character = self.text[self.position : self.position + 1]
            if character in ("", "]"):
                self.position += 1
                return
            if character == ",":
                self.position += 1
                continue
            before = self.position
            self._record((*path, index), before)
            self._value((*path, index), depth=depth)
            index += 1
            if self.position == before:
                self._skip(_REST_OF_LINE)
                return

    def _inline_table(self, path: Path, *, depth: int) -> None:
        while True:
            self._skip(_BLANK)
            character = self.text[self.position : self.position + 1]
            if character in ("", "}"):
                self.position += 1
                return
            if character == ",":
                self.position += 1
            elif not self._pair(path, depth=depth):
                self._skip(_REST_OF_LINE)
                return


def line_map(text: str) -> dict[Path, int]:
    """The 1-based line of every table, key and array element."""
    scanner = _Scanner(text)
    scanner.scan()
    return scanner.lines


def line_of(lines: Mapping[Path, int], path: Path) -> int | None:
    """The line of ``path`` or of its nearest ancestor; None for the document itself."""
    while path:
        if path in lines:
            return lines[path]
        path = path[:-1]
    return None


def path_text(path: Path) -> str:
    """``service[2].realservers[0].port``."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        elif re.fullmatch(r"[A-Za-z0-9_-]+", part):
            text += f".{part}" if text else part
        else:
            text += f'."{part}"' if text else f'"{part}"'
    return text
