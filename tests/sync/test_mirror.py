"""Our kernel's announcements, taken to the store: what is news for the peers, and how long it is believed."""

from ipaddress import IPv4Address

from lvsha.core.instant import SECOND, Instant, after
from lvsha.sync.conn_entry import key_of
from lvsha.sync.mirror import Mirror
from lvsha.sync.nudge import NUDGE_CLIENT, NUDGE_SERVER, NUDGE_SERVICE
from lvsha.sync.store import Store
from lvsha.wire.ipvs_sync.names import ConnFlag, TcpState
from lvsha.wire.ipvs_sync.records import SyncConn
from lvsha.wire.ipvs_sync.v1 import encode_entry, encode_message

T0 = Instant(1_000 * SECOND)


def conn(
    cport: int = 40000, *, state: int = TcpState.ESTABLISHED, timeout: int = 900, flags: int = 0
) -> SyncConn:
    return SyncConn.build(
        protocol=6,
        client=(IPv4Address("10.0.0.100"), cport),
        virtual=(IPv4Address("10.0.0.10"), 80),
        destination=(IPv4Address("10.0.0.11"), 80),
        state=state,
        flags=flags,
        timeout=timeout,
    )


def mirror() -> tuple[Mirror, Store]:
    store = Store(director=1)
    return Mirror(store), store


def test_an_announced_connection_is_news_once() -> None:
    heard, store = mirror()
    message = encode_message(7, [conn(1), conn(2)])

    assert heard.hear(message, T0) == 2
    assert heard.hear(message, after(T0, SECOND)) == 0
    assert len(store) == 2


def test_a_change_of_state_is_news() -> None:
    heard, store = mirror()
    heard.hear(encode_message(7, [conn()]), T0)

    closing = conn(state=TcpState.FIN_WAIT, timeout=120, flags=ConnFlag.INACTIVE)

    assert heard.hear(encode_message(7, [closing]), after(T0, SECOND)) == 1
    held = store.get(key_of(encode_entry(closing)))
    assert held is not None
    assert held.entry == encode_entry(closing)


def test_a_flag_that_tells_where_the_row_came_from_is_no_news() -> None:
    """After a takeover the kernel announces learned rows with SYNC."""
    heard, _ = mirror()
    heard.hear(encode_message(7, [conn()]), T0)

    assert heard.hear(encode_message(7, [conn(flags=ConnFlag.SYNC)]), after(T0, SECOND)) == 0


def test_a_busy_connection_is_passed_on_once_in_an_eighth_of_its_timeout() -> None:
    """The kernel announces it every ten seconds: 100,000 of them must not flood the relay."""
    heard, _ = mirror()
    message = encode_message(7, [conn(timeout=900)])

    news = sum(heard.hear(message, after(T0, seconds * SECOND)) for seconds in range(0, 1000, 10))

    assert news == 9


def test_a_row_outlives_the_longest_silence_of_a_living_connection() -> None:
    """The kernel may keep silent for a window after a packet, and the row has its whole time-out then."""
    heard, store = mirror()
    message = encode_message(7, [conn(timeout=12)])
    key = key_of(encode_entry(conn()))

    for seconds in range(0, 100, 10):
        now = after(T0, seconds * SECOND)
        store.on_deadline(now)
        heard.hear(message, now)
        held = store.get(key)
        assert held is not None
        assert held.expires >= after(now, 22 * SECOND)


def test_nudges_are_nobodys_business() -> None:
    heard, store = mirror()
    nudge = SyncConn.build(
        protocol=6,
        client=NUDGE_CLIENT,
        virtual=NUDGE_SERVICE,
        destination=NUDGE_SERVER,
        state=TcpState.CLOSE,
        flags=ConnFlag.INACTIVE,
        timeout=10,
    )

    assert heard.hear(encode_message(7, [nudge, conn()]), T0) == 1
    assert len(store) == 1


def test_a_full_store_is_said() -> None:
    store = Store(director=1, limit=1)
    heard = Mirror(store)

    assert heard.hear(encode_message(7, [conn(1), conn(2)]), T0) == 1
    assert heard.refused == 1


def test_entries_with_options_are_cut_where_they_end() -> None:
    heard, store = mirror()
    with_data = SyncConn.build(
        protocol=6,
        client=(IPv4Address("10.0.0.100"), 0),
        virtual=(IPv4Address("10.0.0.10"), 80),
        destination=(IPv4Address("10.0.0.11"), 80),
        state=1,
        flags=ConnFlag.TEMPLATE,
        timeout=300,
        pe_name=b"sip",
        pe_data=b"abcde",
    )

    assert heard.hear(encode_message(7, [with_data, conn()]), T0) == 2
    assert {held.entry for held in store} == {encode_entry(with_data), encode_entry(conn())}


def test_what_is_no_v1_message_is_passed_over() -> None:
    heard, _ = mirror()

    assert [heard.hear(data, T0) for data in (b"", b"\3\7\0\4", bytes(200))] == [0, 0, 0]
