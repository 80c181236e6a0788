"""The status as bytes, made in slices, shared by all who ask at the same time.

A director of 10,000 realservers needs some tenths of a second of processor time to say what
they do. They are said a few at a time, and checks and everything else run between. While a
picture takes long to make, one that is at most ``STALE_S`` old is given at once, and the
next is made behind the answer.
"""

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lvsha.api.families import row_values
from lvsha.api.port import DirectorPort, Json, StatusParts
from lvsha.config.settings import ServiceSettings
from lvsha.io.slices import Slices

_CHEAP_S = 0.02
"""A picture that is made as fast is made for every question."""
STALE_S = 1.5
_REFRESH_S = 0.5
_IDLE_S = 3.0
"""A picture that nobody has asked for is not kept fresh. The dashboard asks every 2 s."""


@dataclass(frozen=True, slots=True)
class ServicePicture:
    """One service. Its realservers are text and numbers, not dictionaries: tens of thousands of these
    would stop the interpreter for tens of milliseconds whenever it looks for garbage, or frees them."""

    service: Json
    """Without ``destinations``."""
    rows: list[str]
    """The JSON of each realserver."""
    names: list[str]
    values: list[tuple[float | None, ...]]
    """Of each realserver, in the order of ``metrics.ROW_FAMILIES``."""

    def text(self) -> str:
        """The service's JSON, with its realservers."""
        return f'{_dumps(self.service)[:-1]},"destinations":[{",".join(self.rows)}]}}'


@dataclass(frozen=True, slots=True)
class Picture:
    """One status."""

    made_at: float
    """Monotonic seconds."""
    cost_s: float
    body: bytes
    """Its JSON."""
    status: Json
    """``services`` are without their ``destinations``."""
    services: list[ServicePicture]


def _dumps(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


async def make(
    parts: StatusParts, services: tuple[ServiceSettings, ...]
) -> tuple[bytes, Json, list[ServicePicture]]:
    """A status."""
    work = Slices()
    pictures = []
    for settings in services:
        picture = ServicePicture(service=parts.service(settings), rows=[], names=[], values=[])
        for row in parts.destinations(settings):
            picture.rows.append(_dumps(row))
            picture.names.append(row["name"])
            picture.values.append(row_values(row))
            await work.pause()
        pictures.append(picture)
    head = parts.head()
    texts = []
    for picture in pictures:
        texts.append(picture.text().encode())
        await work.pause()
    body = b"".join((_dumps(head)[:-1].encode(), b',"services":[', b",".join(texts), b"]}"))
    return body, {**head, "services": [picture.service for picture in pictures]}, pictures


class Snapshot:
    """See above."""

    def __init__(self, port: DirectorPort, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._port = port
        self._clock = clock
        self._picture: Picture | None = None
        self._making: asyncio.Task[Picture] | None = None
        self._asked_at = float("-inf")
        self._keeper: asyncio.Task[None] | None = None

    async def get(self) -> Picture:
        """The status now, or, of one that is dear to make, as it was a moment ago."""
        now = self._asked_at = self._clock()
        picture = self._picture
        if picture is None or picture.cost_s <= _CHEAP_S or now - picture.made_at > STALE_S:
            picture = await self._fresh()
        if picture.cost_s > _CHEAP_S and self._keeper is None:
            self._keeper = asyncio.create_task(self._keep())
        return picture

    def close(self) -> None:
        for task in (self._making, self._keeper):
            if task is not None:
                task.cancel()

    async def _fresh(self) -> Picture:
        if self._making is None:
            self._making = asyncio.create_task(self._make())
            self._making.add_done_callback(self._made)
        return await asyncio.shield(self._making)

    def _made(self, _task: "asyncio.Task[Picture]") -> None:
        self._making = None

    async def _make(self) -> Picture:
        parts = await self._port.status_parts()
        services = self._port.settings.services
        begun = self._clock()
        made = await make(parts, services)
        now = self._clock()
        self._picture = Picture(now, now - begun, *made)
        return self._picture

    async def _keep(self) -> None:
        """Have the next one ready, as long as somebody asks."""
        while self._clock() - self._asked_at < _IDLE_S:
            await asyncio.sleep(_REFRESH_S)
            await self._fresh()
        self._keeper = None
        self._picture = None
