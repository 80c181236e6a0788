"""One probe watched from the side: what was said and heard, and when."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from lvsha.checker.probes.dialogue import (
    Datagram,
    DatagramQuestion,
    Dialogue,
    Question,
    Step,
    Verdict,
)
from lvsha.io.probes.prepare import Prepared

ENTRIES_LIMIT = 100
BYTES_LIMIT = 4096
"""Of each entry; the rest is counted only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """One entry of the record."""

    at: int
    """Nanoseconds since the probe began."""
    what: str
    """``sent``, ``received``, ``connected``, ``starttls``, ``redirected`` or ``closed``."""
    data: bytes = b""
    size: int = 0


class Recorder:
    """Keeps the first ``ENTRIES_LIMIT`` things that happen."""

    def __init__(self) -> None:
        self._began = time.monotonic_ns()
        self.entries: list[Heard] = []

    def note(self, what: str, data: bytes = b"") -> None:
        if len(self.entries) < ENTRIES_LIMIT:
            at = time.monotonic_ns() - self._began
            self.entries.append(Heard(at=at, what=what, data=data[:BYTES_LIMIT], size=len(data)))

    def listen(self, prepared: Prepared) -> Prepared:
        """Stand between the check and its connection; the probe begins now."""
        self._began = time.monotonic_ns()
        if prepared.question is not None:
            prepared.question = _Question(prepared.question, self.note)
            prepared.quick = None
        if prepared.datagrams is not None:
            prepared.datagrams = _DatagramQuestion(prepared.datagrams, self.note)
        return prepared


Note = Callable[..., None]


class _Question:
    def __init__(self, inner: Question, note: Note) -> None:
        self._inner = inner
        self._note = note

    def begin(self) -> Dialogue:
        return _Dialogue(self._inner.begin(), self._note)


class _Dialogue:
    def __init__(self, inner: Dialogue, note: Note) -> None:
        self._inner = inner
        self._note = note

    @property
    def phase(self) -> str:
        return self._inner.phase

    def connected(self) -> Step:
        self._note("connected")
        return self._step(self._inner.connected())

    def received(self, data: bytes) -> Step:
        self._note("received", data)
        return self._step(self._inner.received(data))

    def closed(self) -> Verdict:
        self._note("closed")
        return self._inner.closed()

    def _step(self, step: Step) -> Step:
        if step.send:
            self._note("sent", step.send)
        if step.start_tls:
            self._note("starttls")
        if step.reconnect:
            self._note("redirected")
        return step


class _DatagramQuestion:
    def __init__(self, inner: DatagramQuestion, note: Note) -> None:
        self._inner = inner
        self._note = note

    def begin(self, token: int) -> Datagram:
        exchange = self._inner.begin(token)
        self._note("sent", exchange.payload)
        return _Datagram(exchange, self._note)


class _Datagram:
    def __init__(self, inner: Datagram, note: Note) -> None:
        self._inner = inner
        self._note = note

    @property
    def payload(self) -> bytes:
        return self._inner.payload

    def received(self, data: bytes) -> Verdict | None:
        self._note("received", data)
        return self._inner.received(data)

    def silence(self) -> Verdict:
        return self._inner.silence()
