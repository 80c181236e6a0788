"""Frames of one interface as they pass, in both directions.

A director does not hear its own sync messages through a UDP socket: the kernel's
master sends without loop-back, and a packet socket for IPv4 alone is not shown what
goes out. Only one for every protocol is.
"""

import ctypes
import errno
import socket
import struct
from collections.abc import Iterable
from typing import Final

from lvsha.core.errors import KernelError
from lvsha.io.capture import ETHERNET, RAW_IP, Frame

RECEIVE_BUFFER: Final = 32 << 20
"""Bytes: a second and more of a busy sync network while we draw a screen."""
BATCH: Final = 256
"""Frames taken at once; so long a full socket keeps us from looking at the clock."""

_ETH_P_ALL = 3
_SO_ATTACH_FILTER = 26
_SO_TIMESTAMPNS = 35
_SO_RCVBUFFORCE = 33
_SOL_PACKET = 263
_PACKET_STATISTICS = 6
_ARPHRD_ETHER = 1
_ARPHRD_LOOPBACK = 772
_LONGEST_FRAME = 1 << 16
_TIMESPEC = struct.Struct("@ll")

Step = tuple[int, int, int, int]


def port_filter(first: int, last: int) -> list[Step]:
    """The kernel's classic packet filter: UDP to these ports and all its fragments, on Ethernet.

    IPv6 with extension headers other than a fragment's, and frames whose VLAN tag is still in them,
    pass unseen: whoever reads looks closer.
    """
    accept, refuse = 21, 22
    program: list[tuple[int, int | None, int | None, int]] = [
        (0x28, None, None, 12),  # 0: the EtherType
        (0x15, 5, None, 0x0800),
        (0x15, 13, None, 0x86DD),
        (0x15, accept, None, 0x8100),
        (0x15, accept, refuse, 0x88A8),
        (0x30, None, None, 23),  # 5: IPv4's protocol
        (0x15, None, refuse, 17),
        (0x28, None, None, 20),  # where in its datagram is this fragment?
        (0x45, accept, None, 0x1FFF),
        (0xB1, None, None, 14),  # x = length of the IPv4 header
        (0x48, None, None, 16),  # the port
        (0x35, None, refuse, first),
        (0x25, refuse, accept, last),
        (0x30, None, None, 20),  # 13: IPv6's next header
        (0x15, accept, None, 44),
        (0x15, accept, None, 0),
        (0x15, accept, None, 60),
        (0x15, None, refuse, 17),
        (0x28, None, None, 56),
        (0x35, None, refuse, first),
        (0x25, refuse, accept, last),
        (0x06, None, None, 0x40000),  # 21: all of it
        (0x06, None, None, 0),
    ]
    return [
        (code, 0 if yes is None else yes - at - 1, 0 if no is None else no - at - 1, value)
        for at, (code, yes, no, value) in enumerate(program)
    ]


class PacketSocket:
    """Sees each frame of ``interface`` once; not blocking."""

    def __init__(
        self, interface: str, *, ports: Iterable[int] = (), program: list[Step] | None = None
    ) -> None:
        """``ports``: UDP ports that are wanted; what lies between them may come too. ``program``: a filter
        of the caller's own, for Ethernet. Neither: everything.

        Raises:
            KernelError: no such interface, or no CAP_NET_RAW; the text says what to do.
        """
        self.interface = interface
        self._dropped = 0
        wanted = sorted(ports)
        if wanted and program is None:
            program = port_filter(wanted[0], wanted[-1])
        try:
            self._socket = socket.socket(
                socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, 0
            )
        except OSError as error:
            raise self._refused(error) from None
        try:
            self._socket.bind((interface, 0))
            *_, hardware, self.mac = self._socket.getsockname()
            self._is_loopback = hardware == _ARPHRD_LOOPBACK
            self.link = ETHERNET if hardware in (_ARPHRD_ETHER, _ARPHRD_LOOPBACK) else RAW_IP
            if self.link == ETHERNET and program is not None:
                self._attach(program)
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
            self._grow_buffer()
            self._socket.bind((interface, _ETH_P_ALL))
        except OSError as error:
            self._socket.close()
            raise self._refused(error) from None
        self._buffer = bytearray(_LONGEST_FRAME)
        self._view = memoryview(self._buffer)

    def __enter__(self) -> "PacketSocket":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        self._socket.close()

    def receive(self) -> list[Frame]:
        """What has come, up to ``BATCH`` frames; times are the kernel's.

        Raises:
            KernelError: the interface is gone.
        """
        frames: list[Frame] = []
        receive, buffers, view, unpack = (
            self._socket.recvmsg_into,
            [self._buffer],
            self._view,
            _TIMESPEC.unpack,
        )
        for _ in range(BATCH):
            try:
                size, ancillary, _, address = receive(buffers, 64, socket.MSG_TRUNC)
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno == errno.ENETDOWN:
                    # Said once when the interface goes down; it may come up again.
                    break
                raise self._refused(error) from None
            if self._is_loopback and address[2] == socket.PACKET_OUTGOING:
                continue  # it will come in as well
            seconds, nanoseconds = unpack(ancillary[0][2]) if ancillary else (0, 0)
            frames.append(Frame(seconds * 1_000_000_000 + nanoseconds, self.link, bytes(view[:size]), size))
        return frames

    def dropped(self) -> int:
        """Frames that found our buffer full, since the start."""
        counts = self._socket.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8)
        self._dropped += struct.unpack("@II", counts)[1]  # reading sets them back to 0
        return self._dropped

    def _attach(self, program: list[Step]) -> None:
        code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in program))
        header = struct.pack("HL", len(program), ctypes.addressof(code))
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, header)

    def _grow_buffer(self) -> None:
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, RECEIVE_BUFFER)
        except PermissionError:
            # Without CAP_NET_ADMIN the system's limit holds, net.core.rmem_max.
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)

    def _refused(self, error: OSError) -> KernelError:
        hints = {
            errno.EPERM: "it needs CAP_NET_RAW: run as root, or "
            "`setcap cap_net_raw=ep` a copy of the Python it runs with",
            errno.ENODEV: "there is no such interface; `ip link` lists those that are",
        }
        return KernelError(
            f"listen on {self.interface}", error.errno or 0, hints.get(error.errno or 0, error.strerror or "")
        )
