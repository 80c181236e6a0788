"""What this director's own kernel announces: the datagrams of its master sync daemon.

The daemon sends with multicast loop-back off, so no UDP socket of this host hears it;
a packet socket that asks for every protocol does, as packets that go out. What we
inject ourselves never passes here: it is looped back above the device.
"""

import contextlib
import socket
import struct
from typing import Final

from lvsha.core.errors import KernelError

_ETH_P_ALL: Final = 0x0003
_PACKET_OUTGOING: Final = 4
_SOL_PACKET, _PACKET_STATISTICS = 263, 6
_SO_RCVBUFFORCE: Final = 33
_RECEIVE_BUFFER: Final = 64 << 20
"""100,000 one-entry messages: a packet of any size costs the socket about 640 bytes."""
_BATCH: Final = 512
_DATAGRAM_MAX: Final = 65_535
_UDP: Final = 17


class SyncCapture:
    """Reads one interface. IPv4 only: the private interface is ours, and so is the group."""

    def __init__(self, interface: str, *, port: int, ours: int = 0) -> None:
        """``ours``: the source port of what this process sends itself, which is left out.

        Raises: KernelError.
        """
        self._port = struct.pack("!H", port)
        self._ours = struct.pack("!H", ours)
        self._buffer = memoryview(bytearray(_DATAGRAM_MAX))
        self.lost = 0
        """Datagrams that found the buffer full, up to the last ``take_lost``."""
        try:
            # Protocol 0 until it is bound: else it hears every interface for a moment.
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK, 0)
            with contextlib.suppress(PermissionError):
                self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _RECEIVE_BUFFER)
            self._socket.bind((interface, _ETH_P_ALL))
        except OSError as error:
            raise KernelError(f"capture on {interface}", error.errno or 0, error.strerror or "") from None

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        self._socket.close()

    def receive(self, most: int = _BATCH) -> list[bytes]:
        """Sync messages that wait; of at most so many packets.

        Raises:
            KernelError: the interface is gone or down.
        """
        messages: list[bytes] = []
        receive, buffer, port, ours = self._socket.recvfrom_into, self._buffer, self._port, self._ours
        try:
            for _ in range(most):
                size, address = receive(buffer)
                header = (buffer[0] & 0x0F) * 4
                if (
                    address[2] == _PACKET_OUTGOING
                    and buffer[9] == _UDP
                    and buffer[header + 2 : header + 4] == port
                    and buffer[header : header + 2] != ours
                ):
                    messages.append(bytes(buffer[header + 8 : size]))
        except BlockingIOError:
            pass
        except OSError as error:
            raise KernelError("capture sync messages", error.errno or 0, error.strerror or "") from None
        return messages

    def take_lost(self) -> int:
        """How many were lost since the last call."""
        statistics = self._socket.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8)
        (lost,) = struct.unpack_from("@I", statistics, 4)
        self.lost += lost
        return int(lost)
