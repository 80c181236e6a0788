"""The kernel's connection table as entries: read where there is no other way, never again and again."""

import asyncio
from collections.abc import Callable

from lvsha.agent.journal import Journal
from lvsha.core.errors import KernelError
from lvsha.core.instant import SECOND
from lvsha.director.rebuild import rebuilder
from lvsha.io.conn_rows import handshake_rows, table_rows
from lvsha.io.ipvs_genl import IpvsSocket
from lvsha.io.reactor import monotonic
from lvsha.sync.conn_table import TableRow
from lvsha.sync.mirror import is_nudge
from lvsha.sync.store import Store
from lvsha.wire.ipvs_sync.records import SyncConn
from lvsha.wire.ipvs_sync.v1 import encode_entry

_READS_MOST = 5
_AT_ONCE = 500
"""Rows taken from the table between two looks at everything else."""
_HANDSHAKES_AMONG = 50_000
"""Rows at most of a table that is read for its handshakes: 0.3 s before Linux 6.14, and worse beyond."""


async def seed(store: Store, ipvs: IpvsSocket, journal: Journal) -> None:
    """Take our kernel's table into the store, which is complete then.

    The kernel prints its table by position, so of one that changes meanwhile some rows come twice and
    others not at all (21 of 10,000 were seen to be missing): it is read until nothing new is found.
    """
    begun = monotonic()
    before = len(store)
    read = 0
    for _ in range(_READS_MOST):
        try:
            found = await read_entries(ipvs)
        except KernelError as error:
            journal.write("sync.seed_failed", error=str(error))
            break
        read += len(found)
        known = len(store)
        for at in range(0, len(found), _AT_ONCE):
            now = monotonic()
            for entry, lifetime in found[at : at + _AT_ONCE]:
                store.seed(entry, now, lifetime=lifetime)
            await asyncio.sleep(0)
        if len(store) == known:
            break
    took_ms = round((monotonic() - begun) / 1e6)
    store.is_complete = True
    journal.write("sync.seeded", rows=read, taken=len(store) - before, took_ms=took_ms)


async def seed_handshakes(store: Store, ipvs: IpvsSocket) -> int:
    """Take connections whose handshake our kernel is in the middle of, which it announces to nobody.

    When the address has moved meanwhile, their next packet comes to the successor.

    Returns:
        How many were taken; of a large table none is looked for.
    """
    before = len(store)
    try:
        table = ipvs.table()
        rebuild = rebuilder(table, ipvs.timeouts())
    except KernelError:
        return 0  # the services are gone, and all that could be rebuilt with them
    # Of the kernel's: in a flood of first packets our own store has next to none of its rows.
    rows = sum(
        each.active + each.inactive for service in table.values() for each in service.destinations.values()
    )
    if rows > _HANDSHAKES_AMONG:
        return 0
    for entry, lifetime in await asyncio.to_thread(_read, rebuild, handshake_rows):
        store.seed(entry, monotonic(), lifetime=lifetime)
    return len(store) - before


async def read_entries(ipvs: IpvsSocket) -> list[tuple[bytes, int]]:
    """Every connection of our kernel, and what is left of its life in nanoseconds; beside the event loop.

    Raises:
        KernelError: the services cannot be read.
    """
    return await asyncio.to_thread(_read, rebuilder(ipvs.table(), ipvs.timeouts()), table_rows)


def _read(
    rebuild: Callable[[TableRow], SyncConn | None], rows: Callable[[], list[TableRow]]
) -> list[tuple[bytes, int]]:
    found = []
    for row in rows():
        conn = rebuild(row) if row.expires_s else None
        if conn is not None:
            entry = encode_entry(conn)
            if not is_nudge(entry):
                found.append((entry, row.expires_s * SECOND))
    return found
