"""The history in the agent's hands: on disk, in the log, and on its way to who listens."""

import contextlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from lvsha.agent.journal import Journal
from lvsha.core.instant import Instant
from lvsha.core.machine import Event
from lvsha.director.cause import Cause
from lvsha.director.director import Director
from lvsha.director.history import KEEP, Change, History, change_of_json
from lvsha.io.slices import Slices

_FILE_MAX = 8 << 20
"""Bytes; then the file is kept as ``.1`` and begun anew."""
_READ_MAX = 2 << 20
"""Bytes of it that a start reads again: a few thousand changes, some 30 ms."""
_LINES_AT_ONCE = 100
"""Changes of one moment that get a line each in the log; they are all in the history."""


class Chronicle:
    """See above. ``listeners`` hear each change, ready for JSON."""

    def __init__(self, journal: Journal, path: Path) -> None:
        self.history = History()
        self.listeners: list[Callable[[dict[str, Any]], None]] = []
        self.count = 0
        """Changes of this life."""
        self._journal = journal
        self._path = path
        self._file: TextIO | None = None
        self._size = 0
        self.history.load(self._read())

    # Inputs: as of ``History``

    async def on_weights(
        self, director: Director, now: Instant, work: Slices, *, adopted: bool = False
    ) -> None:
        """Told in slices: there may be one for each of ten thousand realservers."""
        place = -1
        for place, change in enumerate(self.history.on_weights(director, now, at=_wall(), adopted=adopted)):
            self._tell_one(change, is_logged=place < _LINES_AT_ONCE)
            await work.pause()
        self._told(place + 1)

    def on_drift(self, events: Sequence[Event]) -> None:
        self._tell(self.history.on_drift(events, at=_wall()))

    def on_order(self, cause: Cause) -> None:
        self.history.on_order(cause)

    def on_vrrp_event(self, event: Mapping[str, Any]) -> None:
        self._tell(self.history.on_vrrp_event(event, at=_wall()))

    def on_routers(self, routers: Sequence[Mapping[str, Any]]) -> None:
        self._tell(self.history.on_routers(routers, at=_wall()))

    def close(self) -> None:
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.close()
            self._file = None

    # Out

    def _tell(self, changes: Sequence[Change]) -> None:
        for place, change in enumerate(changes):
            self._tell_one(change, is_logged=place < _LINES_AT_ONCE)
        self._told(len(changes))

    def _tell_one(self, change: Change, *, is_logged: bool) -> None:
        self.count += 1
        row = change.as_json()
        self._write(row)
        for listener in self.listeners:
            listener(row)
        if is_logged:
            self._journal.write(
                f"change.{change.what}",
                id=change.number,
                subject=change.subject,
                before=change.before,
                after=change.after,
                cause=change.causes[0].kind,
                why="; ".join(cause.text for cause in change.causes),
            )

    def _told(self, count: int) -> None:
        """So many of one moment."""
        if count > _LINES_AT_ONCE:
            self._journal.write("change.not_told", more=count - _LINES_AT_ONCE)
        if count and self._file is not None:
            with contextlib.suppress(OSError):
                self._file.flush()

    def _write(self, row: Mapping[str, Any]) -> None:
        """A history that cannot be written must not cost a change."""
        line = json.dumps(row, separators=(",", ":")) + "\n"
        with contextlib.suppress(OSError):
            if self._file is not None and self._size > _FILE_MAX:
                self._file.close()
                self._file = None
                self._path.replace(self._path.with_name(self._path.name + ".1"))
            if self._file is None:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                self._file = self._path.open("a", buffering=1 << 16)
                self._size = self._file.tell()
            self._size += len(line)
            self._file.write(line)

    def _read(self) -> list[Change]:
        """The end of the file, or of the one before it; a line that is none is passed over."""
        changes: list[Change] = []
        for path in (self._path, self._path.with_name(self._path.name + ".1")):
            with contextlib.suppress(OSError), path.open("rb") as file:
                file.seek(max(0, path.stat().st_size - _READ_MAX))
                for line in file:
                    with contextlib.suppress(ValueError, KeyError, TypeError):
                        changes.append(change_of_json(json.loads(line)))
            if changes:
                break
        return changes[-KEEP:]


def _wall() -> float:
    return round(time.time(), 3)
