"""Peers' entries on their way into our kernel: order, batches, and what is left out."""

from ipaddress import IPv4Address

from lvsha.core.instant import SECOND, Instant
from lvsha.sync.conn_entry import key_of
from lvsha.sync.relay_outputs import Install
from lvsha.sync.resync import BATCH_ENTRIES, BULK_MAXLEN, Batch, Installer, deletion
from lvsha.sync.store import Store
from lvsha.wire.ipvs_sync.message import decode_message
from lvsha.wire.ipvs_sync.names import ConnFlag, TcpState
from lvsha.wire.ipvs_sync.records import SyncConn
from lvsha.wire.ipvs_sync.v1 import encode_entry
from lvsha.wire.relay import Record

NOW = Instant(0)
PEER = 2


def entry(cport: int, *, protocol: int = 6, state: int = TcpState.ESTABLISHED) -> bytes:
    return encode_entry(
        SyncConn.build(
            protocol=protocol,
            client=(IPv4Address("10.0.0.100"), cport),
            virtual=(IPv4Address("10.0.0.10"), 80),
            destination=(IPv4Address("10.0.0.11"), 80),
            state=state,
            flags=0,
            timeout=900,
        )
    )


def install(cport: int, *, deleted: bool = False) -> Install:
    return Install(key=key_of(entry(cport)), entry=entry(cport), lifetime=900 * SECOND, deleted=deleted)


def ready() -> tuple[Installer, Store]:
    store = Store(director=1)
    installer = Installer(store, syncid=7)
    installer.is_ready = True
    return installer, store


def conns(batch: Batch | None) -> list[SyncConn]:
    assert batch is not None
    return [conn for message in batch.messages for conn in decode_message(message).entries]


def test_nothing_goes_in_before_the_services_are_there() -> None:
    installer = Installer(Store(director=1), syncid=7)
    installer.add(PEER, 1, (install(1),))

    assert installer.next_batch() is None
    installer.is_ready = True
    assert [conn.cport for conn in conns(installer.next_batch())] == [1]


def test_a_token_is_answered_with_the_batch_that_completes_it() -> None:
    installer, _ = ready()
    installer.add(PEER, 1, tuple(install(cport) for cport in range(1, BATCH_ENTRIES)))
    installer.add(PEER, 2, (install(3), install(4)))

    first, second = installer.next_batch(), installer.next_batch()

    assert first is not None
    assert second is not None
    assert (first.tokens, second.tokens) == (((PEER, 1),), ((PEER, 2),))
    assert installer.next_batch() is None


def test_a_frame_of_nothing_is_answered_as_well() -> None:
    installer, _ = ready()
    installer.add(PEER, 5, ())

    batch = installer.next_batch()

    assert batch is not None
    assert (batch.tokens, batch.messages) == (((PEER, 5),), ())


def test_messages_fit_the_smallest_backup_and_bear_its_syncid() -> None:
    installer, _ = ready()
    installer.add(PEER, 1, tuple(install(cport) for cport in range(1, 101)))

    batch = installer.next_batch()

    assert batch is not None
    assert [len(message) for message in batch.messages] == [1448, 1448, 728]
    assert {decode_message(message).syncid for message in batch.messages} == {7}


def test_messages_are_as_long_as_the_daemon_that_runs_takes() -> None:
    installer, _ = ready()
    installer.add(PEER, 1, tuple(install(cport) for cport in range(1, 600)))
    installer.maxlen = BULK_MAXLEN

    batch = installer.next_batch()

    assert batch is not None
    assert [len(message) for message in batch.messages] == [9188, 9188, 8 + 89 * 36]
    assert len(conns(batch)) == 599


def test_what_our_own_kernel_has_announced_meanwhile_is_left_out() -> None:
    installer, store = ready()
    installer.add(PEER, 1, (install(1), install(2)))
    store.observe(entry(1), NOW)

    assert [conn.cport for conn in conns(installer.next_batch())] == [2]
    assert installer.skipped == 1


def test_a_deleted_connection_is_told_to_end_within_a_second() -> None:
    installer, _ = ready()
    installer.add(PEER, 1, (install(1, deleted=True),))

    (conn,) = conns(installer.next_batch())

    assert (conn.state, conn.timeout) == (TcpState.CLOSE, 1)
    assert conn.flags & ConnFlag.INACTIVE


def test_a_deleted_udp_row_keeps_its_one_state() -> None:
    (conn,) = decode_message(
        b"".join([b"\0\7\0\x2c\1\1\0\0", deletion(entry(1, protocol=17, state=0))])
    ).entries

    assert (conn.state, conn.timeout) == (0, 1)


def test_rows_go_in_once_more_without_anybody_to_tell() -> None:
    installer, store = ready()
    for cport in (1, 2):
        store.accept(Record(1 << 32, PEER, 900_000, entry(cport)), NOW, peer=PEER)

    assert installer.again(store, NOW) == 2
    batch = installer.next_batch()

    assert {(conn.cport, conn.timeout) for conn in conns(batch)} == {(1, 900), (2, 900)}
    assert batch is not None
    assert batch.tokens == ()


def test_what_is_ours_does_not_go_in_once_more() -> None:
    """Spoken of by our kernel, or of an address that we hold: our kernel knows better."""
    installer, store = ready()
    store.observe(entry(1), NOW)
    store.accept(Record(1 << 32, PEER, 900_000, entry(2)), NOW, peer=PEER)
    assert installer.again(store, NOW) == 1

    store.claim(frozenset({bytes((10, 0, 0, 10))}), NOW)

    assert installer.again(store, NOW) == 0


def test_a_whole_table_goes_in_once_more_a_slice_at_a_time() -> None:
    """What comes meanwhile goes first, and what is ours is looked at but not given."""
    installer, store = ready()
    rows = 3 * BATCH_ENTRIES
    for number in range(rows):
        store.accept(Record(1 << 32, PEER, 900_000, entry(number)), NOW, peer=PEER)
    store.observe(entry(rows), NOW)

    installer.again_all(lambda held: True, NOW)
    assert len(installer) == rows + 1
    installer.add(PEER, 7, (install(rows + 1),))
    lots = []
    while (batch := installer.next_batch()) is not None:
        lots.append(conns(batch))
        assert (7 in {number for _, number in batch.tokens}) == (len(lots) == 1)

    assert lots[0][0].cport == rows + 1
    assert max(map(len, lots)) <= BATCH_ENTRIES
    assert sorted(conn.cport for lot in lots for conn in lot) == [*range(rows), rows + 1]
    assert len(installer) == 0
