"""The options of a verb."""

import argparse
import re
import sys
from typing import NoReturn

_CHOICE = re.compile(r"invalid choice: '(.*?)' \(choose from (.*)\)")


class Parser(argparse.ArgumentParser):
    """Refuses wrong usage in one line, with exit status 2, instead of with the whole usage."""

    def error(self, message: str) -> NoReturn:
        text = " ".join(message.split())
        print(f"{self.prog}: {text}{_guess(text)}; `{self.prog} --help` tells more", file=sys.stderr)
        sys.exit(2)


def _guess(message: str) -> str:
    """What was meant, where one of several words had to be chosen."""
    if (found := _CHOICE.search(message)) is None:
        return ""
    import difflib

    near = difflib.get_close_matches(found[1], re.findall(r"[\w.-]+", found[2]), n=1)
    return f": did you mean {near[0]!r}?" if near else ""
