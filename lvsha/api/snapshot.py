"""The status as bytes, made in a thread, shared by all who ask at the same time.

A director of 10,000 realservers needs a tenth of a second of processor time to say what
they do. A thread makes it, row by row, so that the interpreter hands the processor to the
loop every few milliseconds. While a picture takes long to make, one that is at most
``_STALE_S`` old is given at once, and the next is made behind the answer.
"""

import asyncio
import gc
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lvsha.api.port import DirectorPort, Json, StatusParts
from lvsha.config.settings import ServiceSettings

_CHEAP_S = 0.02
"""A picture that is made as fast is made for every question."""
_STALE_S = 1.5
_REFRESH_S = 0.5
_IDLE_S = 10.0
"""A picture that nobody has asked for is not kept fresh."""
_PIECE = 100
_SMALL = 200
"""Realservers that are told without a thread."""


@dataclass(slots=True)
class Picture:
    """One status. ``readers``: threads that look at ``status``; it is not taken apart under their eyes."""

    made_at: float
    """Monotonic seconds."""
    cost_s: float
    body: bytes
    """Its JSON."""
    status: Json
    readers: int = 0


def _dumps(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


def _make_aside(parts: StatusParts, services: tuple[ServiceSettings, ...]) -> tuple[bytes, Json]:
    """``make`` in a thread. Its thousands of dictionaries hold no cycles: to collect them meanwhile would
    only stop everybody for tens of milliseconds, again and again."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        return make(parts, services)
    finally:
        if was_enabled:
            gc.enable()


def _take_apart(picture: Picture) -> None:
    """In small pieces: to free ten thousand dictionaries at once is a pause like any other."""
    for service in picture.status["services"]:
        rows = service["destinations"]
        while rows:
            del rows[-_PIECE:]


def make(parts: StatusParts, services: tuple[ServiceSettings, ...]) -> tuple[bytes, Json]:
    """JSON and dictionary of a status. Never one long call, so a thread may do it beside a loop."""
    status: Json = {}
    texts: list[str] = []
    tables: list[Json] = []
    for settings in services:
        service, destinations = parts.service(settings)
        rows = ",".join([_dumps(row) for row in destinations])
        texts.append(f'{_dumps(service)[:-1]},"destinations":[{rows}]}}')
        tables.append({**service, "destinations": destinations})
    status = {**parts.head(), "services": tables}
    head = _dumps({key: value for key, value in status.items() if key != "services"})
    return f'{head[:-1]},"services":[{",".join(texts)}]}}'.encode(), status


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
            body, status = make(parts, services)
        else:
            body, status = await asyncio.to_thread(_make_aside, parts, services)
        now = self._clock()
        former, self._picture = self._picture, Picture(now, now - begun, body, status)
        if former is not None and former.cost_s > _CHEAP_S and not former.readers:
            await asyncio.to_thread(_take_apart, former)
        return self._picture

    async def _keep(self) -> None:
        """Have the next one ready, as long as somebody asks."""
        while self._clock() - self._asked_at < _IDLE_S:
            await asyncio.sleep(_REFRESH_S)
            await self._fresh()
        self._keeper = None
        self._picture = None
