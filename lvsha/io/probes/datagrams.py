"""A probe over UDP."""

import socket

from lvsha.checker.probes.dialogue import Datagram, Verdict
from lvsha.core.instant import Instant
from lvsha.io.probes.engine import Done, Engine
from lvsha.io.probes.prepare import Prepared
from lvsha.io.probes.probe import Probe
from lvsha.io.probes.sockets import CannotProbe, open_socket, our_failure, their_failure

_READ_SIZE = 64 * 1024
_READS_PER_PROBE = 64
"""Datagrams that are no answer; more of them are a flood, and the deadline decides."""


class DatagramProbe(Probe):
    """One datagram on a connected socket, so that only the realserver's answer and ICMP errors come."""

    __slots__ = ("_exchange", "_reads", "_socket")

    def __init__(self, engine: Engine, check_id: str, prepared: Prepared, done: Done) -> None:
        super().__init__(engine, check_id, prepared, done)
        assert prepared.datagrams is not None, "a datagram probe has a question"
        self._exchange: Datagram = prepared.datagrams.begin(next(engine.tokens) & 0xFFFF)
        self._socket: socket.SocketType | None = None
        self._reads = 0

    def start(self) -> None:
        prepared = self.prepared
        try:
            opened = self._socket = open_socket(
                prepared.settings, socket.SOCK_DGRAM, turn=prepared.next_turn()
            )
        except CannotProbe as cannot:
            self.fail(cannot.result)
            return
        try:
            opened.connect(prepared.destination)
            opened.send(self._exchange.payload)
        except OSError as error:
            self.fail(our_failure("send", error))
            return
        self.engine.put(self, Instant(self.started + prepared.settings.timeout))
        self.engine.watch(opened.fileno(), self)

    def release(self) -> None:
        opened, self._socket = self._socket, None
        if opened is not None:
            self.engine.unwatch(opened.fileno())
            opened.close()

    def timed_out(self) -> Verdict:
        return self._exchange.silence()

    def on_event(self, mask: int) -> None:
        while (opened := self._socket) is not None and self._reads < _READS_PER_PROBE:
            try:
                data = opened.recv(_READ_SIZE)
            except BlockingIOError:
                return
            except OSError as error:
                self.fail(their_failure("reply", error.errno or 0))
                return
            self._reads += 1
            verdict = self._exchange.received(data)
            if verdict is not None:
                self.conclude(verdict)
