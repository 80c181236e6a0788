"""vrrpd's Unix socket: JSON objects, one a line, both ways.

vrrpd listens on ``vrrpd.sock``; directord is its usual client. Neither needs the
other to live: vrrpd keeps its last priorities while directord is away, and
directord connects again.

============  =========================================  ====================================
from          message                                    meaning
============  =========================================  ====================================
vrrpd         ``{"type": "status", "routers": [...]}``   on connect, on each change, on "get"
vrrpd         ``{"type": "event", ...}``                 a line of its journal
vrrpd         ``{"type": "releasing"}``                  a planned release waits for "ready"
vrrpd         ``{"type": "released"}``                   every address is given up
directord     ``{"type": "get"}``                        send a status
directord     ``{"type": "serving"}``                    services are in the kernel: take part
directord     ``{"type": "ready"}``                      the sync buffer is flushed: go on
directord     ``{"type": "priority", "offset": n}``      for ``router``, or for all
directord     ``{"type": "preempt", "allowed": b}``      no preemption before the connections are here
directord     ``{"type": "release" | "resume"}``         give the role up, take part again
============  =========================================  ====================================
"""

import json
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lvsha.core.errors import LvshaError
from lvsha.io.reactor import Reactor

_CLIENTS_MAX = 16
_LINE_MAX = 1 << 20
"""Bytes of one message, and of what may wait to be sent to one client."""

Message = dict[str, Any]


class SocketInUse(LvshaError):
    """Another agent answers on our socket."""


def encode(message: Message) -> bytes:
    return json.dumps(message, separators=(",", ":")).encode() + b"\n"


class LineBuffer:
    """Bytes in, messages out. What is not a JSON object is dropped."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[Message]:
        """Raises: ValueError when a line grows beyond the bound."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > _LINE_MAX:
            raise ValueError("a message is longer than 1 MiB")
        messages = []
        for line in lines:
            try:
                message = json.loads(line)
            except ValueError:
                continue
            if isinstance(message, dict):
                messages.append(message)
        return messages


def listen_unix(path: Path) -> socket.socket:
    """A listening socket at ``path``, mode 0660; a dead agent's leftover is replaced.

    Raises:
        SocketInUse: somebody answers there.
    """
    probe = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        probe.connect(str(path))
    except OSError:
        path.unlink(missing_ok=True)
    else:
        raise SocketInUse(
            f"another agent answers on {path}: stop it first, or give this one its own [agent] run_dir"
        )
    finally:
        probe.close()
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    listener.bind(str(path))
    os.chmod(path, 0o660)
    listener.listen(_CLIENTS_MAX)
    return listener


class IpcServer:
    """vrrpd's side, on the reactor. A client that does not read is let go, never waited for."""

    def __init__(
        self,
        reactor: Reactor,
        path: Path,
        *,
        on_connect: Callable[[], list[Message]],
        on_message: Callable[[Message], list[Message]],
    ) -> None:
        self._reactor = reactor
        self._path = path
        self._on_connect = on_connect
        self._on_message = on_message
        self._clients: dict[int, tuple[socket.socket, LineBuffer]] = {}
        self._listener = listen_unix(path)
        reactor.watch(self._listener.fileno(), self._accept)

    @property
    def has_clients(self) -> bool:
        return bool(self._clients)

    def broadcast(self, message: Message) -> None:
        data = encode(message)
        for fd in list(self._clients):
            self._send(fd, data)

    def close(self) -> None:
        for fd in list(self._clients):
            self._drop(fd)
        self._reactor.unwatch(self._listener.fileno())
        self._listener.close()
        self._path.unlink(missing_ok=True)

    def _accept(self) -> None:
        try:
            client, _ = self._listener.accept()
        except OSError:
            return  # it gave up between the event and now
        if len(self._clients) >= _CLIENTS_MAX:
            client.close()
            return
        client.setblocking(False)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _LINE_MAX)
        fd = client.fileno()
        self._clients[fd] = (client, LineBuffer())
        self._reactor.watch(fd, lambda: self._read(fd))
        for message in self._on_connect():
            self._send(fd, encode(message))

    def _read(self, fd: int) -> None:
        client, buffer = self._clients[fd]
        try:
            data = client.recv(1 << 16)
            messages = buffer.feed(data)
        except (OSError, ValueError):
            data, messages = b"", []
        if not data:
            self._drop(fd)
            return
        for message in messages:
            for answer in self._on_message(message):
                self._send(fd, encode(answer))

    def _send(self, fd: int, data: bytes) -> None:
        entry = self._clients.get(fd)
        if entry is None:
            return
        try:
            sent = entry[0].send(data)
        except OSError:
            sent = 0
        if sent < len(data):
            self._drop(fd)

    def _drop(self, fd: int) -> None:
        entry = self._clients.pop(fd, None)
        if entry is not None:
            self._reactor.unwatch(fd)
            entry[0].close()
