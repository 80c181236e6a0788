"""Two relays: joining, losing, resending the newest state, slow kernels, keys, restarts, barriers."""

from dataclasses import replace

import pytest

from lvsha.core.errors import DropReason
from lvsha.core.instant import MILLISECOND, SECOND, Instant
from lvsha.sync.conn_entry import key_of, timeout_s
from lvsha.sync.key_queue import Waiting
from lvsha.sync.relay_cargo import load
from lvsha.sync.relay_outputs import (
    BarrierReached,
    PathTooNarrow,
    PeerConnected,
    PeerLost,
    ResyncFinished,
    StoreFull,
)
from lvsha.sync.relay_window import MAX_WAITING, WINDOW, WINDOW_FIRST
from lvsha.sync.store import Store
from lvsha.wire.relay import Readiness
from lvsha.wire.relay_seal import Keyring
from tests.sync.relay_pair import ONE, OTHER, A, B, Pair, entry

FULL_FRAME = 1000
"""Bytes: only frames with many entries, and padded ones, are longer."""


def joined(rows: int = 100, **options: int) -> Pair:
    pair = Pair(**options)
    pair.observe(A, *(entry(number) for number in range(rows)))
    pair.start()
    pair.run(200 * MILLISECOND)
    return pair


def agree(pair: Pair) -> bool:
    one, other = pair.stores[A], pair.stores[B]
    return one.top == other.top and len(one) == len(other)


def test_a_director_that_joins_gets_everything_and_both_know_it() -> None:
    pair = joined(1000)

    assert agree(pair)
    assert len(pair.installs) == 1000
    assert pair.view(A).coverage == 1
    assert pair.view(A).missing == 0
    assert pair.view(B).missing_here == 0
    assert pair.view(B).resynced
    assert pair.view(B).live == 1000
    assert pair.said(A, ResyncFinished)
    assert pair.said(B, ResyncFinished)


def test_a_director_that_reads_its_table_does_not_say_that_this_was_all() -> None:
    pair = Pair()
    pair.stores[A].is_complete = False
    pair.start()
    pair.run(500 * MILLISECOND)
    assert pair.view(B).connected
    assert not pair.view(B).resynced

    pair.observe(A, entry(1))
    pair.stores[A].is_complete = True
    pair.run(500 * MILLISECOND)

    assert pair.view(B).resynced
    assert pair.stores[B].get(key_of(entry(1))) is not None


def test_before_anybody_is_there_everything_would_be_lost() -> None:
    pair = Pair()
    pair.observe(A, entry(1), entry(2))
    pair.start(A)
    pair.run(SECOND)

    assert pair.view(A).coverage == 0
    assert pair.view(A).missing == 2
    assert set(pair.relays[A].would_lose(B)) == {key_of(entry(1)), key_of(entry(2))}
    assert len(pair.relays[A].would_lose(B, limit=1)) == 1
    assert len(pair.seen) < 12, "nobody is sent anything but a hello"


def test_what_is_installed_carries_what_is_left_of_the_timer() -> None:
    pair = Pair()
    pair.stores[A].observe(entry(1), pair.now, lifetime=300 * SECOND)
    pair.now = Instant(100 * SECOND)
    pair.start()
    pair.run(200 * MILLISECOND)

    ((_, install),) = pair.installs
    assert 199 * SECOND < install.lifetime <= 200 * SECOND
    assert timeout_s(install.entry) == 199
    assert not install.deleted


def test_a_lost_frame_is_sent_again_with_the_newest_state_only() -> None:
    pair = joined(0)
    pair.passes = lambda sender, data: sender != A
    pair.observe(A, entry(1))
    pair.run(20 * MILLISECOND)
    pair.observe(A, entry(1, state=4))
    pair.passes = lambda sender, data: True
    pair.run(300 * MILLISECOND)

    assert [install.entry[9] for _, install in pair.installs] == [4]
    assert agree(pair)
    assert pair.view(A).resent >= 1
    assert pair.view(A).missing == 0


def test_an_end_travels_and_says_that_it_is_one() -> None:
    pair = joined(3)
    pair.stores[A].delete(key_of(entry(1)), pair.now)
    pair.perform(A, pair.relays[A].on_changes(pair.now))
    pair.run(50 * MILLISECOND)

    assert [install.deleted for _, install in pair.installs] == [False, False, False, True]
    assert len(pair.stores[B]) == 2


def test_what_is_not_installed_is_not_covered() -> None:
    pair = joined(0)
    pair.is_installing = False
    pair.observe(A, entry(1))
    pair.run(SECOND)
    assert len(pair.stores[B]) == 1
    assert pair.view(A).missing == 1
    assert pair.view(A).lag >= 900 * MILLISECOND

    for director, work in pair.owed:
        pair.answer(director, work)
    pair.run(50 * MILLISECOND)

    assert pair.view(A).missing == 0
    assert pair.view(A).lag == 0


def test_changes_go_to_a_peer_that_does_not_answer() -> None:
    """It may only be slow, and hears them when it gets its processor; what waits here would die with us."""
    pair = joined(0)
    pair.passes = lambda sender, data: sender == A
    changes = 2 * WINDOW_FIRST
    for number in range(changes):
        pair.observe(A, entry(number))
        pair.run(6 * MILLISECOND)

    assert pair.view(A).connected
    assert pair.view(A).in_flight > WINDOW_FIRST
    assert pair.view(A).waiting <= 1
    assert len(pair.stores[B]) >= changes - 1


def test_a_kernel_that_installs_nothing_stops_its_peer() -> None:
    pair = Pair(limit=40_000)
    pair.start()
    pair.run(SECOND)
    pair.is_installing = False
    pair.observe(A, *(entry(number) for number in range(30_000)))
    pair.run(3 * SECOND)

    assert len(pair.owed) <= MAX_WAITING
    assert pair.view(A).in_flight <= MAX_WAITING
    frames = sum(len(data) > FULL_FRAME for sender, _, data in pair.seen if sender == A)
    assert frames < 2 * MAX_WAITING

    pair.is_installing = True
    for director, work in pair.owed:
        pair.answer(director, work)
    pair.run(SECOND)
    assert agree(pair)


def test_a_frame_that_the_window_left_behind_is_sent_again() -> None:
    """Nobody installs for so long that the peer cannot report the frame any more."""
    pair = joined(0)
    pair.is_installing = False
    pair.observe(A, entry(1))
    pair.run(10 * MILLISECOND)
    session = pair.relays[A]._sessions[B]
    session.outflow.sequence += WINDOW
    pair.is_installing = True
    pair.run(SECOND)

    assert pair.view(A).missing == 0
    assert pair.view(A).resent == 1


def test_changes_share_a_frame_and_do_not_wait_long() -> None:
    pair = joined(0)
    before = len(pair.seen)
    for number in range(10):
        pair.observe(A, entry(number))
    pair.run(4 * MILLISECOND)
    assert not pair.installs
    pair.run(3 * MILLISECOND)

    assert len(pair.installs) == 10
    assert len([sender for sender, _, _ in pair.seen[before:] if sender == A]) <= 2


def test_a_change_goes_before_the_rest_of_a_resync() -> None:
    store = Store(director=A)
    waiting = Waiting()
    for number in range(3):
        store.observe(entry(number), Instant(0))
    waiting.bulk.add(key_of(entry(0)), Instant(0))
    waiting.bulk.add(key_of(entry(1)), Instant(0))
    waiting.fresh.add(key_of(entry(2)), Instant(5))

    cargo = load(store, waiting, 1200, Instant(9))

    assert cargo.keys == [key_of(entry(number)) for number in (2, 0, 1)]
    assert cargo.since == 0


def test_a_barrier_falls_when_all_that_waited_is_installed_and_not_before() -> None:
    pair = joined(0)
    pair.is_installing = False
    pair.observe(A, entry(1), entry(2))
    pair.perform(A, pair.relays[A].barrier(B, 7, pair.now))
    pair.run(100 * MILLISECOND)
    pair.observe(A, entry(3))
    assert not pair.said(A, BarrierReached)

    pair.answer(*pair.owed[0])
    pair.run(20 * MILLISECOND)

    assert pair.said(A, BarrierReached) == [BarrierReached(B, 7)]
    assert pair.view(A).missing == 1


def test_a_barrier_with_nothing_before_it_falls_at_once() -> None:
    pair = joined(5)

    assert pair.relays[A].barrier(B, 1, pair.now) == [BarrierReached(B, 1)]
    assert pair.relays[A].barrier(99, 1, pair.now) == []


def test_a_peer_that_is_silent_is_lost_and_gets_everything_when_it_returns() -> None:
    pair = joined(10)
    pair.passes = lambda sender, data: False
    pair.run(6 * SECOND)
    assert [event.reason for event in pair.said(A, PeerLost) if isinstance(event, PeerLost)] == [
        "nothing heard"
    ]
    assert pair.view(A).coverage == 0
    pair.observe(A, entry(77))

    pair.passes = lambda sender, data: True
    pair.run(2 * SECOND)

    assert pair.view(A).coverage == 1
    assert agree(pair)
    assert len(pair.said(A, PeerConnected)) == 2


def test_a_director_that_starts_again_gets_its_own_rows_back() -> None:
    pair = joined(50)
    pair.installs.clear()
    pair.make(A, epoch=4711)
    pair.start(A)
    pair.run(500 * MILLISECOND)

    assert len(pair.stores[A]) == 50
    assert {director for director, _ in pair.installs} == {A}
    assert agree(pair)


def test_nothing_that_was_sent_before_is_taken_again() -> None:
    pair = joined(50)
    pair.make(B, epoch=4711)
    pair.start(B)
    pair.run(500 * MILLISECOND)
    before = pair.stores[A].top, pair.stores[B].top, len(pair.installs)

    for sender, receiver, data in list(pair.seen):
        pair.deliver(sender, receiver, data)

    assert (pair.stores[A].top, pair.stores[B].top, len(pair.installs)) == before
    assert pair.relays[B].counts[DropReason.REPLAYED] > 0
    assert pair.view(A).connected
    assert pair.view(B).connected


def test_a_director_that_leaves_says_so() -> None:
    pair = joined(1)
    pair.perform(B, pair.relays[B].stop(pair.now))
    pair.run(5 * MILLISECOND)

    assert PeerLost(B, "it has left") in pair.said(A, PeerLost)


def test_keys_are_changed_without_losing_the_session() -> None:
    pair = joined(5)
    for keys in ((ONE, OTHER), (OTHER, ONE), (OTHER,)):
        for director in (A, B):
            pair.relays[director].rekey(Keyring(keys), pair.now)
            pair.run(250 * MILLISECOND)

    pair.observe(A, entry(9))
    pair.run(50 * MILLISECOND)
    assert agree(pair)
    assert not pair.said(A, PeerLost)
    assert not pair.relays[A].counts
    assert pair.view(A).uses_primary_key


def test_a_key_that_was_taken_out_too_early_is_named() -> None:
    pair = joined(5)
    pair.relays[B].rekey(Keyring((OTHER,)), pair.now)
    pair.run(6 * SECOND)

    assert pair.relays[B].counts[DropReason.UNKNOWN_KEY] > 0
    assert pair.said(A, PeerLost)


def test_readiness_is_told_at_once() -> None:
    pair = joined(0)
    pair.perform(B, pair.relays[B].set_ready(Readiness.SERVICES | Readiness.INJECTS, pair.now))
    pair.run(2 * MILLISECOND)

    assert pair.view(A).readiness == Readiness.SERVICES | Readiness.INJECTS
    assert pair.relays[B].set_ready(Readiness.SERVICES | Readiness.INJECTS, pair.now) == []


def test_a_resync_by_hand_sends_everything_again_and_changes_nothing() -> None:
    pair = joined(100)
    before = pair.view(A).sent_bytes
    pair.perform(B, pair.relays[B].resync(pair.now))
    pair.perform(A, pair.relays[A].resync(pair.now))
    pair.run(300 * MILLISECOND)

    assert pair.view(A).sent_bytes - before > 100 * 52
    assert len(pair.installs) == 100
    assert pair.view(B).resynced
    assert len(pair.said(B, ResyncFinished)) == 4


def test_a_row_that_a_peer_lost_is_found_by_digests_and_sent_again() -> None:
    pair = joined(100)
    store = pair.stores[B]
    held = store.get(key_of(entry(5)))
    assert held is not None
    store._remove(held)
    pair.run(SECOND)

    assert agree(pair)
    assert pair.view(A).missing == 0


def test_a_full_table_is_said_and_the_rest_counts_as_missing() -> None:
    pair = Pair()
    pair.stores[B] = Store(director=B, limit=10)
    pair.relays[B].store = pair.stores[B]
    pair.observe(A, *(entry(number) for number in range(20)))
    pair.start()
    pair.run(2 * SECOND)

    assert pair.said(B, StoreFull) == [StoreFull(10)]
    assert len(pair.stores[B]) == 10


@pytest.mark.parametrize("errno", [90, 101])
def test_a_path_that_is_too_narrow_is_said_once(errno: int) -> None:
    pair = joined(0)

    said = pair.relays[A].on_send_failed(B, errno, pair.now)
    assert said == ([PathTooNarrow(B, 1232)] if errno == 90 else [])
    assert pair.relays[A].on_send_failed(B, errno, pair.now) == []


def test_a_path_that_does_not_carry_full_frames_never_connects() -> None:
    pair = Pair()
    pair.passes = lambda sender, data: len(data) < FULL_FRAME
    pair.start()
    pair.run(3 * SECOND)

    assert not pair.view(A).connected


def test_a_peer_that_is_configured_away_is_left() -> None:
    pair = joined(1)
    relay = pair.relays[A]
    pair.perform(A, relay.reconfigure(replace(relay.settings, peers=()), pair.now))
    pair.run(10 * MILLISECOND)

    assert relay.peers(pair.now) == ()
    assert B not in pair.stores[A].waiting
    assert PeerLost(A, "it has left") in pair.said(B, PeerLost)
