"""A master in user space: which connection is announced when, and in which message.

A machine in the place of the kernel's master daemon. Two sets of rules:

``KernelRules`` are the kernel's, packet by packet. A row is announced from the path
of a client's packet, or not at all:

1. TCP and SCTP only in certain states.
2. Into a state other than ESTABLISHED that was not announced yet: always.
3. With a refresh period, not again until the row's end has moved by the period (or by
   half of its time-out, if that is more than 10 s and less than the period), but for
   ``retries`` repeats an eighth of the period apart.
4. With a period: if the packet count, modulo the period, is the threshold; this does
   not hold for templates. Without either period: if the count is the threshold.

``OwnRules`` take a table instead of packets: each row is announced when it appears,
when its state or server changes and every ``refresh``, and goes with a goodbye: an
entry that closes it at the receiver within a second. The kernel never says goodbye.

Entries collect in a buffer that is sent when the next does not fit, or when it is
``flush_after`` old. The kernel's rule is two seconds, looked at once a second.

Source: Linux 6.1; ``tests/kernel/test_sync_producer.py`` compares both with a real kernel.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from lvsha.core.instant import SECOND, Instant, after
from lvsha.core.machine import Action, Output
from lvsha.wire.ipvs_sync import v0, v1
from lvsha.wire.ipvs_sync.names import DEFAULT_MAXLEN, ConnFlag, Protocol, SctpState, TcpState
from lvsha.wire.ipvs_sync.records import SyncConn

KERNEL_FLUSH: Final = 2 * SECOND
KERNEL_LOOK: Final = SECOND
_LONG_TIMEOUT: Final = 10 * SECOND
_RETRY_SHARE: Final = 8

ANNOUNCED_STATES: Final[dict[int, frozenset[int]]] = {
    Protocol.TCP: frozenset(
        (
            TcpState.ESTABLISHED,
            TcpState.FIN_WAIT,
            TcpState.CLOSE,
            TcpState.CLOSE_WAIT,
            TcpState.TIME_WAIT,
        )
    ),
    Protocol.SCTP: frozenset(
        (
            SctpState.ESTABLISHED,
            SctpState.SHUTDOWN_SENT,
            SctpState.SHUTDOWN_RECEIVED,
            SctpState.SHUTDOWN_ACK_SENT,
            SctpState.CLOSED,
        )
    ),
}
"""Of the protocols that have more than one."""
_ESTABLISHED: Final[dict[int, int]] = {
    Protocol.TCP: TcpState.ESTABLISHED,
    Protocol.SCTP: SctpState.ESTABLISHED,
}

GOODBYE_TIMEOUT_S: Final = 1


@dataclass(frozen=True, slots=True)
class SendMessage(Action):
    """One datagram to the group."""

    payload: bytes


class MessageBuffer:
    """Entries that wait for more to go with them."""

    def __init__(
        self,
        syncid: int,
        *,
        version: int = 1,
        maxlen: int = DEFAULT_MAXLEN,
        flush_after: int = KERNEL_FLUSH,
        look_every: int = KERNEL_LOOK,
    ) -> None:
        """Args:
        flush_after: nanoseconds that a part-filled message waits; 0: it leaves with its first entry.
        look_every: nanoseconds between two looks at its age; 0: it leaves when it is due.
        """
        assert 0 <= syncid <= 255, "the syncid has eight bits"
        self._syncid = syncid
        self._version = version
        self._maxlen = maxlen
        self._flush_after = flush_after
        self._look_every = look_every
        self._entries: list[bytes] = []
        self._size = 0
        self.deadline: Instant | None = None

    def add(self, conn: SyncConn, now: Instant) -> list[Output]:
        """Put an entry in; the message that it does not fit into any more.

        Raises:
            ValueError: it cannot be said in this version, or does not fit alone.
        """
        entry = v1.encode_entry(conn) if self._version else v0.encode_entry(conn)
        header = v1.HEADER_SIZE if self._version else v0.HEADER_SIZE
        if header + len(entry) > self._maxlen:
            raise ValueError(f"an entry of {len(entry)} bytes does not fit in a maxlen of {self._maxlen}")
        outputs: list[Output] = []
        start = self._size + 3 & ~3 if self._version else self._size
        if self._entries and (start + len(entry) > self._maxlen or len(self._entries) == v1.MAX_ENTRIES):
            outputs = self.flush()
        if not self._entries:
            start = header
            self.deadline = self._due(now)
        self._entries.append(entry)
        self._size = start + len(entry)
        return outputs if self._flush_after else outputs + self.flush()

    def on_deadline(self, now: Instant) -> list[Output]:
        """Send what has waited long enough."""
        return self.flush() if self.deadline is not None and now >= self.deadline else []

    def flush(self) -> list[Output]:
        """Send what there is. The kernel does not when its daemon stops; here it is the caller's choice."""
        if not self._entries:
            return []
        assemble = v1.assemble if self._version else v0.assemble
        payload = assemble(self._syncid, self._entries)
        self._entries, self._size, self.deadline = [], 0, None
        return [SendMessage(payload)]

    def _due(self, now: Instant) -> Instant:
        due = after(now, self._flush_after)
        if not self._look_every:
            return due
        # The looks are a clock of their own.
        return Instant(-(-due // self._look_every) * self._look_every)


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelRules:
    """``net.ipv4.vs.*``; the defaults are the kernel's."""

    threshold: int = 3
    period: int = 50
    """0: no counting."""
    refresh: int = 0
    """Nanoseconds; 0: none."""
    retries: int = 0
    """0-3."""
    persist_mode: bool = False
    """``sync_persist_mode``: connections that hang on a template are not announced."""


@dataclass(slots=True)
class _Announced:
    """What the kernel keeps of the announcements of a row."""

    state: int = 0
    ends: int = 0
    """The expiry that was announced last, an ``Instant``; 0: none was."""
    retries: int = 0


class KernelMaster:
    """Shown packets, as the kernel's forwarding path would show them.

    It keeps a little of each row until ``expired`` is called: whoever has the table bounds this too.
    """

    def __init__(self, rules: KernelRules, buffer: MessageBuffer) -> None:
        self._rules = rules
        self._buffer = buffer
        self._rows: dict[tuple[object, ...], _Announced] = {}

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def deadline(self) -> Instant | None:
        return self._buffer.deadline

    def on_deadline(self, now: Instant) -> list[Output]:
        return self._buffer.on_deadline(now)

    def flush(self) -> list[Output]:
        return self._buffer.flush()

    def packet(
        self, conn: SyncConn, packets: int, now: Instant, *, has_template: bool = False
    ) -> list[Output]:
        """A client's packet has passed: ``conn`` as it is afterwards, and its count with this one.

        For a connection that hangs on a template call it for that too, with a count of its own.
        """
        if not self._is_due(conn, packets, now, has_template):
            return []
        # The kernel does not say that it keeps a row in its own hash table.
        return self._buffer.add(conn._replace(flags=conn.flags & ~ConnFlag.HASHED), now)

    def expired(self, conn: SyncConn) -> None:
        """The row has gone: nothing is sent, and a new one begins anew."""
        self._rows.pop(_row_key(conn), None)

    def _is_due(self, conn: SyncConn, packets: int, now: Instant, has_template: bool) -> bool:
        if conn.flags & ConnFlag.ONE_PACKET:
            return False
        if has_template and not conn.is_template and self._rules.persist_mode:
            return False
        states = None if conn.is_template else ANNOUNCED_STATES.get(conn.protocol)
        if states is not None and conn.state not in states:
            return False
        key = _row_key(conn)
        known = self._rows.get(key) or _Announced()
        changed = states is not None and conn.state != known.state
        ends = after(now, conn.timeout * SECOND)
        retries = 0
        if not (changed and conn.state != _ESTABLISHED[conn.protocol]):
            again = self._repeats(conn, known, ends, now)
            if again is None or not self._counts(conn, packets):
                return False
            retries = again
        self._rows[key] = _Announced(conn.state, ends, retries)
        return True

    def _repeats(self, conn: SyncConn, known: _Announced, ends: Instant, now: Instant) -> int | None:
        """Rule 3: None while it is too early, else which repeat this would be."""
        refresh = self._rules.refresh
        timeout = conn.timeout * SECOND
        if not refresh or abs(ends - known.ends) >= min(refresh, max(timeout // 2, _LONG_TIMEOUT)):
            return 0
        announced = known.ends - timeout
        if known.retries >= self._rules.retries or now < announced + refresh // _RETRY_SHARE:
            return None
        return known.retries + 1

    def _counts(self, conn: SyncConn, packets: int) -> bool:
        """Rule 4."""
        rules = self._rules
        if rules.period:
            return conn.is_template or packets % rules.period == rules.threshold
        return bool(rules.refresh) or packets == rules.threshold


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnRules:
    """When a table is announced."""

    refresh: int = 60 * SECOND
    """Nanoseconds after which a row is said again, so that a receiver that lost it learns it; 0: never."""
    says_goodbye: bool = True
    """Close rows at the receiver when they go."""


class TableMaster:
    """Shown a table now and then; announces what a receiver does not know yet."""

    def __init__(self, rules: OwnRules, buffer: MessageBuffer) -> None:
        self._rules = rules
        self._buffer = buffer
        self._said: dict[tuple[object, ...], tuple[SyncConn, Instant]] = {}

    def __len__(self) -> int:
        return len(self._said)

    @property
    def deadline(self) -> Instant | None:
        return self._buffer.deadline

    def on_deadline(self, now: Instant) -> list[Output]:
        return self._buffer.on_deadline(now)

    def flush(self) -> list[Output]:
        return self._buffer.flush()

    def table(self, rows: Iterable[SyncConn], now: Instant) -> list[Output]:
        """The whole table, each row with the time-out that a receiver shall give it."""
        outputs: list[Output] = []
        said: dict[tuple[object, ...], tuple[SyncConn, Instant]] = {}
        for conn in rows:
            key = _row_key(conn)
            before = self._said.pop(key, None)
            if before is not None and not self._is_due(conn, *before, now):
                said[key] = before
                continue
            said[key] = conn, now
            outputs += self._buffer.add(conn, now)
        gone, self._said = self._said, said
        if self._rules.says_goodbye:
            for conn, _ in gone.values():
                outputs += self._buffer.add(goodbye(conn), now)
        return outputs

    def again(self) -> None:
        """A receiver has begun anew: with the next table, say everything."""
        self._said = {key: (conn, Instant(-(1 << 62))) for key, (conn, _) in self._said.items()}

    def _is_due(self, conn: SyncConn, said: SyncConn, at: Instant, now: Instant) -> bool:
        if conn._replace(timeout=said.timeout) != said:
            return True
        return (bool(self._rules.refresh) and now - at >= self._rules.refresh) or at < 0


def goodbye(conn: SyncConn) -> SyncConn:
    """The entry that removes this row at a receiver within a second, its counters right."""
    if conn.is_template:
        return conn._replace(timeout=GOODBYE_TIMEOUT_S)
    closed = {Protocol.TCP: TcpState.CLOSE, Protocol.SCTP: SctpState.CLOSED}.get(
        Protocol(conn.protocol), conn.state
    )
    return conn._replace(state=int(closed), flags=conn.flags | ConnFlag.INACTIVE, timeout=GOODBYE_TIMEOUT_S)


def _row_key(conn: SyncConn) -> tuple[object, ...]:
    return conn.protocol, conn.caddr, conn.cport, conn.vaddr, conn.vport, conn.is_template
