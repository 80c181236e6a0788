"""What a director says on a shared group besides its kernel: whose rows, when, with what time-out."""

from ipaddress import IPv4Address

from lvsha.core.instant import MILLISECOND, SECOND, Instant
from lvsha.core.machine import Output
from lvsha.sync.announcer import AGAIN, AT_ONCE, NEWCOMER_LEAST, PACE, URGENT_AT_ONCE, Announcer
from lvsha.sync.producer import SendMessage
from lvsha.wire.ipvs_sync.message import decode_message
from lvsha.wire.ipvs_sync.names import ConnFlag, TcpState
from lvsha.wire.ipvs_sync.records import SyncConn
from lvsha.wire.ipvs_sync.v1 import assemble, encode_entry

OURS, OTHERS = IPv4Address("10.0.0.10"), IPv4Address("10.0.0.20")
NOW = Instant(1000 * SECOND)


def entry(
    cport: int, *, virtual: IPv4Address = OURS, state: int = TcpState.ESTABLISHED, timeout: int = 900
) -> bytes:
    return encode_entry(
        SyncConn.build(
            protocol=6,
            client=(IPv4Address("10.0.0.100"), cport),
            virtual=(virtual, 80),
            destination=(IPv4Address("10.0.0.11"), 80),
            state=state,
            flags=0 if state == TcpState.ESTABLISHED else ConnFlag.INACTIVE,
            timeout=timeout,
        )
    )


def holder() -> Announcer:
    announcer = Announcer(syncid=7)
    assert announcer.claim(frozenset({OURS.packed}))
    return announcer


def at(instant: int) -> Instant:
    return Instant(instant)


def said(outputs: list[Output]) -> list[SyncConn]:
    conns: list[SyncConn] = []
    for output in outputs:
        assert isinstance(output, SendMessage)
        message = decode_message(output.payload)
        assert message.syncid == 7
        conns += message.entries
    return conns


def everything(announcer: Announcer, start: Instant, duration: int) -> list[tuple[int, SyncConn]]:
    """What is said until then, and when."""
    found: list[tuple[int, SyncConn]] = []
    while announcer.deadline is not None and announcer.deadline <= start + duration:
        now = announcer.deadline
        found += [(now, conn) for conn in said(announcer.on_deadline(now))]
    return found


def test_a_takeover_says_what_it_inherited_with_what_is_left_of_it() -> None:
    announcer = holder()

    assert announcer.inherit([(entry(1), 30 * SECOND), (entry(2), 900 * SECOND)], NOW) == 2
    conns = said(announcer.on_deadline(NOW))

    assert {(conn.cport, conn.timeout) for conn in conns} == {(1, 30), (2, 900)}
    assert announcer.inherited == 2


def test_who_holds_no_address_says_nothing() -> None:
    """A late word over a newer one hurts only where packets flow: there nobody but the holder speaks."""
    announcer = Announcer(syncid=7)
    announcer.hear(assemble(7, [entry(1)]), NOW)
    announcer.inherit([(entry(2), 900 * SECOND)], NOW)

    assert announcer.deadline is None
    assert announcer.on_deadline(at(NOW + 100 * SECOND)) == []


def test_rows_of_an_address_that_another_holds_are_not_said() -> None:
    announcer = holder()
    announcer.hear(assemble(7, [entry(1, virtual=OTHERS), entry(2)]), NOW)
    announcer.inherit([(entry(3, virtual=OTHERS), 900 * SECOND), (entry(4), 900 * SECOND)], NOW)

    assert {conn.cport for _, conn in everything(announcer, NOW, 60 * SECOND)} == {2, 4}


def test_an_address_that_was_given_up_is_not_spoken_for_any_more() -> None:
    announcer = holder()
    announcer.claim(frozenset({OURS.packed, OTHERS.packed}))
    announcer.hear(assemble(7, [entry(1), entry(2, virtual=OTHERS)]), NOW)
    assert not announcer.claim(frozenset({OTHERS.packed}))

    assert {conn.cport for _, conn in everything(announcer, NOW, 60 * SECOND)} == {2}
    assert not announcer.claim(frozenset())
    assert announcer.deadline is None


def test_a_quiet_row_is_said_again_until_it_may_have_ended_and_its_copy_outlives_it() -> None:
    """The kernel's own row may live a refresh period longer than it last said."""
    announcer = holder()
    announcer.hear(assemble(7, [entry(1, timeout=12)]), NOW)

    words = everything(announcer, NOW, 60 * SECOND)

    assert words[0][0] == NOW + AGAIN
    assert [conn.timeout for _, conn in words] == [19, 16, 13, 10, 7, 4, 1]
    assert len(announcer) == 0


def test_a_row_that_its_kernel_has_just_announced_waits() -> None:
    announcer = holder()
    announcer.hear(assemble(7, [entry(1)]), NOW)
    announcer.hear(assemble(7, [entry(2)]), NOW)
    announcer.hear(assemble(7, [entry(1)]), at(NOW + 2 * SECOND))

    assert [conn.cport for conn in said(announcer.on_deadline(at(NOW + AGAIN)))] == [2]
    assert announcer.deadline == NOW + 2 * SECOND + AGAIN


def test_the_newest_state_is_said_and_an_ending_one_is_not_prolonged() -> None:
    announcer = holder()
    announcer.hear(assemble(7, [entry(1)]), NOW)
    announcer.hear(assemble(7, [entry(1, state=TcpState.CLOSE, timeout=10)]), at(NOW + SECOND))

    words = everything(announcer, NOW, 60 * SECOND)
    assert [(conn.state, conn.timeout) for _, conn in words] == [(TcpState.CLOSE, left) for left in (7, 4, 1)]


def test_what_the_kernel_announced_is_newer_than_its_table_read_before() -> None:
    announcer = holder()
    announcer.hear(assemble(7, [entry(1, state=TcpState.FIN_WAIT, timeout=120)]), NOW)

    assert announcer.inherit([(entry(1), 900 * SECOND)], NOW) == 0
    words = everything(announcer, NOW, 20 * SECOND)
    assert {conn.state for _, conn in words} == {TcpState.FIN_WAIT}


def test_a_large_table_is_said_in_steps_that_a_plain_kernel_can_take() -> None:
    announcer = holder()
    announcer.inherit([(entry(1 + number), 900 * SECOND) for number in range(1000)], NOW)

    first = announcer.on_deadline(NOW)

    assert len(said(first)) == URGENT_AT_ONCE
    assert all(isinstance(each, SendMessage) and len(each.payload) <= 1472 for each in first)
    assert announcer.on_deadline(at(NOW + PACE - 1)) == []
    words = everything(announcer, NOW, SECOND)
    assert len(words) == 600
    assert len(said(announcer.on_deadline(at(NOW + AGAIN)))) == AT_ONCE


def test_a_newcomer_is_told_everything_at_once_but_not_as_often_as_anybody_likes() -> None:
    announcer = holder()
    announcer.hear(assemble(7, [entry(1), entry(2)]), NOW)
    soon = at(NOW + 100 * MILLISECOND)

    announcer.newcomer(soon)
    assert {conn.cport for conn in said(announcer.on_deadline(soon))} == {1, 2}
    announcer.newcomer(at(soon + NEWCOMER_LEAST - 1))
    assert announcer.deadline == soon + AGAIN
    announcer.newcomer(at(soon + NEWCOMER_LEAST))
    assert len(said(announcer.on_deadline(at(soon + NEWCOMER_LEAST)))) == 2


def test_rows_past_the_limit_are_counted() -> None:
    announcer = Announcer(syncid=7, limit=1)
    announcer.claim(frozenset({OURS.packed}))
    announcer.hear(assemble(7, [entry(1), entry(2)]), NOW)

    assert (len(announcer), announcer.refused) == (1, 1)
    assert announcer.inherit([(entry(3), MILLISECOND)], NOW) == 0
