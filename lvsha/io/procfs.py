"""The tables of IPVS and of UDP sockets under ``/proc/net``.

They are read where ``/proc/net`` is the network namespace of the calling
*thread* (``/proc/net`` itself is that of the main thread).

``connections`` streams, but the kernel does not: before Linux 6.14 every page it
gives starts with a walk over all earlier rows. 10,000 rows take 10 ms, 100,000
two seconds, 200,000 forty: never poll it on a large table. Nor is it a snapshot:
rows may be missed or come twice while the table changes.
"""

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import NamedTuple

from lvsha.core.addr import Address
from lvsha.core.errors import DecodeError, DropReason
from lvsha.sync.conn_table import TableRow

NET = Path("/proc/thread-self/net")

_PROTOCOLS = {"TCP": 6, "UDP": 17, "SCTP": 132, "IP": 0, "ICMP": 1, "ICMPv6": 58}
_HEADING = b"Pro FromIP"
_DEAD_PORT = 0xFFFF
_NATIVE = sys.byteorder
_READ = 1 << 18


class ConnectionRow(NamedTuple):
    """One row of ``ip_vs_conn`` or ``ip_vs_conn_sync``. (A tuple: a table has many.)"""

    protocol: int
    """0 in the template of a firewall mark."""
    caddr: Address
    cport: int
    vaddr: Address
    """In the template of a firewall mark: the mark."""
    vport: int
    daddr: Address
    dport: int
    state: str
    """The kernel's name: ``ESTABLISHED``; a template's: ``NONE`` or ``ASSURED``."""
    expires_s: int
    """Seconds left, rounded down."""
    is_synced: bool | None = None
    """Learned from another director; None: this table does not tell."""
    pe_name: str = ""
    pe_data: bytes = b""

    @property
    def is_template(self) -> bool:
        """Ties a client to a destination; no connection of its own."""
        return self.cport == 0 and self.state in ("NONE", "ASSURED")

    @property
    def is_dead_template(self) -> bool:
        """Its destination was removed (before Linux 7): it only waits to expire."""
        return self.cport == 0 and self.vport == _DEAD_PORT and self.dport == _DEAD_PORT

    @property
    def table_row(self) -> TableRow:
        """In the form in which tables are compared."""
        return TableRow(
            self.protocol,
            self.caddr.packed,
            self.cport,
            self.vaddr.packed,
            self.vport,
            self.daddr.packed,
            self.dport,
            self.state,
            self.expires_s,
            self.pe_name.encode(),
            self.pe_data,
        )

    @property
    def fwmark(self) -> int:
        """The mark whose template this is; 0: none's."""
        return int(self.vaddr) if self.protocol == 0 and self.vaddr.version == 4 else 0


def _address(text: bytes, known: dict[bytes, Address]) -> Address:
    address = known.get(text)
    if address is None:
        if len(known) > 4096:
            known.clear()
        if len(text) == 8:
            address = IPv4Address(int(text, 16))
        else:
            address = IPv6Address(bytes.fromhex(text.replace(b":", b"").decode()))
        known[text] = address
    return address


def _protocol(name: bytes) -> int:
    text = name.decode()
    number = _PROTOCOLS.get(text)
    return number if number is not None else int(text.removeprefix("IP_"))


def parse_connections(lines: Iterable[bytes]) -> Iterator[ConnectionRow]:
    """The rows of either table; the first line says which.

    Raises:
        DecodeError: ``TRUNCATED``, no heading, or a line that is no row.
    """
    known: dict[bytes, Address] = {}
    has_engine = False
    remaining = iter(lines)
    heading = next(remaining, b"")
    if not heading.startswith(_HEADING):
        # An empty copy is a command that failed, not a table without rows.
        found = f"no heading: {heading[:120]!r}" if heading else "it is empty"
        raise DecodeError(DropReason.TRUNCATED, found)
    has_origin = b"Origin" in heading
    for line in remaining:
        # The last column is the engine's raw data: blanks in it are its own.
        fields = line.rstrip(b"\n").split(None, 10 if not has_origin else 9)
        try:
            protocol, caddr, cport, vaddr, vport, daddr, dport, state, *rest = fields
            origin = rest.pop(0) if has_origin else b""
            row = ConnectionRow(
                _protocol(protocol),
                _address(caddr, known),
                int(cport, 16),
                _address(vaddr, known),
                int(vport, 16),
                _address(daddr, known),
                int(dport, 16),
                state.decode(),
                int(rest[0]),
                origin == b"SYNC" if has_origin else None,
                rest[1].decode() if len(rest) > 1 else "",
                rest[2] if len(rest) > 2 else b"",
            )
        except (ValueError, IndexError):
            if has_engine:
                # An engine's data may hold a line's end, and a peer chooses them.
                continue
            raise DecodeError(DropReason.TRUNCATED, f"no connection: {line[:120]!r}") from None
        has_engine = len(rest) > 1
        yield row


def connections(*, origin: bool = False, net: Path = NET) -> Iterator[ConnectionRow]:
    """All connections as the kernel gives them, page by page; none without ``ip_vs``.

    Args:
        origin: read ``ip_vs_conn_sync``, which tells what came from another director,
            but no persistence engine's data.
    """
    with (
        suppress(FileNotFoundError),
        # The kernel gives a page at a time, and walks over all rows before it each time: the rest of a
        # small buffer would be filled with a few rows more, at the same price (measured: 3.6 times).
        (net / ("ip_vs_conn_sync" if origin else "ip_vs_conn")).open("rb", buffering=1 << 20) as file,
    ):
        yield from parse_connections(file)


class UdpSocketRow(NamedTuple):
    """A UDP socket of ``/proc/net/udp`` or ``udp6``."""

    address: Address
    port: int
    rx_queue: int
    """Bytes that wait to be read, accounting included."""
    drops: int
    """Datagrams that found the queue full, since the socket was made."""
    inode: int


def socket_address(text: str) -> Address:
    # Words of 32 bits, each printed as this machine's number though it is in network order.
    packed = b"".join(int(text[at : at + 8], 16).to_bytes(4, _NATIVE) for at in range(0, len(text), 8))
    return IPv4Address(packed) if len(packed) == 4 else IPv6Address(packed)


def parse_udp(lines: Iterable[str]) -> Iterator[UdpSocketRow]:
    """The rows after the heading.

    Raises:
        DecodeError: ``TRUNCATED``, a line that is no row.
    """
    for number, line in enumerate(lines):
        if number == 0:
            continue
        fields = line.split()
        try:
            address, _, port = fields[1].partition(":")
            yield UdpSocketRow(
                address=socket_address(address),
                port=int(port, 16),
                rx_queue=int(fields[4].partition(":")[2], 16),
                drops=int(fields[12]),
                inode=int(fields[9]),
            )
        except (ValueError, IndexError):
            raise DecodeError(DropReason.TRUNCATED, f"no socket: {line[:120]!r}") from None


def udp_sockets(*, net: Path = NET) -> list[UdpSocketRow]:
    """The UDP sockets of both families: also the kernel's own, such as its backup daemon's."""
    rows: list[UdpSocketRow] = []
    for name in ("udp", "udp6"):
        with suppress(FileNotFoundError), (net / name).open() as file:
            rows += parse_udp(file)
    return rows


class UdpTable:
    """``/proc/net/udp`` or ``udp6`` kept open, for who asks after one socket again and again.

    Raises: OSError, when it is opened.
    """

    def __init__(self, version: int, *, net: Path = NET) -> None:
        self._file = os.open(net / ("udp" if version == 4 else "udp6"), os.O_RDONLY | os.O_CLOEXEC)

    def close(self) -> None:
        os.close(self._file)

    def of(self, address: Address, port: int) -> list[UdpSocketRow]:
        """The sockets bound to this address and port."""
        pieces = []
        at = 0
        while piece := os.pread(self._file, _READ, at):
            pieces.append(piece)
            at += len(piece)
        words = (address.packed[word : word + 4] for word in range(0, len(address.packed), 4))
        wanted = b"".join(b"%08X" % int.from_bytes(word, _NATIVE) for word in words) + b":%04X" % port
        lines = [line.decode() for line in b"".join(pieces).splitlines() if wanted in line]
        return [row for row in parse_udp(["", *lines]) if (row.address, row.port) == (address, port)]


class Totals(NamedTuple):
    """The first half of ``ip_vs_stats``: since the last zeroing of all."""

    connections: int
    in_packets: int
    out_packets: int
    in_bytes: int
    out_bytes: int


def parse_totals(lines: Iterable[str]) -> Totals:
    """The third line, in hexadecimal.

    Raises:
        DecodeError: ``TRUNCATED``.
    """
    for number, line in enumerate(lines):
        if number == 2:
            with suppress(ValueError, TypeError):
                return Totals(*[int(field, 16) for field in line.split()])
    raise DecodeError(DropReason.TRUNCATED, "no totals in ip_vs_stats")
