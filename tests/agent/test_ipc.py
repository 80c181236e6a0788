"""vrrpd's socket."""

import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from lvsha.agent.ipc import IpcServer, LineBuffer, Message, SocketInUse, encode, listen_unix
from lvsha.core.instant import Instant
from lvsha.io.reactor import Reactor


class Rig:
    """A server on its reactor, run until a callback stops it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.heard: list[Message] = []
        self.reactor = Reactor(lambda: None, lambda _now: None)
        self.server = IpcServer(
            self.reactor, path, on_connect=lambda: [{"type": "status"}], on_message=self._hear
        )

    def _hear(self, message: Message) -> list[Message]:
        self.heard.append(message)
        self.reactor.stop()
        return [{"type": "answer"}]

    def client(self) -> socket.socket:
        client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        client.settimeout(5)
        client.connect(str(self.path))
        return client


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    rig = Rig(tmp_path / "vrrpd.sock")
    yield rig
    rig.server.close()
    rig.reactor.close()


def test_a_client_gets_the_status_and_an_answer(rig: Rig) -> None:
    with rig.client() as client:
        client.sendall(encode({"type": "get"}))
        rig.reactor.run()

        received = client.recv(4096)

    assert rig.heard == [{"type": "get"}]
    assert [json.loads(line)["type"] for line in received.splitlines()] == ["status", "answer"]


def test_only_owner_and_group_may_open_the_socket(rig: Rig) -> None:
    assert os.stat(rig.path).st_mode & 0o777 == 0o660


def test_a_second_agent_is_refused_and_the_first_stays(rig: Rig) -> None:
    with pytest.raises(SocketInUse, match="stop it first"):
        listen_unix(rig.path)

    assert rig.path.exists()


def test_a_dead_agents_socket_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "vrrpd.sock"
    listen_unix(path).close()

    listen_unix(path).close()


def test_a_client_that_does_not_read_is_let_go(rig: Rig) -> None:
    with rig.client() as lazy, rig.client() as eager:
        eager.sendall(encode({"type": "get"}))
        rig.reactor.run()
        before = rig.server.has_clients

        for _ in range(200):
            rig.server.broadcast({"type": "event", "padding": "x" * 100_000})

        assert (before, rig.server.has_clients) == (True, False)
        assert lazy.fileno() >= 0


def test_what_is_not_a_json_object_is_dropped() -> None:
    buffer = LineBuffer()

    assert buffer.feed(b'nonsense\n[1]\n{"type":"g') == []
    assert buffer.feed(b'et"}\n') == [{"type": "get"}]


def test_a_line_without_an_end_is_refused() -> None:
    buffer = LineBuffer()

    with pytest.raises(ValueError, match="1 MiB"):
        buffer.feed(b"x" * 2_000_000)


def test_deadlines_come_after_descriptors() -> None:
    """A late Backup reads its adverts before it may act on their absence."""
    order: list[str] = []
    read, write = os.pipe()

    def deadline() -> Instant | None:
        return Instant(1)  # long past

    def on_deadline(_now: Instant) -> None:
        order.append("deadline")
        reactor.stop()

    def on_readable() -> None:
        os.read(read, 1)
        order.append("read")

    reactor = Reactor(deadline, on_deadline)
    reactor.watch(read, on_readable)
    os.write(write, b"abc")

    reactor.run()

    assert order == ["read", "read", "read", "deadline"]
    reactor.close()
    os.close(read)
    os.close(write)
