"""Who is told, in which order, and how often again: in virtual time."""

from typing import Any

import pytest

from lvsha.config.alerts import AlertSettings, Channel, matches
from lvsha.core.instant import SECOND, Instant
from lvsha.core.machine import Output
from lvsha.director.alerts import (
    QUEUE_MAX,
    SUBJECTS_MAX,
    Alerts,
    Deliver,
    Delivered,
    Failed,
    HeldBack,
    QueueFull,
    message_of,
    text_of,
)

MINUTE = 60 * SECOND


def alert(**changes: Any) -> AlertSettings:
    return AlertSettings(**{"name": "ops", "on": ("role",), "exec": ("/bin/true",), **changes})


def role(state: str, router: str = "r") -> dict[str, Any]:
    return {"at": 1.0, "event": "change.role", "process": "directord", "subject": router, "after": state}


class Desk:
    """Alerts with a clock; ``told`` is what came out, ``works`` whether it arrives."""

    def __init__(self, *settings: AlertSettings) -> None:
        self.alerts = Alerts(settings)
        self.now = Instant(0)
        self.works = True
        self.told: list[tuple[str, int]] = []
        self.events: list[Output] = []

    def hear(self, entry: dict[str, Any], severity: str = "info") -> None:
        self._take(self.alerts.hear(entry, severity, self.now))

    def advance(self, duration: int) -> None:
        end = self.now + duration
        while (deadline := self.alerts.deadline) is not None and deadline <= end:
            self.now = Instant(max(deadline, self.now))
            self._take(self.alerts.on_deadline(self.now))
        self.now = Instant(end)

    def _take(self, outputs: list[Output]) -> None:
        pending = list(outputs)
        while pending:
            output = pending.pop(0)
            if isinstance(output, Deliver):
                self.told.append((output.message.subject, output.message.repeated))
                pending += self.alerts.on_result(
                    output.alert.name, output.channel, ok=self.works, answer="", now=self.now
                )
            else:
                self.events.append(output)

    def of(self, kind: type) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]


@pytest.mark.parametrize(
    ("on", "event", "severity", "expected"),
    [
        ("role", "change.role", "info", True),
        ("role", "change.weight", "info", False),
        ("realserver", "checker.check_rose", "info", True),
        ("realserver-down", "checker.check_rose", "info", False),
        ("warning", "vrrp.ran_late", "warning", True),
        ("warning", "vrrp.entered_fault", "error", True),
        ("error", "vrrp.ran_late", "warning", False),
        ("vrrp.*", "vrrp.became_master", "info", True),
        ("vrrp.*", "vrrpd.something", "info", False),
        ("vrrp.became_master", "vrrp.became_master", "info", True),
        ("config-refused", "agent.reload_refused", "error", True),
    ],
)
def test_words_of_on(on: str, event: str, severity: str, expected: bool) -> None:
    assert matches((on,), event, severity) is expected


def test_the_same_news_is_told_once_and_its_last_repetition_counted() -> None:
    desk = Desk(alert(repeat=MINUTE))

    for _ in range(5):
        desk.hear(role("MASTER"))
    desk.hear(role("BACKUP"))
    at_once = list(desk.told)
    desk.advance(2 * MINUTE)

    assert at_once == [("r -> MASTER", 0), ("r -> BACKUP", 0)]
    assert desk.told[2:] == [("r -> MASTER", 3)]


def test_after_the_silence_the_same_is_news_again() -> None:
    desk = Desk(alert(repeat=MINUTE))

    desk.hear(role("MASTER"))
    desk.advance(MINUTE)
    desk.hear(role("MASTER"))

    assert desk.told == [("r -> MASTER", 0)] * 2
    assert desk.alerts.deadline is not None, "the silence ends once more"


def test_more_than_the_rate_becomes_one_message_of_counts() -> None:
    desk = Desk(alert(rate=3))

    for number in range(50):
        desk.hear(role("MASTER", f"r{number}"))
    within = len(desk.told)
    desk.advance(MINUTE)

    assert within == 3
    assert [subject for subject, _ in desk.told[3:]] == ["47 more"]
    assert [event.rate for event in desk.of(HeldBack)] == [3]


def test_a_failed_attempt_is_made_again_later_and_later_until_it_is_given_up() -> None:
    desk = Desk(alert(retry_for=30 * SECOND, repeat=0))
    desk.works = False

    desk.hear(role("MASTER"))
    desk.advance(MINUTE)

    assert [event.retry_ms for event in desk.of(Failed)] == [1000, 2000, 4000, 8000, None]
    assert desk.alerts.deadline is None


def test_messages_arrive_in_order_although_the_first_fails() -> None:
    desk = Desk(alert(repeat=0))
    desk.works = False

    desk.hear(role("MASTER"))
    desk.hear(role("BACKUP"))
    desk.works = True
    desk.advance(5 * SECOND)

    assert [subject for subject, _ in desk.told] == ["r -> MASTER", "r -> MASTER", "r -> BACKUP"]
    assert [event.attempt for event in desk.of(Delivered)] == [2, 1]


def test_each_channel_has_its_own_queue() -> None:
    alerts = Alerts([alert(webhook="https://h/x", repeat=0)])
    now = Instant(0)

    first = alerts.hear(role("MASTER"), "info", now)
    meanwhile = alerts.hear(role("BACKUP"), "info", now)
    alerts.on_result("ops", Channel.WEBHOOK, ok=False, answer="500", now=now)
    after_exec = alerts.on_result("ops", Channel.EXEC, ok=True, answer="0", now=now)

    assert [each.channel for each in first if isinstance(each, Deliver)] == [Channel.WEBHOOK, Channel.EXEC]
    assert meanwhile == [], "one is on its way: the next one waits"
    assert [each.message.subject for each in after_exec if isinstance(each, Deliver)] == ["r -> BACKUP"]


def test_a_full_queue_loses_its_oldest_and_says_so() -> None:
    desk = Desk(alert(repeat=0, rate=600))
    desk.works = False

    for number in range(QUEUE_MAX + 2):
        desk.hear(role("MASTER", f"r{number}"))

    assert [event.subject for event in desk.of(QueueFull)] == ["r0 -> MASTER", "r1 -> MASTER"]
    assert [row["waiting"] for row in desk.alerts.status()] == [QUEUE_MAX]


def test_what_is_remembered_is_bounded() -> None:
    desk = Desk(alert(rate=600))

    for number in range(2 * SUBJECTS_MAX):
        desk.hear(role("MASTER", f"r{number}"))

    assert len(desk.alerts._alerts["ops"].known) == SUBJECTS_MAX


def test_an_alert_is_not_told_of_alerts() -> None:
    desk = Desk(alert(on=("info", "alert.*")))

    desk.hear({"at": 1.0, "event": "alert.failed"}, "warning")
    desk.hear({"at": 1.0, "event": "alert.coverage_low", "coverage": 0.5}, "warning")

    assert len(desk.told) == 1


def test_a_reload_keeps_what_waits_for_a_channel_that_stays() -> None:
    desk = Desk(alert(repeat=0))
    desk.works = False
    desk.hear(role("MASTER"))

    desk.alerts.reconfigure([alert(repeat=0, rate=20)])
    desk.works = True
    desk.advance(2 * SECOND)
    desk.alerts.reconfigure([])

    assert [event.attempt for event in desk.of(Delivered)] == [2]
    assert desk.alerts.status() == []


def test_the_text_says_what_and_why_on_one_line() -> None:
    message = message_of({**role("MASTER"), "why": "no advert\ncame"}, "info")

    assert text_of(message, "lb1") == "lb1: change.role r -> MASTER: no advert came"


def test_no_secret_is_in_a_repr() -> None:
    settings = alert(webhook="https://u:SECRET@h/SECRET", token="SECRET")

    assert "SECRET" not in repr(settings)
