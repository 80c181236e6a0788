"""Makes sure that what has come for us is read, where the kernel lets us (``vrrp.hearing``)."""

import contextlib
from collections.abc import Callable

from lvsha.io.loopback import LoopbackSocket
from lvsha.io.reactor import Reactor

TRIPS = 4
"""A packet joins the queue anew wherever it goes from one virtual interface to the next (veth, a bridge,
veth): a single letter would overtake it there."""


class CatchingUp:
    def __init__(self, reactor: Reactor, on_caught_up: Callable[[str], None]) -> None:
        """``on_caught_up`` is told the router's name."""
        self._reactor = reactor
        self._on_caught_up = on_caught_up
        self._socket: LoopbackSocket | None = None
        self._number = 0
        self._waiting: dict[str, tuple[int, int]] = {}
        """By router, the letter that must come back, and how many more after it."""
        self._works = False
        """One has come back: where none ever does, none is waited for."""

    def begin(self) -> str:
        """Post the first; why that cannot be, empty when it can."""
        try:
            self._socket = LoopbackSocket()
            self._socket.send(self._number)
        except OSError as error:
            return f"frames on lo: {error.strerror or error}; `ip link set lo up`"
        self._reactor.watch(self._socket.fileno(), self._on_letters)
        return ""

    def ask(self, router: str, *, again: bool) -> bool:
        """``on_caught_up`` follows; False: nothing is known to lie unread, or it cannot be known."""
        if self._socket is None or not self._works:
            return False
        if again and router in self._waiting:
            number, _ = self._waiting[router]
            with contextlib.suppress(OSError):
                self._socket.send(number)  # a full queue may have lost it
            return True
        return self._post(router, TRIPS - 1)

    def close(self) -> None:
        if self._socket is not None:
            self._reactor.unwatch(self._socket.fileno())
            self._socket.close()

    def _post(self, router: str, more: int) -> bool:
        assert self._socket is not None, "somebody has asked"
        self._number += 1
        try:
            self._socket.send(self._number)
        except OSError:
            return False
        self._waiting[router] = self._number, more
        return True

    def _on_letters(self) -> None:
        assert self._socket is not None, "it is watched"
        came = self._socket.receive()
        if came is None:
            return
        self._works = True
        for router, (number, more) in list(self._waiting.items()):
            if number > came:
                continue
            del self._waiting[router]
            if not more or not self._post(router, more - 1):
                self._on_caught_up(router)
