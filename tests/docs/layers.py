"""The picture of the layers: ``python -m tests.docs.layers > docs/images/layers.svg``.

Layers are import-linter's, from pyproject.toml; what a package holds is its docstring, and what it imports
is read from its modules.
"""

import ast
import re
import textwrap
import tomllib
from html import escape
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

WIDTH, GAP, LINE, PAD = 900, 10, 15, 10
LETTER = 6.3
"""Pixels, about, of one letter of 11 pixels' height."""

STYLE = """\
svg { font: 11px system-ui, sans-serif; }
rect { fill: #f3f6f9; stroke: #7a8793; }
text { fill: #22292f; }
.name { font-weight: bold; font-size: 13px; }
.imports { fill: #5b6771; font-style: italic; }
@media (prefers-color-scheme: dark) {
  rect { fill: #20262c; } text { fill: #e4e8eb; } .imports { fill: #a3afb9; }
}"""


def layers() -> list[list[str]]:
    """From the top; packages of one layer do not know each other."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    rows = next(each["layers"] for each in contracts["contracts"] if each["type"] == "layers")
    return [re.findall(r"\w+", row) for row in rows]


def docstring(package: str) -> str:
    text = (ROOT / "lvsha" / package / "__init__.py").read_text(encoding="utf-8")
    return (ast.get_docstring(ast.parse(text)) or "").partition("\n")[0]


def imports(package: str) -> set[str]:
    """The other packages of ours that it imports, at once or later, types left out."""
    found = set()
    for path in (ROOT / "lvsha" / package).rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        text = re.sub(r"^if TYPE_CHECKING:\n(?: .*\n|\n)*", "", text, flags=re.MULTILINE)
        found |= set(re.findall(r"^ *(?:from|import) lvsha\.(\w+)", text, re.MULTILINE))
    return found - {package}


def box(package: str, x: float, y: float, width: float) -> tuple[list[str], int]:
    """Its lines of SVG without the rectangle, and how many lines of text."""
    order = [name for row in layers() for name in row]
    known = sorted(imports(package), key=order.index)
    columns = int((width - 2 * PAD) / LETTER)
    texts = [
        ("name", package),
        *(("", line) for line in textwrap.wrap(docstring(package).replace("``", ""), columns)),
    ]
    below = f"imports {', '.join(known)}" if known else "imports nothing of ours"
    texts += [("imports", line) for line in textwrap.wrap(below, columns)]
    lines = [
        f'<text class="{kind}" x="{x + PAD:.0f}" y="{y + PAD + LINE * number + 11}">{escape(text)}</text>'
        for number, (kind, text) in enumerate(texts)
    ]
    return lines, len(texts)


def drawn() -> str:
    """The whole file."""
    y, body = GAP, list[str]()
    for row in layers():
        width = (WIDTH - GAP * (len(row) + 1)) / len(row)
        places = [(package, GAP + number * (width + GAP)) for number, package in enumerate(row)]
        boxes = [box(package, x, y, width) for package, x in places]
        height = 2 * PAD + LINE * max(count for _, count in boxes)
        for (_, x), (lines, _) in zip(places, boxes, strict=True):
            body.append(f'<rect x="{x:.0f}" y="{y}" width="{width:.0f}" height="{height}" rx="4"/>')
            body += lines
        y += height + GAP
    title = "<title>The packages of lvsha in their layers: each imports only what stands below it</title>"
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y}" role="img">'
    return "\n".join([head, title, f"<style>{STYLE}</style>", *body, "</svg>", ""])


if __name__ == "__main__":
    print(drawn(), end="")
