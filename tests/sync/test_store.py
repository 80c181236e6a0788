"""The object store: which version wins, what is ours, what peers lack, what is forgotten."""

from itertools import permutations

from hypothesis import given
from hypothesis import strategies as st

from lvsha.core.instant import MILLISECOND, SECOND, Instant
from lvsha.sync.conn_entry import key_of, normalize, vaddr_of
from lvsha.sync.key_queue import KeyQueue, Waiting
from lvsha.sync.relay_cargo import load
from lvsha.sync.relay_settings import director_id
from lvsha.sync.store import TOMBSTONE_LIFETIME, Store, Verdict
from lvsha.wire.relay import Record

NOW = Instant(10 * SECOND)
US, THEM, THIRD = 1, 2, 3
ENTRY = bytes.fromhex("000600240000000000019c410050005000000000000003840a0900010a0900640a090032")
OTHER = ENTRY[:10] + b"\x9c\x42" + ENTRY[12:]
CLOSING = ENTRY[:9] + b"\x04" + ENTRY[10:]
KEY = key_of(ENTRY)
VADDR = bytes((10, 9, 0, 100))
TERM = 1 << 32
LIFE_MS = 900_000


def store_with(*, peers: tuple[int, ...] = (THEM,), limit: int = 100, tombstones: int = 10) -> Store:
    store = Store(director=US, limit=limit, tombstones=tombstones)
    for peer in peers:
        store.waiting[peer] = Waiting()
    return store


def told(store: Store, generation: int, origin: int, entry: bytes = ENTRY, life: int = LIFE_MS) -> Verdict:
    return store.accept(Record(generation, origin, life, entry), NOW, peer=THEM)[0]


def test_a_key_is_what_a_lookup_compares() -> None:
    assert bytes.fromhex("00069c4100500a0900010a090064") == KEY
    assert vaddr_of(KEY) == VADDR
    assert key_of(CLOSING) == KEY
    inet6 = bytes.fromhex(
        "010600480000000000011388005000500000000000000384fd000000000000000000000000000010"
        "fd000000000000000000000000000100fd000009000000000000000000000050"
    )
    assert vaddr_of(key_of(inet6)).hex() == "fd000000000000000000000000000100"
    template = ENTRY[:6] + b"\x10" + ENTRY[7:]
    assert key_of(template) not in (KEY, key_of(template[:3] + b"\x27" + template[4:] + b"\x02\x01x"))


def test_what_an_entry_says_of_its_sender_is_not_kept() -> None:
    marked = ENTRY[:4] + (0x10060).to_bytes(4, "big") + ENTRY[8:]

    assert normalize(marked) == ENTRY
    assert normalize(ENTRY) is ENTRY


def test_a_director_has_a_number_and_it_is_not_zero() -> None:
    assert director_id("a") == 0xCA978112


def test_our_kernels_words_count_and_another_directors_begin_a_term() -> None:
    store = store_with()
    store.observe(ENTRY, NOW)
    store.observe(CLOSING, NOW)
    held = store.get(KEY)
    assert held is not None
    assert (held.generation, held.origin, held.entry) == (TERM + 1, US, CLOSING)

    assert told(store, 2 * TERM, THEM) is Verdict.INSTALL
    store.observe(CLOSING, NOW)

    assert (held.generation, held.origin) == (3 * TERM, US)


def test_a_stale_record_changes_nothing_and_is_answered_with_what_is_newer() -> None:
    store = store_with()
    told(store, 2 * TERM, THEM)

    assert told(store, TERM + 99, THIRD, CLOSING) is Verdict.STALE
    assert KEY in store.waiting[THEM].bulk
    held = store.get(KEY)
    assert held is not None
    assert held.entry == ENTRY
    assert told(store, 2 * TERM, THEM) is Verdict.SAME


@given(st.lists(st.tuples(st.integers(1, 3), st.sampled_from([THEM, THIRD]), st.booleans()), max_size=4))
def test_stores_that_hear_the_same_end_equal_in_any_order(words: list[tuple[int, int, bool]]) -> None:
    records = [
        Record(term * TERM, origin, LIFE_MS, CLOSING if closing else ENTRY) for term, origin, closing in words
    ]
    tops = set()
    for order in permutations(records):
        store = store_with()
        for record in (*order, *order[:1]):
            store.accept(record, NOW, peer=THEM)
        tops.add((store.top, tuple(store.bucket_digests)))

    assert len(tops) == 1


def test_what_our_kernel_spoke_of_is_not_given_to_it_while_the_address_is_ours() -> None:
    store = store_with()
    store.claim(frozenset({VADDR}), NOW)
    store.observe(ENTRY, NOW)

    assert told(store, 9 * TERM, THEM, CLOSING) is Verdict.WITHHELD
    assert told(store, 9 * TERM, THEM, OTHER) is Verdict.INSTALL, "a row that we lack is better than none"

    released = store.claim(frozenset(), NOW)
    assert [held.entry for held in released] == [CLOSING]
    assert store.claim(frozenset(), NOW) == []


def test_rows_of_an_address_that_becomes_ours_go_to_everybody_but_who_told_us() -> None:
    store = store_with(peers=(THEM, THIRD))
    told(store, TERM, THEM)
    assert not len(store.waiting[THIRD])

    store.claim(frozenset({VADDR}), NOW)

    for peer, keys in ((THIRD, [KEY]), (THEM, [])):
        cargo = load(store, store.waiting[peer], 1_000, NOW)
        assert cargo.keys == keys
        assert store.waiting[peer].missing == set(keys)


def test_a_director_that_returns_takes_its_rows_and_tells_the_others() -> None:
    """After a reboot: our own words, and our kernel has nothing."""
    store = store_with(peers=(THEM, THIRD))

    assert told(store, 5 * TERM, US) is Verdict.INSTALL
    assert KEY in store.waiting[THIRD].bulk
    assert KEY not in store.waiting[THEM].bulk
    held = store.get(KEY)
    assert held is not None
    assert not store.owns(held)
    assert told(store, 6 * TERM, THIRD, CLOSING) is Verdict.INSTALL


def test_what_our_kernel_shows_at_a_restart_beats_our_words_of_before() -> None:
    store = store_with()
    store.seed(CLOSING, NOW)

    assert told(store, 5 * TERM + 7, US) is Verdict.REASSERTED
    held = store.get(KEY)
    assert held is not None
    assert (held.generation, held.entry) == (5 * TERM + 8, CLOSING)
    assert KEY in store.waiting[THEM].fresh


def test_the_same_words_of_before_are_only_taken_over() -> None:
    store = store_with()
    store.seed(ENTRY, NOW)

    assert told(store, 5 * TERM, US) is Verdict.WITHHELD
    held = store.get(KEY)
    assert held is not None
    assert held.generation == 5 * TERM
    assert store.seed(ENTRY, NOW)
    assert held.generation == 5 * TERM


def test_an_end_is_told_and_remembered_so_that_late_records_do_not_bring_it_back() -> None:
    store = store_with()
    store.observe(ENTRY, NOW)
    assert store.delete(KEY, NOW)
    assert not store.delete(KEY, NOW)

    assert store.get(KEY) is None
    assert KEY in store.waiting[THEM].fresh
    assert told(store, TERM, US) is Verdict.STALE
    assert told(store, 2 * TERM, THEM) is Verdict.INSTALL


def test_an_end_before_its_beginning_is_remembered_too() -> None:
    store = store_with()

    assert told(store, TERM + 1, THEM, life=0) is Verdict.SAME
    assert told(store, TERM, THEM) is Verdict.STALE
    assert len(store) == 0


def test_an_end_is_taken_from_a_peer_but_not_for_what_is_ours() -> None:
    store = store_with()
    told(store, TERM, THEM)
    assert told(store, TERM + 1, THEM, life=0) is Verdict.GONE

    store.observe(OTHER, NOW)
    store.claim(frozenset({VADDR}), NOW)
    assert told(store, 7 * TERM, THEM, OTHER, life=0) is Verdict.REASSERTED
    held = store.get(key_of(OTHER))
    assert held is not None
    assert held.generation == 8 * TERM


def test_a_withheld_version_that_we_go_on_with_is_given_to_our_kernel_with_the_address() -> None:
    store = store_with()
    store.seed(ENTRY, NOW, lifetime=SECOND)
    store.claim(frozenset({VADDR}), NOW)
    assert told(store, TERM, THEM) is Verdict.WITHHELD
    assert told(store, TERM + 1, THEM, life=0) is Verdict.REASSERTED

    released = store.claim(frozenset(), NOW)

    assert [held.key for held in released] == [KEY], "our kernel's own row may have ended by now"


def test_an_end_that_is_older_than_the_row_changes_nothing() -> None:
    store = store_with()
    told(store, 2 * TERM, THEM)

    late = Record(TERM + 99, THIRD, 0, ENTRY)

    assert store.accept(late, NOW, peer=THIRD)[0] is Verdict.STALE
    assert store.get(KEY) is not None


def test_a_table_that_is_read_does_not_undo_what_is_held() -> None:
    store = store_with()
    told(store, 2 * TERM, THEM, CLOSING)

    assert store.seed(ENTRY, NOW)

    held = store.get(KEY)
    assert held is not None
    assert (held.generation, held.origin, held.entry) == (2 * TERM, THEM, CLOSING)
    assert held.is_seen


def test_a_row_is_ours_by_our_kernels_word_or_by_the_address() -> None:
    store = store_with()
    told(store, TERM, THEM)
    held = store.get(KEY)
    assert held is not None
    assert not store.owns(held)

    store.claim(frozenset({VADDR}), NOW)
    assert store.owns(held)
    store.claim(frozenset(), NOW)
    store.observe(ENTRY, NOW)
    assert store.owns(held)


def test_what_peers_lack_is_known_until_they_send_it_themselves() -> None:
    store = store_with(peers=(THEM, THIRD))
    store.observe(ENTRY, NOW)
    assert store.waiting[THEM].missing == store.waiting[THIRD].missing == {KEY}

    told(store, 9 * TERM, THEM)

    assert not store.waiting[THEM].missing
    assert KEY not in store.waiting[THEM].fresh
    assert store.waiting[THIRD].missing == {KEY}


def test_rows_end_with_their_connection_and_a_longer_life_is_kept() -> None:
    store = store_with()
    store.observe(ENTRY, NOW, lifetime=3 * SECOND)
    store.observe(OTHER, NOW, lifetime=3 * SECOND)
    store.refresh(KEY, NOW, lifetime=30 * SECOND)
    assert store.deadline is not None

    ended = store.on_deadline(Instant(NOW + 5 * SECOND))

    assert [held.key for held in ended] == [key_of(OTHER)]
    assert store.waiting[THEM].missing == {KEY}
    assert len(store) == 1


def test_a_shorter_life_ends_earlier() -> None:
    store = store_with()
    store.observe(ENTRY, NOW, lifetime=30 * SECOND)
    store.refresh(KEY, NOW, lifetime=2 * SECOND)

    assert len(store.on_deadline(Instant(NOW + 4 * SECOND))) == 1
    assert store.top == 0
    assert store.bucket_digests == [0] * 1024


def test_short_connections_leave_nothing_behind_for_a_quarter_of_an_hour() -> None:
    """Each is announced with 900 s and ends soon."""
    store = store_with(peers=(), limit=100_000)
    now = NOW
    for number in range(200):
        now = Instant(now + SECOND)
        each = ENTRY[:10] + number.to_bytes(2, "big") + ENTRY[12:]
        store.observe(each, now)
        store.observe(each, now, lifetime=2 * SECOND)
        store.on_deadline(now)

    assert len(store) <= 5
    assert sum(len(keys) for keys in store._slots.values()) < 100


def test_a_full_table_refuses_new_rows_and_goes_on_with_old_ones() -> None:
    store = store_with(limit=1)
    assert store.observe(ENTRY, NOW)

    assert not store.observe(OTHER, NOW)
    assert not store.seed(OTHER, NOW)
    assert told(store, TERM, THEM, OTHER) is Verdict.FULL
    assert store.observe(CLOSING, NOW)
    assert len(store) == 1


def test_ends_are_remembered_up_to_a_bound_and_a_time() -> None:
    store = store_with(tombstones=2)
    for number in range(4):
        told(store, TERM, THEM, ENTRY[:10] + bytes((1, number)) + ENTRY[12:], life=0)
    assert store.tombstone_count == 2

    store.on_deadline(Instant(NOW + TOMBSTONE_LIFETIME + MILLISECOND))

    assert store.tombstone_count == 0


def test_a_queue_gives_keys_in_their_order_each_once() -> None:
    queue = KeyQueue()
    for number in (1, 2, 3, 2, 1):
        queue.add(bytes((number,)), Instant(number))
    queue.discard(b"\1")

    assert queue.oldest == 2
    assert [queue.take() for _ in range(len(queue))] == [(b"\2", 2), (b"\3", 3)]
    assert queue.oldest is None


def test_a_queue_does_not_grow_by_keys_that_come_and_go() -> None:
    queue = KeyQueue()
    for _ in range(1000):
        queue.add(b"x", NOW)
        queue.discard(b"x")

    assert len(queue._order) < 100
