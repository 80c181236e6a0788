"""Reads ``proto/captures``: the datagrams of a capture, and what a second kernel installed of them."""

import tomllib
from collections.abc import Iterable, Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from lvsha.core.instant import Instant
from lvsha.io.capture import CaptureFile
from lvsha.sync.conn_table import row_of
from lvsha.sync.ledger import Ledger
from lvsha.wire.datagram import Datagram, DatagramReader
from lvsha.wire.ipvs_sync.names import Protocol
from lvsha.wire.ipvs_sync.records import SyncMessage

FOLDER = Path(__file__).resolve().parents[2] / "proto" / "captures"
PORTS = (8848, 8849, 8850, 8851)

_NAMES = {Protocol.IP: "IP", Protocol.TCP: "TCP", Protocol.UDP: "UDP", Protocol.SCTP: "SCTP"}


def capture_paths() -> list[Path]:
    found = sorted(FOLDER.glob("*.pcap"))
    assert len(found) >= 16, "the captures have been lost"
    return found


def about(path: Path) -> dict[str, Any]:
    """The file beside a capture that says how it was made."""
    return tomllib.loads(path.with_suffix(".toml").read_text(encoding="utf-8"))


def udp_datagrams(path: Path) -> Iterator[Datagram]:
    """The sync messages of a capture, fragments put together."""
    reader = DatagramReader(frozenset(PORTS))
    with path.open("rb") as file:
        for frame in CaptureFile(file):
            datagram = reader.read(frame.link, frame.data)
            if datagram is not None:
                yield datagram


def datagrams(path: Path) -> list[bytes]:
    return [datagram.payload for datagram in udp_datagrams(path)]


def installed_rows(messages: Iterable[SyncMessage]) -> list[str]:
    """``ip_vs_conn_sync`` as the strict reading and the ledger's rules have it, without timers, sorted."""
    ledger = Ledger()
    for message in messages:
        ledger.receive(message.entries, Instant(0), version=message.version)
    rows = []
    for held in ledger:
        row = row_of(held.conn, 0)
        fields = [_NAMES.get(Protocol(row.protocol), f"IP_{row.protocol}")]
        for address, port in ((row.caddr, row.cport), (row.vaddr, row.vport), (row.daddr, row.dport)):
            fields += [_hex(address), f"{port:04X}"]
        rows.append(" ".join((*fields, row.state, "SYNC")))
    return sorted(rows)


def _hex(packed: bytes) -> str:
    return packed.hex().upper() if len(packed) == 4 else ip_address(packed).exploded
