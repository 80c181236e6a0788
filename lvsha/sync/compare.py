"""What two connection tables disagree about, by what it would cost at a takeover.

*Ours* is the table that is right: the active director's, or what was heard on the
wire. *Theirs* is the one that would have to go on with it.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum

from lvsha.sync.conn_table import TableRow
from lvsha.wire.ipvs_sync.names import is_active, state_number

Key = tuple[int, bytes, int, bytes, int, bool]


class Hurt(IntEnum):
    """Worst first."""

    CONNECTION_LOST = 1
    """An active connection is missing: its next packet is answered with a reset, or goes astray."""
    OTHER_SERVER = 2
    """Its packets would go to a realserver that does not know it."""
    TEMPLATE_LOST = 3
    """A client's next connection may go to another realserver than its last."""
    TEMPLATE_ELSEWHERE = 4
    """It will."""
    CLOSING_LOST = 5
    """A connection that is closing is missing: its last packets are answered with a reset."""
    OTHER_STATE = 6
    """Its timer runs differently, and the scheduler counts it differently."""
    EXTRA = 7
    """A row too many: memory, and a count that is too high, until its timer ends."""


TEXT = {
    Hurt.CONNECTION_LOST: "missing",
    Hurt.OTHER_SERVER: "other realserver",
    Hurt.TEMPLATE_LOST: "template missing",
    Hurt.TEMPLATE_ELSEWHERE: "template to another realserver",
    Hurt.CLOSING_LOST: "closing, missing",
    Hurt.OTHER_STATE: "other state",
    Hurt.EXTRA: "extra",
}


@dataclass(frozen=True, slots=True)
class Difference:
    """One row. One of the two sides may be missing."""

    hurt: Hurt
    ours: TableRow | None
    theirs: TableRow | None

    @property
    def row(self) -> TableRow:
        """Whichever there is, ours first."""
        row = self.ours or self.theirs
        assert row is not None, "a difference has a side"
        return row


def compare(
    ours: Iterable[TableRow], theirs: Iterable[TableRow], *, ignore_under_s: int = 0
) -> list[Difference]:
    """All differences, the worst first.

    Args:
        ignore_under_s: a row that only one side has is no difference if its timer ends sooner than this:
            tables are read one after the other, and rows expire in between.
    """
    left = {_key(row): row for row in theirs}
    differences: list[Difference] = []
    for row in ours:
        other = left.pop(_key(row), None)
        if other is None:
            if row.expires_s >= ignore_under_s:
                differences.append(Difference(_loss(row), row, None))
        elif (row.daddr, row.dport) != (other.daddr, other.dport):
            hurt = Hurt.TEMPLATE_ELSEWHERE if row.is_template else Hurt.OTHER_SERVER
            differences.append(Difference(hurt, row, other))
        elif row.state != other.state:
            differences.append(Difference(Hurt.OTHER_STATE, row, other))
    differences += [
        Difference(Hurt.EXTRA, None, row) for row in left.values() if row.expires_s >= ignore_under_s
    ]
    # Of equal harm, the one that would have lived longest first.
    differences.sort(key=lambda difference: (difference.hurt, -difference.row.expires_s, difference.row))
    return differences


def _key(row: TableRow) -> Key:
    return row.protocol, row.caddr, row.cport, row.vaddr, row.vport, row.is_template


def _loss(row: TableRow) -> Hurt:
    if row.is_template:
        return Hurt.TEMPLATE_LOST
    try:
        active = is_active(row.protocol, state_number(row.protocol, row.state))
    except ValueError:
        active = True
    # UDP and its like are never counted as active, and are all there is.
    one_state = row.protocol not in (6, 132)
    return Hurt.CONNECTION_LOST if active or one_state else Hurt.CLOSING_LOST
