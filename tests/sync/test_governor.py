"""The governor changes what is too small once that is sure, within bounds, and takes its time back."""

from itertools import pairwise

from lvsha.core.instant import SECOND, Instant, after
from lvsha.core.machine import Output
from lvsha.sync.governor import (
    BUFFER_LEAST,
    BUFFER_MOST,
    EIGHT_ENTRIES,
    ONE_ENTRY,
    REFRESH_LEAST,
    REFRESH_MOST,
    ApplyTuning,
    Counters,
    Governor,
    SyncTuned,
    Tuning,
)

ALL = frozenset({"maxlen", "refresh", "buffer"})


class Bench:
    """Feeds a governor once a second."""

    def __init__(self, governs: frozenset[str] = ALL) -> None:
        self.governor = Governor(Tuning(), governs=governs)
        self.now = Instant(SECOND)
        self.heard = self.passed_on = self.drops = 0
        self.feed(1)

    def feed(self, seconds: int, *, news: int = 0, echoes: int = 0, drops: int = 0) -> list[Output]:
        outputs: list[Output] = []
        for _ in range(seconds):
            self.now = after(self.now, SECOND)
            self.heard += news + echoes
            self.passed_on += news
            self.drops += drops
            counters = Counters(heard=self.heard, passed_on=self.passed_on, drops=self.drops)
            outputs += self.governor.on_counters(counters, self.now)
        return outputs


def test_many_new_connections_fill_messages_and_few_do_not() -> None:
    bench = Bench()

    assert bench.feed(3, news=10_000) == []
    (event, action) = bench.feed(1, news=10_000)

    assert event == SyncTuned("maxlen", ONE_ENTRY, EIGHT_ENTRIES, "10000 changes a second")
    assert action == ApplyTuning(Tuning(maxlen=EIGHT_ENTRIES))
    assert bench.feed(60, news=10_000) == []


def test_a_burst_changes_nothing() -> None:
    bench = Bench()

    assert all(bench.feed(2, news=50_000) + bench.feed(1, news=2_000) == [] for _ in range(10))


def test_what_was_changed_comes_back_after_a_long_calm_only() -> None:
    bench = Bench()
    bench.feed(5, news=10_000)

    assert bench.feed(119, news=10) == []
    assert bench.feed(3, news=2_000) == []
    assert bench.feed(120, news=10) == []
    (event, _) = bench.feed(1, news=10)

    assert event == SyncTuned("maxlen", EIGHT_ENTRIES, ONE_ENTRY, "10 changes a second")


def test_echoes_lengthen_the_refresh_period_up_to_its_bound() -> None:
    bench = Bench()

    outputs = bench.feed(60, echoes=10_000)

    periods = [event.new for event in outputs if isinstance(event, SyncTuned)]
    assert periods == [20, 40, REFRESH_MOST]
    back = [event.new for event in bench.feed(600) if isinstance(event, SyncTuned)]
    assert back == [30, 15, REFRESH_LEAST]


def test_drops_double_the_buffer_up_to_its_bound() -> None:
    bench = Bench()

    sizes = [event.new for event in bench.feed(10, drops=3) if isinstance(event, SyncTuned)]

    assert sizes[0] == 2 * BUFFER_LEAST
    assert sizes[-1] == BUFFER_MOST
    assert all(big == 2 * small for small, big in pairwise(sizes))


def test_what_the_operator_has_set_is_left_alone() -> None:
    bench = Bench(governs=frozenset())

    assert bench.feed(60, news=100_000, echoes=100_000, drops=5) == []


def test_counters_that_begin_anew_mean_nothing() -> None:
    bench = Bench()
    bench.feed(2, news=10, drops=1)
    bench.heard = bench.passed_on = bench.drops = 0

    assert bench.feed(1) == []
