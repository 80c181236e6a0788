"""Frames of the peers, in and out: what has come is taken in slices, so that nothing waits behind it."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from lvsha.agent.journal import Journal
from lvsha.core.addr import Address
from lvsha.io.relay_socket import RelaySocket
from lvsha.sync.relay_settings import RelayPeer

FRAMES_AT_ONCE: Final = 16
"""About 350 rows, three milliseconds."""

Datagram = tuple[bytes, tuple[Address, int]]


class PeerLine:
    """The relay's socket in the event loop."""

    def __init__(
        self, address: Address | None, port: int, journal: Journal, *, take: Callable[[list[Datagram]], None]
    ) -> None:
        """``take`` gets at most ``FRAMES_AT_ONCE``.

        Raises:
            KernelError: the socket is refused.
        """
        self._socket = RelaySocket(address, port)
        self._journal = journal
        self._take = take
        self._backlog: deque[Datagram] = deque()
        self._again: asyncio.Handle | None = None
        self._errors: dict[int, int] = {}

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._socket.port

    def open(self) -> None:
        asyncio.get_running_loop().add_reader(self._socket.fileno(), self._on_readable)

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._socket.fileno())
        if self._again is not None:
            self._again.cancel()
        self._socket.close()

    def send(self, peer: RelayPeer, frames: Sequence[bytes]) -> int:
        """0, or why they were not sent; said once."""
        code = self._socket.send(peer.address, peer.port, frames)
        if code != self._errors.get(peer.director, 0):
            self._errors[peer.director] = code
            if code:
                self._journal.write("relay.send_failed", peer=peer.name, errno=code)
        return code

    def _on_readable(self) -> None:
        if len(self._backlog) < FRAMES_AT_ONCE:
            self._backlog += self._socket.receive()
        self._slice()

    def _go_on(self) -> None:
        self._again = None
        self._slice()

    def _slice(self) -> None:
        backlog = self._backlog
        if backlog:
            self._take([backlog.popleft() for _ in range(min(FRAMES_AT_ONCE, len(backlog)))])
        if backlog and self._again is None:
            self._again = asyncio.get_running_loop().call_soon(self._go_on)
