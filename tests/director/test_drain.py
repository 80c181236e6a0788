"""A drain ends at zero or at its deadline, and says how far it is."""

from lvsha.core.instant import SECOND
from lvsha.director.director import Director
from lvsha.director.drain import QUIET, DrainEnded, Phase
from tests.director.operated import Bench, realserver, service, settings

PLACE = ("web", "rs12")
PAIR = settings(service("web", realserver(11), realserver(12)))


def draining(connections: int = 6, **order: object) -> Bench:
    bench = Bench(PAIR)
    bench.advance(3 * SECOND)
    bench.connections["10.0.0.12"] = connections
    bench.order("drain", "rs12", **order)
    bench.advance(SECOND)
    return bench


def ended(bench: Bench) -> list[DrainEnded]:
    return [event for event in bench.events if isinstance(event, DrainEnded)]


def test_while_there_is_a_connection_it_stays_with_weight_zero() -> None:
    bench = draining()

    bench.advance(3600 * SECOND)

    assert bench.weights() == {"rs11": 10, "rs12": 0}
    assert ended(bench) == []


def test_it_leaves_the_table_when_the_last_connection_has_been_gone_for_a_while() -> None:
    bench = draining()

    bench.connections.clear()
    bench.look()
    bench.advance(QUIET - 1)
    assert bench.weights()["rs12"] == 0

    bench.advance(SECOND)
    assert bench.weights()["rs12"] is None
    assert [(event.phase, event.connections) for event in ended(bench)] == [(Phase.DRAINED, 0)]


def test_a_connection_that_comes_late_begins_the_wait_anew() -> None:
    """As one that the other director's sync daemon had not sent yet."""
    bench = draining(connections=0)

    bench.connections["10.0.0.12"] = 1
    bench.look()
    bench.connections.clear()
    bench.look()
    bench.advance(QUIET - SECOND)

    assert bench.weights()["rs12"] == 0


def test_at_the_deadline_the_rest_is_cut_off() -> None:
    bench = draining(deadline_at=1_800_000_000.0 + 64.0)

    bench.advance(58 * SECOND)
    assert ended(bench) == []

    bench.advance(3 * SECOND)
    assert bench.weights()["rs12"] is None
    assert [(event.phase, event.connections) for event in ended(bench)] == [(Phase.CUT, 6)]


def test_a_director_that_stands_by_removes_nothing_at_zero() -> None:
    """What it counts are copies, and more may be on their way."""
    bench = draining(connections=0)
    bench.events.clear()
    bench.take_back("drain", "rs12")
    bench.forwards = False
    bench.order("drain", "rs12")

    bench.advance(60 * SECOND)
    assert bench.weights()["rs12"] == 0

    bench.forwards = True
    bench.advance(60 * SECOND)
    assert bench.weights()["rs12"] is None


def test_a_weight_that_is_not_zero_in_the_kernel_yet_counts_for_nothing() -> None:
    bench = Bench(PAIR)
    bench.advance(3 * SECOND)
    before = bench.table()
    bench.order("drain", "rs12")

    bench.take(bench.director.on_table(before, bench.now, forwards=True))

    assert bench.director.deadline is not None
    assert bench.director.drain(PLACE, bench.now) is not None
    bench.take(bench.director.on_deadline(bench.now))
    assert bench.weights()["rs12"] == 0


def test_undrained_it_is_back_with_its_weight() -> None:
    bench = draining(connections=0)
    bench.advance(60 * SECOND)
    assert bench.weights()["rs12"] is None

    bench.take_back("drain", "rs12")

    assert bench.weights() == {"rs11": 10, "rs12": 10}


def test_the_next_process_does_not_bring_back_what_was_drained() -> None:
    bench = draining(connections=0)
    bench.advance(60 * SECOND)

    director = Director(PAIR, random=lambda: 0.5, actual=bench.table())
    director.start(bench.now, at=bench.at, overrides=bench.director.overrides, ended=bench.director.drained)

    assert director.views()["web"].weights == {"rs11": 10, "rs12": None}


def test_the_estimate_is_the_pace_of_the_last_minute() -> None:
    bench = draining(connections=100)
    for left in range(90, 40, -10):
        bench.advance(10 * SECOND)
        bench.connections["10.0.0.12"] = left
        bench.look()

    view = bench.director.drain(PLACE, bench.now)

    assert view is not None
    assert view.connections == 50
    assert view.eta_s is not None
    assert 45 <= view.eta_s <= 70


def test_without_a_pace_the_deadline_is_the_estimate() -> None:
    bench = draining(deadline_at=1_800_000_000.0 + 64.0)
    bench.advance(20 * SECOND)

    view = bench.director.drain(PLACE, bench.now)

    assert view is not None
    assert view.eta_s == view.deadline_s == 39.0
