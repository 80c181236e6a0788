"""VRRP adverts and sync messages as they pass one interface, in both directions, without headers of the link.

Raises nothing in anybody's way: no group is joined (all multicast frames are taken while the socket is open,
and the kernel forgets that with it), and the kernel's filter hands us nothing else.
"""

import ctypes
import errno
import socket
import struct
from typing import Final

from lvsha.core.errors import KernelError

_ETH_P_ALL: Final = 3
_PACKET_OUTGOING: Final = 4
_SOL_PACKET, _ADD_MEMBERSHIP, _ALL_MULTICAST = 263, 1, 2
_SO_ATTACH_FILTER: Final = 26
_LONGEST: Final = 1 << 16
_BATCH: Final = 512

VRRP: Final = 112


def _filter(first: int, last: int) -> list[tuple[int, int, int, int]]:
    """IPv4's protocol 112, UDP to these ports, IPv6's next header 112; no fragments but the first."""
    return [
        (0x30, 0, 0, 0),  # version and header length
        (0x54, 0, 0, 0xF0),
        (0x15, 0, 9, 0x40),
        (0x30, 0, 0, 9),
        (0x15, 9, 0, VRRP),
        (0x15, 0, 9, 17),
        (0x28, 0, 0, 6),
        (0x45, 7, 0, 0x1FFF),
        (0xB1, 0, 0, 0),  # x = length of the header
        (0x48, 0, 0, 2),
        (0x35, 0, 4, first),
        (0x25, 3, 2, last),
        (0x30, 0, 0, 6),  # IPv6's next header
        (0x15, 0, 1, VRRP),
        (0x06, 0, 0, 0x40000),
        (0x06, 0, 0, 0),
    ]


class Wiretap:
    """One interface; not blocking. The kernel keeps what comes until it is read."""

    def __init__(self, interface: str, *, first_port: int, last_port: int) -> None:
        """Raises: KernelError: no such interface, or no CAP_NET_RAW."""
        try:
            self._socket = socket.socket(
                socket.AF_PACKET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, 0
            )
        except OSError as error:
            raise KernelError(f"listen on {interface}", error.errno or 0, "needs root") from None
        try:
            program = _filter(first_port, last_port)
            code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in program))
            header = struct.pack("HL", len(program), ctypes.addressof(code))
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, header)
            self._socket.bind((interface, _ETH_P_ALL))
            request = struct.pack("iHH8s", socket.if_nametoindex(interface), _ALL_MULTICAST, 0, b"")
            self._socket.setsockopt(_SOL_PACKET, _ADD_MEMBERSHIP, request)
        except OSError as error:
            self._socket.close()
            raise KernelError(f"listen on {interface}", error.errno or 0, error.strerror or "") from None

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        self._socket.close()

    def receive(self) -> list[tuple[bytes, bool]]:
        """IP packets that wait, and whether each is our own; at most a few hundred at once."""
        packets: list[tuple[bytes, bool]] = []
        for _ in range(_BATCH):
            try:
                data, address = self._socket.recvfrom(_LONGEST)
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno == errno.ENETDOWN:
                    break
                raise KernelError("listen", error.errno or 0, error.strerror or "") from None
            packets.append((data, address[2] == _PACKET_OUTGOING))
        return packets
