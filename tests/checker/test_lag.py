"""Our own lateness."""

from lvsha.checker.lag import LagMeter, LoopBecameLate, LoopRecovered
from lvsha.core.instant import MILLISECOND, SECOND, Instant


def at(ms: int) -> Instant:
    return Instant(ms * MILLISECOND)


def test_total_is_what_a_probe_subtracts() -> None:
    meter = LagMeter(at(0))
    meter.woke(due=at(10), now=at(12))
    begun = meter.total
    meter.woke(due=at(20), now=at(50))
    meter.woke(due=at(60), now=at(60))

    assert meter.total - begun == 30 * MILLISECOND


def test_early_wake_is_no_negative_lateness() -> None:
    meter = LagMeter(at(0))
    meter.woke(due=at(10), now=at(9))
    assert meter.total == 0


def test_loop_becomes_late_once_and_recovers_after_five_calm_seconds() -> None:
    meter = LagMeter(at(0))
    assert meter.woke(due=at(10), now=at(300)) == [LoopBecameLate(lateness=290 * MILLISECOND)]
    assert meter.is_late
    assert meter.woke(due=at(300), now=at(450)) == []

    assert meter.woke(due=at(5_000), now=at(5_000)) == []
    assert meter.woke(due=at(5_450), now=at(5_450)) == [
        LoopRecovered(after=440 * MILLISECOND, worst=290 * MILLISECOND)
    ]
    assert not meter.is_late


def test_percentile_is_an_upper_bound_within_a_factor_of_two() -> None:
    meter = LagMeter(at(0))
    for i in range(1000):
        lateness = MILLISECOND if i < 985 else 40 * MILLISECOND
        meter.woke(due=at(i), now=Instant(at(i) + lateness))

    assert MILLISECOND <= meter.percentile(0.5) <= 2 * MILLISECOND
    assert 40 * MILLISECOND <= meter.percentile(0.99) <= 80 * MILLISECOND


def test_percentile_forgets_after_two_windows() -> None:
    meter = LagMeter(at(0))
    meter.woke(due=at(0), now=at(90))
    for second in range(1, 25):
        meter.woke(due=at(second * 1000), now=at(second * 1000))

    assert meter.percentile(1.0) == 0


def test_percentile_of_nothing_is_zero() -> None:
    assert LagMeter(Instant(5 * SECOND)).percentile(0.99) == 0
