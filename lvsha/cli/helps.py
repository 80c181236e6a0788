"""What every verb's ``--help`` says, for the manual pages and the shells' completion.

The help texts are the one description of the command line; whatever else describes
it is made from them.
"""

import contextlib
import io
import re
from collections.abc import Iterator, Sequence

from lvsha.cli import main

_CHOICE = re.compile(r"(?<![\w\[<-])\{?([a-z][a-z-]+(?:[|,][a-z][a-z-]+)+)\}?(?= \.\.\.)")
"""``check|show|diff ...`` in a usage line: verbs of a verb."""
_LISTED = re.compile(r"^ {2,4}([a-z][a-z-]+) {2,}\w")
"""``  run   play one scenario``: the same where the usage says VERB or COMMAND."""
_OPTION = re.compile(r"^\s+(-\w|--[a-z][a-z-]*)(?:[ ,=]|$)")
_LONG = re.compile(r"--[a-z][a-z-]+")


def help_of(words: Sequence[str]) -> str:
    """The text of ``lvsha WORDS --help``."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.suppress(SystemExit):
        main.main([*words, "--help"])
    return out.getvalue()


def verbs_of(text: str) -> list[str]:
    """The verbs below this one, in the order of the text."""
    usage, _, rest = text.partition("\n\n")
    usage = " ".join(usage.split())
    if found := _CHOICE.search(usage):
        return re.split(r"[|,]", found[1])
    if not usage.endswith(("VERB ...", "COMMAND ...")):
        return []
    listed, _, _ = re.sub(r"\n(options|examples?):", "\f", rest).partition("\f")
    return [found[1] for found in map(_LISTED.match, listed.splitlines()) if found]


def summary_of(text: str) -> str:
    """Its first sentence after the usage; empty if it begins with a list."""
    paragraphs = text.split("\n\n")
    if len(paragraphs) < 2 or paragraphs[1].startswith(("positional", "options", "example")):
        return ""
    return " ".join(paragraphs[1].split()).partition(". ")[0].rstrip(".")


def options_of(text: str) -> list[str]:
    """Its long options, each once, in the order of the text."""
    lines = [line for line in text.splitlines() if _OPTION.match(line)]
    heads = [line.strip().split("  ")[0] for line in lines]
    return list(dict.fromkeys(option for head in heads for option in _LONG.findall(head)))


def every_help() -> Iterator[tuple[tuple[str, ...], str]]:
    """Each command that there is, with its help: ``("config", "check"), "usage: ..."``."""
    for verb in main.VERBS:
        text = help_of([verb])
        yield (verb,), text
        for below in verbs_of(text):
            yield (verb, below), help_of([verb, below])
