"""``/metrics``: one status, counted.

The text is written family by family and service by service, and others run between: at
10,000 realservers it has a hundred thousand lines, and checks must not wait for it. Who
scrapes at the same time gets the same text.
"""

import asyncio
import resource
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from lvsha.api.events import EventStream
from lvsha.api.families import FAMILIES, ROW_FAMILIES, Family
from lvsha.api.port import Json
from lvsha.api.snapshot import STALE_S, Picture, ServicePicture, Snapshot
from lvsha.io.slices import Slices


def _escaped(value: str) -> str:
    if "\\" in value or '"' in value or "\n" in value:
        return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return value


def _number(value: float) -> str:
    return repr(int(value)) if value == int(value) else repr(float(value))


Rows = list[tuple[str, tuple[float | None, ...]]]
"""The labels of each realserver of a service as text, and its values."""


def _rows(picture: ServicePicture) -> Rows:
    first = f'{{service="{_escaped(picture.service["name"])}",realserver="'
    return [
        (f'{first}{_escaped(name)}"}} ', values)
        for name, values in zip(picture.names, picture.values, strict=True)
    ]


def exposition(
    status: Json, services: Sequence[ServicePicture], families: Iterable[Family] = FAMILIES
) -> Iterator[bytes]:
    """The text format 0.0.4, in portions. Families without a sample are left out."""
    rows = []
    for picture in services:
        rows.append(_rows(picture))
        yield b""
    for family in families:
        head = f"# HELP {family.name} {family.help}\n# TYPE {family.name} {family.kind}\n".encode()
        portions = _samples(family, status) if family.of_row is None else _of_rows(family, rows)
        for portion in portions:
            if portion:
                yield head + portion
                head = b""


def _samples(family: Family, status: Json) -> Iterator[bytes]:
    name, labels = family.name, family.labels
    lines = []
    for texts, value in family.samples(status):
        pairs = ",".join(f'{label}="{_escaped(text)}"' for label, text in zip(labels, texts, strict=True))
        shown = f"{{{pairs}}}" if labels else ""
        lines.append(f"{name}{shown} {_number(value)}\n")
    yield "".join(lines).encode()


def _of_rows(family: Family, services: Iterable[Rows]) -> Iterator[bytes]:
    name, place = family.name, ROW_FAMILIES.index(family)
    for rows in services:
        lines = [
            f"{name}{text}{value if value.__class__ is int else _number(value)}\n"
            for text, values in rows
            if (value := values[place]) is not None
        ]
        yield "".join(lines).encode()


class Metrics:
    """Answers scrapes."""

    def __init__(self, snapshot: Snapshot, events: EventStream) -> None:
        self._snapshot = snapshot
        self._events = events
        self._of: Picture | None = None
        """What ``_text`` is written of."""
        self._text: asyncio.Task[bytes] | None = None

    async def scrape(self) -> bytes:
        picture = await self._snapshot.get()
        if self._text is None or self._of is not picture:
            self._of, self._text = picture, asyncio.create_task(self._write(picture))
            self._text.add_done_callback(self._written)
        return await asyncio.shield(self._text)

    def close(self) -> None:
        if self._text is not None:
            self._text.cancel()

    def _written(self, task: asyncio.Task[bytes]) -> None:
        """A text that is dear is kept as long as its picture would be."""
        if task is self._text:
            asyncio.get_running_loop().call_later(STALE_S, self._forget, task)

    def _forget(self, task: asyncio.Task[bytes]) -> None:
        if task is self._text:
            self._of = self._text = None

    async def _write(self, picture: Picture) -> bytes:
        status = {
            **picture.status,
            "event_listeners": self._events.clients,
            "event_listeners_dropped": self._events.dropped,
            "resident_bytes": _resident_bytes(),
            "cpu_s": time.process_time(),
        }
        work = Slices()
        portions = []
        for portion in exposition(status, picture.services):
            portions.append(portion)
            await work.pause()
        return b"".join(portions)


def _resident_bytes() -> int | None:
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return None
    return pages * resource.getpagesize()
