"""The backup's rules of update, one each. ``tests/kernel`` compares them with a real kernel."""

from ipaddress import ip_address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvsha.core.instant import SECOND, Instant
from lvsha.sync.ledger import Ledger, LedgerRow, RowsExpired
from lvsha.wire.ipvs_sync.names import ConnFlag, TcpState
from lvsha.wire.ipvs_sync.options import SequenceData, SequenceDelta, encode_options
from lvsha.wire.ipvs_sync.records import SyncConn

NOW = Instant(1_000 * SECOND)
CONN = SyncConn.build(
    protocol=6,
    client=(ip_address("10.9.0.1"), 40_001),
    virtual=(ip_address("10.9.0.100"), 80),
    destination=(ip_address("10.9.0.50"), 80),
    state=TcpState.ESTABLISHED,
    flags=0,
    timeout=900,
)
TEMPLATE = CONN._replace(flags=ConnFlag.TEMPLATE, cport=0, state=1, timeout=360)
OTHER_SERVER = bytes((10, 9, 0, 51))
SEQUENCE = SequenceData(SequenceDelta(1, 2, 3), SequenceDelta(4, 5, 6))


def later(seconds: int) -> Instant:
    return Instant(NOW + seconds * SECOND)


def holding(*entries: SyncConn, **options: Any) -> Ledger:
    ledger = Ledger()
    for conn in entries:
        ledger.receive([conn], NOW, **options)
    return ledger


def only(ledger: Ledger) -> LedgerRow:
    (row,) = ledger
    return row


def test_a_new_row_takes_what_v1_may_say() -> None:
    row = only(holding(CONN._replace(flags=0xFFFF_FFFF & ~ConnFlag.TEMPLATE & ~ConnFlag.NO_CPORT)))

    assert row.conn.flags == 0x0787 | ConnFlag.SYNC


def test_a_new_row_takes_all_that_v0_says_but_hashed() -> None:
    row = only(holding(CONN._replace(flags=0x100C0), version=0))

    assert row.conn.flags == 0x10080 | ConnFlag.SYNC


def test_a_one_packet_entry_of_v0_updates_and_replaces_but_makes_no_row_that_is_found() -> None:
    """Linux 6.1, found by mutation: proto/vectors, v0.one_packet_replaces and v0.one_packet_updates."""
    one_packet = CONN._replace(flags=ConnFlag.ONE_PACKET)
    assert list(holding(one_packet, version=0)) == []

    ledger = holding(CONN, version=0)
    ledger.receive([one_packet._replace(state=TcpState.FIN_WAIT)], later(1), version=0)
    assert only(ledger).conn.state == TcpState.FIN_WAIT

    ledger.receive([one_packet._replace(dport=CONN.dport + 1)], later(2), version=0)
    assert list(ledger) == []


def test_an_update_takes_inactive_state_and_timeout_and_no_other_flag() -> None:
    ledger = holding(CONN._replace(flags=0x83))

    ledger.receive([CONN._replace(flags=0x101, state=TcpState.FIN_WAIT, timeout=120)], later(5))

    row = only(ledger)
    assert (row.conn.flags, row.conn.state, row.conn.timeout) == (
        0x183 | ConnFlag.SYNC,
        TcpState.FIN_WAIT,
        120,
    )
    assert (row.created, row.heard, row.expires, row.entries) == (NOW, later(5), later(125), 2)


def test_a_stale_entry_sets_the_state_back() -> None:
    """The protocol has no order."""
    ledger = holding(CONN._replace(state=TcpState.FIN_WAIT), CONN)

    assert only(ledger).conn.state == TcpState.ESTABLISHED


def test_another_server_replaces_the_row() -> None:
    ledger = holding(CONN, CONN._replace(daddr=OTHER_SERVER))

    assert only(ledger).conn.daddr == OTHER_SERVER
    assert ledger.counts["replaced"] == 1


def test_an_inactive_entry_for_another_server_is_ignored() -> None:
    ledger = holding(CONN, CONN._replace(flags=ConnFlag.INACTIVE, daddr=OTHER_SERVER))

    assert only(ledger).conn.daddr == CONN.daddr
    assert ledger.counts["ignored"] == 1


def test_a_template_keeps_its_server() -> None:
    ledger = holding(TEMPLATE, TEMPLATE._replace(daddr=OTHER_SERVER))

    assert only(ledger).conn.daddr == TEMPLATE.daddr
    assert ledger.counts["updated"] == 1


def test_a_connection_and_a_template_of_one_client_do_not_meet() -> None:
    assert len(holding(CONN, TEMPLATE)) == 2


def test_a_connection_finds_the_row_whose_client_port_was_not_known() -> None:
    unknown_port = CONN._replace(cport=0, flags=ConnFlag.NO_CPORT)

    row = only(holding(unknown_port, CONN._replace(state=TcpState.FIN_WAIT)))

    assert (row.conn.cport, row.conn.state) == (0, TcpState.FIN_WAIT)


@pytest.mark.parametrize("odd", [CONN._replace(cport=0), CONN._replace(flags=ConnFlag.NO_CPORT)])
def test_a_row_whose_port_and_flag_disagree_is_never_found(odd: SyncConn) -> None:
    assert len(holding(odd, odd, odd)) == 3


def test_an_engines_data_tell_templates_apart() -> None:
    calls = [TEMPLATE._replace(options=encode_options(pe_name=b"sip", pe_data=name)) for name in (b"a", b"b")]

    assert len(holding(*calls, *calls)) == 2


def test_a_connection_with_an_engines_data_is_never_found() -> None:
    odd = CONN._replace(options=encode_options(pe_name=b"sip", pe_data=b"a"))

    assert len(holding(odd, odd)) == 2
    assert {row.conn.options for row in holding(odd)} == {b""}


def test_sequence_data_stay_until_newer_ones_come() -> None:
    with_data = CONN._replace(flags=ConnFlag.IN_SEQ, options=encode_options(sequence=SEQUENCE))

    ledger = holding(with_data, CONN)

    assert only(ledger).conn.sequence == SEQUENCE
    assert not only(ledger).conn.flags & ConnFlag.IN_SEQ


def test_timeout_zero_is_the_states_own() -> None:
    assert only(holding(CONN._replace(timeout=0, state=TcpState.CLOSE_WAIT))).conn.timeout == 60
    assert only(holding(TEMPLATE._replace(timeout=0))).conn.timeout == 180
    assert only(holding(CONN._replace(protocol=50, timeout=0, state=0))).conn.timeout == 180


def test_only_four_bytes_of_a_mark_count() -> None:
    template = SyncConn.build(
        protocol=0,
        client=(ip_address("fd00::1"), 0),
        virtual=(ip_address("0:5::ffff"), 0),
        destination=(ip_address("fd00::50"), 0),
        state=1,
        flags=ConnFlag.TEMPLATE,
        timeout=360,
        fwmark=5,
    )

    ledger = holding(template, template._replace(vaddr=template.vaddr[:4] + bytes(12)))

    assert only(ledger).conn.vaddr == template.vaddr[:4] + bytes(12)


def test_a_row_goes_when_its_timer_ends() -> None:
    ledger = holding(CONN)
    assert ledger.deadline is not None

    assert ledger.on_deadline(later(899)) == []
    assert ledger.on_deadline(later(901)) == [RowsExpired(count=1)]
    assert len(ledger) == 0
    assert ledger.deadline is None


def test_a_refreshed_row_stays_and_a_shortened_one_goes_early() -> None:
    ledger = holding(CONN)
    ledger.receive([CONN], later(600))
    assert ledger.on_deadline(later(1_000)) == []

    ledger.receive([CONN._replace(state=TcpState.CLOSE, timeout=1)], later(1_000))

    assert ledger.on_deadline(later(1_002)) == [RowsExpired(count=1)]


def test_entries_that_come_after_a_timer_make_a_new_row() -> None:
    ledger = holding(CONN)

    outputs = ledger.receive([CONN], later(2_000))

    assert outputs == [RowsExpired(count=1)]
    assert only(ledger).created == later(2_000)


def test_a_full_ledger_refuses_and_counts() -> None:
    ledger = Ledger(limit=1)
    ledger.receive([CONN, CONN._replace(cport=2)], NOW)

    assert len(ledger) == 1
    assert ledger.counts["refused"] == 1


entries = st.builds(
    CONN._replace,
    cport=st.sampled_from([0, 1, 2]),
    flags=st.sampled_from([0, 0x100, 0x800, 0x1000, 0x1100]),
    state=st.integers(0, 1),
    timeout=st.sampled_from([0, 1, 3, 900]),
    daddr=st.sampled_from([CONN.daddr, OTHER_SERVER]),
)


@given(st.lists(st.tuples(entries, st.integers(0, 400)), max_size=40))
def test_rows_live_exactly_as_long_as_their_timers(steps: list[tuple[SyncConn, int]]) -> None:
    ledger = Ledger()
    now = NOW
    for conn, wait in steps:
        now = Instant(now + wait * SECOND)
        ledger.receive([conn], now)
        ledger.on_deadline(now)
        # The second in which a timer ends is looked at when it is over.
        assert all(row.expires > now - SECOND for row in ledger)
    made = ledger.counts["created"] - ledger.counts["expired"] - ledger.counts["replaced"]
    assert len(ledger) == made

    ledger.on_deadline(Instant(now + 2_000 * SECOND))

    assert len(ledger) == 0
    assert ledger.deadline is None
