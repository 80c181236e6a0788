"""``lvsha sync decode``: what a capture's sync messages say."""

import argparse
import io
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, TextIO

from lvsha.cli.sync_format import JsonLines, Origin, TextLines, address_text
from lvsha.cli.sync_options import (
    add_filter_options,
    add_port_option,
    entry_test,
    is_sync_destination,
    wanted_ports,
)
from lvsha.cli.sync_report import report, report_json
from lvsha.core.errors import DecodeError
from lvsha.core.instant import Instant
from lvsha.io.capture import READ_AHEAD, CaptureError, CaptureFile, is_capture, plain
from lvsha.sync.inspect import Inspector
from lvsha.wire.datagram import DatagramReader
from lvsha.wire.ipvs_sync.message import decode_message, is_plain_v1
from lvsha.wire.ipvs_sync.receiver import Receiver
from lvsha.wire.ipvs_sync.records import Loses, Problem, SyncMessage
from lvsha.wire.ipvs_sync.v1 import uniform_stride

PROG = "lvsha sync decode"
PROGRESS_INTERVAL_S = 0.5
_HEX = frozenset(b"0123456789abcdefABCDEF \t\r\n#:")


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog=PROG,
        description="Show every entry of the sync messages in captures, and what is wrong with them. "
        "Reads pcap and pcapng (gzip too), or lines of hex, one message each. No root needed.",
        epilog="examples:\n"
        "  tcpdump -ni eth1 -w sync.pcap udp port 8848     and then\n"
        "  lvsha sync decode sync.pcap --vip 10.0.0.10:80 --state ESTABLISHED\n"
        "  lvsha sync decode sync.pcap --json | jq -c 'select(.error)'\n"
        "  ssh lb1 tcpdump -ni eth1 -w - udp port 8848 | lvsha sync decode -\n"
        "exit status: 0 all is well, 1 something is not installed by a receiver, 2 wrong usage",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("files", nargs="+", metavar="FILE", help="a capture; - for standard input")
    made.add_argument("--json", action="store_true", help="one JSON object a line for each entry")
    made.add_argument("--summary", action="store_true", help="figures and findings instead of entries")
    made.add_argument(
        "--maxlen",
        type=int,
        default=65507,
        metavar="BYTES",
        help="judge as a backup with this sync_maxlen: longer messages are lost to it",
    )
    add_port_option(made)
    add_filter_options(made)
    return made


def main(argv: list[str]) -> int:
    options = parser().parse_args(argv)
    decoder = Decoder(options, sys.stdout)
    try:
        for name in options.files:
            with open_input(name) as file:
                decoder.read(file, _size(name))
    except BrokenPipeError:
        raise
    except OSError as error:
        print(f"{PROG}: {error.filename or name}: {error.strerror}", file=sys.stderr)
        return 2
    except CaptureError as error:
        decoder.finish()
        print(f"{PROG}: {name}: {error}", file=sys.stderr)
        return 1
    return decoder.finish()


def open_input(name: str) -> BinaryIO:
    """A file by name, buffered; ``-`` is standard input."""
    if name == "-":
        return plain(sys.stdin.buffer)
    return plain(Path(name).open("rb", buffering=READ_AHEAD))


def _size(name: str) -> int:
    try:
        return Path(name).stat().st_size
    except OSError:
        return 0


class Decoder:
    """Reads inputs one after the other and writes what they say."""

    def __init__(self, options: argparse.Namespace, out: TextIO) -> None:
        self._options = options
        self._out = out
        self._receiver = Receiver(maxlen=options.maxlen)
        self._reader = DatagramReader(wanted_ports(options))
        self._test = entry_test(options)
        self._format: JsonLines | TextLines = JsonLines() if options.json else TextLines()
        self._inspector = Inspector(receiver=self._receiver) if options.summary else None
        self._quick = options.json and not (options.errors or self._test or options.syncid is not None)
        self._progress = Progress(sys.stderr)
        self._messages = self._lost = 0
        if not options.json and not options.summary:
            out.write(TextLines.heading + "\n")

    def read(self, file: BinaryIO, size: int) -> None:
        """One input.

        Raises:
            CaptureError: it is none, or it is damaged.
        """
        head = _peek(file)
        if not is_capture(head) and head and not set(head) - _HEX:
            for number, payload in enumerate(_hex_messages(file)):
                self._take(payload, number, "-", 0)
            return
        capture = CaptureFile(file)
        decode, options = self._reader.read, self._options
        for count, (time_ns, link, data, length) in enumerate(capture):
            datagram = decode(link, data)
            if datagram is not None and is_sync_destination(options, datagram.destination, datagram.port):
                source = address_text(datagram.source)
                self._take(
                    datagram.payload,
                    time_ns,
                    source,
                    datagram.port,
                    is_cut=datagram.is_cut or length > len(data),
                )
            if not count & 0x3FF:
                self._progress.show(capture.bytes_read, size, self._messages)
        self._progress.clear()
        if capture.is_cut:
            print(f"{PROG}: the capture ends in the middle of a record", file=sys.stderr)

    def finish(self) -> int:
        """Write what is left; the exit status."""
        self._progress.clear()
        if self._inspector is not None:
            write = report_json if self._options.json else report
            self._out.write(write(self._inspector))
        if not self._messages:
            ports = sorted(wanted_ports(self._options))
            span = f"{ports[0]}-{ports[-1]}" if len(ports) > 1 else str(ports[0])
            print(f"{PROG}: no sync message found (UDP ports {span}); --port names others", file=sys.stderr)
        self._out.flush()
        return 1 if self._lost or not self._messages else 0

    def _take(self, payload: bytes, time_ns: int, source: str, port: int, *, is_cut: bool = False) -> None:
        self._messages += 1
        if self._inspector is not None:
            message, _ = self._inspector.observe(payload, source=source, port=port, now=Instant(time_ns))
            self._lost += message is None or bool(message.problems)
            return
        if self._quick and self._take_uniform(payload, time_ns, source, port):
            return
        try:
            message = decode_message(payload, self._receiver)
        except DecodeError as error:
            origin = Origin(time_ns=time_ns, source=source, port=port, version=0, syncid=0)
            problem = Problem(reason=error.reason, loses=Loses.MESSAGE, offset=0, detail=error.detail)
            self._lost += 1
            if self._test is None and self._options.syncid is None:
                self._out.write(self._format.problem(origin, problem))
            return
        if self._options.syncid is not None and message.syncid != self._options.syncid:
            return
        origin = Origin(
            time_ns=time_ns, source=source, port=port, version=message.version, syncid=message.syncid
        )
        self._write(message, origin)
        if is_cut:
            print(f"{PROG}: a message from {source} is cut: capture with tcpdump -s 0", file=sys.stderr)

    def _take_uniform(self, payload: bytes, time_ns: int, source: str, port: int) -> bool:
        """The short way from a sound message to JSON; False if this one has to go the long way."""
        assert isinstance(self._format, JsonLines), "the short way leads to JSON"
        if not is_plain_v1(payload, self._receiver):
            return False
        stride = uniform_stride(payload, self._receiver)
        if not stride:
            return False
        origin = Origin(time_ns=time_ns, source=source, port=port, version=1, syncid=payload[1])
        self._out.write(self._format.uniform(origin, payload, stride))
        return True

    def _write(self, message: SyncMessage, origin: Origin) -> None:
        test = self._test
        if not self._options.errors:
            entries = message.entries if test is None else filter(test, message.entries)
            self._out.write(self._format.entries(origin, entries))
        for problem in message.problems:
            self._lost += problem.loses is not Loses.NOTHING
            if test is None or (problem.conn is not None and test(problem.conn)):
                self._out.write(self._format.problem(origin, problem))


def _peek(file: BinaryIO) -> bytes:
    peek = getattr(file, "peek", None)
    assert peek is not None, "inputs are buffered"
    head: bytes = peek(64)[:64]
    return head


def _hex_messages(file: BinaryIO) -> Iterator[bytes]:
    """One message a line; ``#`` begins a comment.

    Raises:
        CaptureError: a line that is no hex.
    """
    for number, line in enumerate(io.TextIOWrapper(file, encoding="ascii", errors="replace"), start=1):
        text = line.partition("#")[0].replace(":", "")
        if text.strip():
            try:
                yield bytes.fromhex(text)
            except ValueError as error:
                raise CaptureError(f"line {number} is no message in hex: {error}") from None


class Progress:
    """A line on standard error that says how far we are; silent where nobody looks."""

    def __init__(self, out: TextIO) -> None:
        self._out = out if out.isatty() else None
        self._next = 0.0
        self._shown = False

    def show(self, done: int, total: int, messages: int) -> None:
        if self._out is None or (now := time.monotonic()) < self._next:
            return
        self._next = now + PROGRESS_INTERVAL_S
        share = f"{min(100, 100 * done // total)} % of " if total else ""
        self._out.write(f"\r\x1b[K{share}{max(done, total) / 1e6:,.0f} MB, {messages:,} messages")
        self._out.flush()
        self._shown = True

    def clear(self) -> None:
        if self._out is not None and self._shown:
            self._out.write("\r\x1b[K")
            self._shown = False
