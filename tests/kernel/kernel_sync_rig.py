"""A network namespace whose kernel plays the backup, and the ledger that says what it should hold."""

import itertools
import subprocess
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from lvsha.core.errors import DecodeError
from lvsha.core.instant import SECOND, Instant
from lvsha.io.ipvs_genl import IpvsSocket
from lvsha.io.procfs import ConnectionRow, connections
from lvsha.io.sync_socket import Delivery, SyncInjector
from lvsha.ipvs.model import Daemon, DaemonRole
from lvsha.lab.netns import Namespace, ip_batch, run
from lvsha.sync.conn_table import TableRow, row_of
from lvsha.sync.ledger import Ledger
from lvsha.wire.ipvs_sync.message import decode_message
from lvsha.wire.ipvs_sync.receiver import Receiver

INTERFACE = "lvsha0"
GUEST_ENGINES = frozenset({b"sip"})
"""What the guest has loaded."""

_names = (f"backup{number}" for number in itertools.count())


@dataclass(frozen=True, slots=True)
class Backup:
    """A running backup daemon; use it inside ``namespace.entered()`` only."""

    namespace: Namespace
    injector: SyncInjector

    def install(self, messages: Iterable[bytes]) -> Delivery:
        delivery = self.injector.deliver(messages)
        assert (delivery.dropped, delivery.unconfirmed) == (0, 0), (
            f"the test lost messages itself: {delivery}"
        )
        return delivery

    def rows(self) -> list[TableRow]:
        """The table, once it reads the same twice: while rows expire, others can be missed or come twice."""
        before: list[TableRow] | None = None
        for _ in range(50):
            rows = [_table_row(row) for row in connections()]
            if before is not None and [_identity(row) for row in rows] == [_identity(row) for row in before]:
                return rows
            before = rows
            time.sleep(0.02)
        raise AssertionError("the table does not come to rest")


@contextmanager
def backup_kernel(
    *, syncid: int = 0, maxlen: int = 65507, setup: Iterable[list[str]] = ()
) -> Iterator[Backup]:
    """A fresh table. ``setup``: commands to run inside first, such as ipvsadm's."""
    namespace = Namespace(next(_names))
    ip_batch([f"netns add {namespace.name}"])
    try:
        with namespace.entered():
            ip_batch(["link set lo up", f"link add {INTERFACE} type dummy", f"link set {INTERFACE} up"])
            for command in setup:
                run(command)
            with IpvsSocket() as ipvs:
                ipvs.start_daemon(
                    Daemon(role=DaemonRole.BACKUP, interface=INTERFACE, syncid=syncid, maxlen=maxlen)
                )
            with SyncInjector(INTERFACE) as injector:
                yield Backup(namespace, injector)
    finally:
        subprocess.run(["ip", "netns", "delete", namespace.name], check=False)


def expected_rows(messages: Iterable[bytes], receiver: Receiver) -> list[TableRow]:
    """What the codec's strict reading and the ledger's rules make of these messages."""
    ledger = Ledger()
    for data in messages:
        try:
            message = decode_message(data, receiver)
        except DecodeError:
            continue
        ledger.receive(message.entries, Instant(0), version=message.version)
    return [row_of(row.conn, row.expires // SECOND) for row in ledger]


def _table_row(row: ConnectionRow) -> TableRow:
    return TableRow(
        row.protocol,
        row.caddr.packed,
        row.cport,
        row.vaddr.packed,
        row.vport,
        row.daddr.packed,
        row.dport,
        row.state,
        row.expires_s,
        row.pe_name.encode(),
        row.pe_data,
    )


MAY_BE_GONE_S = 15
"""A row with a shorter timer may have expired before the table is read."""
LONGEST_SHOWN_S = 49 * 86_400
"""The table prints longer ones wrong."""


def differences(expected: Iterable[TableRow], actual: Iterable[TableRow]) -> list[str]:
    """What the kernel lacks and what it has too much, with its timers within the time that a test takes."""
    wanted: dict[tuple[object, ...], list[int]] = {}
    for row in expected:
        wanted.setdefault(_identity(row), []).append(row.expires_s)
    found = []
    # Rows that no lookup finds can be alike but for their timers: the shortest that fits is taken.
    for row in sorted(actual, key=lambda row: row.expires_s):
        left = sorted(wanted.get(_identity(row), ()))
        if not left:
            found.append(f"the kernel alone has {row}")
            continue
        timeout = next((each for each in left if _fits(row.expires_s, each)), None)
        if timeout is None:
            timeout = left[-1]
            found.append(f"timer of {row}: expected {timeout}")
        wanted[_identity(row)].remove(timeout)
    for identity, timeouts in wanted.items():
        found += [
            f"only expected: {identity}, {timeout} s" for timeout in timeouts if timeout > MAY_BE_GONE_S
        ]
    return found


def _fits(expires_s: int, timeout_s: int) -> bool:
    return timeout_s >= LONGEST_SHOWN_S or timeout_s - MAY_BE_GONE_S <= expires_s <= timeout_s


def _identity(row: TableRow) -> tuple[object, ...]:
    # What the table prints of an engine's data ends at a NUL or a line's end; blanks before it are lost
    # among those between the columns.
    pe_data = row.pe_data.partition(b"\0")[0].partition(b"\n")[0].lstrip()
    return (*row[:8], row.pe_name, pe_data)


def wait_until_gone(backup: Backup, seconds: float = 5.0) -> None:
    """Until the table is empty."""
    give_up = time.monotonic() + seconds
    while backup.rows() and time.monotonic() < give_up:
        time.sleep(0.05)


def tally(rows: Iterable[TableRow]) -> Counter[str]:
    """How many rows of each state."""
    return Counter(row.state for row in rows)
