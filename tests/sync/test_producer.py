"""When a master in user space announces what, by the kernel's rules and by its own."""

from collections.abc import Iterable
from ipaddress import ip_address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lvsha.core.instant import SECOND, Instant
from lvsha.core.machine import Output
from lvsha.sync.ledger import Ledger
from lvsha.sync.producer import (
    KernelMaster,
    KernelRules,
    MessageBuffer,
    OwnRules,
    SendMessage,
    TableMaster,
    goodbye,
)
from lvsha.wire.ipvs_sync.message import decode_message
from lvsha.wire.ipvs_sync.names import ConnFlag, TcpState
from lvsha.wire.ipvs_sync.options import SequenceData, SequenceDelta
from lvsha.wire.ipvs_sync.records import SyncConn

START = Instant(1_000 * SECOND)
WEB = SyncConn.build(
    protocol=6,
    client=(ip_address("192.0.2.1"), 40_001),
    virtual=(ip_address("10.0.0.10"), 80),
    destination=(ip_address("10.1.0.1"), 80),
    state=TcpState.ESTABLISHED,
    flags=0,
    timeout=900,
)
TEMPLATE = WEB._replace(cport=0, flags=ConnFlag.TEMPLATE, timeout=360)
UDP = WEB._replace(protocol=17, state=0, timeout=300, flags=ConnFlag.INACTIVE)


def later(seconds: float) -> Instant:
    return Instant(START + round(seconds * SECOND))


def entries(outputs: Iterable[Output]) -> list[SyncConn]:
    found: list[SyncConn] = []
    for output in outputs:
        assert isinstance(output, SendMessage)
        found += decode_message(output.payload).require_clean().entries
    return found


def at_once() -> MessageBuffer:
    return MessageBuffer(7, flush_after=0)


def kernel(**rules: int) -> KernelMaster:
    return KernelMaster(KernelRules(**rules), at_once())  # type: ignore[arg-type]  # persist_mode is 0 or 1


def said(master: KernelMaster, conn: SyncConn, times: Iterable[float]) -> list[int]:
    """Which packets of a connection are announced, counted from 1."""
    return [
        number for number, seconds in enumerate(times, start=1) if master.packet(conn, number, later(seconds))
    ]


@pytest.mark.parametrize(
    ("rules", "announced"),
    [
        ({}, [3, 53, 103]),
        ({"threshold": 2}, [2, 52, 102]),
        ({"threshold": 0, "period": 1}, list(range(1, 121))),
        ({"threshold": 3, "period": 0}, [3]),
    ],
    ids=["default", "2 50", "0 1", "3 0"],
)
def test_threshold_and_period(rules: dict[str, int], announced: list[int]) -> None:
    """Packets a tenth of a second apart; kernel-sync section 1.10, rule 6."""
    assert said(kernel(**rules), UDP, (number / 10 for number in range(120))) == announced


def test_refresh_without_counting_goes_by_time() -> None:
    master = kernel(threshold=0, period=0, refresh=10 * SECOND)

    assert said(master, UDP, (number / 10 for number in range(250))) == [1, 101, 201]


def test_retries_repeat_an_eighth_of_the_refresh_apart() -> None:
    master = kernel(threshold=0, period=0, refresh=8 * SECOND, retries=2)

    assert said(master, UDP, (number / 10 for number in range(90))) == [1, 11, 21]


def test_refresh_is_at_most_half_of_a_long_time_out() -> None:
    master = kernel(threshold=0, period=0, refresh=600 * SECOND)

    assert said(master, UDP._replace(timeout=40), range(50)) == [1, 21, 41]


def test_refresh_with_a_period_needs_both() -> None:
    master = kernel(threshold=3, period=50, refresh=4 * SECOND)

    assert said(master, UDP, (number / 10 for number in range(120))) == [3, 53, 103]


@pytest.mark.parametrize("state", [TcpState.SYN_RECV, TcpState.LAST_ACK, TcpState.LISTEN, TcpState.NONE])
def test_some_states_are_never_announced(state: TcpState) -> None:
    master = kernel(threshold=0, period=1)

    assert master.packet(WEB._replace(state=state), 1, START) == []


def test_a_new_state_is_announced_at_once_but_for_established() -> None:
    master = kernel()
    states = [TcpState.ESTABLISHED, TcpState.FIN_WAIT, TcpState.FIN_WAIT, TcpState.TIME_WAIT]

    found = [
        bool(master.packet(WEB._replace(state=state), 4 + number, START))
        for number, state in enumerate(states)
    ]

    assert found == [False, True, False, True]


def test_a_template_is_announced_with_each_packet_unless_there_is_a_refresh() -> None:
    assert said(kernel(), TEMPLATE, range(4)) == [1, 2, 3, 4]
    assert said(kernel(refresh=10 * SECOND), TEMPLATE, range(12)) == [1, 11]


def test_one_packet_connections_are_not_announced() -> None:
    assert kernel(threshold=0, period=1).packet(UDP._replace(flags=ConnFlag.ONE_PACKET), 1, START) == []


def test_persist_mode_leaves_connections_of_a_template_out() -> None:
    master = KernelMaster(KernelRules(threshold=0, period=1, persist_mode=True), at_once())

    assert master.packet(WEB, 1, START, has_template=True) == []
    assert len(master.packet(WEB, 1, START)) == 1
    assert len(master.packet(TEMPLATE, 1, START)) == 1


def test_an_expired_row_begins_anew() -> None:
    master = kernel(threshold=0, period=0, refresh=10 * SECOND)
    assert said(master, UDP, [0, 1]) == [1]

    master.expired(UDP)

    assert (len(master), said(master, UDP, [1])) == (0, [1])


def test_a_full_message_leaves_and_a_part_filled_one_after_two_seconds_at_a_look() -> None:
    master = KernelMaster(KernelRules(threshold=0, period=1), MessageBuffer(7))
    sent = [
        output
        for number in range(41)
        for output in master.packet(WEB._replace(cport=number + 1), 1, later(0.3))
    ]
    assert len(entries(sent)) == 40

    assert master.deadline == later(3)
    assert master.on_deadline(later(2.9)) == []
    assert [conn.cport for conn in entries(master.on_deadline(later(3)))] == [41]
    assert master.deadline is None


def test_padding_counts_and_255_entries_are_the_end() -> None:
    delta = SequenceDelta(1, 2, 3)
    long = SyncConn.build(
        protocol=6,
        client=(ip_address("192.0.2.1"), 1),
        virtual=(ip_address("10.0.0.10"), 80),
        destination=(ip_address("10.1.0.1"), 80),
        state=1,
        flags=0x600,
        timeout=900,
        sequence=SequenceData(delta, delta),
    )
    # 62 bytes and 2 of padding each, but none after the last.
    buffer = MessageBuffer(7, maxlen=8 + 64 + 62)
    assert [len(buffer.add(long, START)) for _ in range(3)] == [0, 0, 1]

    wide = MessageBuffer(7, maxlen=65_507)
    assert [len(wide.add(WEB, START)) for _ in range(256)] == [0] * 255 + [1]


def test_an_entry_that_never_fits_is_the_callers_mistake() -> None:
    with pytest.raises(ValueError, match="maxlen of 40"):
        MessageBuffer(7, maxlen=40).add(WEB, START)


def test_version_0() -> None:
    buffer = MessageBuffer(7, version=0, maxlen=4 + 48)

    sent = [output for _ in range(3) for output in buffer.add(WEB, START)] + buffer.flush()

    assert len(sent) == 2
    assert decode_message(sent[0].payload).version == 0  # type: ignore[attr-defined]
    assert entries(sent) == [WEB._replace(timeout=0)] * 3


# Our own rules


def test_a_table_is_announced_once_and_then_what_changes() -> None:
    master = TableMaster(OwnRules(), at_once())
    assert entries(master.table([WEB, TEMPLATE], START)) == [WEB, TEMPLATE]

    closing = WEB._replace(state=TcpState.FIN_WAIT, timeout=100)

    assert master.table([WEB._replace(timeout=800), TEMPLATE], later(1)) == []
    assert entries(master.table([closing, TEMPLATE], later(2))) == [closing]


def test_a_row_is_said_again_after_the_refresh() -> None:
    master = TableMaster(OwnRules(refresh=60 * SECOND), at_once())
    master.table([WEB], START)

    assert [len(master.table([WEB], later(seconds))) for seconds in (59, 60, 61, 120)] == [0, 1, 0, 1]


def test_a_row_that_goes_says_goodbye() -> None:
    master = TableMaster(OwnRules(), at_once())
    master.table([WEB, TEMPLATE, UDP], START)

    assert entries(master.table([], later(1))) == [goodbye(WEB), goodbye(TEMPLATE), goodbye(UDP)]
    assert (len(master), master.table([], later(2))) == (0, [])


def test_a_goodbye_empties_a_backup_within_a_second() -> None:
    ledger = Ledger()
    ledger.receive([WEB, TEMPLATE, UDP], START)

    ledger.receive(map(goodbye, [WEB, TEMPLATE, UDP]), later(5))
    ledger.on_deadline(later(7))

    assert len(ledger) == 0


def test_again_says_everything_once_more() -> None:
    master = TableMaster(OwnRules(refresh=0), at_once())
    master.table([WEB], START)

    master.again()

    assert [len(master.table([WEB], later(seconds))) for seconds in (1, 2)] == [1, 0]


@settings(max_examples=40)
@given(st.lists(st.sets(st.tuples(st.integers(1, 9), st.sampled_from([1, 4, 7])), max_size=9), max_size=8))
def test_a_backup_holds_the_last_table_whatever_came_before(tables: list[set[tuple[int, int]]]) -> None:
    """Rows and states, one table a second; then the goodbyes take a second more."""
    master = TableMaster(OwnRules(), MessageBuffer(7))
    ledger = Ledger()
    last: dict[int, int] = {}
    for second, rows in enumerate(tables):
        last = dict(sorted(rows))
        table = [WEB._replace(cport=port, state=state) for port, state in last.items()]
        ledger.receive(entries(master.table(table, later(second)) + master.flush()), later(second))

    ledger.on_deadline(later(len(tables) + 2))

    assert {row.conn.cport: row.conn.state for row in ledger} == last
