"""Who is told of what, in which order, and how often again: no clock and no network here.

For each alert and channel there is one queue, and one message on its way: they arrive in the
order in which things happened. One that does not arrive is tried again after 1 s, 2 s, 4 s, up
to a minute, until ``retry_for`` is over; then it is given up, and the next one is tried.

Nobody is told the same thing over and over: within ``repeat`` of a message, the same event of
the same subject is only counted, and the last of them is told when that time is over, with how
many there were. More than ``rate`` messages a minute become one message of counts.
"""

from collections import OrderedDict, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from lvsha.config.alerts import AlertSettings, Channel, matches
from lvsha.core.instant import SECOND, Instant, after, earliest
from lvsha.core.machine import Action, Event, Output

QUEUE_MAX = 100
"""Messages that wait on one channel; the oldest goes."""
SUBJECTS_MAX = 1_000
"""Things remembered per alert for ``repeat``; the oldest is forgotten, and may be told again."""
COUNTED_MAX = 20
"""Kinds of events in one message of counts; further ones are counted together."""
RETRY_FIRST = SECOND
RETRY_MAX = 60 * SECOND
_MINUTE = 60 * SECOND

COUNTS = "alert.counts"
TEST = "alert.test"
_SUBJECTS = ("subject", "router", "pool", "check_id", "override", "worker", "peer", "interface")


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What somebody is told."""

    event: str
    severity: str
    subject: str
    at: float
    """Seconds since 1970."""
    fields: Mapping[str, Any] = field(default_factory=dict)
    repeated: int = 0
    """How many of the same were not told before this one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deliver(Action):
    """Tell it now; ``Alerts.on_result`` is to hear what came back."""

    alert: AlertSettings
    channel: Channel
    message: Message
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivered(Event):
    alert: str
    channel: Channel
    told: str
    """The event."""
    subject: str
    attempt: int
    answer: str
    """HTTP status, SMTP reply, exit status."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed(Event):
    """An attempt; another one follows unless ``retry_ms`` is None."""

    alert: str
    channel: Channel
    told: str
    subject: str
    attempt: int
    answer: str
    retry_ms: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueFull(Event):
    """A message was thrown away for a newer one."""

    alert: str
    channel: Channel
    lost: str
    subject: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldBack(Event):
    """More than ``rate`` a minute: from now on they are counted."""

    alert: str
    rate: int


@dataclass(slots=True)
class _Line:
    """One channel of one alert."""

    waiting: deque[Message] = field(default_factory=deque)
    is_busy: bool = False
    attempt: int = 0
    first: Instant | None = None
    """When the message at the head was tried first."""
    again: Instant | None = None


@dataclass(slots=True)
class _Known:
    """Something told a moment ago."""

    until: Instant
    last: Message | None = None
    count: int = 0


@dataclass(slots=True)
class _Alert:
    settings: AlertSettings
    lines: dict[Channel, _Line] = field(default_factory=dict)
    known: OrderedDict[tuple[str, str], _Known] = field(default_factory=OrderedDict)
    full: Instant | None = None
    """When the allowance would be whole again (the theoretical arrival time of GCRA)."""
    counts: dict[str, int] = field(default_factory=dict)
    worst: Message | None = None
    """The last of what was counted."""


class Alerts:
    """See above."""

    def __init__(self, settings: Iterable[AlertSettings] = ()) -> None:
        self._alerts: dict[str, _Alert] = {}
        self.reconfigure(settings)

    def reconfigure(self, settings: Iterable[AlertSettings]) -> None:
        """What waits for a channel that is still there goes on; the rest is forgotten."""
        before, self._alerts = self._alerts, {}
        for each in settings:
            alert = before.get(each.name) or _Alert(each)
            alert.settings = each
            alert.lines = {channel: alert.lines.get(channel) or _Line() for channel in each.channels}
            self._alerts[each.name] = alert

    def hear(self, entry: Mapping[str, Any], severity: str, now: Instant) -> list[Output]:
        """A line of the journal, its own lines left out: an alert about an alert would never end.

        ``alert.coverage_*`` are no lines of its own.
        """
        event = str(entry["event"])
        if event.startswith("alert.") and not event.startswith("alert.coverage_"):
            return []
        outputs: list[Output] = []
        message: Message | None = None
        for alert in self._alerts.values():
            if not matches(alert.settings.on, event, severity):
                continue
            if message is None:
                message = message_of(entry, severity)
            outputs += self._once(alert, message, now)
        return outputs

    def _once(self, alert: _Alert, message: Message, now: Instant) -> list[Output]:
        """Unless the same was told a moment ago."""
        if not alert.settings.repeat:
            return self._within_rate(alert, message, now)
        key = (message.event, message.subject)
        known = alert.known.get(key)
        if known is not None and now < known.until:
            known.last, known.count = message, known.count + 1
            return []
        self._remember(alert, key, now)
        return self._within_rate(alert, message, now)

    def _remember(self, alert: _Alert, key: tuple[str, str], now: Instant) -> None:
        alert.known.pop(key, None)
        alert.known[key] = _Known(after(now, alert.settings.repeat))
        if len(alert.known) > SUBJECTS_MAX:
            alert.known.popitem(last=False)

    def _within_rate(self, alert: _Alert, message: Message, now: Instant) -> list[Output]:
        if alert.counts or not self._may(alert, now):
            outputs: list[Output] = []
            if not alert.counts:
                outputs.append(HeldBack(alert=alert.settings.name, rate=alert.settings.rate))
            event = message.event
            if event not in alert.counts and len(alert.counts) >= COUNTED_MAX:
                event = "others"
            alert.counts[event] = alert.counts.get(event, 0) + 1 + message.repeated
            alert.worst = message
            return outputs
        return self._send(alert, message, now)

    def _may(self, alert: _Alert, now: Instant) -> bool:
        allowed = self._allowed_at(alert)
        return allowed is None or now >= allowed

    def _allowed_at(self, alert: _Alert) -> Instant | None:
        """When the next message is within the rate; None: always."""
        if alert.full is None:
            return None
        rate = alert.settings.rate
        return Instant(alert.full - (rate - 1) * (_MINUTE // rate))

    def _send(self, alert: _Alert, message: Message, now: Instant) -> list[Output]:
        start = now if alert.full is None else Instant(max(alert.full, now))
        alert.full = after(start, _MINUTE // alert.settings.rate)
        outputs: list[Output] = []
        for channel, line in alert.lines.items():
            if len(line.waiting) >= QUEUE_MAX:
                place = 1 if line.is_busy else 0
                lost = line.waiting[place]
                del line.waiting[place]
                if not place:
                    line.attempt, line.first, line.again = 0, None, None
                outputs.append(
                    QueueFull(
                        alert=alert.settings.name, channel=channel, lost=lost.event, subject=lost.subject
                    )
                )
            line.waiting.append(message)
            outputs += self._next(alert, channel, now)
        return outputs

    def _next(self, alert: _Alert, channel: Channel, now: Instant) -> list[Output]:
        line = alert.lines[channel]
        if line.is_busy or not line.waiting or (line.again is not None and now < line.again):
            return []
        line.is_busy, line.again = True, None
        line.attempt += 1
        line.first = now if line.first is None else line.first
        return [Deliver(alert=alert.settings, channel=channel, message=line.waiting[0], attempt=line.attempt)]

    def on_result(self, name: str, channel: Channel, *, ok: bool, answer: str, now: Instant) -> list[Output]:
        """What came of a ``Deliver``; of an alert that is configured no more: nothing."""
        alert = self._alerts.get(name)
        line = alert.lines.get(channel) if alert is not None else None
        if alert is None or line is None or not line.is_busy:
            return []
        line.is_busy = False
        message, attempt = line.waiting[0], line.attempt
        outcome: Delivered | Failed
        if ok:
            outcome = Delivered(
                alert=name,
                channel=channel,
                told=message.event,
                subject=message.subject,
                attempt=attempt,
                answer=answer,
            )
        else:
            pause = min(RETRY_MAX, RETRY_FIRST << min(attempt - 1, 10))
            first = line.first if line.first is not None else now
            gives_up = after(now, pause) > after(first, alert.settings.retry_for)
            outcome = Failed(
                alert=name,
                channel=channel,
                told=message.event,
                subject=message.subject,
                attempt=attempt,
                answer=answer,
                retry_ms=None if gives_up else pause // 1_000_000,
            )
            if not gives_up:
                line.again = after(now, pause)
                return [outcome]
        line.waiting.popleft()
        line.attempt, line.first, line.again = 0, None, None
        return [outcome, *self._next(alert, channel, now)]

    @property
    def deadline(self) -> Instant | None:
        """A retry, the end of a silence, or room for what was counted."""
        found: Instant | None = None
        for alert in self._alerts.values():
            for line in alert.lines.values():
                if not line.is_busy and line.waiting:
                    found = earliest(found, line.again)
            for known in alert.known.values():
                found = earliest(found, known.until)
                break  # the one that was told first is over first
            if alert.counts:
                found = earliest(found, self._allowed_at(alert))
        return found

    def on_deadline(self, now: Instant) -> list[Output]:
        outputs: list[Output] = []
        for alert in self._alerts.values():
            for channel in alert.lines:
                outputs += self._next(alert, channel, now)
            if alert.counts and self._may(alert, now):
                outputs += self._send(alert, self._counted(alert), now)
            while alert.known:
                key, known = next(iter(alert.known.items()))
                if now < known.until:
                    break
                del alert.known[key]
                if known.last is not None:
                    self._remember(alert, key, now)
                    outputs += self._within_rate(alert, replace(known.last, repeated=known.count - 1), now)
        return outputs

    def _counted(self, alert: _Alert) -> Message:
        assert alert.worst is not None, "what is counted has a last one"
        counts, alert.counts = alert.counts, {}
        last, alert.worst = alert.worst, None
        total = sum(counts.values())
        return Message(
            event=COUNTS,
            severity=last.severity,
            subject=f"{total} more",
            at=last.at,
            fields={"counts": counts, "last": last.event, "last_subject": last.subject},
        )

    def status(self) -> list[dict[str, Any]]:
        """What waits, for people and programs."""
        return [
            {
                "name": name,
                "channel": str(channel),
                "waiting": len(line.waiting),
                "attempt": line.attempt,
            }
            for name, alert in self._alerts.items()
            for channel, line in alert.lines.items()
        ]


def message_of(entry: Mapping[str, Any], severity: str) -> Message:
    """A line of the journal as news."""
    fields = {key: value for key, value in entry.items() if key not in ("at", "event", "process")}
    subject = next((str(fields[key]) for key in _SUBJECTS if fields.get(key) is not None), "")
    if fields.get("after") is not None:
        subject = f"{subject} -> {fields['after']}"  # of one thing, another state is other news
    return Message(
        event=str(entry["event"]),
        severity=severity,
        subject=subject,
        at=float(entry["at"]),
        fields=fields,
    )


def text_of(message: Message, node: str) -> str:
    """One line for people: ``lb1: change.role eth0-51 -> MASTER: no advert came ...``."""
    fields = message.fields
    why = fields.get("why") or fields.get("detail") or fields.get("problem") or fields.get("reason") or ""
    if message.event == COUNTS:
        why = ", ".join(f"{count} {event}" for event, count in fields["counts"].items())
    more = f" ({message.repeated} times more since the last one)" if message.repeated else ""
    head = f"{node}: {message.event} {message.subject}".rstrip()
    return " ".join(f"{head}: {why}{more}".split()) if why else f"{head}{more}"


def document_of(message: Message, *, alert: str, node: str) -> dict[str, Any]:
    """What a webhook is sent and a program reads; ``text`` is what chat servers show."""
    return {
        "text": text_of(message, node),
        "alert": alert,
        "node": node,
        "event": message.event,
        "severity": message.severity,
        "subject": message.subject,
        "at": message.at,
        "repeated": message.repeated,
        "fields": dict(message.fields),
    }
