"""The kernel's connection table as rows that the engines compare and rebuild."""

from lvsha.io.procfs import connections
from lvsha.sync.conn_table import TableRow


def table_rows() -> list[TableRow]:
    """All connections of this network namespace; slow on a large table, see ``io.procfs``."""
    return [
        TableRow(
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
        for row in connections()
    ]
