"""``lvsha sync decode``: what a capture's sync messages say."""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from lvsha.cli.parser import Parser
from lvsha.cli.sync_decoder import Decoder, Outcome, Progress, decode_parts, worth_mapping
from lvsha.cli.sync_format import TextLines
from lvsha.cli.sync_options import add_filter_options, add_port_option, nothing_found
from lvsha.cli.sync_report import report, report_json
from lvsha.io.capture import CaptureError, CaptureFile, is_capture, open_input
from lvsha.sync.inspect import Inspector
from lvsha.wire.ipvs_sync.receiver import Receiver

PROG = "lvsha sync decode"
_HEX = frozenset(b"0123456789abcdefABCDEF")


def parser() -> argparse.ArgumentParser:
    made = Parser(
        prog=PROG,
        description="Show every entry of the sync messages in captures, and what is wrong with them. "
        "Reads pcap and pcapng (gzip too), or lines of hex, one message each; a message in hex may stand "
        "in a file's place too. No root needed.",
        epilog="examples:\n"
        "  tcpdump -ni eth1 -w sync.pcap udp port 8848     and then\n"
        "  lvsha sync decode sync.pcap --vip 10.0.0.10:80 --state ESTABLISHED\n"
        "  lvsha sync decode sync.pcap --json | jq -c 'select(.error)'\n"
        "  ssh lb1 tcpdump -ni eth1 -w - udp port 8848 | lvsha sync decode -\n"
        "exit status: 0 all is well, 1 something is not installed by a receiver, 2 wrong usage",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument(
        "files",
        nargs="+",
        metavar="FILE",
        help="a capture, or messages in hex; - for standard input; a message",
    )
    made.add_argument("--json", action="store_true", help="one JSON object a line for each entry")
    made.add_argument("--summary", action="store_true", help="figures and findings instead of entries")
    made.add_argument(
        "--maxlen",
        type=int,
        default=65507,
        metavar="BYTES",
        help="judge as a backup with this sync_maxlen: longer messages are lost to it",
    )
    made.add_argument(
        "--jobs",
        type=int,
        default=0,
        metavar="N",
        help="processes for large files (default: one a processor)",
    )
    add_port_option(made)
    add_filter_options(made, of_messages=True)
    return made


def main(argv: list[str]) -> int:
    options = parser().parse_args(argv)
    out = sys.stdout.buffer
    if not options.json and not options.summary:
        out.write(TextLines.heading.encode() + b"\n")
    total = Outcome()
    inspector = Inspector(receiver=Receiver(maxlen=options.maxlen)) if options.summary else None
    status = 0
    for name in options.files:
        try:
            total += read_input(name, options, out, inspector)
        except BrokenPipeError:
            raise
        except OSError as error:
            print(f"{PROG}: {error.filename or name}: {error.strerror}", file=sys.stderr)
            return 2
        except CaptureError as error:
            print(f"{PROG}: {name}: {error}", file=sys.stderr)
            status = 1
    if inspector is not None:
        out.write((report_json if options.json else report)(inspector).encode())
    out.flush()
    if total.cut_messages:
        print(f"{PROG}: {total.cut_messages} messages are cut: capture with tcpdump -s 0", file=sys.stderr)
    if not total.messages and not status:
        print(f"{PROG}: {nothing_found(options)}", file=sys.stderr)
    return 1 if status or total.lost or not total.messages else 0


def read_input(name: str, options: argparse.Namespace, out: BinaryIO, inspector: Inspector | None) -> Outcome:
    """One input; its messages go to ``inspector`` if there is one, else to ``out``.

    Raises:
        CaptureError: it is no capture, or it is damaged.
        OSError: it cannot be read.
    """
    path = Path(name)
    if name != "-" and not path.exists() and _is_hex(name):
        decoder = Decoder(options, out, inspector)
        decoder.take(bytes.fromhex(name), 0, "-", 0)
        return decoder.outcome
    if inspector is None and name != "-" and worth_mapping(path):
        outcome = decode_parts(path, options, out)
        _tell_of_cut(name, outcome.is_cut)
        return outcome
    decoder = Decoder(options, out, inspector)
    with open_input(None if name == "-" else path) as file:
        head = file.peek(64)[:64]  # type: ignore[attr-defined]  # it has one
        if not is_capture(head) and head and (head[:1] == b"#" or not set(head) - _HEX - set(b" \t\r\n:#")):
            for number, payload in enumerate(_hex_messages(file)):
                decoder.take(payload, number, "-", 0)
            return decoder.outcome
        capture = CaptureFile(file)
        size = path.stat().st_size if name != "-" else 0
        with Progress(sys.stderr, size) as progress:
            for count, frame in enumerate(capture):
                decoder.read(frame)
                if not count & 0x3FF:
                    progress.show(capture.bytes_read, f"{decoder.outcome.messages:,} messages")
    _tell_of_cut(name, capture.is_cut)
    return decoder.outcome


def _tell_of_cut(name: str, is_cut: bool) -> None:
    if is_cut:
        print(f"{PROG}: {name} ends in the middle of a record", file=sys.stderr)


def _is_hex(text: str) -> bool:
    """A message typed or pasted where a file's name could be."""
    return len(text) >= 8 and len(text) % 2 == 0 and not set(text.encode()) - _HEX


def _hex_messages(file: BinaryIO) -> Iterator[bytes]:
    """One message a line; ``#`` begins a comment.

    Raises:
        CaptureError: a line that is no hex.
    """
    for number, line in enumerate(file, start=1):
        text = line.decode("ascii", "replace").partition("#")[0].replace(":", "")
        if text.strip():
            try:
                yield bytes.fromhex(text)
            except ValueError as error:
                raise CaptureError(f"line {number} is no message in hex: {error}") from None
