"""The status as bytes, made in a thread, shared by all who ask at the same time.

A director of 10,000 realservers needs a tenth of a second of processor time to say what
they do. A thread makes it, row by row, so that the interpreter hands the processor to the
loop every few milliseconds. While a picture takes long to make, one that is at most
``_STALE_S`` old is given at once, and the next is made behind the answer.
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

_CHEAP_S = 0.02
"""A picture that is made as fast is made for every question."""
_STALE_S = 1.5
_REFRESH_S = 0.5
_IDLE_S = 10.0
"""A picture that nobody has asked for is not kept fresh."""
_SMALL = 200
"""Realservers that are told without a thread."""


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


def make(
    parts: StatusParts, services: tuple[ServiceSettings, ...]
) -> tuple[bytes, Json, list[ServicePicture]]:
    """A status. Never one long call, so a thread may do it beside a loop."""
    pictures = []
    for settings in services:
        service, rows = parts.service(settings)
        pictures.append(
            ServicePicture(
                service=service,
                rows=[_dumps(row) for row in rows],
                names=[row["name"] for row in rows],
                values=[row_values(row) for row in rows],
            )
        )
    head = parts.head()
    # Service by service: to join and encode five megabytes of text is a pause of its own.
    texts = [picture.text().encode() for picture in pictures]
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
        if picture is None or picture.cost_s <= _CHEAP_S or now - picture.made_at > _STALE_S:
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
        if sum(len(service.realservers) for service in services) <= _SMALL:
            made = make(parts, services)
        else:
            made = await asyncio.to_thread(make, parts, services)
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
