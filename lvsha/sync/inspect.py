"""What the sync traffic on a wire says, and what is wrong with it.

A machine that is shown datagrams and keeps figures: who sends, under which syncid,
how fast, about which services, which states follow each other. It reports what an
operator must know once when it begins, not with every datagram: two masters under
one syncid, a cluster that is not ours, messages that a backup drops without a word.

Everything that a sender can grow is bounded; past a bound the figures of the oldest
are forgotten and counted as such.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from operator import itemgetter
from typing import Final

from lvsha.core.errors import DecodeError, DropReason
from lvsha.core.instant import SECOND, Instant, to_seconds
from lvsha.core.machine import Event, Output
from lvsha.sync.nudge import NUDGE_CLIENT
from lvsha.wire.ipvs_sync import v1
from lvsha.wire.ipvs_sync.message import decode_message, is_plain_v1
from lvsha.wire.ipvs_sync.names import ConnFlag
from lvsha.wire.ipvs_sync.receiver import ANYONE, Receiver
from lvsha.wire.ipvs_sync.records import Loses, Problem

RATE_WINDOW_S: Final = 5
MAX_SENDERS: Final = 256
MAX_SERVICES: Final = 4_096
MAX_KINDS: Final = 65_536
"""Combinations of service, flags and state that are counted before they are summed up."""
MAX_CLIENTS: Final = 65_536
MAX_CONNECTIONS: Final = 262_144
"""Last states that are remembered, to see what follows what."""
BOTH_ALIVE_S: Final = 10
"""Two senders of one syncid that were both heard within this time are two masters."""

_service_and_state = itemgetter(1, 2, 3, 5, 10)
"""protocol, flags, state, vport, vaddr of a ``SyncConn``."""
_connection = itemgetter(1, 4, 5, 9, 10)
"""protocol, cport, vport, caddr, vaddr."""
_state = itemgetter(3)
_client = itemgetter(3)
"""caddr of a ``_connection``."""
_NUDGE = NUDGE_CLIENT[0].packed


class FindingKind(StrEnum):
    TWO_MASTERS = "two_masters"
    ALIEN_SYNCID = "alien_syncid"
    VERSION_MIX = "version_mix"
    TOO_LONG = "too_long"
    COUNT_OVERFLOW = "count_overflow"
    MALFORMED = "malformed"
    SILENCE = "silence"
    QUEUE_FULL = "queue_full"


@dataclass(frozen=True, slots=True)
class Finding(Event):
    """Something an operator should act on; ``text`` says what and what to do."""

    kind: FindingKind
    subject: str
    text: str
    at: Instant


@dataclass(slots=True, kw_only=True)
class Sender:
    """One source address under one syncid."""

    syncid: int
    source: str
    first: Instant
    last: Instant
    messages: int = 0
    entries: int = 0
    bytes: int = 0
    lost_entries: int = 0
    """Entries that a receiver does not install."""
    longest_message: int = 0
    longest_silence: int = 0
    """Nanoseconds between two messages. The protocol numbers nothing, so this is all a gap can be."""
    versions: set[int] = field(default_factory=set)
    ports: set[int] = field(default_factory=set)


@dataclass(slots=True, kw_only=True)
class ServiceFigures:
    """What was said about one service."""

    entries: int = 0
    templates: int = 0
    states: Counter[int] = field(default_factory=Counter)


ServiceId = tuple[int, bytes, int]
"""Protocol, virtual address (a fwmark template's: the mark), virtual port."""


class Rate:
    """Events per second over the last whole seconds; over fewer if it has not run that long."""

    def __init__(self, window_s: int = RATE_WINDOW_S) -> None:
        self._counts = [0] * (window_s + 1)
        self._second = 0
        self._first: int | None = None

    def add(self, count: int, now: Instant) -> None:
        self._advance(now)
        if self._first is None:
            self._first = self._second
        self._counts[self._second % len(self._counts)] += count

    def per_second(self, now: Instant) -> float:
        self._advance(now)
        if self._first is None:
            return 0.0
        whole = min(self._second - self._first, len(self._counts) - 1)
        if not whole:
            return float(self._counts[self._second % len(self._counts)])
        return (sum(self._counts) - self._counts[self._second % len(self._counts)]) / whole

    def _advance(self, now: Instant) -> None:
        second = now // SECOND
        for passed in range(max(self._second + 1, second - len(self._counts) + 1), second + 1):
            self._counts[passed % len(self._counts)] = 0
        self._second = max(self._second, second)


class Inspector:
    """Show it datagrams with ``observe``; read its public fields for figures."""

    def __init__(
        self,
        *,
        receiver: Receiver = ANYONE,
        syncids: frozenset[int] = frozenset(),
        silence: int = 0,
        follow_states: bool = True,
    ) -> None:
        """Args:
        receiver: the backup whose losses count.
        syncids: ours; any other is a finding. Empty: all are.
        silence: nanoseconds after which a sender's silence is a finding; 0: never.
        follow_states: count which state follows which; costs most of the time.
        """
        self._receiver = receiver
        self._syncids = syncids
        self._silence = silence
        self._follow_states = follow_states
        self._states: dict[tuple[object, ...], int] = {}
        self._older_states: dict[tuple[object, ...], int] = {}
        self._reported: set[tuple[FindingKind, str]] = set()
        self.senders: dict[tuple[int, str], Sender] = {}
        self._services: dict[ServiceId, ServiceFigures] = {}
        self._kinds: Counter[tuple[int, int, int, int, bytes]] = Counter()
        self.transitions: Counter[tuple[int, int, int]] = Counter()
        """(protocol, state before, state after), of connections."""
        self.clients: Counter[bytes] = Counter()
        self.problems: Counter[DropReason] = Counter()
        self.findings: list[Finding] = []
        self.messages = self.entries = self.bytes = self.lost_entries = self.nudges = self.forgotten = 0
        self.message_rate, self.entry_rate, self.byte_rate = Rate(), Rate(), Rate()
        self.started: Instant | None = None
        self.last: Instant | None = None

    def observe(self, payload: bytes, *, source: str, port: int, now: Instant) -> list[Output]:
        """Take one datagram: what there is to say about it."""
        self.started = self.started if self.started is not None else now
        self.last = now
        self.messages += 1
        size = len(payload)
        self.bytes += size
        self.message_rate.add(1, now)
        self.byte_rate.add(size, now)
        if is_plain_v1(payload, self._receiver) and (stride := v1.uniform_stride(payload, self._receiver)):
            # What a kernel sends, counted by columns: 40 records a message would cost three times as much.
            count = payload[4]
            sender, outputs = self._sender(payload[1], source, port, now)
            self._count_message(sender, count, 0, size, 1)
            self._kinds.update(v1.service_columns(payload, stride))
            self._count_connections(
                list(v1.connection_columns(payload, stride)), v1.state_column(payload, stride)
            )
        else:
            try:
                message = decode_message(payload, self._receiver)
            except DecodeError as error:
                self.problems[error.reason] += 1
                self.lost_entries += 1
                return self._report(FindingKind.MALFORMED, source, f"{source} sends {error}", now)
            sender, outputs = self._sender(message.syncid, source, port, now)
            count, entries = len(message.entries), message.entries
            self._count_message(sender, count, message.lost, size, message.version)
            self._kinds.update(map(_service_and_state, entries))
            self._count_connections(list(map(_connection, entries)), list(map(_state, entries)))
            if message.problems:
                outputs += self._problems(message.problems, sender, size, now)
        if len(self._kinds) > MAX_KINDS:
            self._sort_kinds()
        self.entry_rate.add(count, now)
        return outputs + self._oddities(sender, now)

    def check_silence(self, now: Instant) -> list[Output]:
        """Findings about senders that have stopped."""
        outputs: list[Output] = []
        if self._silence:
            for sender in self.senders.values():
                if now - sender.last > self._silence:
                    text = (
                        f"{sender.source} (syncid {sender.syncid}) has sent nothing for "
                        f"{to_seconds(now - sender.last):.0f} s"
                    )
                    outputs += self._report(
                        FindingKind.SILENCE, f"{sender.source}/{sender.syncid}", text, now
                    )
        return outputs

    def check_queue(self, drops: int, now: Instant) -> list[Output]:
        """A finding if the backup daemon's socket has dropped messages."""
        if not drops:
            return []
        text = (
            f"the backup daemon here has dropped {drops:,} messages, its queue was full: raise "
            "net.core.rmem_max and net.ipv4.vs.sync_sock_size, and start the daemon anew"
        )
        return self._report(FindingKind.QUEUE_FULL, "", text, now)

    def _count_message(self, sender: Sender, entries: int, lost: int, size: int, version: int) -> None:
        sender.messages += 1
        sender.entries += entries
        sender.bytes += size
        sender.lost_entries += lost
        sender.longest_message = max(sender.longest_message, size)
        sender.versions.add(version)
        self.entries += entries
        self.lost_entries += lost

    @property
    def services(self) -> dict[ServiceId, ServiceFigures]:
        """What was said about each service."""
        self._sort_kinds()
        return self._services

    def _sort_kinds(self) -> None:
        """Sum up by service what has been counted since the last time."""
        for (protocol, flags, state, vport, vaddr), count in self._kinds.items():
            figures = self._services.get((protocol, vaddr, vport))
            if figures is None:
                if len(self._services) >= MAX_SERVICES:
                    self._services.pop(next(iter(self._services)))
                    self.forgotten += 1
                figures = self._services[(protocol, vaddr, vport)] = ServiceFigures()
            figures.entries += count
            if flags & ConnFlag.TEMPLATE:
                figures.templates += count
            else:
                figures.states[state] += count
        self._kinds.clear()

    def _count_connections(
        self, connections: list[tuple[int, int, int, bytes, bytes]], states: Iterable[int]
    ) -> None:
        self.clients.update(map(_client, connections))
        self.nudges += self.clients.pop(_NUDGE, 0)
        if len(self.clients) > 2 * MAX_CLIENTS:
            self._forget_clients()
        if not self._follow_states:
            return
        known, older = self._states, self._older_states
        for connection, state in zip(connections, states, strict=True):
            before = known.get(connection)
            if before == state:
                continue
            if before is None:
                before = older.get(connection)
            known[connection] = state
            # A template has no client port and no states that follow each other.
            if before is not None and before != state and connection[1]:
                self.transitions[(connection[0], before, state)] += 1
        if len(known) > MAX_CONNECTIONS // 2:
            self.forgotten += len(older)
            self._older_states, self._states = known, {}

    def _forget_clients(self) -> None:
        """Keep those that were named most often."""
        before, least = len(self.clients), 1
        while len(self.clients) > MAX_CLIENTS:
            self.clients = Counter({client: count for client, count in self.clients.items() if count > least})
            least *= 2
        self.forgotten += before - len(self.clients)

    def _sender(self, syncid: int, source: str, port: int, now: Instant) -> tuple[Sender, list[Output]]:
        sender = self.senders.get((syncid, source))
        outputs: list[Output] = []
        if sender is None:
            if len(self.senders) >= MAX_SENDERS:
                self.senders.pop(min(self.senders, key=lambda key: self.senders[key].last))
                self.forgotten += 1
            sender = Sender(syncid=syncid, source=source, first=now, last=now)
            self.senders[(syncid, source)] = sender
            if self._syncids and syncid not in self._syncids:
                ours = ", ".join(map(str, sorted(self._syncids)))
                text = f"{source} sends under syncid {syncid}, ours is {ours}: another cluster is here"
                outputs = self._report(FindingKind.ALIEN_SYNCID, str(syncid), text, now)
        sender.longest_silence = max(sender.longest_silence, now - sender.last)
        sender.last = now
        sender.ports.add(port)
        return sender, outputs

    def _problems(self, problems: Sequence[Problem], sender: Sender, size: int, now: Instant) -> list[Output]:
        outputs: list[Output] = []
        where = f"{sender.source} (syncid {sender.syncid})"
        # A message that is refused whole has a problem of its own, and one for each entry that says the same.
        whole = {problem.reason for problem in problems if problem.loses is Loses.MESSAGE}
        for problem in problems:
            if problem.entry is None or problem.reason not in whole:
                self.problems[problem.reason] += 1
        first = problems[0]
        if first.reason is DropReason.BAD_MESSAGE_SIZE and size > self._receiver.maxlen:
            text = (
                f"{where} sends messages of {size} bytes and the backup's sync_maxlen is "
                f"{self._receiver.maxlen}: it drops them whole, without a word; "
                "raise it and restart its daemon"
            )
            outputs += self._report(FindingKind.TOO_LONG, sender.source, text, now)
        elif any("overflowed" in problem.detail for problem in problems):
            text = f"{where}: {first.detail}; the entries past the count are lost"
            outputs += self._report(FindingKind.COUNT_OVERFLOW, sender.source, text, now)
        elif first.reason not in (DropReason.SYNCID_MISMATCH, DropReason.AFTER_BAD_ENTRY):
            text = f"{where} sends {first}"
            outputs += self._report(FindingKind.MALFORMED, f"{sender.source} {first.reason}", text, now)
        return outputs

    def _oddities(self, sender: Sender, now: Instant) -> list[Output]:
        outputs: list[Output] = []
        if len(sender.versions) > 1:
            text = f"{sender.source} (syncid {sender.syncid}) sends both versions 0 and 1"
            outputs += self._report(FindingKind.VERSION_MIX, f"{sender.source}/{sender.syncid}", text, now)
        if len(self.senders) > 1:
            rivals = sorted(
                other.source
                for other in self.senders.values()
                if other.syncid == sender.syncid and now - other.last < BOTH_ALIVE_S * SECOND
            )
            if len(rivals) > 1:
                text = (
                    f"{' and '.join(rivals)} both send under syncid {sender.syncid}: two masters, "
                    "or two clusters with one syncid; each overwrites the other's entries"
                )
                outputs += self._report(FindingKind.TWO_MASTERS, str(sender.syncid), text, now)
        return outputs

    def _report(self, kind: FindingKind, subject: str, text: str, now: Instant) -> list[Output]:
        """Once for each subject; both are bounded, for a source address is a sender's to choose."""
        if (kind, subject) in self._reported or len(self._reported) >= 4 * MAX_SENDERS:
            return []
        self._reported.add((kind, subject))
        finding = Finding(kind, subject, text, now)
        self.findings.append(finding)
        return [finding]
