"""What a late MASTER promises."""

from lvsha.core.instant import MILLISECOND, SECOND
from lvsha.vrrp.pace import CALM, CALM_FOR, Pace

ADVERT = 100 * MILLISECOND


def test_a_punctual_master_promises_what_is_configured() -> None:
    pace = Pace(ADVERT)

    assert not any(pace.sent(ADVERT // 2) for _ in range(10))
    assert pace.promised == ADVERT


def test_a_late_one_promises_twice_its_lateness_in_whole_centiseconds() -> None:
    pace = Pace(ADVERT)

    assert pace.sent(61 * MILLISECOND)
    assert pace.promised == 130 * MILLISECOND


def test_the_worst_lateness_counts() -> None:
    pace = Pace(ADVERT)
    pace.sent(90 * MILLISECOND)

    assert not pace.sent(60 * MILLISECOND)
    assert pace.promised == 180 * MILLISECOND


def test_a_promise_is_bounded() -> None:
    assert _after(ADVERT, 40 * SECOND) == SECOND
    assert _after(10 * MILLISECOND, 40 * SECOND) == 100 * MILLISECOND
    assert _after(5 * SECOND, 40 * SECOND) == 5 * SECOND


def test_a_wide_promise_is_taken_back_after_calm_adverts_only() -> None:
    pace = Pace(ADVERT)
    pace.sent(90 * MILLISECOND)
    for _ in range(CALM - 1):
        assert not pace.sent(0)
    pace.sent(60 * MILLISECOND)

    assert not any(pace.sent(0) for _ in range(CALM - 1))
    assert pace.sent(0)
    assert pace.promised == ADVERT


def test_fast_adverts_are_calm_no_sooner_than_slow_ones() -> None:
    pace = Pace(10 * MILLISECOND)
    pace.sent(9 * MILLISECOND)
    adverts = CALM_FOR // pace.interval

    assert not any(pace.sent(0) for _ in range(adverts - 1))
    assert pace.sent(0)


def _after(interval: int, late: int) -> int:
    pace = Pace(interval)
    pace.sent(late)
    return pace.promised
