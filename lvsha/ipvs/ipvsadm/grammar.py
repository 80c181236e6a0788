"""From the words of a command line to options, as the popt library splits them.

Long options must be spelled out; short ones may be run together and carry their
argument behind them (``-w5``, ``-w=5``, ``-mw 5``). An argument that must be there
is the next word whatever it looks like; one that may be there is not if it starts
with a dash. What is no option is left over, wherever it stands.
"""

from _collections_abc import Sequence

from lvsha.ipvs.ipvsadm.errors import UsageError
from lvsha.ipvs.ipvsadm.words import LONG, NONE, OPTIONAL, SHORT

UNKNOWN = "unknown option"
MISSING = "missing argument"
UNWANTED = "option does not take an argument"


def _bad(text: str, what: str) -> UsageError:
    return UsageError(f"{text}: {what}", 255, ends=False)


class Words:
    """The options of a command line, one after the other."""

    def __init__(self, words: Sequence[str]) -> None:
        self._words = words
        self._at = 0
        self._cluster = ""
        """What follows in the same word of short options."""
        self._left: list[str] = []
        self.last = ""
        """The word that was read last."""

    def left(self) -> list[str]:
        """What is no option; complete when ``next`` has said None."""
        return self._left

    def next(self) -> tuple[str, str | None] | None:
        """The next option's long name and argument; None: there is no more.

        Raises:
            UsageError: that is no option, or its argument is missing or too much.
        """
        if self._cluster:
            return self._short()
        while self._at < len(self._words):
            word = self._words[self._at]
            self._at += 1
            if word == "--":
                self._left += self._words[self._at :]
                self._at = len(self._words)
                return None
            if not word.startswith("-") or word == "-":
                self._left.append(word)
                continue
            self.last = word
            if word.startswith("--"):
                return self._long(word)
            self._cluster = word[1:]
            return self._short()
        return None

    def _long(self, word: str) -> tuple[str, str | None]:
        name, equals, value = word[2:].partition("=")
        takes = LONG.get(name)
        if takes is None:
            raise _bad(word, UNKNOWN)
        return name, self._argument(takes, value if equals else None)

    def _short(self) -> tuple[str, str | None]:
        letter, self._cluster = self._cluster[0], self._cluster[1:]
        name = SHORT.get(letter)
        if name is None:
            raise _bad(self.last, UNKNOWN)
        takes = LONG[name]
        value: str | None = None
        if takes != NONE and self._cluster:
            value, self._cluster = self._cluster.removeprefix("="), ""
        elif self._cluster.startswith("="):
            raise _bad(self.last, UNWANTED)
        return name, self._argument(takes, value)

    def _argument(self, takes: int, value: str | None) -> str | None:
        if takes == NONE:
            if value is not None:
                raise _bad(self.last, UNWANTED)
            return None
        if value is not None:
            return value
        follows = self._words[self._at] if self._at < len(self._words) else None
        if takes == OPTIONAL and (follows is None or follows.startswith("-")):
            return None
        if follows is None:
            raise _bad(self.last, MISSING)
        self._at += 1
        self.last = follows
        return follows
