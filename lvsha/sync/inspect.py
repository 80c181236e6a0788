"""What the sync traffic on a wire says, and what is wrong with it.

A machine that is shown datagrams and keeps figures: who sends, under which syncid,
how fast, about which services, which states follow each other. It reports what an
operator must know once when it begins, not with every datagram: two masters under
one syncid, a cluster that is not ours, messages that a backup drops without a word.

Everything that a sender can grow is bounded; past a bound the figures of the oldest
are forgotten and counted as such.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from operator import itemgetter
from typing import Final

from lvsha.core.bounded import BoundedDict
from lvsha.core.errors import DecodeError, DropReason
from lvsha.core.instant import SECOND, Instant, to_seconds
from lvsha.core.machine import Event, Output
from lvsha.sync.nudge import NUDGE_CLIENT
from lvsha.wire.ipvs_sync.message import decode_message
from lvsha.wire.ipvs_sync.names import ConnFlag
from lvsha.wire.ipvs_sync.receiver import ANYONE, Receiver
from lvsha.wire.ipvs_sync.records import Loses, Problem, SyncConn, SyncMessage

RATE_WINDOW_S: Final = 5
MAX_SENDERS: Final = 256
MAX_SERVICES: Final = 4_096
MAX_CLIENTS: Final = 65_536
MAX_CONNECTIONS: Final = 262_144
"""Last states that are remembered, to see what follows what."""
BOTH_ALIVE_S: Final = 10
"""Two senders of one syncid that were both heard within this time are two masters."""

_service_and_state = itemgetter(1, 10, 6, 3, 2)
_client = itemgetter(9)
_NUDGE = NUDGE_CLIENT[0].packed


class FindingKind(StrEnum):
    TWO_MASTERS = "two_masters"
    ALIEN_SYNCID = "alien_syncid"
    VERSION_MIX = "version_mix"
    TOO_LONG = "too_long"
    COUNT_OVERFLOW = "count_overflow"
    MALFORMED = "malformed"
    SILENCE = "silence"


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
    """Events per second over the last whole seconds."""

    def __init__(self, window_s: int = RATE_WINDOW_S) -> None:
        self._counts = [0] * (window_s + 1)
        self._second = 0

    def add(self, count: int, now: Instant) -> None:
        self._advance(now)
        self._counts[self._second % len(self._counts)] += count

    def per_second(self, now: Instant) -> float:
        self._advance(now)
        return (sum(self._counts) - self._counts[self._second % len(self._counts)]) / (len(self._counts) - 1)

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
        self._states: BoundedDict[tuple[object, ...], tuple[int, int]] = BoundedDict(MAX_CONNECTIONS)
        self._reported: set[tuple[FindingKind, str]] = set()
        self.senders: dict[tuple[int, str], Sender] = {}
        self.services: dict[ServiceId, ServiceFigures] = {}
        self.transitions: Counter[tuple[int, int, int]] = Counter()
        """(protocol, state before, state after), of connections."""
        self.clients: Counter[bytes] = Counter()
        self.problems: Counter[DropReason] = Counter()
        self.findings: list[Finding] = []
        self.messages = self.entries = self.bytes = self.lost_entries = self.nudges = self.forgotten = 0
        self.message_rate, self.entry_rate, self.byte_rate = Rate(), Rate(), Rate()
        self.started: Instant | None = None
        self.last: Instant | None = None

    def observe(
        self, payload: bytes, *, source: str, port: int, now: Instant
    ) -> tuple[SyncMessage | None, list[Output]]:
        """Take one datagram: what it holds, and what there is to say about it. None: not even a header."""
        self.started = self.started if self.started is not None else now
        self.last = now
        self.messages += 1
        self.bytes += len(payload)
        self.message_rate.add(1, now)
        self.byte_rate.add(len(payload), now)
        try:
            message = decode_message(payload, self._receiver)
        except DecodeError as error:
            self.problems[error.reason] += 1
            return None, self._report(FindingKind.MALFORMED, source, f"{source} sends {error}", now)
        sender, outputs = self._sender(message.syncid, source, now)
        lost = sum(problem.conn is not None or problem.loses is Loses.ENTRY for problem in message.problems)
        sender.messages += 1
        sender.entries += len(message.entries)
        sender.bytes += len(payload)
        sender.lost_entries += lost
        sender.longest_message = max(sender.longest_message, len(payload))
        sender.versions.add(message.version)
        sender.ports.add(port)
        self.entries += len(message.entries)
        self.lost_entries += lost
        self.entry_rate.add(len(message.entries), now)
        self._count_entries(message.entries)
        if message.problems:
            outputs += self._problems(message.problems, sender, len(payload), now)
        outputs += self._oddities(sender, now)
        return message, outputs

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

    def _count_entries(self, entries: Iterable[SyncConn]) -> None:
        for (protocol, vaddr, vport, state, flags), count in Counter(
            map(_service_and_state, entries)
        ).items():
            figures = self.services.get((protocol, vaddr, vport))
            if figures is None:
                if len(self.services) >= MAX_SERVICES:
                    self.services.pop(next(iter(self.services)))
                    self.forgotten += 1
                figures = self.services[(protocol, vaddr, vport)] = ServiceFigures()
            figures.entries += count
            if flags & ConnFlag.TEMPLATE:
                figures.templates += count
            else:
                figures.states[state] += count
        self.clients.update(map(_client, entries))
        self.nudges += self.clients.pop(_NUDGE, 0)
        if len(self.clients) > 2 * MAX_CLIENTS:
            self.forgotten += len(self.clients) - MAX_CLIENTS
            self.clients = Counter(dict(self.clients.most_common(MAX_CLIENTS)))
        if self._follow_states:
            for conn in entries:
                if not conn.flags & ConnFlag.TEMPLATE:
                    self._follow(conn)

    def _follow(self, conn: SyncConn) -> None:
        key = (conn.protocol, conn.caddr, conn.cport, conn.vaddr, conn.vport)
        before = self._states.get(key)
        if before is None or before[0] != conn.state:
            if before is not None:
                self.transitions[(conn.protocol, before[0], conn.state)] += 1
            self._states.put(key, (conn.state, conn.dport))

    def _sender(self, syncid: int, source: str, now: Instant) -> tuple[Sender, list[Output]]:
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
        return sender, outputs

    def _problems(self, problems: Iterable[Problem], sender: Sender, size: int, now: Instant) -> list[Output]:
        outputs: list[Output] = []
        where = f"{sender.source} (syncid {sender.syncid})"
        for problem in problems:
            self.problems[problem.reason] += 1
        first = next(iter(problems))
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
