"""The file that vrrpd records its inputs in: one life a file, the one before kept beside it."""

import contextlib
from pathlib import Path

LIMIT = 64 << 20
"""Bytes; then the recording ends: its beginning is what a replay needs."""


class Recording:
    """Lines to a file, without ever failing its writer."""

    def __init__(self, path: Path) -> None:
        self._left = LIMIT
        self._file = None
        with contextlib.suppress(OSError):
            path.replace(path.with_name(path.name + ".1"))
        with contextlib.suppress(OSError):  # a record that cannot be made must not cost an address
            self._file = path.open("w", buffering=1 << 16)

    def write(self, line: str) -> None:
        if self._file is None:
            return
        self._left -= len(line) + 1
        with contextlib.suppress(OSError):
            if self._left < 0:
                self._file.close()
                self._file = None
            else:
                self._file.write(line + "\n")
                self._file.flush()
