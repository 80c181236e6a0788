"""The connection table that a backup has, as far as its peer's messages tell.

A machine in the place of the kernel's backup daemon: it takes what a message
installs, under the kernel's rules of update, and forgets rows when their timers
run out. What it cannot know is what only the backup's own packets and services
decide: traffic after a takeover, and the server that a row is bound to.

The rules, in the kernel's order:

1. A connection is looked up by family, protocol, client and virtual endpoint; when
   that finds nothing, by the same with client port 0. A row is found only if "its
   client port is 0" and "it is marked NO_CPORT" say the same, so an entry for which
   they differ makes another row each time it is sent. A template that they fit (no
   kernel sends one) is found as well; of two the newer.
2. A template is looked up among templates by the same key; with a persistence
   engine by client, virtual endpoint and the engine's data instead. Of a fwmark
   template's virtual address only the first four bytes count. A connection with an
   engine's data is never found, so it makes another row each time it is sent.
3. A connection found with another destination: an INACTIVE entry is taken for the
   old one's goodbye and ignored; any other replaces the row. A template keeps the
   destination it has, whatever the entry says.
4. A row found takes INACTIVE, the sequence flags and data, state and time-out;
   a row made takes ``BACKUP_MASK`` of the flags (v0: all of them, and a row marked
   one-packet is never found again, so it is not kept here).
5. Its timer starts anew with the entry's time-out, or the state's own for 0.

Source: Linux 6.1 and 7.x; ``tests/kernel`` compares each rule with a real kernel.
"""

import heapq
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from lvsha.core.instant import SECOND, Instant, after
from lvsha.core.machine import Event, Output
from lvsha.wire.ipvs_sync import options as tlv
from lvsha.wire.ipvs_sync.names import (
    BACKUP_MASK,
    UPDATE_MASK,
    ConnFlag,
    Protocol,
    default_timeout_s,
)
from lvsha.wire.ipvs_sync.records import SyncConn

Key = tuple[object, ...]
"""What a lookup compares. Rows that no lookup finds have a serial number in it."""

DEFAULT_LIMIT = 4_000_000
"""Rows. A row costs about 700 bytes here, so this is the 3 GB that a kernel spends on ten million."""


@dataclass(slots=True, kw_only=True)
class LedgerRow:
    """One row. ``conn`` is what the kernel holds: masked flags, and a time-out that is never 0."""

    conn: SyncConn
    origin: str
    """Who sent the newest entry, as the caller named it."""
    created: Instant
    heard: Instant
    """The newest entry."""
    expires: Instant
    entries: int = 1
    """How many entries it took."""
    slot: int = 0
    """The second in which the ledger looks at the timer."""
    serial: int = 0
    """Rows made later have higher ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RowsExpired(Event):
    """Timers ran out."""

    count: int


class Ledger:
    """See above. ``deadline`` is the next second in which a row may expire."""

    def __init__(self, *, limit: int = DEFAULT_LIMIT) -> None:
        assert limit > 0, "a ledger holds at least one row"
        self._limit = limit
        self._rows: dict[Key, LedgerRow] = {}
        self._serial = 0
        # Rows that make a lookup look further than its own key; hardly ever any.
        self._no_cport = 0
        self._odd_templates = 0
        # Rows by the second in which to look at them. A refresh does not move a row: whoever looks and
        # finds it alive puts it where its timer then ends. A shortened timer gets an earlier place, and
        # the later one is passed over, because it is not the row's ``slot`` any more.
        self._slots: dict[int, list[Key]] = {}
        self._due: list[int] = []
        self.counts: Counter[str] = Counter()
        """created, updated, replaced, ignored, expired, unhashed (v0), refused (the table is full)."""

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[LedgerRow]:
        return iter(self._rows.values())

    @property
    def deadline(self) -> Instant | None:
        return Instant(self._due[0] * SECOND) if self._due else None

    def find(self, conn: SyncConn) -> LedgerRow | None:
        """The row that an entry with this key would meet."""
        found = self._find(conn)
        return found[1] if found else None

    def receive(
        self, entries: Iterable[SyncConn], now: Instant, *, version: int = 1, origin: str = ""
    ) -> list[Output]:
        """Take what a message of this ``version`` installs: ``SyncMessage.entries``."""
        outputs = self.on_deadline(now) if self._due and self._due[0] * SECOND <= now else []
        for conn in entries:
            self._take(conn, now, version, origin)
        return outputs

    def on_deadline(self, now: Instant) -> list[Output]:
        """Forget the rows whose timers have run out."""
        expired = 0
        while self._due and self._due[0] * SECOND <= now:
            second = heapq.heappop(self._due)
            for key in self._slots.pop(second):
                row = self._rows.get(key)
                if row is None or row.slot != second:
                    continue
                if row.expires > now:
                    self._place(key, row)
                    continue
                self._remove(key, row)
                expired += 1
        self.counts["expired"] += expired
        return [RowsExpired(count=expired)] if expired else []

    def clear(self) -> None:
        """Forget all rows; the counts stay."""
        self._rows.clear()
        self._slots.clear()
        self._due.clear()
        self._no_cport = self._odd_templates = 0

    def _take(self, conn: SyncConn, now: Instant, version: int, origin: str) -> None:
        found = self._find(conn)
        if found is not None and not conn.is_template:
            key, row = found
            if row.conn.dport != conn.dport or row.conn.daddr != conn.daddr:
                if conn.flags & ConnFlag.INACTIVE:
                    self.counts["ignored"] += 1
                    return
                self._remove(key, row)
                self.counts["replaced"] += 1
                found = None
        if found is not None:
            self._update(*found, conn, now, origin)
        else:
            self._create(conn, now, version, origin)

    def _update(self, key: Key, row: LedgerRow, conn: SyncConn, now: Instant, origin: str) -> None:
        old, options = row.conn, row.conn.options
        if conn.options and (sequence := conn.sequence) is not None:
            options = tlv.encode_options(sequence=sequence, pe_name=old.pe_name, pe_data=old.pe_data)
        row.conn = old._replace(
            flags=conn.flags & UPDATE_MASK | old.flags & ~UPDATE_MASK,
            state=conn.state,
            timeout=_timeout_s(conn, template=old.is_template),
            options=options,
        )
        row.origin, row.heard = origin, now
        row.entries += 1
        row.expires = after(now, row.conn.timeout * SECOND)
        if _slot(row.expires) < row.slot:
            self._place(key, row)
        self.counts["updated"] += 1

    def _create(self, conn: SyncConn, now: Instant, version: int, origin: str) -> None:
        if len(self._rows) >= self._limit:
            self.counts["refused"] += 1
            return
        if version == 0 and conn.flags & ConnFlag.ONE_PACKET:
            self.counts["unhashed"] += 1
            return
        self._serial += 1
        key = self._own_key(conn)
        conn = conn._replace(
            type=1 if conn.is_inet6 else 0,
            vaddr=_virtual_address(conn),
            flags=conn.flags & (BACKUP_MASK if version == 1 else ~ConnFlag.HASHED) | ConnFlag.SYNC,
            timeout=_timeout_s(conn, template=conn.is_template),
            options=_kept_options(conn),
        )
        expires = after(now, conn.timeout * SECOND)
        row = LedgerRow(
            conn=conn, origin=origin, created=now, heard=now, expires=expires, serial=self._serial
        )
        if (shadowed := self._rows.get(key)) is not None:
            # The lookup went elsewhere, to a template or by an engine's data. From now on the new row
            # is found, and this one stays until its timer ends.
            hidden = (shadowed.serial,)
            self._rows[hidden] = shadowed
            self._place(hidden, shadowed)
        self._rows[key] = row
        self._count_odd(conn, 1)
        self._place(key, row)
        self.counts["created"] += 1

    def _find(self, conn: SyncConn) -> tuple[Key, LedgerRow] | None:
        if conn.is_template:
            key = _template_key(conn)
            row = self._rows.get(key)
            return None if row is None else (key, row)
        if conn.options and conn.pe_data:
            # The lookup goes by the engine's hash, and a connection's row never has one.
            return None
        found = self._find_connection(conn)
        if found is None and self._no_cport and conn.cport:
            found = self._find_connection(conn._replace(cport=0))
        return found

    def _find_connection(self, conn: SyncConn) -> tuple[Key, LedgerRow] | None:
        key = _connection_key(conn)
        row = self._rows.get(key)
        if self._odd_templates:
            template_key = _template_key(conn)
            template = self._rows.get(template_key)
            if template and _ports_agree(template.conn) and (not row or template.serial > row.serial):
                return template_key, template
        return None if row is None else (key, row)

    def _own_key(self, conn: SyncConn) -> Key:
        """Under which a new row will be found; a serial number alone if it cannot be."""
        if conn.is_template:
            return _template_key(conn)
        if _ports_agree(conn):
            return _connection_key(conn)
        return (self._serial,)

    def _place(self, key: Key, row: LedgerRow) -> None:
        row.slot = second = _slot(row.expires)
        slot = self._slots.get(second)
        if slot is None:
            self._slots[second] = [key]
            heapq.heappush(self._due, second)
        else:
            slot.append(key)

    def _remove(self, key: Key, row: LedgerRow) -> None:
        del self._rows[key]
        self._count_odd(row.conn, -1)

    def _count_odd(self, conn: SyncConn, step: int) -> None:
        if conn.flags & ConnFlag.NO_CPORT:
            self._no_cport += step
        if conn.is_template and _ports_agree(conn):
            self._odd_templates += step


def _virtual_address(conn: SyncConn) -> bytes:
    """A fwmark template's is the mark: four bytes, whatever the family."""
    if conn.protocol != Protocol.IP:
        return conn.vaddr
    return conn.vaddr[:4] + bytes(len(conn.vaddr) - 4)


def _timeout_s(conn: SyncConn, *, template: bool) -> int:
    return conn.timeout or default_timeout_s(conn.protocol, conn.state, template=template)


def _slot(expires: Instant) -> int:
    return expires // SECOND + 1


def _ports_agree(conn: SyncConn) -> bool:
    """Whether a lookup for a connection can find this row."""
    return (conn.cport == 0) == bool(conn.flags & ConnFlag.NO_CPORT)


def _connection_key(conn: SyncConn) -> Key:
    return conn.protocol, conn.caddr, conn.cport, conn.vaddr, conn.vport


def _template_key(conn: SyncConn) -> Key:
    vaddr = _virtual_address(conn)
    if conn.options and conn.pe_data:
        return "template", conn.protocol, conn.caddr, vaddr, conn.vport, conn.pe_data
    return "template", conn.protocol, conn.caddr, conn.cport, vaddr, conn.vport


def _kept_options(conn: SyncConn) -> bytes:
    """Sequence data always, an engine's data in a template only, unknown options never."""
    if not conn.options:
        return b""
    pe_data = conn.pe_data if conn.is_template else b""
    return tlv.encode_options(
        sequence=conn.sequence, pe_name=conn.pe_name if pe_data else b"", pe_data=pe_data
    )
