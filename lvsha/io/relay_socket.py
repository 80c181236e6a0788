"""The relay's UDP socket: datagrams in and out, never fragmented, bounded at each call.

What does not fit into the receive buffer is lost here as it would be on the wire, and
asked for again by the relay; so the buffer is made large enough for the frames that
one peer may have in flight.
"""

import errno
import socket
from ipaddress import IPv4Address, IPv6Address

from lvsha.core.addr import AF_INET6, Address, address_family
from lvsha.core.errors import KernelError

BUFFER = 4 << 20
"""256 frames of each of a few peers; a full frame takes about 2,300 bytes of it."""
BATCH = 256
"""Datagrams given at one call, so that nothing else starves."""
LARGEST = 65_535

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

    def send(self, address: Address, port: int, data: bytes) -> int:
        """0, or why it was not sent: EMSGSIZE (the path is narrower than the datagram), ENETUNREACH ..."""
        host = f"::ffff:{address}" if self._is_inet6 and address.version == 4 else str(address)
        try:
            self._socket.sendto(data, (host, port))
        except OSError as error:
            return error.errno or errno.EIO
        return 0

    def receive(self) -> list[tuple[bytes, tuple[Address, int]]]:
        """What has come, at most ``BATCH`` datagrams."""
        received: list[tuple[bytes, tuple[Address, int]]] = []
        while len(received) < BATCH:
            try:
                data, source = self._socket.recvfrom(LARGEST)
            except BlockingIOError:
                break
            except OSError:
                # An ICMP error for something that was sent; the relay notices that no answer comes.
                continue
            received.append((data, (_address(source[0]), source[1])))
        return received


_SO_SNDBUFFORCE, _SO_RCVBUFFORCE = 32, 33


def _address(host: str) -> Address:
    if ":" not in host:
        return IPv4Address(host)
    address = IPv6Address(host.partition("%")[0])
    return address.ipv4_mapped or address
