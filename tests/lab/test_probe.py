"""The client counts who lives and names what the others died of; over loop-back."""

import os
import socket
import struct
import threading
from collections.abc import Iterator

import pytest

from lvsha.lab.probe import QUESTION, RETRY, Connection, Connections, ask_again


class Server:
    """Echoes as a realserver does, and can be told to misbehave towards a connection."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.connections: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.connections.append(connection)
            threading.Thread(target=self._echo, args=(connection,), daemon=True).start()

    @staticmethod
    def _echo(connection: socket.socket) -> None:
        try:
            while line := connection.recv(256):
                connection.send(b"rs1 " + line)
        except OSError:
            return

    def reset(self, index: int) -> None:
        connection = self.connections[index]
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.shutdown(socket.SHUT_RD)  # wakes the thread that reads from it
        connection.close()

    def end(self, index: int) -> None:
        self.connections[index].shutdown(socket.SHUT_RDWR)


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    yield running
    running.listener.close()
    for connection in running.connections:
        connection.close()


def opened(server: Server, count: int) -> Connections:
    connections = Connections()
    answer = connections.open("127.0.0.1", server.port, count, rounds=2, timeout_s=5.0)
    assert answer == {"opened": count, "servers": {"rs1": count}, "errors": {}}
    return connections


def close(connections: Connections) -> None:
    for connection in connections.all:
        connection.sock.close()


def test_all_survive_where_nothing_happens(server: Server) -> None:
    connections = opened(server, 3)

    count = connections.check(timeout_s=5.0)

    close(connections)
    assert (count["established"], count["survived"], count["died"]) == (3, 3, {})
    assert count["by_server"] == {"rs1": {"established": 3, "survived": 3}}


def test_the_dead_are_counted_by_what_they_died_of(server: Server) -> None:
    connections = opened(server, 4)
    server.reset(1)
    server.end(2)

    count = connections.check(timeout_s=5.0)

    close(connections)
    assert (count["established"], count["survived"]) == (4, 2)
    assert count["died"] == {"ECONNRESET": 1, "EOF": 1}


def test_a_dead_connection_stays_dead_until_it_is_forgotten(server: Server) -> None:
    connections = opened(server, 2)
    server.end(0)
    connections.check(timeout_s=5.0)

    assert connections.check(timeout_s=5.0)["survived"] == 1
    assert connections.forget_dead() == {"forgotten": 1}
    assert connections.count()["established"] == 1
    close(connections)


def test_nobody_there_is_an_error_by_name() -> None:
    with socket.create_server(("127.0.0.1", 0)) as placeholder:
        port = placeholder.getsockname()[1]

    answer = Connections().open("127.0.0.1", port, 2, rounds=1, timeout_s=5.0)

    assert answer == {"opened": 0, "servers": {}, "errors": {"ECONNREFUSED": 2}}


def test_a_connection_that_has_said_nothing_yet_may_be_answered_by_anybody(server: Server) -> None:
    connections = Connections()
    connections.open("127.0.0.1", server.port, 3, rounds=0, timeout_s=5.0)

    assert connections.check(5.0)["survived"] == 3
    close(connections)


def test_a_load_counts_what_it_opened_and_goes_on_with_it(server: Server) -> None:
    order, end = os.pipe()
    kept = os.dup(0)
    os.dup2(order, 0)
    threading.Timer(0.2, lambda: os.write(end, b"{}\n")).start()
    try:
        connections = Connections()
        answer = connections.load("127.0.0.1", server.port, 100)
    finally:
        os.dup2(kept, 0)
        for fd in (kept, order, end):
            os.close(fd)

    assert answer["opened"] == answer["tried"] > 5
    assert (answer["errors"], answer["unanswered"]) == ({}, 0)
    assert connections.check(5.0)["survived"] == answer["opened"]
    close(connections)


def test_udp_flows_come_from_each_source_in_turn() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        sources = ["127.0.0.2", "127.0.0.3"]
        connections = Connections()

        answer = connections.open(
            "127.0.0.1", server.getsockname()[1], 4, 0, timeout_s=5.0, sources=sources, protocol="udp"
        )

        assert answer["opened"] == 4
        assert [each.sock.getsockname()[0] for each in connections.all] == sources * 2
        close(connections)


def test_a_question_without_an_answer_is_asked_again_once_a_second() -> None:
    here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    there.setblocking(False)
    waiting = Connection(here)

    ask_again([waiting], waiting.opened_at + RETRY - 1)
    ask_again([waiting], waiting.opened_at + RETRY)
    ask_again([waiting], waiting.opened_at + 2 * RETRY - 1)

    assert there.recv(16) == QUESTION
    with pytest.raises(BlockingIOError):
        there.recv(16)
    here.close()
    there.close()
