"""``[agent] maintenance_dir``: a file named like a realserver takes it out of service, as in ldirectord.

A file is a standing ``maintenance`` order of the owner ``maintenance_dir``; when the file goes,
so does the order. An order of that kind that somebody gave otherwise is left alone. Names that
fit nothing are said once. The directory is looked at every second.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from lvsha.agent.journal import Journal
from lvsha.api.port import Refused

OWNER = "maintenance_dir"
LOOK_S = 1.0
FILES_MAX = 10_000


class Orders(Protocol):
    """What it needs of ``agent.operations``."""

    def maintained(self) -> Mapping[str, str]:
        """By name of a realserver in maintenance: the owner of the order."""

    async def order(self, kind: str, target: str | None, *, owner: str, reason: str) -> object: ...

    async def take_back(
        self, kinds: Sequence[str], target: str | None, *, owner: str, reason: str
    ) -> object: ...


class MaintenanceDir:
    """See above."""

    def __init__(self, journal: Journal, orders: Orders) -> None:
        self._journal = journal
        self._orders = orders
        self._refused: set[str] = set()
        self._unreadable = False

    async def run(self, folder: Callable[[], str | None]) -> None:
        """``folder`` may change with a reload; None: orders that files gave are taken back."""
        while True:
            await self.look(folder())
            await asyncio.sleep(LOOK_S)

    def reconsider(self) -> None:
        """Other settings: a name that fitted nothing may fit now."""
        self._refused.clear()

    async def look(self, folder: str | None) -> None:
        """Once. A directory that cannot be read changes nothing: realservers must not come back by that."""
        names: set[str] = set()
        if folder is not None:
            try:
                names = set(await asyncio.to_thread(_names, Path(folder)))
            except OSError as error:
                if not self._unreadable:
                    self._journal.write("director.maintenance_dir_unreadable", problem=str(error))
                self._unreadable = True
                return
        self._unreadable = False
        self._refused &= names
        standing = self._orders.maintained()
        for name in sorted(names - set(standing) - self._refused):
            order = self._orders.order("maintenance", name, owner=OWNER, reason=f"file {folder}/{name}")
            await self._try(order, name)
        for name in sorted(target for target, owner in standing.items() if owner == OWNER):
            if name not in names:
                await self._try(
                    self._orders.take_back(["maintenance"], name, owner=OWNER, reason="the file is gone"),
                    name,
                )

    async def _try(self, order: Awaitable[object], name: str) -> None:
        try:
            await order
        except Refused as error:
            self._refused.add(name)
            self._journal.write("director.maintenance_file_refused", file=name, problem=str(error))


def _names(folder: Path) -> list[str]:
    with os.scandir(folder) as entries:
        found = sorted(entry.name for entry in entries if not entry.name.startswith("."))
    return found[:FILES_MAX]
