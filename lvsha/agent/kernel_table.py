"""directord's hands on the kernel's IPVS table: it is read, compared, brought to what it should be.

Level-triggered: ``reconcile`` compares what should be with what is, on every change and every
``drift_interval``. Ten thousand realservers take some tenths of a second to list and to compare, so
this is done in slices, between which checks and everything else go on; what changes meanwhile is
there when the table is compared, or asks for another round.
"""

import asyncio
import contextlib
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lvsha.agent.owned import OwnedServices
from lvsha.core.errors import KernelError
from lvsha.core.instant import to_seconds
from lvsha.io.ipvs_genl import IpvsSocket
from lvsha.io.reactor import monotonic
from lvsha.io.slices import Slices
from lvsha.ipvs.drift import drift
from lvsha.ipvs.model import DesiredTable, Operation, RemoveService, Table
from lvsha.ipvs.plan import plan_in_parts

if TYPE_CHECKING:
    from lvsha.agent.directord import Directord

_DUMP_SHARE = 20
"""A dump that takes t is not made again within 20 t: a huge table costs at most 5 % of a core."""
_WRITTEN_AT_ONCE = 100
"""Operations of one system call; the kernel takes some 5 us for each."""


class KernelTable:
    """See above. ``ipvs`` is for what is short; the table is listed through a socket of its own, because
    an answer that is still on its way would be taken for another's."""

    def __init__(self, directord: "Directord", ipvs: IpvsSocket, lister: IpvsSocket) -> None:
        self._directord = directord
        self._ipvs = ipvs
        self._lister = lister
        self.owned = OwnedServices(directord.run_dir / "owned-services.json")
        self.table: Table = ipvs.table()
        self.read_at = monotonic()
        """When ``table`` was read."""
        self.writes = 0
        """Operations since the start; 0 after an adoption."""
        self._applied: DesiredTable | None = None
        self._wanted = asyncio.Event()
        self._at_work = asyncio.Lock()
        self._cost_s = 0.0
        """Processor time of the last round."""
        self._failing: set[str] = set()

    def want(self) -> None:
        """Something has changed: ``keep`` compares again, soon."""
        self._wanted.set()

    async def keep(self) -> None:
        """For ever."""
        while True:
            await self.reconcile()
            # Of the processor, not of the clock: on a busy machine repairs must not come later still.
            interval = to_seconds(self._directord.settings.agent.drift_interval)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wanted.wait(), max(interval, self._cost_s * _DUMP_SHARE))

    def read_now(self) -> bool:
        """List a small table, at once; False: it would not be."""
        try:
            self._take(self._ipvs.table())
        except KernelError as error:
            self._fail("director.dump_failed", error)
            return False
        return True

    async def reconcile(self) -> None:
        """Bring the kernel to what it should be; report what somebody else changed."""
        async with self._at_work:
            work = Slices()
            self._wanted.clear()
            self._cost_s = 0.0
            if await self._read(work):
                await self._settle(work)

    async def _settle(self, work: Slices) -> None:
        directord = self._directord
        director, settings = directord.director, directord.settings
        directord.perform(director.on_table(self.table, monotonic(), forwards=directord.forwards))
        directord.timeouts.settle(settings.timeouts)
        directord.templates.settle(settings)
        directord.path_answers.settle(settings)
        await work.pause()
        # What follows at once is of one moment; a change from here on wants another round.
        self._wanted.clear()
        table, desired = self.table, director.desired()
        adopted = bool(desired.keys() & table.keys())
        await directord.chronicle.on_weights(director, monotonic(), work, adopted=adopted)
        await work.pause()
        operations: list[Operation] = []
        parts = plan_in_parts(
            desired, table, exclusive=settings.agent.exclusive, owned=frozenset(self.owned.keys)
        )
        for part in parts:
            operations += part
            await work.pause()
        if operations and desired == self._applied:
            foreign = drift(desired, table)
            for change in foreign:
                directord.journal.record("ipvs", change)
            directord.chronicle.on_drift(foreign)
        self.owned.set(frozenset(desired))
        directord.accept_mode.want(settings.routers)
        directord.reset_grace.want(desired, settings.sync.reset_grace if settings.sync is not None else 0)
        if operations:
            await self._apply(operations, work)
            await self._read(work)
        self._applied = desired
        if directord.relay is not None:
            complete = desired.keys() <= self.table.keys()
            quorum = all(view.quorum_met for view in director.views().values())
            directord.relay.on_table(self.table, complete=complete, quorum=quorum)
        if directord.multicast is not None:
            directord.multicast.on_table(self.table)

    async def _read(self, work: Slices) -> bool:
        begun = time.thread_time()
        try:
            table: Table = {}
            for table in self._lister.table_in_parts():  # noqa: B007 - the last is the whole
                if work.due:
                    self._cost_s += time.thread_time() - begun
                    await work.pause()
                    begun = time.thread_time()
            self._take(table)
        except KernelError as error:
            self._fail("director.dump_failed", error)
            return False
        finally:
            self._cost_s += time.thread_time() - begun
        return True

    def _take(self, table: Table) -> None:
        self.table = table
        self.read_at = monotonic()

    async def _apply(self, operations: Sequence[Operation], work: Slices) -> None:
        self.writes += len(operations)
        failures: list[tuple[Operation, KernelError]] = []
        for first in range(0, len(operations), _WRITTEN_AT_ONCE):
            failures += self._ipvs.apply(operations[first : first + _WRITTEN_AT_ONCE])
            await work.pause()
        for operation, error in failures:
            self._fail("director.operation_failed", error, operation=str(operation))
        if not failures:
            self._failing.clear()
        self._directord.journal.write(
            "director.applied",
            operations=len(operations),
            failed=len(failures),
            first=str(operations[0]),
        )

    async def remove_ours(self) -> None:
        """Take every service that is ours out of the kernel."""
        table = self._ipvs.table()
        removals = [RemoveService(key) for key in self.owned.keys if key in table]
        if removals:
            await self._apply(removals, Slices())
        self.owned.forget()

    def _fail(self, event: str, error: KernelError, **values: Any) -> None:
        """Say an error once until something works again."""
        key = f"{event} {error}"
        if key not in self._failing:
            self._failing.add(key)
            self._directord.journal.write(event, error=str(error), **values)
