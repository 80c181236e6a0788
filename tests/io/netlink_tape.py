"""A netlink endpoint that plays back what a kernel said, and one that records it.

``proto/netlink/*.json``: steps, each with the exchanges it made: one request
(what one ``send`` carried) and the datagrams that answered. The player insists
on the very bytes of each request, so the vectors hold both directions of the codec.
"""

import json
from _socket import socket
from collections import deque
from pathlib import Path
from typing import Any, cast

VECTORS = Path(__file__).resolve().parents[2] / "proto" / "netlink"

Exchange = tuple[bytes, list[bytes]]


class Player:
    """Stands in for a socket."""

    def __init__(self, exchanges: list[Exchange]) -> None:
        self._exchanges = deque(exchanges)
        self._waiting: deque[bytes] = deque()

    def as_socket(self) -> socket:
        return cast(socket, self)

    def send(self, data: bytes) -> int:
        assert self._exchanges, f"a request that nobody recorded: {data.hex()}"
        request, replies = self._exchanges.popleft()
        assert data.hex() == request.hex()
        self._waiting.extend(replies)
        return len(data)

    def recv(self, size: int, flags: int = 0) -> bytes:
        if not self._waiting:
            raise BlockingIOError(11, "Resource temporarily unavailable")
        return self._waiting.popleft()

    @property
    def is_finished(self) -> bool:
        return not self._exchanges and not self._waiting

    def getsockopt(self, level: int, option: int) -> int:
        return 4 * 1024 * 1024

    def setsockopt(self, *arguments: Any) -> None:
        pass

    def bind(self, address: object) -> None:
        pass

    def setblocking(self, blocking: bool) -> None:
        pass

    def fileno(self) -> int:
        return 99

    def close(self) -> None:
        pass


class Recorder:
    """Stands before a socket and writes down what passes."""

    def __init__(self, endpoint: socket) -> None:
        self._socket = endpoint
        self.exchanges: list[Exchange] = []

    def as_socket(self) -> socket:
        return cast(socket, self)

    def send(self, data: bytes) -> int:
        self.exchanges.append((data, []))
        return self._socket.send(data)

    def recv(self, size: int, flags: int = 0) -> bytes:
        data = self._socket.recv(size, flags)
        self.exchanges[-1][1].append(data)
        return data

    def __getattr__(self, name: str) -> Any:
        return getattr(self._socket, name)


def load(name: str) -> dict[str, list[Exchange]]:
    """The exchanges of each step, by the step's name."""
    document = json.loads((VECTORS / name).read_text(encoding="utf-8"))
    return {
        step["name"]: [
            (bytes.fromhex(exchange["request"]), [bytes.fromhex(reply) for reply in exchange["replies"]])
            for exchange in step["exchanges"]
        ]
        for step in document["steps"]
    }


def save(name: str, *, about: str, kernel: str, steps: dict[str, list[Exchange]]) -> None:
    """The inverse of ``load``."""
    document = {
        "about": about,
        "kernel": kernel,
        "steps": [
            {
                "name": step,
                "exchanges": [
                    {"request": request.hex(), "replies": [reply.hex() for reply in replies]}
                    for request, replies in exchanges
                ],
            }
            for step, exchanges in steps.items()
        ],
    }
    VECTORS.mkdir(exist_ok=True)
    (VECTORS / name).write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
