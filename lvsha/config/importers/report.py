"""What became of each statement of an imported configuration."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Fate(StrEnum):
    """Of one statement."""

    CHANGED = "changed"
    """Carried over, and lvsha does it otherwise; the message says how."""
    NOT_CARRIED = "not-carried"
    """Left out: the message says why, and what to do."""
    SUSPICIOUS = "suspicious"
    """Carried over as it stands, though it is hardly what was meant."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a statement stands."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Remark:
    """One line of the report."""

    fate: Fate
    place: Place
    keyword: str
    message: str
    matters: bool = False
    """Traffic may behave differently: the operator has to look."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One table of the new file, and where it comes from."""

    header: str
    """``vrrp`` for ``[[vrrp]]``; ``sync`` for ``[sync]``."""
    table: Mapping[str, Any]
    place: Place | None = None
    many: bool = True
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """A whole configuration, converted."""

    format: str
    """``keepalived``, ``ldirectord``, ``ipvsadm`` or ``lvs-conf``."""
    blocks: tuple[Block, ...]
    remarks: tuple[Remark, ...]
    statements: int
    """Statements read; ``carried`` of them are in the new file."""
    carried: int


class Reader:
    """How an importer gets at the files that its file includes; the caller reads them.

    ``find`` maps (pattern, the including file) to (path, text) pairs.
    """

    def __init__(
        self,
        find: Callable[[str, str], Iterable[tuple[str, str]]] | None = None,
        *,
        config_id: str = "",
        environment: Mapping[str, str] | None = None,
        resolve_name: Callable[[str], str | None] | None = None,
    ) -> None:
        self.find = find or (lambda pattern, including: ())
        self.config_id = config_id
        self.environment = environment or {}
        self.resolve_name = resolve_name or (lambda name: None)


@dataclass(slots=True)
class Notebook:
    """Collects remarks while a file is read."""

    remarks: list[Remark] = field(default_factory=list)
    statements: int = 0
    carried: int = 0

    def take(self, count: int = 1) -> None:
        """A statement that the new file holds."""
        self.carried += count

    def changed(self, place: Place, keyword: str, message: str, *, matters: bool = False) -> None:
        self.carried += 1
        self._add(Fate.CHANGED, place, keyword, message, matters)

    def lost(self, place: Place, keyword: str, message: str, *, matters: bool = True) -> None:
        self._add(Fate.NOT_CARRIED, place, keyword, message, matters)

    def suspicious(self, place: Place, keyword: str, message: str, *, matters: bool = False) -> None:
        self._add(Fate.SUSPICIOUS, place, keyword, message, matters)

    def _add(self, fate: Fate, place: Place, keyword: str, message: str, matters: bool) -> None:
        self.remarks.append(Remark(fate=fate, place=place, keyword=keyword, message=message, matters=matters))
