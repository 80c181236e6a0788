"""``lvsha sync table``: the connection table as a backup would have it."""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path

from lvsha.cli.parser import Parser
from lvsha.cli.sync_decoder import Progress
from lvsha.cli.sync_format import JsonLines, address_text, entry_text
from lvsha.cli.sync_live import (
    Heard,
    Listener,
    Refused,
    add_duration_option,
    add_interface_option,
    complain,
    complain_of_cut,
    find_place,
    listen,
    wall_clock,
)
from lvsha.cli.sync_options import (
    add_filter_options,
    add_port_option,
    entry_test,
    is_sync_destination,
    nothing_found,
    wanted_ports,
)
from lvsha.core.errors import DecodeError, KernelError
from lvsha.core.instant import SECOND, Instant
from lvsha.io.capture import CaptureError, CaptureFile, open_input
from lvsha.sync.conn_table import TableRow, row_of
from lvsha.sync.ledger import Ledger, LedgerRow
from lvsha.wire.datagram import DatagramReader
from lvsha.wire.ipvs_sync.message import decode_message
from lvsha.wire.ipvs_sync.receiver import Receiver

PROG = "lvsha sync table"
HEADING = (
    f"{'AGE':>8} {'HEARD':>8} {'EXPIRES':>8} {'TIMES':>6}  {'ORIGIN':<18} {'PROTO':<5} {'CLIENT':<21} "
    f"{'VIRTUAL':<21} {'SERVER':<21} {'STATE':<11} {'TIMEOUT':>7}  FLAGS"
)
DEFAULT_DURATION_S = 10.0


def parser() -> argparse.ArgumentParser:
    made = Parser(
        prog=PROG,
        description="Play a backup: take the sync messages of captures, or of an interface for a while, "
        "under the kernel's rules of update, and show the table at the end. AGE is since a row was made, "
        "HEARD since its newest entry, ORIGIN who sent that.",
        epilog="examples:\n"
        "  lvsha sync table sync.pcap --vip 10.0.0.10:80\n"
        "  lvsha sync table -i eth1 --duration 30 --json\n"
        "exit status: 0 shown, 1 refused, 2 wrong usage",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("files", nargs="*", metavar="FILE", help="captures; - for standard input")
    add_interface_option(made)
    add_duration_option(made, f"{DEFAULT_DURATION_S:.0f}")
    made.add_argument("--json", action="store_true", help="one JSON object a line for each row")
    made.add_argument("--maxlen", type=int, default=65507, metavar="BYTES", help="of the backup played")
    add_port_option(made)
    add_filter_options(made)
    return made


class TableBuilder:
    """A ledger fed with messages from wherever they come."""

    def __init__(self, prog: str, options: argparse.Namespace, receiver: Receiver) -> None:
        self._prog = prog
        self._options = options
        self._receiver = receiver
        self.ledger = Ledger()
        self.now = Instant(0)
        """Of the newest message."""
        self.messages = 0

    def take(self, payload: bytes, source: str, time_ns: int) -> None:
        # A capture of several interfaces may step back a little; a ledger's time does not.
        self.now = max(self.now, Instant(time_ns))
        self.messages += 1
        try:
            message = decode_message(payload, self._receiver)
        except DecodeError:
            return
        if self._options.syncid is None or message.syncid == self._options.syncid:
            self.ledger.receive(message.entries, self.now, version=message.version, origin=source)

    def heard(self, heard: Heard) -> None:
        self.take(heard.payload, heard.source, heard.time_ns)

    def read_file(self, name: str) -> None:
        """All of a capture.

        Raises:
            CaptureError, OSError: as reading it.
        """
        datagrams = DatagramReader(wanted_ports(self._options))
        path = None if name == "-" else Path(name)
        size = path.stat().st_size if path else 0
        with open_input(path) as file, Progress(sys.stderr, size) as progress:
            capture = CaptureFile(file)
            for count, frame in enumerate(capture):
                datagram = datagrams.read(frame.link, frame.data)
                if datagram is not None and is_sync_destination(
                    self._options, datagram.destination, datagram.port
                ):
                    self.take(datagram.payload, address_text(datagram.source), frame.time_ns)
                if not count & 0x3FF:
                    progress.show(capture.bytes_read, f"{len(self.ledger):,} rows")
        complain_of_cut(self._prog, name, capture)
        if not self.messages:
            complain(self._prog, f"{name}: {nothing_found(self._options)}")

    def listen(self, default_s: float = DEFAULT_DURATION_S) -> None:
        """To an interface.

        Raises:
            Refused, KernelError: as finding and opening it.
        """
        place = find_place(self._options)
        duration = self._options.duration or default_s
        with Listener(self._options, place.interface) as listener, Progress(sys.stderr, 0) as progress:
            listen(
                listener,
                duration,
                self.heard,
                lambda _: progress.show(0, f"listening on {place.interface}, {len(self.ledger):,} rows"),
            )
            if dropped := listener.dropped():
                complain(
                    self._prog, f"{dropped:,} frames came faster than they could be read: rows may be missing"
                )
        self.now = wall_clock()

    def rows(self) -> Iterator[LedgerRow]:
        """What is alive at the end."""
        self.ledger.on_deadline(self.now)
        return (row for row in self.ledger if row.expires > self.now)

    def table_rows(self) -> Iterator[TableRow]:
        """The same as a kernel would print them."""
        for row in self.rows():
            yield row_of(row.conn, (row.expires - self.now) // SECOND)


def main(argv: list[str]) -> int:
    options = parser().parse_args(argv)
    builder = TableBuilder(PROG, options, Receiver(maxlen=options.maxlen))
    name = ""
    try:
        for name in options.files:
            builder.read_file(name)
        if not options.files:
            builder.listen()
    except (Refused, KernelError) as error:
        complain(PROG, error)
        return 1
    except CaptureError as error:
        complain(PROG, f"{name}: {error}")
        return 1
    except OSError as error:
        complain(PROG, f"{error.filename or name}: {error.strerror}")
        return 2
    test = entry_test(options)
    out = sys.stdout
    if not options.json:
        out.write(HEADING + "\n")
    lines = JsonLines()
    for row in builder.rows():
        if test is None or test(row.conn):
            out.write(_json_line(lines, row, builder.now) if options.json else _text_line(row, builder.now))
    return 0


def _json_line(lines: JsonLines, row: LedgerRow, now: Instant) -> str:
    """The keys of ``decode`` for the connection, and what only a table knows."""
    conn = json.loads(lines.bare(row.conn))
    known = {
        "origin": row.origin,
        "age_s": _s(now - row.created),
        "heard_s": _s(now - row.heard),
        "expires_s": _s(row.expires - now),
        "entries": row.entries,
    }
    return json.dumps({**known, **conn}) + "\n"


def _s(duration: int) -> float:
    return round(duration / SECOND, 3)


def _text_line(row: LedgerRow, now: Instant) -> str:
    age, heard, expires = (_s(span) for span in (now - row.created, now - row.heard, row.expires - now))
    known = f"{age:>8.1f} {heard:>8.1f} {expires:>8.0f} {row.entries:>6}  {row.origin:<18}"
    return f"{known} {entry_text(row.conn)}\n"
