"""Putting sync messages into this director's own kernel, and knowing that they arrived.

A datagram sent to the backup daemon's group out of its interface, with multicast
loop-back on, reaches the daemon as a peer's would. TTL 0 keeps it off the wire, and
out of the sight of packet sockets on that interface.

The daemon's socket drops what finds no room, and says so nowhere but in the drops
column of /proc/net/udp. Watching that column is not enough: a burst may still be on
its way to the socket. So a second socket of ours joins the group and gets a copy of
each datagram in the same step of delivery. Reading as many copies as were sent
proves that all have reached the daemon's socket, or have been counted there; when
its queue then is empty, all that were not counted have been taken.
"""

import errno
import os
import select
import socket
import struct
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address
from itertools import count, islice

from lvsha.core.addr import Address
from lvsha.core.errors import KernelError
from lvsha.io.procfs import UdpTable
from lvsha.wire.ipvs_sync.names import DEFAULT_GROUP, DEFAULT_PORT

BURST_BYTES = 64 * 1024
"""Sent between two barriers. The default receive buffer of 212,992 holds about 92 datagrams of 1,448."""
BURST_DATAGRAMS = 64
PATIENCE_S = 2.0
"""How long a barrier waits for its copies, and then for the daemon."""
_YIELDS = 8
"""Looks at the daemon's queue that only let it run; then we sleep between them."""

_IP_MULTICAST_ALL = 49
_MREQN = struct.Struct("@4s4si")
_MREQ6 = struct.Struct("@16sI")


@dataclass(slots=True, kw_only=True)
class Delivery:
    """What became of the messages."""

    sent: int = 0
    dropped: int = 0
    """Counted by the daemon's socket; its buffer is too small, see net.ipv4.vs.sync_sock_size."""
    unconfirmed: int = 0
    """Neither seen again nor counted within the time: nobody knows."""


class SyncInjector:
    """Sends to one daemon's interface and group.

    ``daemons`` must be running on ``interface`` when ``deliver`` is called, else nobody listens.
    """

    def __init__(
        self,
        interface: str,
        *,
        group: Address | None = None,
        port: int = DEFAULT_PORT,
        ttl: int = 0,
        source: Address | None = None,
    ) -> None:
        """Raises: KernelError, with what to do about it."""
        self.interface = interface
        self._group = group or IPv4Address(DEFAULT_GROUP)
        self._port = port
        self._target = (str(self._group), port)
        try:
            self._index = socket.if_nametoindex(interface)
            self._out = _sender(self._group, self._index, ttl=ttl, source=source)
            self._copies = self._listener()
            self._table = UdpTable(self._group.version)
        except OSError as error:
            hint = "there is no such interface" if error.errno == errno.ENODEV else error.strerror
            raise KernelError(f"open a sync socket on {interface}", error.errno or 0, hint or "") from None
        self._copies.setblocking(False)
        self._poll = select.poll()
        self._poll.register(self._copies, select.POLLIN)
        self._own = os.fstat(self._copies.fileno()).st_ino

    def __enter__(self) -> "SyncInjector":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._out.close()
        self._copies.close()
        self._table.close()

    def send(self, message: bytes) -> None:
        """One datagram, without waiting.

        Raises:
            OSError: the kernel's.
        """
        self._out.sendto(message, self._target)

    def deliver(self, messages: Iterable[bytes]) -> Delivery:
        """Send all in bursts, each after the one before has been taken.

        Raises:
            KernelError: nobody listens, or the kernel refuses to send.
        """
        delivery = Delivery()
        before = self._daemons()
        if before is None:
            raise KernelError(
                f"send sync messages on {self.interface}",
                errno.ESRCH,
                f"no backup daemon listens on {self._group} port {self._port}: "
                f"ipvsadm --start-daemon backup --mcast-interface {self.interface}",
            )
        drops = before[1]
        waiting = iter(messages)
        while burst := _burst(waiting):
            drops = self._send_burst(burst, delivery, drops)
        delivery.dropped = drops - before[1]
        return delivery

    def _send_burst(self, burst: Sequence[bytes], delivery: Delivery, drops: int) -> int:
        """What the daemon's sockets have dropped since they were made, after it."""
        try:
            for message in burst:
                self._out.sendto(message, self._target)
        except OSError as error:
            raise KernelError(f"send a sync message on {self.interface}", error.errno or 0) from None
        delivery.sent += len(burst)
        give_up = time.monotonic() + PATIENCE_S
        missing = len(burst)
        while missing:
            try:
                self._copies.recv(1)
                missing -= 1
            except BlockingIOError:
                left = give_up - time.monotonic()
                if left <= 0:
                    delivery.unconfirmed += missing
                    return drops
                self._poll.poll(left * 1000)
        for look in count():
            queued, drops = self._daemons() or (0, drops)
            if not queued:
                break
            if time.monotonic() > give_up:
                delivery.unconfirmed += len(burst)
                break
            if look < _YIELDS:
                os.sched_yield()
            else:
                time.sleep(0.0005)
        return drops

    def _daemons(self) -> tuple[int, int] | None:
        """Bytes that wait for the daemon, and datagrams that it dropped; None: there is none."""
        found = [row for row in self._table.of(self._group, self._port) if row.inode != self._own]
        return (sum(row.rx_queue for row in found), sum(row.drops for row in found)) if found else None

    def _listener(self) -> socket.socket:
        if self._group.version == 4:
            copies = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            copies.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            copies.setsockopt(socket.IPPROTO_IP, _IP_MULTICAST_ALL, 0)
            copies.bind(self._target)
            membership = _MREQN.pack(self._group.packed, bytes(4), self._index)
            copies.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, membership)
        else:
            copies = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
            copies.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            copies.bind((str(self._group), self._port, 0, self._index))
            membership = _MREQ6.pack(self._group.packed, self._index)
            copies.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, membership)
        copies.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        return copies


class GroupSender:
    """Sends on the wire what this director's own daemon does not hear: without loop-back."""

    def __init__(self, interface: str, *, group: Address, port: int = DEFAULT_PORT, ttl: int = 1) -> None:
        """Raises: KernelError."""
        self._target = (str(group), port)
        try:
            self._socket = _sender(group, socket.if_nametoindex(interface), ttl=ttl, is_looped=False)
            self._socket.setblocking(False)
            self._socket.bind(("" if group.version == 4 else "::", 0))
        except OSError as error:
            raise KernelError(f"send on {interface}", error.errno or 0, error.strerror or "") from None

    @property
    def port(self) -> int:
        """The source port."""
        return int(self._socket.getsockname()[1])

    def close(self) -> None:
        self._socket.close()

    def send(self, message: bytes) -> None:
        """One datagram.

        Raises:
            KernelError: the interface is gone or down, or the socket is full.
        """
        try:
            self._socket.sendto(message, self._target)
        except OSError as error:
            raise KernelError("send a sync message", error.errno or 0, error.strerror or "") from None


def _sender(
    group: Address, index: int, *, ttl: int, source: Address | None = None, is_looped: bool = True
) -> socket.socket:
    if group.version == 4:
        out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        interface = _MREQN.pack(bytes(4), source.packed if source else bytes(4), index)
        out.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, interface)
        out.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, ttl)
        out.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, is_looped)
    else:
        out = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        out.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
        out.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, ttl)
        out.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_LOOP, is_looped)
    return out


def _burst(messages: Iterable[bytes]) -> list[bytes]:
    """The next messages, as many as fit between two barriers; at least one."""
    burst: list[bytes] = []
    size = 0
    for message in islice(messages, BURST_DATAGRAMS):
        burst.append(message)
        size += len(message)
        if size >= BURST_BYTES:
            break
    return burst
