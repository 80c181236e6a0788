"""What arrives for a sync group on an interface, and what of it this host delivers.

A packet socket sees datagrams before any packet filter does; a UDP socket of the group sees
those that the kernel's backup daemon sees. Both have small buffers: a sample is enough,
and nothing here may cost what a flood of messages would.
"""

import contextlib
import ctypes
import socket
import struct
from ipaddress import IPv4Address
from typing import Final

from lvsha.core.errors import KernelError
from lvsha.sync.neighbours import Heard

_ETH_P_IP: Final = 0x0800
_SO_ATTACH_FILTER: Final = 26
_IP_MULTICAST_ALL: Final = 49
_PACKET_OUTGOING: Final = 4
_BUFFER: Final = 64 << 10
_SAMPLE: Final = 256
_MREQN = struct.Struct("@4s4si")


class SyncEar:
    """IPv4 groups only."""

    def __init__(self, interface: str, *, group: IPv4Address, port: int) -> None:
        """Raises: KernelError."""
        try:
            self._wire = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK, 0)
            self._wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
            _attach(self._wire, group)
            self._wire.bind((interface, _ETH_P_IP))
            self._member = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
            self._member.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._member.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
            self._member.setsockopt(socket.IPPROTO_IP, _IP_MULTICAST_ALL, 0)
            self._member.bind((str(group), port))
            membership = _MREQN.pack(group.packed, bytes(4), socket.if_nametoindex(interface))
            self._member.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, membership)
        except OSError as error:
            self.close()
            raise KernelError(f"listen on {interface}", error.errno or 0, error.strerror or "") from None

    def close(self) -> None:
        for name in ("_wire", "_member"):
            with contextlib.suppress(AttributeError):
                getattr(self, name).close()

    def heard(self) -> list[Heard]:
        """A sample of what passed since the last call; not what this host sends itself.

        Raises:
            KernelError: the interface is gone or down.
        """
        found: list[Heard] = []
        try:
            for _ in range(_SAMPLE):
                data, address = self._wire.recvfrom(65_535)
                header = (data[0] & 15) * 4
                if address[2] == _PACKET_OUTGOING or len(data) < header + 12 or data[9] != 17:
                    continue
                port, length = struct.unpack_from("!HH", data, header + 2)
                source = IPv4Address(data[12:16])
                found.append(Heard(source, port, data[header + 9], length - 8))
        except BlockingIOError:
            pass
        except OSError as error:
            raise KernelError("listen for sync messages", error.errno or 0, error.strerror or "") from None
        return found

    def delivered(self) -> bool:
        """Whether the group's socket got anything since the last call."""
        count = 0
        with contextlib.suppress(OSError):
            while count < _SAMPLE:
                self._member.recv(1)
                count += 1
        return count > 0


def _attach(sock: socket.socket, group: IPv4Address) -> None:
    """A classic filter: only what goes to the group (the IPv4 header is first on such a socket)."""
    steps = ((0x20, 0, 0, 16), (0x15, 0, 1, int(group)), (0x06, 0, 0, 65_535), (0x06, 0, 0, 0))
    program = b"".join(struct.pack("HBBI", *step) for step in steps)
    buffer = ctypes.create_string_buffer(program)
    sock.setsockopt(
        socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HL", len(steps), ctypes.addressof(buffer))
    )
