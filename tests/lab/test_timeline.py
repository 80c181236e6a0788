"""What the witness saw becomes spans."""

from typing import Any

from lvsha.lab.timeline import Span, Timeline, silences

VIP = "10.0.0.10"


def timeline(*events: tuple[int, str, dict[str, Any]]) -> Timeline:
    found = Timeline()
    for at, kind, fields in events:
        found.add({"at": at, "event": kind} | fields)
    return found


def bound(at: int, director: str) -> tuple[int, str, dict[str, Any]]:
    return at, "bound", {"director": director, "address": VIP}


def unbound(at: int, director: str) -> tuple[int, str, dict[str, Any]]:
    return at, "unbound", {"director": director, "address": VIP}


def test_a_span_ends_when_the_address_goes() -> None:
    seen = timeline(bound(10, "lb1"), unbound(30, "lb1"), bound(35, "lb2"))

    assert seen.holding(VIP, 50) == {"lb1": [Span(10, 30)], "lb2": [Span(35, 50)]}
    assert seen.holders[VIP] == {"lb2"}


def test_a_second_notification_for_a_held_address_changes_nothing() -> None:
    """The kernel notifies again when a lifetime or a flag changes."""
    seen = timeline(bound(10, "lb1"), bound(12, "lb1"), unbound(30, "lb1"), unbound(31, "lb1"))

    assert seen.holding(VIP, 50) == {"lb1": [Span(10, 30)]}


def test_two_holders_at_once_are_one_span_of_double_holding() -> None:
    seen = timeline(bound(10, "lb1"), bound(25, "lb2"), unbound(30, "lb1"))

    assert seen.double_holding(VIP, 50) == [Span(25, 30)]


def test_handing_over_without_overlap_is_no_double_holding() -> None:
    seen = timeline(bound(10, "lb1"), unbound(30, "lb1"), bound(30, "lb2"))

    assert seen.double_holding(VIP, 50) == []


def test_a_double_holding_that_lasts_ends_with_the_run() -> None:
    seen = timeline(bound(10, "lb1"), bound(25, "lb2"))

    assert seen.double_holding(VIP, 50) == [Span(25, 50)]


def test_a_realserver_has_weight_while_one_of_its_services_gives_it_some() -> None:
    seen = timeline(
        (1, "weights", {"director": "lb1", "weights": {"v:8000/TCP>r:8000": 1, "v:8000/UDP>r:8000": 1}}),
        (2, "weights", {"director": "lb2", "weights": {"v:8000/TCP>r:8000": 7}}),
        (3, "weights", {"director": "lb1", "weights": {"v:8000/TCP>r:8000": 0, "v:8000/UDP>r:8000": 1}}),
        (4, "weights", {"director": "lb1", "weights": {"v:8000/TCP>r:8000": 0, "v:8000/UDP>r:8000": 0}}),
        (5, "weights", {"director": "lb1", "weights": {}}),
    )

    assert seen.weights_of("lb1", "r:8000") == [(1, 1), (4, 0), (5, None)]


def test_the_first_event_is_looked_for_after_the_fault_only() -> None:
    seen = timeline(bound(10, "lb1"), unbound(20, "lb1"), bound(40, "lb1"))

    assert seen.first("bound", 15, director="lb1", address=VIP) == 40
    assert seen.first("bound", 41, director="lb1", address=VIP) is None


def test_silence_is_the_time_between_two_echoes_longest_first() -> None:
    spans = silences([10, 20, 60, 70, 95], start=15, end=100)

    assert spans[0] == Span(20, 60)
    assert spans[1] == Span(70, 95)


def test_silence_that_begins_before_the_fault_is_counted_from_the_last_echo() -> None:
    assert silences([10, 200], start=15, end=210)[0] == Span(10, 200)


def test_silence_to_the_end_is_silence() -> None:
    assert silences([10, 20], start=15, end=500)[0] == Span(20, 500)


def test_no_echo_at_all_is_one_silence() -> None:
    assert silences([], start=15, end=500) == [Span(15, 500)]


def test_a_renewed_lease_is_not_another_binding() -> None:
    timeline = Timeline()
    for at in (10, 20, 30):
        timeline.add({"at": at, "event": "bound", "director": "lb1", "address": "10.0.0.10"})

    assert [event["at"] for event in timeline.events] == [10]


def test_writes_are_those_after_an_instant() -> None:
    timeline = Timeline()
    timeline.add({"at": 0, "event": "watching", "counts_writes": True})
    for at, count in ((10, 4), (20, 6), (30, 7)):
        timeline.add({"at": at, "event": "writes", "director": "lb1", "ipvs": count})
    timeline.add({"at": 40, "event": "bound", "director": "lb1", "address": "10.0.0.10"})

    assert timeline.writes("lb1", after=20) == {"ipvs": 1, "addresses": 1}
    assert timeline.writes("lb2", after=20) == {"ipvs": 0, "addresses": 0}


def test_writes_that_were_not_counted_are_not_none_at_all() -> None:
    timeline = Timeline()
    timeline.add({"at": 0, "event": "watching", "counts_writes": False})

    assert timeline.writes("lb1", after=0) is None
