"""The line between the supervisor and its two workers: a private socket pair.

Both ends were forked from one process and nobody else can reach it, so records
travel as they are (pickle). Supervisor to worker: ``reload`` with the new
settings, ``stop``, and to a spare ``go`` with the settings to work by. Worker to
supervisor: ``ready``, ``alive``.
"""

import pickle
import socket
import struct
from dataclasses import dataclass
from typing import Any

_LENGTH = struct.Struct("!I")


@dataclass(frozen=True, slots=True)
class ControlMessage:
    kind: str
    """``go``, ``reload``, ``stop``, ``ready`` or ``alive``."""
    payload: Any = None


class ControlEnd:
    """One end. Non-blocking to read, blocking (briefly) to write."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._buffer = b""
        self.closed = False
        """The other end is gone."""

    @classmethod
    def pair(cls) -> "tuple[ControlEnd, ControlEnd]":
        left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        return cls(left), cls(right)

    def fileno(self) -> int:
        return self._socket.fileno()

    def send(self, kind: str, payload: Any = None) -> None:
        data = pickle.dumps(ControlMessage(kind, payload))
        try:
            self._socket.sendall(_LENGTH.pack(len(data)) + data)
        except OSError:
            self.closed = True

    def receive(self) -> list[ControlMessage]:
        """What has come so far; sets ``closed`` when the other end is gone."""
        while True:
            try:
                data = self._socket.recv(1 << 16, socket.MSG_DONTWAIT)
            except BlockingIOError:
                break
            except OSError:
                data = b""
            if not data:
                self.closed = True
                break
            self._buffer += data
        messages: list[ControlMessage] = []
        while len(self._buffer) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._buffer)
            if len(self._buffer) < _LENGTH.size + length:
                break
            messages.append(pickle.loads(self._buffer[_LENGTH.size : _LENGTH.size + length]))
            self._buffer = self._buffer[_LENGTH.size + length :]
        return messages

    def close(self) -> None:
        self._socket.close()
