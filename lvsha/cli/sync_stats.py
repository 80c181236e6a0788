"""``lvsha sync stats``: counters of sync traffic in Prometheus' text format."""

import argparse
import contextlib
import os
import socket
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

from lvsha.cli import sync_decode
from lvsha.cli.parser import Parser
from lvsha.cli.sync_decoder import Decoder
from lvsha.cli.sync_live import (
    Heard,
    Listener,
    Place,
    Refused,
    add_duration_option,
    add_interface_option,
    complain,
    complain_of_cut,
    find_place,
    listen,
    positive,
)
from lvsha.cli.sync_options import add_port_option, nothing_found
from lvsha.cli.sync_report import service_text
from lvsha.core.addr import parse_endpoint
from lvsha.core.errors import KernelError
from lvsha.core.instant import SECOND, Instant
from lvsha.io.capture import CaptureError, CaptureFile, open_input
from lvsha.sync.inspect import Inspector
from lvsha.wire.ipvs_sync.names import protocol_name, state_name

PROG = "lvsha sync stats"
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
DEFAULT_DURATION_S = 10.0

Sample = tuple[dict[str, object], float]
"""Labels and a value."""


def parser() -> argparse.ArgumentParser:
    made = Parser(
        prog=PROG,
        description="Count sync traffic for Prometheus, from captures or live: once, as a page that "
        "Prometheus asks for, or into a file for node_exporter's textfile collector. Counters begin when "
        "this command does. No agent is needed.",
        epilog="examples:\n"
        "  lvsha sync stats sync.pcap\n"
        "  lvsha sync stats -i eth1 --listen 127.0.0.1:9848\n"
        "  lvsha sync stats --textfile /var/lib/prometheus/node-exporter/lvsha_sync.prom\n"
        "exit status: 0 counted, 1 refused, 2 wrong usage",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("files", nargs="*", metavar="FILE", help="captures; - for standard input")
    add_interface_option(made)
    add_port_option(made)
    add_duration_option(made, f"{DEFAULT_DURATION_S:.0f}, with --listen or --textfile until Ctrl-C")
    made.add_argument("--listen", metavar="ADDR:PORT", help="answer http://ADDR:PORT/metrics")
    made.add_argument("--textfile", type=Path, metavar="FILE", help="write there at each --interval")
    made.add_argument("--interval", type=positive, default=10.0, metavar="S", help="of --textfile (10)")
    return made


def main(argv: list[str]) -> int:
    options = parser().parse_args(argv)
    if options.files and (options.listen or options.textfile or options.interface):
        complain(PROG, "captures are counted once: leave --listen, --textfile and -i away, or the files")
        return 2
    try:
        if options.files:
            sys.stdout.write(_count_files(options))
        else:
            _count_live(options)
    except (Refused, KernelError, CaptureError) as error:
        complain(PROG, error)
        return 1
    except OSError as error:
        complain(PROG, f"{error.filename or options.listen}: {error.strerror}")
        return 2
    return 0


def _count_files(options: argparse.Namespace) -> str:
    inspector = Inspector()
    for name in options.files:
        decoder = Decoder(_decode_options(options), sys.stdout.buffer, inspector)
        with open_input(None if name == "-" else Path(name)) as file:
            capture = CaptureFile(file)
            for frame in capture:
                decoder.read(frame)
        complain_of_cut(PROG, name, capture)
        if not decoder.outcome.messages:
            complain(PROG, f"{name}: {nothing_found(options)}")
    return exposition(inspector)


def _decode_options(options: argparse.Namespace) -> argparse.Namespace:
    made = sync_decode.parser().parse_args(["-"])
    made.port = options.port
    return made


def _count_live(options: argparse.Namespace) -> None:
    endless = options.listen or options.textfile
    duration = options.duration or (None if endless else DEFAULT_DURATION_S)
    place = find_place(options)
    inspector = Inspector(receiver=place.receiver)
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(Listener(options, place.interface))

        def text() -> str:
            return exposition(inspector, listener.dropped(), place)

        def write(_: Instant) -> None:
            if options.textfile:
                _replace(options.textfile, text())

        def take(heard: Heard) -> None:
            now = Instant(heard.time_ns)
            inspector.observe(heard.payload, source=heard.source, port=heard.port, now=now)

        server = stack.enter_context(_server(options.listen, text)) if options.listen else None
        listen(listener, duration, take, write, interval_s=options.interval, server=server)
        write(Instant(0))
        if not endless:
            sys.stdout.write(text())


def _server(endpoint: str, text: Callable[[], str]) -> HTTPServer:
    """Answers GET /metrics. One request at a time, each for a second at most."""

    class Handler(BaseHTTPRequestHandler):
        timeout = 1.0

        def do_GET(self) -> None:
            if self.path.partition("?")[0] != "/metrics":
                self.send_error(404, "it is at /metrics")
                return
            body = text().encode()
            self.send_response(200)
            self.send_header("Content-Type", CONTENT_TYPE)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Nothing: a scrape is no event."""

    try:
        address, port = parse_endpoint(endpoint)
    except ValueError as error:
        raise Refused(f"--listen {endpoint}: {error}") from None

    class Server(HTTPServer):
        address_family = socket.AF_INET if address.version == 4 else socket.AF_INET6

        def handle_error(self, request: object, client_address: object) -> None:
            """Nothing: the asker has gone."""

    return Server((str(address), port), Handler)


def _replace(path: Path, text: str) -> None:
    """In one step, so that the collector never reads half a page."""
    written = path.with_name(f".{path.name}.{os.getpid()}")
    written.write_text(text)
    written.replace(path)


def exposition(inspector: Inspector, capture_dropped: int | None = None, place: Place | None = None) -> str:
    """Counters and gauges, one page."""
    page = _Page()
    by_sender = [
        ({"syncid": sender.syncid, "source": sender.source}, sender) for sender in inspector.senders.values()
    ]
    for name, text, field in (
        ("messages", "Sync messages", "messages"),
        ("entries", "Connection entries that a backup installs", "entries"),
        ("lost_entries", "Entries that a backup does not install", "lost_entries"),
        ("bytes", "UDP payload", "bytes"),
    ):
        page.add(
            f"{name}_total",
            "counter",
            text,
            [(labels, getattr(sender, field)) for labels, sender in by_sender],
        )
    page.add(
        "last_message_timestamp_seconds",
        "gauge",
        "When a sender was heard last",
        [(labels, sender.last / SECOND) for labels, sender in by_sender],
    )
    services = sorted(inspector.services.items())
    page.add(
        "service_entries_total",
        "counter",
        "Entries about a service, by state",
        [
            ({"service": service_text(service), "state": state_name(service[0], state)}, count)
            for service, figures in services
            for state, count in sorted(figures.states.items())
        ],
    )
    page.add(
        "service_templates_total",
        "counter",
        "Persistence templates of a service",
        [({"service": service_text(service)}, figures.templates) for service, figures in services],
    )
    page.add(
        "state_changes_total",
        "counter",
        "State changes of connections",
        [
            (
                {
                    "protocol": protocol_name(protocol),
                    "from": state_name(protocol, before),
                    "to": state_name(protocol, after),
                },
                count,
            )
            for (protocol, before, after), count in sorted(inspector.transitions.items())
        ],
    )
    page.add(
        "problems_total",
        "counter",
        "What was wrong with messages and entries, by reason",
        [({"reason": str(reason)}, count) for reason, count in sorted(inspector.problems.items())],
    )
    kinds = Counter(str(finding.kind) for finding in inspector.findings)
    page.add(
        "findings_total",
        "counter",
        "What an operator should act on, by kind",
        [({"kind": kind}, count) for kind, count in sorted(kinds.items())],
    )
    if capture_dropped is not None:
        page.add(
            "capture_dropped_total", "counter", "Frames that came too fast to count", [({}, capture_dropped)]
        )
    if place is not None and place.backup is not None:
        rows = place.queue()
        page.add(
            "daemon_queue_bytes",
            "gauge",
            "What waits in the backup daemon's sockets",
            [({}, sum(row.rx_queue for row in rows))],
        )
        page.add(
            "daemon_drops_total",
            "counter",
            "Messages that the backup daemon's sockets dropped since they were opened",
            [({}, sum(row.drops for row in rows))],
        )
    return page.text()


class _Page:
    """Families of samples, as Prometheus reads them."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def add(self, name: str, kind: str, text: str, samples: Sequence[Sample]) -> None:
        """A family; none if it has no samples."""
        if not samples:
            return
        full = f"lvsha_sync_{name}"
        self._lines += [f"# HELP {full} {text}", f"# TYPE {full} {kind}"]
        for labels, value in samples:
            inside = ",".join(f'{label}="{_escaped(each)}"' for label, each in labels.items())
            self._lines.append(f"{full}{{{inside}}} {value}" if inside else f"{full} {value}")

    def text(self) -> str:
        return "\n".join(self._lines) + "\n"


def _escaped(value: object) -> str:
    return str(value).replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
