"""Differences between tables: which there are, and which comes first."""

import pytest

from lvsha.sync.compare import Hurt, compare
from lvsha.sync.conn_table import TableRow

ROW = TableRow(
    6, bytes((192, 0, 2, 1)), 40_001, bytes((10, 0, 0, 10)), 80, bytes((10, 1, 0, 1)), 80, "ESTABLISHED", 900
)
CLOSING = ROW._replace(cport=40_002, state="FIN_WAIT", expires_s=100)
TEMPLATE = ROW._replace(cport=0, state="ASSURED", expires_s=300)
ELSEWHERE = bytes((10, 1, 0, 2))


@pytest.mark.parametrize(
    ("ours", "theirs", "hurt"),
    [
        ([ROW], [], Hurt.CONNECTION_LOST),
        ([ROW], [ROW._replace(daddr=ELSEWHERE)], Hurt.OTHER_SERVER),
        ([ROW], [ROW._replace(dport=81)], Hurt.OTHER_SERVER),
        ([TEMPLATE], [], Hurt.TEMPLATE_LOST),
        ([TEMPLATE], [TEMPLATE._replace(daddr=ELSEWHERE)], Hurt.TEMPLATE_ELSEWHERE),
        ([CLOSING], [], Hurt.CLOSING_LOST),
        ([ROW], [ROW._replace(state="CLOSE_WAIT")], Hurt.OTHER_STATE),
        ([], [ROW], Hurt.EXTRA),
        ([ROW._replace(protocol=17, state="UDP")], [], Hurt.CONNECTION_LOST),
        ([ROW._replace(protocol=50, state="ERR!")], [], Hurt.CONNECTION_LOST),
        ([ROW._replace(protocol=132, state="S-SENT")], [], Hurt.CLOSING_LOST),
    ],
)
def test_each_kind(ours: list[TableRow], theirs: list[TableRow], hurt: Hurt) -> None:
    (difference,) = compare(ours, theirs)

    assert difference.hurt is hurt
    assert difference.ours == (ours[0] if ours else None)
    assert difference.theirs == (theirs[0] if theirs else None)


def test_other_timers_are_no_difference() -> None:
    assert compare([ROW, TEMPLATE], [TEMPLATE._replace(expires_s=1), ROW._replace(expires_s=800)]) == []


def test_a_template_is_not_the_connection_with_an_unknown_port() -> None:
    waiting = ROW._replace(cport=0, state="LISTEN")

    assert [difference.hurt for difference in compare([TEMPLATE, waiting], [waiting])] == [Hurt.TEMPLATE_LOST]


def test_the_worst_comes_first_and_of_equals_the_longest_lived() -> None:
    short = ROW._replace(cport=1, expires_s=5)

    found = compare([CLOSING, short, TEMPLATE, ROW], [ROW._replace(cport=9)])

    assert [difference.row for difference in found] == [ROW, short, TEMPLATE, CLOSING, ROW._replace(cport=9)]


def test_rows_about_to_end_are_ignored_on_one_side_only() -> None:
    ending = ROW._replace(expires_s=2)

    assert compare([ending], [], ignore_under_s=3) == []
    assert compare([], [ending], ignore_under_s=3) == []
    assert len(compare([ending], [ending._replace(daddr=ELSEWHERE)], ignore_under_s=3)) == 1
