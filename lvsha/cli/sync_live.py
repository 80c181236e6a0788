"""What the live commands of ``lvsha sync`` share: where to listen, and listening."""

import argparse
import select
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from http.server import HTTPServer
from typing import Final, Protocol

from lvsha.cli.interrupt import until_stopped
from lvsha.cli.sync_format import address_text
from lvsha.cli.sync_options import is_sync_destination, wanted_ports
from lvsha.core.errors import KernelError, LvshaError
from lvsha.core.instant import Instant
from lvsha.io.capture import CaptureFile, Frame
from lvsha.io.ipvs_genl import IpvsSocket
from lvsha.io.packet_socket import PacketSocket
from lvsha.io.procfs import UdpSocketRow, udp_sockets
from lvsha.ipvs.model import Daemon, DaemonRole
from lvsha.wire.datagram import DatagramReader
from lvsha.wire.ipvs_sync.receiver import Receiver

LOOK_INTERVAL_S: Final = 0.1
"""How often the queue of the kernel's daemon is looked at while it may hold something."""


class HasFileno(Protocol):
    """What ``select`` takes."""

    def fileno(self) -> int: ...


class Refused(LvshaError):
    """A command cannot do what it is asked to; the text says what to do."""


def add_interface_option(parser: argparse.ArgumentParser) -> None:
    """``-i``."""
    parser.add_argument(
        "-i",
        "--interface",
        metavar="IFACE",
        help="where the sync messages pass (default: the interface of this director's own sync daemon)",
    )


def positive(text: str) -> float:
    """A number above 0, for argparse."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1e9:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return value


def add_duration_option(parser: argparse.ArgumentParser, default: str) -> None:
    """``--duration``."""
    parser.add_argument(
        "--duration", type=positive, metavar="S", help=f"listen so many seconds (default: {default})"
    )


def own_daemons() -> list[Daemon]:
    """The kernel's sync daemons here; none if it cannot be asked."""
    try:
        with IpvsSocket() as ipvs:
            return ipvs.daemons()
    except KernelError:
        return []


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where to listen, and what is known of the backup daemon there."""

    interface: str
    backup: Daemon | None

    @property
    def receiver(self) -> Receiver:
        """The backup that losses are judged by."""
        if self.backup is None:
            return Receiver()
        return Receiver(syncid=self.backup.syncid, maxlen=self.backup.maxlen or 65507)

    def queue(self) -> list[UdpSocketRow]:
        """The sockets of the backup daemon; a kernel has as many as ``sync_ports`` says."""
        if self.backup is None:
            return []
        first = self.backup.port or 8848
        return [
            row
            for row in udp_sockets()
            if row.address == self.backup.group and first <= row.port < first + 64
        ]


def find_place(options: argparse.Namespace) -> Place:
    """From ``-i`` or from the kernel's daemons.

    Raises:
        Refused: neither says.
    """
    daemons = own_daemons()
    if options.interface is None and not daemons:
        raise Refused("no sync daemon runs here, or we may not ask (root): name the interface with -i")
    interface = options.interface or daemons[0].interface
    backups = [daemon for daemon in daemons if daemon.role is DaemonRole.BACKUP]
    backup = backups[0] if backups and backups[0].interface == interface else None
    return Place(interface=interface, backup=backup)


@dataclass(slots=True)
class Heard:
    """One sync message as it passed."""

    time_ns: int
    source: str
    port: int
    payload: bytes
    frame: Frame


class Listener:
    """Sync messages on an interface."""

    def __init__(self, options: argparse.Namespace, interface: str) -> None:
        """Raises: KernelError."""
        self._options = options
        ports = wanted_ports(options)
        self._packets = PacketSocket(interface, ports=ports)
        self._datagrams = DatagramReader(ports)

    def __enter__(self) -> "Listener":
        return self

    def __exit__(self, *_: object) -> None:
        self._packets.close()

    @property
    def link(self) -> int:
        return self._packets.link

    def dropped(self) -> int:
        """Frames that came faster than we took them."""
        return self._packets.dropped()

    def wait(self, seconds_left: float, others: Iterable[HasFileno] = ()) -> list[HasFileno]:
        """Until something comes, or the time is over: this listener or others, or none."""
        ready = select.select([self._packets, *others], [], [], max(0.0, seconds_left))[0]
        return [self if each is self._packets else each for each in ready]

    def fileno(self) -> int:
        return self._packets.fileno()

    def take(self) -> Iterator[Heard]:
        """What has come.

        Raises:
            KernelError: the interface is gone.
        """
        for frame in self._packets.receive():
            datagram = self._datagrams.read(frame.link, frame.data)
            if datagram is not None and is_sync_destination(
                self._options, datagram.destination, datagram.port
            ):
                source = address_text(datagram.source)
                yield Heard(frame.time_ns, source, datagram.port, datagram.payload, frame)


def listen(
    listener: Listener,
    duration_s: float | None,
    on_message: Callable[[Heard], None],
    on_tick: Callable[[Instant], None],
    *,
    interval_s: float = 1.0,
    server: HTTPServer | None = None,
) -> None:
    """Until the time is over or somebody ends it (``until_stopped``). ``on_tick`` gets the wall clock's time.

    ``server`` answers in between.

    Raises:
        KernelError: the interface is gone.
    """
    start = time.monotonic()
    end = None if duration_s is None else start + duration_s
    next_tick = start + interval_s
    with until_stopped():
        while True:
            now = time.monotonic()
            if now >= next_tick:
                on_tick(wall_clock())
                next_tick = max(next_tick + interval_s, time.monotonic())
            if end is not None and now >= end:
                return
            until = next_tick if end is None else min(next_tick, end)
            for ready in listener.wait(until - now, [server] if server else ()):
                if ready is listener:
                    for heard in listener.take():
                        on_message(heard)
                elif server is not None:
                    server.handle_request()


def wall_clock() -> Instant:
    """Nanoseconds since 1970, to compare with the times of captured frames."""
    return Instant(time.time_ns())


def complain_of_cut(prog: str, name: str, capture: CaptureFile) -> None:
    """A capture that has been read, if there is less of it than there was."""
    if capture.is_cut:
        complain(prog, f"{name} ends in the middle of a record")


def complain(prog: str, text: object) -> None:
    """One line on standard error."""
    print(f"{prog}: {text}", file=sys.stderr)
