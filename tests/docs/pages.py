"""The pages of the documentation, cut into what a test can try: blocks, commands, links, headings."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"

LANGUAGES = frozenset({"sh", "console", "toml", "python", "text", "mermaid"})
"""``sh``: commands. ``console``: commands after ``$``, and their output. ``text``: neither run nor loaded."""

_FENCE = re.compile(r"^( *)```(.*)$")
_SPAN = re.compile(r"(?<!`)`([^`]+)`(?!`)")
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_TO_OTHERS = re.compile(r"[a-z]+:")


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Something between two fences."""

    page: str
    """Its path from the root of the project."""
    line: int
    """Of the first fence, from 1."""
    language: str
    text: str
    """Without the indentation of the fence."""

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def first(self) -> str:
        """The first line that is no comment: what a list knows the block by."""
        lines = [line for line in self.text.splitlines() if line.strip() and not line.startswith("#")]
        return lines[0].strip() if lines else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One file, read once."""

    path: Path
    blocks: tuple[Block, ...]
    prose: tuple[tuple[int, str], ...]
    """Lines outside of blocks, with their numbers."""

    @property
    def name(self) -> str:
        return self.path.relative_to(ROOT).as_posix()

    def spans(self) -> Iterator[tuple[int, str]]:
        """What stands between single backquotes, over ends of lines too; with its paragraph's first line."""
        start, paragraph = 0, ""
        for number, line in (*self.prose, (0, "")):
            if line.strip():
                start, paragraph = start or number, f"{paragraph} {line.strip()}"
                continue
            yield from ((start, span) for span in _SPAN.findall(paragraph))
            start, paragraph = 0, ""

    def links(self) -> Iterator[tuple[int, str]]:
        """Those that lead to pages and files of the project."""
        for number, line in self.prose:
            for target in _LINK.findall(_SPAN.sub("", line)):
                if not _TO_OTHERS.match(target):
                    yield number, target

    def anchors(self) -> set[str]:
        """The names of its headings, as GitHub and the site make them."""
        found: set[str] = set()
        for _, line in self.prose:
            if line.startswith("#"):
                found.add(slug(line.lstrip("#")))
        return found


def slug(heading: str) -> str:
    """``The `[alert]` table`` is ``the-alert-table``."""
    words = re.sub(r"[^\w\- ]", "", re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).strip().lower())
    return words.replace(" ", "-")


def read(path: Path) -> Page:
    """
    Raises:
        AssertionError: a fence is never closed.
    """
    name = path.relative_to(ROOT).as_posix()
    blocks: list[Block] = []
    prose: list[tuple[int, str]] = []
    begun: tuple[int, str, str] | None = None
    inside: list[str] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        fence = _FENCE.match(line)
        if fence is None:
            if begun is None:
                prose.append((number, line))
            else:
                inside.append(line.removeprefix(begun[1]))
        elif begun is None:
            begun, inside = (number, fence[1], fence[2].strip()), []
            prose.append((number, ""))
        else:
            text = "\n".join(inside) + "\n"
            blocks.append(Block(page=name, line=begun[0], language=begun[2], text=text))
            begun = None
    assert begun is None, f"{name}:{begun[0]}: the fence is never closed" if begun else ""
    return Page(path=path, blocks=tuple(blocks), prose=tuple(prose))


def pages() -> list[Page]:
    """All of them, the README and the list of changes too."""
    return [read(path) for path in (ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted(DOCS.rglob("*.md")))]
