"""What concerns a whole table is done a little at a time: no one call does more than its slice.

Counted as work and not as time: rows looked at, frames made.
"""

import struct
from collections.abc import Iterator

import pytest

from lvsha.core.instant import MILLISECOND, SECOND, Instant
from lvsha.core.machine import Output
from lvsha.sync import relay_digests, relay_outflow
from lvsha.sync.conn_entry import key_of
from lvsha.sync.key_queue import Waiting
from lvsha.sync.relay_cargo import load
from lvsha.sync.relay_outputs import Direction, ResyncFinished, ResyncStarted, SendDatagram
from lvsha.sync.store import Store, Verdict
from lvsha.sync.sweep import SLICE
from lvsha.wire.relay import Record
from tests.sync.relay_pair import A, B, Pair, entry

ROWS = 12_000
VADDR = bytes((10, 9, 0, 100))


def entries(rows: int = ROWS) -> Iterator[bytes]:
    for number in range(rows):
        one = bytearray(entry(number % 60_000))
        one[24:28] = struct.pack(">L", 0x0A010000 + number // 60_000)
        yield bytes(one)


class Counted(Pair):
    """Remembers how many frames one call of a machine made."""

    most = 0

    def perform(self, director: int, outputs: list[Output]) -> None:
        self.most = max(self.most, sum(isinstance(output, SendDatagram) for output in outputs))
        super().perform(director, outputs)


@pytest.fixture
def full() -> Counted:
    """Both know each other; a has a table, b has not begun."""
    pair = Counted(limit=100_000)
    for each in entries():
        pair.stores[A].observe(each, pair.now, lifetime=1000 * SECOND)
    return pair


def test_a_whole_table_goes_in_frames_of_one_slice_and_is_answered_for(full: Counted) -> None:
    full.start()
    full.run(SECOND)

    assert len(full.stores[B]) == ROWS
    # Beside the frames of entries: an acknowledgement and a status.
    assert full.most <= relay_outflow.FRAMES_AT_ONCE + 2
    (started,) = full.said(A, ResyncStarted)
    assert isinstance(started, ResyncStarted)
    assert started.entries == ROWS
    (finished,) = (each for each in full.said(B, ResyncFinished) if each.direction is Direction.IN)  # type: ignore[attr-defined]
    assert finished is not None
    assert full.view(A).missing == 0
    assert full.relays[A].would_lose(B) == ()


def test_what_a_walk_has_not_met_counts_as_missing(full: Counted) -> None:
    full.start()
    full.is_installing = False
    full.run(20 * MILLISECOND)

    view = full.view(A)
    assert view.connected
    assert view.missing == ROWS
    assert view.coverage == 0
    assert len(full.relays[A].would_lose(B, 50)) == 50
    assert Direction.OUT not in [each.direction for each in full.said(A, ResyncFinished)]  # type: ignore[attr-defined]


def test_a_change_goes_before_the_walk_and_what_the_peer_has_shown_is_left_out() -> None:
    store = Store(director=A, limit=100_000)
    rows = list(entries(50))
    for each in rows:
        store.observe(each, Instant(0))
    waiting = store.waiting[B] = Waiting()
    waiting.sweep(store.sweep(lambda held: True, Instant(0), marks=True, misses_rest=True))
    waiting.settle(key_of(rows[3]))
    store.observe(rows[7], Instant(0))

    cargo = load(store, waiting, 100_000, Instant(0))

    assert cargo.keys[0] == key_of(rows[7])
    assert sorted(cargo.keys) == sorted(key_of(each) for each in rows if each != rows[3])
    assert waiting.missing == {*cargo.keys}
    assert not waiting.sweeps


def test_rows_that_end_together_are_forgotten_in_slices() -> None:
    store = Store(director=A, limit=100_000)
    for each in entries(3 * SLICE):
        store.observe(each, Instant(0), lifetime=SECOND)
    now = Instant(3 * SECOND)

    lots = []
    while store.deadline is not None and store.deadline <= now:
        lots.append(len(store.on_deadline(now)))

    assert lots == [SLICE] * 3
    assert len(store) == 0


def test_rows_that_live_on_are_looked_at_in_slices() -> None:
    store = Store(director=A, limit=100_000)
    for each in entries(2 * SLICE + 1):
        store.observe(each, Instant(0), lifetime=900 * SECOND)
    due = store.deadline
    assert due is not None

    calls = 0
    while store.deadline == due:
        assert store.on_deadline(due) == []
        calls += 1

    assert calls == 3
    assert len(store) == 2 * SLICE + 1


def test_an_address_that_comes_to_us_costs_nothing_at_once(full: Counted) -> None:
    full.start()
    full.run(SECOND)
    for each in full.stores[B]:
        each.is_seen = False
    full.most = 0

    full.stores[B].claim(frozenset({VADDR}), full.now)
    waiting = full.stores[B].waiting[A]

    assert len(waiting.sweeps) == 1
    assert not waiting.missing
    full.perform(B, full.relays[B].on_changes(full.now))
    full.run(SECOND)
    assert not waiting.sweeps
    assert full.most <= 3, "all of it came from the peer, which need not be told"


def test_only_what_was_withheld_is_looked_at_when_an_address_goes() -> None:
    store = Store(director=A, limit=100_000)
    store.claim(frozenset({VADDR}), Instant(0))
    for each in entries(100):
        store.observe(each, Instant(0))
    newer = Record(9 << 32, B, 60_000, next(iter(entries(1))))
    assert store.accept(newer, Instant(0), peer=B)[0] is Verdict.WITHHELD

    assert [held.generation for held in store.claim(frozenset(), Instant(0))] == [9 << 32]
    assert store.claim(frozenset({VADDR}), Instant(0)) == []
    assert store.claim(frozenset(), Instant(0)) == []


def test_a_digest_round_over_different_tables_is_answered_in_slices(full: Counted) -> None:
    full.start()
    full.run(SECOND)
    # Behind the relay's back: half the rows are otherwise here.
    for number, each in enumerate(list(entries())):
        if number % 2:
            full.stores[B]._remove(full.stores[B].get(key_of(each)))  # type: ignore[arg-type]
    full.most = 0

    full.run(4 * SECOND)

    assert len(full.stores[B]) == ROWS
    rounds = 8  # frames of 1,024 digests
    assert full.most <= relay_digests.FRAMES_AT_ONCE + rounds + relay_outflow.FRAMES_AT_ONCE + 2
