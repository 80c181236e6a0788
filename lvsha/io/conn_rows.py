"""The kernel's connection table as rows that the engines compare and rebuild."""

from collections.abc import Iterable, Iterator
from contextlib import suppress

from lvsha.io.procfs import NET, ConnectionRow, connections, parse_connections
from lvsha.sync.conn_table import TableRow

_HANDSHAKE = b" SYN"
"""Begins the names of TCP's states before ESTABLISHED: SYN_SENT, SYN_RECV, SYNACK."""


def table_rows() -> list[TableRow]:
    """All connections of this network namespace; slow on a large table, see ``io.procfs``."""
    return [_table_row(row) for row in connections()]


def handshake_rows() -> list[TableRow]:
    """The TCP connections in the middle of their handshake, which the kernel announces to nobody.

    The kernel prints the whole table for it; but rows that are not wanted are not taken apart.
    """
    rows: list[TableRow] = []
    with suppress(FileNotFoundError), (NET / "ip_vs_conn").open("rb", buffering=1 << 20) as file:
        rows += map(_table_row, parse_connections(only_handshakes(file)))
    return rows


def only_handshakes(lines: Iterable[bytes]) -> Iterator[bytes]:
    """The heading, and the lines of connections in the middle of their handshake."""
    return (line for number, line in enumerate(lines) if not number or _HANDSHAKE in line)


def _table_row(row: ConnectionRow) -> TableRow:
    return TableRow(
        row.protocol,
        row.caddr.packed,
        row.cport,
        row.vaddr.packed,
        row.vport,
        row.daddr.packed,
        row.dport,
        row.state,
        row.expires_s,
        row.pe_name.encode(),
        row.pe_data,
    )
