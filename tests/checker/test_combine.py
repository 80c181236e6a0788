"""What several checks of one realserver mean together."""

from dataclasses import replace
from ipaddress import IPv4Address

import pytest

from lvsha.checker.check import Check
from lvsha.checker.combine import Needs, combine
from lvsha.checker.result import ProbeResult, Reason
from lvsha.checker.settings import CheckKind, CheckSettings
from lvsha.core.instant import SECOND, Instant

SETTINGS = CheckSettings(kind=CheckKind.TCP, address=IPv4Address("10.0.0.11"), port=80, fall=1, rise=1)
GOOD = ProbeResult(ok=True)
BAD = ProbeResult(ok=False, reason=Reason.REFUSED, detail="no")


def check(word: str, *, weight: int | None = None, percent: int | None = None) -> Check:
    made = Check(word, SETTINGS, random=lambda: 0.5)
    made.start(Instant(SECOND))
    if word != "unproven":
        made.on_deadline(Instant(SECOND))
        made.on_result(
            (GOOD if word == "up" else BAD)._replace(weight=weight, percent=percent), Instant(SECOND)
        )
    return made


@pytest.mark.parametrize(
    ("words", "needs", "up", "proven"),
    [
        ("up up", Needs.ALL, True, True),
        ("up down", Needs.ALL, False, True),
        ("down down", Needs.ALL, False, True),
        ("up unproven", Needs.ALL, False, False),
        ("down unproven", Needs.ALL, False, True),
        ("up up", Needs.ANY, True, True),
        ("up down", Needs.ANY, True, True),
        ("down down", Needs.ANY, False, True),
        ("up unproven", Needs.ANY, True, True),
        ("down unproven", Needs.ANY, False, False),
        ("", Needs.ALL, True, True),
        ("", Needs.ANY, True, True),
    ],
)
def test_verdicts(words: str, needs: Needs, up: bool, proven: bool) -> None:
    verdict = combine([check(word) for word in words.split()], needs)

    assert (verdict.up, verdict.proven) == (up, proven)


def test_the_reason_names_who_failed() -> None:
    assert combine([check("up"), check("down")], Needs.ALL).reason == "tcp: refused no"


def test_the_smallest_share_and_weight_count() -> None:
    checks = [
        check("up", percent=50),
        check("up", percent=20, weight=7),
        check("up"),
        check("down", percent=1),
    ]

    verdict = combine(checks, Needs.ANY)

    assert (verdict.weight, verdict.percent) == (7, 20)
    assert combine([check("up")], Needs.ALL).percent is None


def test_a_verdict_that_changed_its_settings_keeps_its_share() -> None:
    made = check("up", percent=50)

    made.reconfigure(replace(SETTINGS, interval=5 * SECOND), Instant(2 * SECOND))

    assert combine([made], Needs.ALL).percent == 50
