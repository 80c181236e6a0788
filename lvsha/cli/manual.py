"""Manual pages from the help texts: ``python -m lvsha.cli.manual FOLDER``."""

import sys
from collections.abc import Sequence
from pathlib import Path

from lvsha import __version__
from lvsha.cli import helps, main


def page(words: Sequence[str], summary: str, text: str) -> str:
    """One page in troff's man macros; the help stands in it as it is printed."""
    name = "-".join(["lvsha", *words])
    usage, _, rest = text.strip().partition("\n\n")
    lines = [
        f'.TH {name.upper()} 1 "" "lvsha {__version__}" "lvsha"',
        ".SH NAME",
        f"{_plain(name)} \\- {_plain(summary)}",
        ".SH SYNOPSIS",
        *_verbatim(usage.removeprefix("usage: ")),
        ".SH DESCRIPTION",
        *_verbatim(rest),
        ".SH EXIT STATUS",
        "0 good, 1 a finding or a refusal, 2 wrong usage.",
    ]
    if not words:
        lines += [".SH SEE ALSO", ", ".join(f"\\fBlvsha-{verb}\\fR(1)" for verb in main.VERBS)]
    return "\n".join(lines) + "\n"


def _plain(text: str) -> str:
    return text.replace("\\", "\\e").replace("-", "\\-")


def _verbatim(text: str) -> list[str]:
    # A line that begins with a dot or a quote would be a macro.
    lines = [_plain(line) for line in text.splitlines()]
    return [".nf", *(f"\\&{line}" if line[:1] in (".", "'") else line for line in lines), ".fi"]


def write(folder: Path) -> list[Path]:
    """All pages; returns their files."""
    folder.mkdir(parents=True, exist_ok=True)
    summary = "highly available Linux Virtual Server directors"
    pages: dict[tuple[str, ...], str] = {(): page((), summary, main.usage())}
    for words, text in helps.every_help():
        summary = main.VERBS[words[0]] if len(words) == 1 else helps.summary_of(text) or words[-1]
        pages[words] = page(words, summary, text)
    files = []
    for words, content in pages.items():
        files.append(folder / f"{'-'.join(['lvsha', *words])}.1")
        files[-1].write_text(content, encoding="utf-8")
    return files


if __name__ == "__main__":
    write(Path(sys.argv[1]))
