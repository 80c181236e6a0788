"""Numbering: what has come, what is missing, what is in flight, how much may be."""

from lvsha.core.instant import MILLISECOND, Instant
from lvsha.sync.relay_window import (
    BULK_MOST,
    MAX_WAITING,
    OVERTAKEN,
    PROBE_LEAST,
    PROBE_MOST,
    WINDOW,
    WINDOW_FIRST,
    WINDOW_LEAST,
    Flight,
    ReceiveWindow,
    SendWindow,
)

NOW = Instant(0)


def received(*sequences: int, waits: tuple[int, ...] = ()) -> ReceiveWindow:
    window = ReceiveWindow(0)
    for sequence in sequences:
        window.take(sequence, waits=sequence in waits)
    return window


def test_a_sequence_is_new_once_and_never_before_the_window() -> None:
    window = received(1, 3)

    assert [window.is_new(sequence) for sequence in (0, 1, 2, 3, 4)] == [False, False, True, False, True]
    window.settle(2)
    assert not window.is_new(2)


def test_a_jump_moves_the_window() -> None:
    window = received(1, WINDOW + 10)

    assert not window.is_new(5)
    assert window.is_new(11)
    assert len(window) <= WINDOW


def test_a_gap_is_noticed_and_reported_once_it_is_no_mere_reordering() -> None:
    window = ReceiveWindow(0)
    assert not window.take(1, waits=False)
    assert window.take(3, waits=False)

    assert window.report(everything=False) == (((1, 1), (3, 3)), ())
    assert window.report(everything=True) == (((1, 1), (3, 3)), ((2, 2),))
    for sequence in (4, 5):
        window.take(sequence, waits=False)
    assert window.report(everything=False) == (((1, 1), (3, 5)), ((2, 2),))


def test_what_is_not_installed_is_neither_reported_nor_missing() -> None:
    window = received(1, 2, 3, waits=(2,))

    assert window.report(everything=True) == (((1, 1), (3, 3)), ())
    window.installed(2)
    assert window.report(everything=True) == (((1, 3),), ())


def test_so_many_frames_wait_and_no_more() -> None:
    window = ReceiveWindow(0)
    for sequence in range(1, MAX_WAITING + 1):
        assert not window.is_full
        window.take(sequence, waits=True)

    assert window.is_full


def test_what_the_sender_settled_is_not_reported() -> None:
    window = received(1, 2, 5)
    window.settle(4)

    assert window.report(everything=True) == (((5, 5),), ())
    window.settle(99)
    assert window.base == 5


def flying(count: int) -> SendWindow:
    window = SendWindow()
    for sequence in range(1, count + 1):
        window.depart(sequence, Flight((bytes((sequence,)),), NOW, NOW))
    return window


def test_installed_frames_open_the_window_and_settle_the_rest() -> None:
    window = flying(4)

    assert window.arrive(((1, 2), (4, 4)), Instant(MILLISECOND)) == [b"\1", b"\2", b"\4"]
    assert window.settled(9 + OVERTAKEN) == 2
    assert window.settled(1 + OVERTAKEN) == 1
    assert window.settled(1) == 0
    assert window.size == WINDOW_FIRST + 3
    assert window.rtt == MILLISECOND
    assert window.arrive(((3, 3),), Instant(MILLISECOND)) == [b"\3"]
    assert window.settled(9 + OVERTAKEN) == 9
    assert window.probe_at is None


def test_a_key_that_was_sent_again_arrives_with_its_newest_frame() -> None:
    window = flying(1)
    window.depart(2, Flight((b"\1",), NOW, NOW))

    assert window.arrive(((1, 1),), NOW) == []
    assert window.lose(((2, 2),), NOW) == [(b"\1", NOW)]


def test_a_loss_halves_the_window_once_per_round_trip_and_never_below_its_least() -> None:
    window = flying(WINDOW_FIRST)
    window.lose(((1, 1),), NOW)
    window.lose(((2, 2),), NOW)
    assert window.size == WINDOW_FIRST // 2

    for number in range(3, 9):
        window.lose(((number, number),), Instant(number * PROBE_LEAST))
    assert window.size == WINDOW_LEAST


def test_the_window_is_closed_when_it_is_full_and_never_too_large() -> None:
    assert not flying(WINDOW_FIRST).is_open
    window = SendWindow()
    for sequence in range(1, 2 * BULK_MOST):
        window.depart(sequence, Flight((b"k",), NOW, NOW))
        window.arrive(((sequence, sequence),), NOW)
    assert window.size == BULK_MOST


def test_silence_is_asked_about_again_and_again_but_less_often() -> None:
    window = flying(1)
    gaps = []
    for _ in range(6):
        assert window.probe_at is not None
        now = window.probe_at
        window.probe(now)
        gaps.append(window.probe_at - now)

    assert gaps == sorted(gaps)
    assert gaps[0] >= PROBE_LEAST
    assert gaps[-1] == PROBE_MOST
