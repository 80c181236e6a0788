"""What is said while a scenario plays: one line a thing that happens, with its time."""

import sys
import textwrap
import time
from typing import TextIO

WIDTH = 100
INDENT = "            "


class Story:
    """Writes lines like ``   3.21 s  lb1 is MASTER``."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream if stream is not None else sys.stdout
        self._start = time.monotonic()

    def say(self, text: str) -> None:
        """Something happened now."""
        stamp = f"{time.monotonic() - self._start:8.2f} s  "
        lines = textwrap.wrap(text, WIDTH - len(INDENT)) or [""]
        self._write(stamp + lines[0])
        for line in lines[1:]:
            self._write(INDENT[: len(stamp)].ljust(len(stamp)) + line)

    def title(self, text: str) -> None:
        self._write("")
        self._write(text)
        self._write("-" * len(text))

    def plain(self, text: str = "") -> None:
        self._write(text)

    def _write(self, line: str) -> None:
        print(line, file=self._stream, flush=True)
