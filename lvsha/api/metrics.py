"""``/metrics``: one status, counted.

The text is written in a thread, family by family: at 10,000 realservers it has a hundred
thousand lines, and checks must not wait for it.
"""

import asyncio
import resource
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from lvsha.api.events import EventStream
from lvsha.api.families import FAMILIES, ROW_FAMILIES, Family
from lvsha.api.port import Json
from lvsha.api.snapshot import ServicePicture, Snapshot


def _escaped(value: str) -> str:
    if "\\" in value or '"' in value or "\n" in value:
        return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return value


def _number(value: float) -> str:
    return repr(int(value)) if value == int(value) else repr(float(value))


def _rows(services: Sequence[ServicePicture]) -> list[tuple[str, tuple[float | None, ...]]]:
    """The labels of each realserver as text, and its values."""
    rows = []
    for picture in services:
        first = f'{{service="{_escaped(picture.service["name"])}",realserver="'
        for name, values in zip(picture.names, picture.values, strict=True):
            rows.append((f'{first}{_escaped(name)}"}} ', values))
    return rows


def exposition(
    status: Json, services: Sequence[ServicePicture], families: Iterable[Family] = FAMILIES
) -> bytes:
    """The text format 0.0.4. Families without a sample are left out."""
    portions: list[bytes] = []
    rows = _rows(services)
    for family in families:
        name, labels = family.name, family.labels
        lines: list[str] = []
        if family.of_row is not None:
            place = ROW_FAMILIES.index(family)
            lines = [
                f"{name}{text}{value if value.__class__ is int else _number(value)}\n"
                for text, values in rows
                if (value := values[place]) is not None
            ]
        else:
            for texts, value in family.samples(status):
                pairs = ",".join(
                    f'{label}="{_escaped(text)}"' for label, text in zip(labels, texts, strict=True)
                )
                shown = f"{{{pairs}}}" if labels else ""
                lines.append(f"{name}{shown} {_number(value)}\n")
        if lines:
            head = f"# HELP {name} {family.help}\n# TYPE {name} {family.kind}\n"
            portions.append((head + "".join(lines)).encode())
    return b"".join(portions)


class Metrics:
    """Answers scrapes."""

    def __init__(self, snapshot: Snapshot, events: EventStream) -> None:
        self._snapshot = snapshot
        self._events = events

    async def scrape(self) -> bytes:
        picture = await self._snapshot.get()
        status = {
            **picture.status,
            "event_listeners": self._events.clients,
            "event_listeners_dropped": self._events.dropped,
            "resident_bytes": _resident_bytes(),
            "cpu_s": time.process_time(),
        }
        return await asyncio.to_thread(exposition, status, picture.services)


def _resident_bytes() -> int | None:
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return None
    return pages * resource.getpagesize()
