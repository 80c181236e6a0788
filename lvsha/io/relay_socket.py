"""The relay's UDP socket: datagrams in and out, never fragmented, bounded at each call.

What does not fit into the receive buffer is lost here as it would be on the wire, and
asked for again by the relay; so the buffer is made large enough for the frames that
one peer may have in flight.

Frames of one length, as those of a resync are, are given to the kernel together, which
cuts them into datagrams (UDP_SEGMENT), and are taken from it together (UDP_GRO): one
system call for up to 48. On the wire nothing differs. Source: udp(7), Linux 4.18 and 5.0.
"""

import contextlib
import errno
import socket
import struct
from collections.abc import Iterator, Sequence
from ipaddress import IPv4Address, IPv6Address

from lvsha.core.addr import AF_INET6, Address, address_family
from lvsha.core.errors import KernelError

BUFFER = 4 << 20
"""256 frames of each of a few peers; a full frame takes about 2,300 bytes of it."""
BATCH = 64
"""Datagrams given at one call, about; what else there is stays in the kernel's buffer."""
LARGEST = 65_535
SEGMENTS_MOST = 48
"""Frames given to the kernel at once; it takes 64."""
SEGMENTS_BYTES = 65_000
"""Of them together; a datagram before it is cut may have 65,507."""

_SOL_UDP, _UDP_SEGMENT, _UDP_GRO = 17, 103, 104
_SEGMENT = struct.Struct("@H")
_GRO = struct.Struct("@i")
_KNOWN_MOST = 64
_UNABLE = frozenset((errno.EINVAL, errno.EIO, errno.EOPNOTSUPP, errno.ENOPROTOOPT))
"""The route's device cannot cut, or the segment does not fit its path."""
_IP_MTU_DISCOVER, _IP_PMTUDISC_DO = 10, 2
_IPV6_MTU_DISCOVER, _IPV6_PMTUDISC_DO = 23, 2


class RelaySocket:
    """One socket for all peers.

    Without an address it is an IPv6 socket that takes IPv4 as well (IPv4 alone where the
    kernel has no IPv6).
    """

    def __init__(self, address: Address | None, port: int) -> None:
        """Raises: KernelError, with what to do about it."""
        self._is_inet6 = address is None or address_family(address) == AF_INET6
        self._buffer = memoryview(bytearray(LARGEST))
        self._sources: dict[str, Address] = {}
        try:
            self._socket = self._open(address, port)
        except OSError as error:
            hint = {
                errno.EADDRINUSE: f"UDP port {port} is in use; set sync.relay.port on all directors",
                errno.EADDRNOTAVAIL: f"{address} is not an address of this machine; set sync.relay.address",
            }.get(error.errno or 0, "")
            raise KernelError(
                f"open the relay's socket on {address or 'any address'}, port {port}", error.errno or 0, hint
            ) from None
        self._cuts = self._allow(_UDP_SEGMENT, 0)
        """The kernel cuts datagrams for us."""
        self._allow(_UDP_GRO, 1)

    def _open(self, address: Address | None, port: int) -> socket.socket:
        try:
            endpoint = socket.socket(socket.AF_INET6 if self._is_inet6 else socket.AF_INET, socket.SOCK_DGRAM)
        except OSError as error:
            if address is not None or error.errno != errno.EAFNOSUPPORT:
                raise
            self._is_inet6 = False
            endpoint = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            endpoint.setblocking(False)
            if self._is_inet6:
                endpoint.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, address is not None)
                endpoint.setsockopt(socket.IPPROTO_IPV6, _IPV6_MTU_DISCOVER, _IPV6_PMTUDISC_DO)
            if address is None or not self._is_inet6:
                endpoint.setsockopt(socket.IPPROTO_IP, _IP_MTU_DISCOVER, _IP_PMTUDISC_DO)
            for plain, force in (
                (socket.SO_RCVBUF, _SO_RCVBUFFORCE),
                (socket.SO_SNDBUF, _SO_SNDBUFFORCE),
            ):
                try:
                    endpoint.setsockopt(socket.SOL_SOCKET, force, BUFFER)
                except PermissionError:
                    # Without CAP_NET_ADMIN as much as net.core.rmem_max and wmem_max allow.
                    endpoint.setsockopt(socket.SOL_SOCKET, plain, BUFFER)
            any_address = "::" if self._is_inet6 else "0.0.0.0"
            endpoint.bind((str(address) if address is not None else any_address, port))
        except OSError:
            endpoint.close()
            raise
        return endpoint

    def fileno(self) -> int:
        return self._socket.fileno()

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._socket.getsockname()[1])

    def close(self) -> None:
        self._socket.close()

    def send(self, address: Address, port: int, frames: Sequence[bytes]) -> int:
        """0, or why the first of those that failed was not sent: EMSGSIZE (the path is narrower than the
        datagram), ENETUNREACH ..."""
        host = f"::ffff:{address}" if self._is_inet6 and address.version == 4 else str(address)
        failed = 0
        for run in _runs(frames):
            if len(run) > 1 and self._cuts and self._send_run(run, (host, port)):
                continue
            for frame in run:
                try:
                    self._socket.sendto(frame, (host, port))
                except OSError as error:
                    failed = failed or error.errno or errno.EIO
        return failed

    def _send_run(self, run: Sequence[bytes], target: tuple[str, int]) -> bool:
        """Frames of one length at once; False: one by one, then."""
        try:
            self._socket.sendmsg(run, [(_SOL_UDP, _UDP_SEGMENT, _SEGMENT.pack(len(run[0])))], 0, target)
        except OSError as error:
            self._cuts = error.errno not in _UNABLE
            return False
        return True

    def receive(self) -> list[tuple[bytes, tuple[Address, int]]]:
        """What has come, about ``BATCH`` datagrams at most."""
        received: list[tuple[bytes, tuple[Address, int]]] = []
        receive, buffer = self._socket.recvmsg_into, self._buffer
        room = socket.CMSG_SPACE(_GRO.size)
        while len(received) < BATCH:
            try:
                size, ancillary, _, source = receive([buffer], room)
            except BlockingIOError:
                break
            except OSError:
                # An ICMP error for something that was sent; the relay notices that no answer comes.
                continue
            origin = (self._address(source[0]), source[1])
            step = _GRO.unpack_from(ancillary[0][2])[0] if ancillary else size
            received += (
                (bytes(buffer[at : min(at + step, size)]), origin) for at in range(0, size, step or 1)
            )
        return received

    def _allow(self, option: int, value: int) -> bool:
        """Whether the kernel knows the option."""
        with contextlib.suppress(OSError):
            self._socket.setsockopt(_SOL_UDP, option, value)
            return True
        return False

    def _address(self, host: str) -> Address:
        address = self._sources.get(host)
        if address is None:
            if len(self._sources) >= _KNOWN_MOST:
                self._sources.clear()
            address = self._sources[host] = _address(host)
        return address


_SO_SNDBUFFORCE, _SO_RCVBUFFORCE = 32, 33


def _address(host: str) -> Address:
    if ":" not in host:
        return IPv4Address(host)
    address = IPv6Address(host.partition("%")[0])
    return address.ipv4_mapped or address


def _runs(frames: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    """Frames that can go at once: all of one length, the last of a run may be shorter."""
    at = 0
    while at < len(frames):
        size = len(frames[at])
        most = min(SEGMENTS_MOST, SEGMENTS_BYTES // max(size, 1))
        end = at + 1
        while end < len(frames) and end - at < most and len(frames[end - 1]) == size >= len(frames[end]):
            end += 1
        yield frames[at:end]
        at = end
