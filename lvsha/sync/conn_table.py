"""Rows of a connection table, from either side: what a message installs, or what a kernel prints."""

from typing import NamedTuple

from lvsha.wire.ipvs_sync.names import Protocol, TemplateState
from lvsha.wire.ipvs_sync.records import SyncConn


class TableRow(NamedTuple):
    """One row of ``/proc/net/ip_vs_conn``, addresses as their bytes."""

    protocol: int
    caddr: bytes
    cport: int
    vaddr: bytes
    vport: int
    daddr: bytes
    dport: int
    state: str
    """As the kernel names it; ``ERR!`` for a state without a name, as AH and ESP have."""
    expires_s: int
    """What is left of the timer."""
    pe_name: bytes = b""
    pe_data: bytes = b""

    @property
    def is_template(self) -> bool:
        """Persistence. (A connection whose client port is not known yet is in another state.)"""
        return self.cport == 0 and self.state in ("NONE", "ASSURED")


def row_of(conn: SyncConn, expires_s: int) -> TableRow:
    """The row that the kernel would print for this connection."""
    if conn.is_template:
        known = conn.state < len(TemplateState)
    else:
        # One state, and no name for it.
        known = conn.protocol not in (Protocol.AH, Protocol.ESP)
    pe_data = conn.pe_data if conn.is_template else b""
    return TableRow(
        conn.protocol,
        conn.caddr,
        conn.cport,
        conn.vaddr,
        conn.vport,
        conn.daddr,
        conn.dport,
        conn.state_name if known else "ERR!",
        expires_s,
        conn.pe_name.partition(b"\0")[0] if pe_data else b"",
        pe_data,
    )
