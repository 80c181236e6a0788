"""Hosts that begin to listen to a multicast group: their IGMP reports, as a raw socket hears them."""

import errno
import socket
import struct
from ipaddress import IPv4Address

from lvsha.core.errors import KernelError
from lvsha.wire.igmp import joined_groups

_BATCH = 64
_MREQN = struct.Struct("@4s4si")
_REPORTS = IPv4Address("224.0.0.22")
"""Where version 3 reports go (RFC 3376); those of version 2 go to the group itself."""


class GroupJoins:
    """Reads one interface."""

    def __init__(self, interface: str, group: IPv4Address) -> None:
        """Raises: KernelError."""
        self._group = group
        try:
            self._socket = socket.socket(
                socket.AF_INET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.IPPROTO_IGMP
            )
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode() + b"\0")
            membership = _MREQN.pack(_REPORTS.packed, bytes(4), socket.if_nametoindex(interface))
            self._socket.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, membership)
        except OSError as error:
            raise KernelError(
                f"listen for joins on {interface}", error.errno or 0, error.strerror or ""
            ) from None

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        self._socket.close()

    def has_newcomer(self) -> bool:
        """Somebody has joined since the last call.

        Raises:
            KernelError: the interface is gone.
        """
        found = False
        for _ in range(_BATCH):
            try:
                packet = self._socket.recv(2048)
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno == errno.ENETDOWN:
                    break
                raise KernelError("listen for joins", error.errno or 0, error.strerror or "") from None
            found = found or self._group in joined_groups(packet[(packet[0] & 0x0F) * 4 :])
        return found
