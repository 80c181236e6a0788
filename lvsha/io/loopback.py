"""A letter to oneself: frames on the loop-back interface, through the kernel's receive queue.

The kernel's network thread carries what it has received to the sockets in order, packet by packet;
a frame on ``lo`` joins the same queue of the processor that sent it. So once it has come
back, what this processor had received before it is in the sockets.
"""

import contextlib
import os
import socket
import struct

_ETHERTYPE = 0x88B5
"""For local experiments: IEEE 802, never on a network of others. No firewall rule for IP sees it."""
_LETTER = struct.Struct("=8sQ")


class LoopbackSocket:
    def __init__(self) -> None:
        """Raises: OSError."""
        self._token = os.urandom(8)
        """Other processes of this host may do the same."""
        self._socket = socket.socket(
            socket.AF_PACKET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, 0
        )
        self._socket.bind(("lo", _ETHERTYPE))

    def fileno(self) -> int:
        return self._socket.fileno()

    def send(self, number: int) -> None:
        """Raises: OSError, for instance where ``lo`` is down."""
        self._socket.sendto(_LETTER.pack(self._token, number), ("lo", _ETHERTYPE))

    def receive(self) -> int | None:
        """The highest number that has come back since it was last asked; None: none has."""
        last: int | None = None
        with contextlib.suppress(OSError):  # as a rule because there are no more
            for _ in range(64):
                data = self._socket.recv(64)
                if len(data) >= _LETTER.size:
                    token, number = _LETTER.unpack_from(data)
                    if token == self._token and (last is None or number > last):
                        last = number
        return last

    def close(self) -> None:
        self._socket.close()
