"""``lvsha sync watch``: what passes on a sync network, as it passes."""

import argparse
import contextlib
import json
import sys
import time
from pathlib import Path
from typing import Any, TextIO

from lvsha.cli.parser import Parser
from lvsha.cli.sync_live import (
    LOOK_INTERVAL_S,
    Heard,
    Listener,
    Place,
    Refused,
    add_duration_option,
    add_interface_option,
    complain,
    find_place,
    listen,
    positive,
)
from lvsha.cli.sync_options import add_port_option
from lvsha.cli.sync_report import Meter, figures, page
from lvsha.core.errors import KernelError
from lvsha.core.instant import Instant, seconds
from lvsha.io.capture import CaptureWriter
from lvsha.sync.inspect import Inspector
from lvsha.sync.receive_queue import ReceiveQueue

PROG = "lvsha sync watch"
CLEAR = "\x1b[H\x1b[2J\x1b[3J"


def parser() -> argparse.ArgumentParser:
    made = Parser(
        prog=PROG,
        description="Watch the sync messages on an interface, this director's own included: rates by syncid, "
        "sender and service, state changes, top talkers, and what is wrong: silence, two masters, alien "
        "syncids, messages too long for the backup here, malformed ones, full queues.",
        epilog="examples:\n"
        "  lvsha sync watch                         on this director's own sync daemon\n"
        "  lvsha sync watch -i eth1 --duration 60 --json | jq .findings\n"
        "exit status: 0 all was well, 1 something was found, 2 wrong usage",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_interface_option(made)
    add_port_option(made)
    add_duration_option(made, "until Ctrl-C")
    made.add_argument(
        "--interval", type=positive, default=1.0, metavar="S", help="seconds between two screens (1)"
    )
    made.add_argument("--json", action="store_true", help="one JSON object a line at each interval")
    made.add_argument("--pcap", type=Path, metavar="OUT", help="write the messages to a capture too")
    made.add_argument(
        "--syncid",
        type=int,
        action="append",
        metavar="N",
        help="ours, any other is a finding; may be repeated (default: the backup daemon's)",
    )
    made.add_argument("--maxlen", type=int, metavar="BYTES", help="judge as a backup with this sync_maxlen")
    made.add_argument(
        "--silence",
        type=positive,
        default=60.0,
        metavar="S",
        help="a sender that is silent for so long is a finding (60)",
    )
    return made


def main(argv: list[str]) -> int:
    options = parser().parse_args(argv)
    with contextlib.ExitStack() as stack:
        try:
            place = find_place(options)
            listener = stack.enter_context(Listener(options, place.interface))
            pcap = (
                CaptureWriter(stack.enter_context(options.pcap.open("wb")), link=listener.link)
                if options.pcap
                else None
            )
            watch = Watch(options, place, listener, pcap, sys.stdout)
            listen(
                listener, options.duration, watch.on_message, watch.on_tick, interval_s=watch.look_interval_s
            )
        except (Refused, KernelError) as error:
            complain(PROG, error)
            return 1
        except OSError as error:
            complain(PROG, f"{error.filename}: {error.strerror}")
            return 2
        watch.close()
    return 1 if watch.inspector.findings else 0


class Watch:
    """Counts what comes and shows it at each interval."""

    def __init__(
        self,
        options: argparse.Namespace,
        place: Place,
        listener: Listener,
        pcap: CaptureWriter | None,
        out: TextIO,
    ) -> None:
        self._options = options
        self._place = place
        self._listener = listener
        self._pcap = pcap
        self._out = out
        receiver = place.receiver
        if options.maxlen:
            receiver = type(receiver)(syncid=receiver.syncid, maxlen=options.maxlen)
        ours = options.syncid or ([receiver.syncid] if receiver.syncid else [])
        self.inspector = Inspector(
            receiver=receiver, syncids=frozenset(ours), silence=seconds(options.silence)
        )
        self.queue = ReceiveQueue()
        started = Instant(time.time_ns())
        self._meter, self._whole_time = Meter(started), Meter(started)
        self._next_screen = 0
        self._next_look = 0
        self.look_interval_s = min(LOOK_INTERVAL_S, options.interval) if place.backup else options.interval
        self._look(started)

    def on_message(self, heard: Heard) -> None:
        now = Instant(heard.time_ns)
        self.inspector.observe(heard.payload, source=heard.source, port=heard.port, now=now)
        self.queue.heard(now)
        if self._pcap is not None:
            self._pcap.write(heard.time_ns, heard.frame.data)

    def on_tick(self, now: Instant) -> None:
        if self.queue.is_waiting:
            self._look(now)
        if now >= self._next_screen:
            self._next_screen = now + seconds(self._options.interval) - seconds(self.look_interval_s) // 2
            self._look(now)
            self.show(now)

    def show(self, now: Instant) -> None:
        self.inspector.check_silence(now)
        self.inspector.check_queue(self.queue.drops, now)
        data = self.figures(now)
        if self._options.json:
            self._out.write(json.dumps(data) + "\n")
        else:
            clear = CLEAR if self._out.isatty() else ""
            title = f"{self._place.interface}  {time.strftime('%H:%M:%S', time.gmtime(now // 10**9))} UTC"
            self._out.write(f"{clear}{title}  {page(data)}{self._daemon_line(data['daemon'])}\n")
        self._out.flush()
        if self._pcap is not None:
            self._pcap.flush()

    def figures(self, now: Instant) -> dict[str, Any]:
        """Everything, as ``--json`` shows it."""
        data = figures(self.inspector, now, self._meter)
        data["interface"] = self._place.interface
        data["capture_dropped"] = self._listener.dropped()
        daemon = self._place.backup
        data["daemon"] = daemon and {
            "syncid": daemon.syncid,
            "maxlen": daemon.maxlen,
            "group": str(daemon.group),
            "port": daemon.port,
            "queue_bytes": self.queue.bytes,
            "drops": self.queue.drops,
            "lag_ms": None if self.queue.lag is None else round(self.queue.lag / 1e6, 3),
            "worst_lag_ms": round(self.queue.worst_lag / 1e6, 3),
        }
        return data

    def close(self) -> None:
        """The last screen: its rates are those of the whole time."""
        self._meter = self._whole_time
        self._look(Instant(time.time_ns()))
        self.show(Instant(time.time_ns()))

    def _look(self, now: Instant) -> None:
        rows = self._place.queue()
        if rows:
            self.queue.sampled(
                queued=sum(row.rx_queue for row in rows), drops=sum(row.drops for row in rows), now=now
            )

    def _daemon_line(self, daemon: dict[str, Any] | None) -> str:
        if daemon is None:
            return ""
        lag = "unknown" if daemon["lag_ms"] is None else f"at most {daemon['lag_ms']:.1f} ms"
        return (
            f"\nBACKUP DAEMON HERE  syncid {daemon['syncid']}, maxlen {daemon['maxlen']:,}: "
            f"{daemon['queue_bytes']:,} bytes wait, {daemon['drops']:,} messages dropped, "
            f"wire to table {lag} (worst {daemon['worst_lag_ms']:.1f} ms)\n"
        )
