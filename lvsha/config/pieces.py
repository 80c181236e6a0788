"""A file in pieces: each ``[[service]]`` by itself, and the rest.

A large file is mostly services, and from one version of it to the next few of them differ. So each
service's text is parsed alone and its table remembered: a reload reads what changed.

Where a service begins is seen from its header alone. That is safe: without strings of several lines a
line that begins with ``[`` is a header, or lies within an array, and an array that is cut in two does
not parse. Whatever does not parse in pieces, or could mean something else there, is parsed as a whole.
"""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

from lvsha.config.lines import Path, line_map, line_of
from lvsha.config.schema import Document, Service

_BORDER = re.compile(r"^[ \t]*\[(?!\[?[ \t]*service[ \t]*\.)", re.MULTILINE)
"""Every header but those of the tables within a service."""
_SERVICE = re.compile(r"[ \t]*\[\[[ \t]*service[ \t]*\]\][ \t\r]*(?:#[^\n]*)?(?:\n|$)")


class Piece:
    """The text of one ``[[service]]``."""

    def __init__(self, text: str) -> None:
        """Raises:
        ValueError, RecursionError: it is no such thing.
        """
        self.text = text
        document = tomllib.loads(text)
        tables = document.get("service")
        if len(document) != 1 or not isinstance(tables, list) or len(tables) != 1:
            raise ValueError("more than one table, or another one")
        self.table: dict[str, Any] = tables[0]
        self.service: Service | None = None
        """What the schema made of it, once the whole file was good."""

    @cached_property
    def lines(self) -> Mapping[Path, int]:
        return line_map(self.text)


@dataclass(frozen=True, slots=True)
class Place:
    """A piece and the number of lines above it."""

    piece: Piece
    above: int


class Pieces:
    """One version of a file."""

    def __init__(self, rest: str, services: tuple[Place, ...]) -> None:
        """``rest``: the file with empty lines where services were."""
        self.rest = rest
        self.services = services
        self.document: dict[str, Any] = tomllib.loads(rest)
        if services and "service" in self.document:
            raise ValueError("services in more than one form")

    @classmethod
    def of(cls, text: str, known: "Pieces | None") -> "Pieces | None":
        """The pieces of ``text``, those that ``known`` has already as they are there; None: it has none."""
        if '"""' in text or "'''" in text:
            return None
        remembered = {place.piece.text: place.piece for place in known.services} if known is not None else {}
        borders = [match.start() for match in _BORDER.finditer(text)]
        rest = [text[: borders[0]] if borders else text]
        services: list[Place] = []
        above = rest[0].count("\n")
        try:
            for start, end in pairwise([*borders, len(text)]):
                part = text[start:end]
                lines = part.count("\n")
                if _SERVICE.match(part):
                    services.append(Place(remembered.get(part) or Piece(part), above))
                    rest.append("\n" * lines)
                else:
                    rest.append(part)
                above += lines
            return cls("".join(rest), tuple(services))
        except (ValueError, RecursionError):
            return None

    def raw(self, *, afresh: bool) -> dict[str, Any]:
        """The document; with ``afresh`` without what the schema made of parts of it before."""
        if not self.services:
            return self.document
        tables = [
            place.piece.table if afresh or place.piece.service is None else place.piece.service
            for place in self.services
        ]
        return {**self.document, "service": tables}

    def remember(self, document: Document) -> None:
        """What the schema made of it."""
        if self.services:
            for place, service in zip(self.services, document.service, strict=True):
                place.piece.service = service

    @cached_property
    def _rest_lines(self) -> Mapping[Path, int]:
        return line_map(self.rest)

    def line(self, path: Path) -> int | None:
        """Where ``path`` or its nearest ancestor stands."""
        if path[:1] != ("service",) or not self.services:
            return line_of(self._rest_lines, path)
        place = self.services[path[1] if len(path) > 1 and isinstance(path[1], int) else 0]
        line = line_of(place.piece.lines, ("service", 0, *path[2:]))
        return line + place.above if line is not None else None
