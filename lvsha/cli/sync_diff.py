"""``lvsha sync diff``: what two connection tables disagree about, the worst first."""

import argparse
import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lvsha.cli.parser import Parser
from lvsha.cli.sync_format import address_text, bytes_text, endpoint
from lvsha.cli.sync_live import (
    Refused,
    add_duration_option,
    add_interface_option,
    complain,
)
from lvsha.cli.sync_options import add_port_option
from lvsha.cli.sync_table import DEFAULT_DURATION_S, TableBuilder
from lvsha.core.errors import DecodeError, KernelError
from lvsha.io.capture import CaptureError, is_capture, open_input
from lvsha.io.procfs import connections, parse_connections
from lvsha.sync.compare import TEXT, Difference, compare
from lvsha.sync.conn_table import TableRow
from lvsha.wire.ipvs_sync.names import protocol_name
from lvsha.wire.ipvs_sync.receiver import Receiver

PROG = "lvsha sync diff"
GZIP = b"\x1f\x8b"
SETTLE_S = 3
"""Rows that only one side has are no difference in the last seconds of their timers."""


def parser() -> argparse.ArgumentParser:
    made = Parser(
        prog=PROG,
        description="Compare two connection tables. OURS is the one that is right, THEIRS the one that would "
        "have to go on with it. What would hurt most at a takeover comes first: active connections that are "
        "missing, other realservers, templates, connections that are closing, other states, rows too many.",
        epilog="a table is one of:\n"
        "  kernel     this kernel's, /proc/net/ip_vs_conn (slow above 50,000 rows before Linux 6.14)\n"
        "  wire       what passes on the sync network within --duration, as a backup would have it\n"
        "  FILE or -  a capture, or a copy of some kernel's /proc/net/ip_vs_conn\n"
        "examples:\n"
        "  ssh lb2 cat /proc/net/ip_vs_conn | lvsha sync diff kernel -     this director and its peer\n"
        "  lvsha sync diff wire kernel --duration 60                       does the daemon here keep up?\n"
        "exit status: 0 no difference, 1 some, or refused, 2 wrong usage",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("ours", nargs="?", default="wire", metavar="OURS", help="a table (wire)")
    made.add_argument("theirs", nargs="?", default="kernel", metavar="THEIRS", help="a table (kernel)")
    made.add_argument("--json", action="store_true", help="one JSON object a line for each difference")
    made.add_argument("--summary", action="store_true", help="how many of each kind, no rows")
    made.add_argument(
        "--ignore-under",
        type=int,
        default=SETTLE_S,
        metavar="S",
        help=f"no difference: a row on one side only whose timer ends within so many seconds ({SETTLE_S})",
    )
    made.add_argument("--limit", type=int, default=0, metavar="N", help="show the N worst (all)")
    made.add_argument("--syncid", type=int, metavar="N", help="of the wire: messages of this syncid")
    made.add_argument("--maxlen", type=int, default=65507, metavar="BYTES", help="of the backup played")
    add_interface_option(made)
    add_duration_option(made, f"{DEFAULT_DURATION_S:.0f}")
    add_port_option(made)
    return made


def main(argv: list[str]) -> int:
    options = parser().parse_args(argv)
    if options.ours == options.theirs:
        complain(PROG, f"both tables are {options.ours!r}: name two, see --help")
        return 2
    try:
        # The wire first: it takes a while, and a kernel's table is of the moment.
        tables = {
            name: read_table(name, options)
            for name in sorted((options.ours, options.theirs), key="wire".__ne__)
        }
    except (Refused, KernelError) as error:
        complain(PROG, error)
        return 1
    except OSError as error:
        complain(PROG, f"{error.filename}: {error.strerror}")
        return 2
    differences = compare(tables[options.ours], tables[options.theirs], ignore_under_s=options.ignore_under)
    counts = Counter(difference.hurt for difference in differences)
    sizes = len(tables[options.ours]), len(tables[options.theirs])
    if options.summary:
        _show_summary(options, sizes, counts)
    else:
        _show(options, differences[: options.limit or None])
        if not options.json:
            shown = ", ".join(f"{count:,} {TEXT[hurt]}" for hurt, count in sorted(counts.items()))
            print(f"{sizes[0]:,} rows, {sizes[1]:,} rows: {shown or 'no difference'}")
    return 1 if differences else 0


def read_table(name: str, options: argparse.Namespace) -> list[TableRow]:
    """One side.

    Raises:
        Refused: it is neither a table nor a capture.
        KernelError, OSError: it cannot be read.
    """
    if name == "kernel":
        return _of_kernel(connections())
    builder = TableBuilder(PROG, options, Receiver(maxlen=options.maxlen))
    if name == "wire":
        builder.listen()
        return list(builder.table_rows())
    try:
        if name != "-":
            with Path(name).open("rb") as file:
                head = file.read(4)
            if is_capture(head) or head[:2] == GZIP:
                builder.read_file(name)
                return list(builder.table_rows())
        with open_input(None if name == "-" else Path(name)) as lines:
            return _of_kernel(parse_connections(lines))
    except (CaptureError, DecodeError) as error:
        raise Refused(f"{name}: neither a capture nor a copy of /proc/net/ip_vs_conn: {error}") from None


def _of_kernel(rows: Iterable[Any]) -> list[TableRow]:
    return [row.table_row for row in rows if not row.is_dead_template]


def _show(options: argparse.Namespace, differences: Iterable[Difference]) -> None:
    for difference in differences:
        print(json.dumps(_json(difference)) if options.json else _text(difference))


def _show_summary(options: argparse.Namespace, sizes: tuple[int, int], counts: Counter[Any]) -> None:
    if options.json:
        kinds = {hurt.name.lower(): counts[hurt] for hurt in TEXT}
        print(
            json.dumps({"ours": sizes[0], "theirs": sizes[1], "differences": sum(counts.values()), **kinds})
        )
        return
    print(f"ours {sizes[0]:,} rows, theirs {sizes[1]:,}")
    for hurt, text in TEXT.items():
        print(f"{counts[hurt]:>10,}  {text}")


def _json(difference: Difference) -> dict[str, Any]:
    row = difference.row
    return {
        "difference": difference.hurt.name.lower(),
        "hurt": int(difference.hurt),
        "protocol": row.protocol,
        "caddr": address_text(row.caddr),
        "cport": row.cport,
        "vaddr": address_text(row.vaddr),
        "vport": row.vport,
        "ours": _side(difference.ours),
        "theirs": _side(difference.theirs),
    }


def _side(row: TableRow | None) -> dict[str, Any] | None:
    if row is None:
        return None
    return {
        "daddr": address_text(row.daddr),
        "dport": row.dport,
        "state_name": row.state,
        "expires_s": row.expires_s,
        "pe_name": bytes_text(row.pe_name) or None,
        "pe_data": bytes_text(row.pe_data) or None,
    }


def _text(difference: Difference) -> str:
    row = difference.row
    virtual = (
        f"fwmark {int.from_bytes(row.vaddr[:4], 'big')}"
        if not row.protocol
        else endpoint(row.vaddr, row.vport)
    )
    sides = " / ".join(
        "-" if side is None else f"{endpoint(side.daddr, side.dport)} {side.state} {side.expires_s} s"
        for side in (difference.ours, difference.theirs)
    )
    return (
        f"{TEXT[difference.hurt]:<30} {protocol_name(row.protocol):<5} {endpoint(row.caddr, row.cport):<21} "
        f"{virtual:<21} {sides}"
    )
