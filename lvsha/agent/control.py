"""The line between the supervisor and its two workers: a private socket pair.

Both ends were forked from one process and nobody else can reach it, so records
travel as they are (pickle). Supervisor to worker: ``reload`` with the new
settings, ``stop``, ``said`` with a line of its journal, and to a spare ``go`` with
the settings to work by. Worker to supervisor: ``ready``, ``alive``; a spare's ``warm``.

Both ends know the settings that passed last (at first: those they were forked
with). A service that is the same object as there travels as its number, and is
the same object there: a reload of thousands of services costs what changed.
"""

import io
import pickle
import select
import socket
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lvsha.config.settings import ServiceSettings, Settings

_LENGTH = struct.Struct("!I")


@dataclass(frozen=True, slots=True)
class ControlMessage:
    kind: str
    """``go``, ``reload``, ``stop``, ``said``, ``ready``, ``alive`` or ``warm``."""
    payload: Any = None


class _Pickler(pickle.Pickler):
    def __init__(self, file: io.BytesIO, settings: Settings | None) -> None:
        super().__init__(file, pickle.HIGHEST_PROTOCOL)
        services = settings.services if settings is not None else ()
        self._known = {id(service): number for number, service in enumerate(services)}

    def persistent_id(self, record: Any) -> int | None:
        return self._known.get(id(record)) if type(record) is ServiceSettings else None


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, settings: Settings | None) -> None:
        super().__init__(file)
        self._settings = settings

    def persistent_load(self, number: int) -> ServiceSettings:
        assert self._settings is not None, "only what both ends know travels as a number"
        return self._settings.services[number]


def code_stamp() -> str:
    """Which version of lvsha lies on the disk: two processes that agree can exchange records."""
    package = Path(__file__).parents[1]
    return str(max(file.stat().st_mtime_ns for file in package.rglob("*.py")))


def await_go(control: "ControlEnd") -> Settings | None:
    """A spare waits; the settings to work by, or None: it is not needed any more."""
    poller = select.poll()
    poller.register(control, select.POLLIN)
    settings: Settings | None = None
    while settings is None and not control.closed:
        poller.poll()
        for message in control.receive():
            if message.kind == "stop":
                return None
            if message.kind == "said":
                continue
            settings = message.payload  # go, and perhaps a reload right behind it
    return settings


class ControlEnd:
    """One end. Non-blocking to read, blocking (briefly) to write."""

    def __init__(self, sock: socket.socket, settings: Settings | None = None) -> None:
        """``settings``: what the other end has as well."""
        self._socket = sock
        self._settings = settings
        self._buffer = b""
        self.closed = False
        """The other end is gone."""

    @classmethod
    def pair(cls, settings: Settings | None = None) -> "tuple[ControlEnd, ControlEnd]":
        """Both ends, before the fork; ``settings``: what both processes will begin with."""
        left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        return cls(left, settings), cls(right, settings)

    def fileno(self) -> int:
        return self._socket.fileno()

    def send(self, kind: str, payload: Any = None) -> None:
        buffer = io.BytesIO()
        _Pickler(buffer, self._settings).dump(ControlMessage(kind, payload))
        data = buffer.getvalue()
        if isinstance(payload, Settings):
            self._settings = payload
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
            message = io.BytesIO(self._buffer[_LENGTH.size : _LENGTH.size + length])
            messages.append(_Unpickler(message, self._settings).load())
            if isinstance(messages[-1].payload, Settings):
                self._settings = messages[-1].payload
            self._buffer = self._buffer[_LENGTH.size + length :]
        return messages

    def close(self) -> None:
        self._socket.close()
