"""The most that a message may have waited for the kernel's daemon."""

from lvsha.core.instant import MILLISECOND, Instant
from lvsha.sync.receive_queue import ReceiveQueue


def at(milliseconds: int) -> Instant:
    return Instant(10**18 + milliseconds * MILLISECOND)


def test_lag_is_from_the_oldest_message_to_the_look_that_finds_the_queue_empty() -> None:
    queue = ReceiveQueue()
    queue.heard(at(0))
    queue.heard(at(8))

    queue.sampled(queued=0, drops=0, now=at(10))

    assert (queue.lag, queue.is_waiting) == (10 * MILLISECOND, False)


def test_lag_grows_while_the_queue_is_not_empty() -> None:
    queue = ReceiveQueue()
    queue.heard(at(0))
    queue.sampled(queued=4_096, drops=0, now=at(10))
    assert (queue.lag, queue.is_waiting, queue.bytes) == (10 * MILLISECOND, True, 4_096)

    queue.heard(at(15))
    queue.sampled(queued=0, drops=0, now=at(30))

    assert queue.lag == queue.worst_lag == 30 * MILLISECOND


def test_a_look_without_messages_says_nothing_about_lag() -> None:
    queue = ReceiveQueue()

    queue.sampled(queued=0, drops=0, now=at(10))

    assert queue.lag is None


def test_the_worst_stays() -> None:
    queue = ReceiveQueue()
    for start, end in ((0, 50), (100, 101)):
        queue.heard(at(start))
        queue.sampled(queued=0, drops=0, now=at(end))

    assert (queue.lag, queue.worst_lag) == (MILLISECOND, 50 * MILLISECOND)


def test_drops_count_from_the_first_look_and_from_0_after_a_restart() -> None:
    queue = ReceiveQueue()
    found = []
    for drops in (7, 7, 9, 2, 3):
        queue.sampled(queued=0, drops=drops, now=at(0))
        found.append(queue.drops)

    assert found == [0, 0, 2, 0, 1]
