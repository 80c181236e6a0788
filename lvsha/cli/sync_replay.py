"""``lvsha sync replay``: a capture's entries into this kernel."""

import argparse
import json
import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from lvsha.cli.parser import Parser
from lvsha.cli.sync_live import (
    Refused,
    add_interface_option,
    complain,
    complain_of_cut,
    own_daemons,
    positive,
)
from lvsha.cli.sync_options import (
    EntryTest,
    add_filter_options,
    add_port_option,
    entry_test,
    is_sync_destination,
    wanted_ports,
)
from lvsha.core.errors import DecodeError, KernelError
from lvsha.io.capture import CaptureError, CaptureFile, open_input
from lvsha.io.sync_socket import Delivery, SyncInjector
from lvsha.ipvs.model import Daemon, DaemonRole
from lvsha.wire.datagram import DatagramReader
from lvsha.wire.ipvs_sync.message import decode_message, encode_messages
from lvsha.wire.ipvs_sync.receiver import Receiver

PROG = "lvsha sync replay"
IN_GUEST = "LVSHA_IN_GUEST"
"""Set in the lab's guests, where nothing can be broken that anybody needs."""
RATE_STEP_S = 0.05


def parser() -> argparse.ArgumentParser:
    made = Parser(
        prog=PROG,
        description="Send a capture's sync messages to the backup daemon of this network namespace's kernel, "
        "which makes rows of them: connections that are not there, states that are over. Never on a director "
        "that serves; so outside the lab it wants --yes. Nothing leaves the machine (TTL 0).",
        epilog="examples:\n"
        "  lvsha lab exec --bare -- sh -c 'ip link add s0 type dummy; ip link set s0 up; "
        "ipvsadm --start-daemon backup --mcast-interface s0; lvsha sync replay sync.pcap; ipvsadm -Lnc'\n"
        "  ip netns exec test lvsha sync replay sync.pcap --syncid 7 --rate 1000 --yes\n"
        "exit status: 0 all were taken, 1 refused, or some were not, 2 wrong usage",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("files", nargs="+", metavar="FILE", help="captures; - for standard input")
    add_interface_option(made)
    made.add_argument("--yes", action="store_true", help="yes, into this kernel although it is not the lab's")
    made.add_argument(
        "--rate",
        type=positive,
        metavar="N",
        help="entries a second (default: as fast as the kernel takes them)",
    )
    made.add_argument(
        "--syncid",
        type=int,
        choices=range(256),
        metavar="N",
        help="send under this syncid (default: as captured)",
    )
    made.add_argument("--dry-run", action="store_true", help="say what would be sent")
    made.add_argument("--json", action="store_true", help="the outcome as a JSON object")
    add_port_option(made)
    add_filter_options(made, syncid="--only-syncid")
    return made


@dataclass(slots=True)
class Sent:
    """What there was to send."""

    messages: int = 0
    entries: int = 0
    too_long: int = 0
    other_syncid: int = 0


def main(argv: list[str]) -> int:
    options = parser().parse_args(argv)
    if not (options.yes or options.dry_run or os.environ.get(IN_GUEST)):
        complain(
            PROG,
            "this is not the lab: rows of a capture in a kernel that serves break connections; "
            "say --yes if this namespace may be filled, or see --dry-run",
        )
        return 1
    sent = Sent()
    name = ""
    try:
        daemon = _backup(options)
        delivery = Delivery()
        messages = _messages(options, daemon, sent)
        if options.dry_run:
            for _ in messages:
                pass
        else:
            with SyncInjector(daemon.interface, group=daemon.group, port=daemon.port or 8848) as injector:
                delivery = _deliver(injector, messages, options.rate, sent)
    except (Refused, KernelError, CaptureError) as error:
        complain(PROG, error)
        return 1
    except OSError as error:
        complain(PROG, f"{error.filename or name}: {error.strerror}")
        return 2
    lost = delivery.dropped + delivery.unconfirmed + sent.too_long
    _report(options, sent, delivery, daemon)
    return 1 if lost or sent.other_syncid or not sent.messages else 0


def _backup(options: argparse.Namespace) -> Daemon:
    """The daemon that is to take the messages.

    Raises:
        Refused: none runs where it is needed.
    """
    backups = [daemon for daemon in own_daemons() if daemon.role is DaemonRole.BACKUP]
    if not backups:
        raise Refused(
            "no backup daemon runs in this namespace: "
            "ipvsadm --start-daemon backup --mcast-interface IFACE --syncid N"
        )
    if options.interface not in (None, backups[0].interface):
        raise Refused(f"the backup daemon listens on {backups[0].interface}, not on {options.interface}")
    return backups[0]


def _messages(options: argparse.Namespace, daemon: Daemon, sent: Sent) -> Iterator[bytes]:
    """What to send, counted."""
    test = entry_test(options)
    for payload in _captured(options):
        if options.only_syncid is not None and payload[1:2] != bytes((options.only_syncid,)):
            continue
        for message in [payload] if test is None else _filtered(payload, test):
            if options.syncid is not None:
                message = message[:1] + bytes((options.syncid,)) + message[2:]
            if daemon.maxlen and len(message) > daemon.maxlen:
                sent.too_long += 1
                continue
            if daemon.syncid and message[1] != daemon.syncid:
                sent.other_syncid += 1
                continue
            sent.messages += 1
            sent.entries += len(_entries(message))
            yield message


def _captured(options: argparse.Namespace) -> Iterator[bytes]:
    for name in options.files:
        datagrams = DatagramReader(wanted_ports(options))
        with open_input(None if name == "-" else Path(name)) as file:
            capture = CaptureFile(file)
            for frame in capture:
                datagram = datagrams.read(frame.link, frame.data)
                if datagram is not None and is_sync_destination(options, datagram.destination, datagram.port):
                    yield datagram.payload
        complain_of_cut(PROG, name, capture)


def _entries(message: bytes) -> tuple[object, ...]:
    try:
        return decode_message(message).entries
    except DecodeError:
        return ()


def _filtered(payload: bytes, test: EntryTest) -> Iterable[bytes]:
    """The message with the entries that are wanted alone: encoded anew, if there are any."""
    try:
        message = decode_message(payload, Receiver())
    except DecodeError:
        return ()
    wanted = [conn for conn in message.entries if test(conn)]
    version = 0 if message.version == 0 else 1
    return encode_messages(message.syncid, wanted, version=version, maxlen=65507)  # type: ignore[arg-type]  # 0 or 1


def _deliver(injector: SyncInjector, messages: Iterator[bytes], rate: float | None, sent: Sent) -> Delivery:
    """All of them; at ``rate``, in steps of a twentieth of a second."""
    if rate is None:
        return injector.deliver(messages)
    total = Delivery()
    start = time.monotonic()
    while True:
        until = (time.monotonic() - start + RATE_STEP_S) * rate
        step: list[bytes] = []
        while sent.entries < until and (message := next(messages, None)) is not None:
            step.append(message)
        if not step and sent.entries < until:
            return total
        part = injector.deliver(step)
        total.sent += part.sent
        total.dropped += part.dropped
        total.unconfirmed += part.unconfirmed
        time.sleep(max(0.0, sent.entries / rate - (time.monotonic() - start)))


def _report(options: argparse.Namespace, sent: Sent, delivery: Delivery, daemon: Daemon) -> None:
    if options.json:
        figures = {
            "messages": sent.messages,
            "entries": sent.entries,
            "sent": delivery.sent,
            "dropped": delivery.dropped,
            "unconfirmed": delivery.unconfirmed,
            "too_long": sent.too_long,
            "other_syncid": sent.other_syncid,
            "interface": daemon.interface,
        }
        print(json.dumps(figures))
    else:
        done = "would be sent" if options.dry_run else "sent"
        print(f"{sent.messages:,} messages, {sent.entries:,} entries {done} on {daemon.interface}")
    if sent.other_syncid:
        complain(
            PROG,
            f"{sent.other_syncid:,} messages have another syncid than the daemon here, {daemon.syncid}: "
            f"--syncid {daemon.syncid} sends them under it",
        )
    if sent.too_long:
        complain(
            PROG,
            f"{sent.too_long:,} messages are longer than the daemon's sync_maxlen, {daemon.maxlen}: "
            "start it anew with a larger one",
        )
    if delivery.dropped:
        complain(PROG, f"{delivery.dropped:,} were dropped: raise net.ipv4.vs.sync_sock_size, or use --rate")
    if delivery.unconfirmed:
        complain(PROG, f"of {delivery.unconfirmed:,} nobody knows whether they arrived")
    if not sent.messages and not sent.other_syncid and not sent.too_long:
        complain(PROG, "nothing in there is to be sent")
