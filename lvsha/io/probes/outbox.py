"""Messages on their way between directord and a check worker, in order, never waiting for the reader."""

import asyncio
import socket
from collections import deque


class Outbox:
    """Over a ``SOCK_SEQPACKET`` socket that does not block.

    It holds what the other end has not read yet. That is bounded by what is put in: a check has
    at most one definition, one request or one result on its way.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, sock: socket.socket) -> None:
        self._loop = loop
        self._socket = sock
        self._unsent: deque[bytes] = deque()
        self._is_writing = False

    def put(self, message: bytes) -> None:
        """One more; it leaves at once if there is room."""
        self._unsent.append(message)
        if not self._is_writing:
            self._write()

    def close(self) -> None:
        """Forget what has not left. The socket is its owner's."""
        self._unsent.clear()
        self._rest()

    def _write(self) -> None:
        while self._unsent:
            try:
                self._socket.send(self._unsent[0])
            except BlockingIOError:
                if not self._is_writing:
                    self._is_writing = True
                    self._loop.add_writer(self._socket.fileno(), self._write)
                return
            except OSError:
                return  # nobody is there any more: reading tells
            self._unsent.popleft()
        self._rest()

    def _rest(self) -> None:
        if self._is_writing:
            self._is_writing = False
            self._loop.remove_writer(self._socket.fileno())
