"""The client: connections that must survive, and a heartbeat that measures silence.

Both are driven by JSON lines on stdin and answer each with one on stdout. Instants are CLOCK_MONOTONIC
nanoseconds.

``connections``: each is opened through the VIP and makes a few echo round trips before the next is opened;
``check`` makes one more round trip on all of them and counts who answers, and how the others died.
``heartbeat``: one UDP datagram every 2 ms on each flow, whose echoes are timed; silence is the time between
two echoes.
"""

import contextlib
import errno
import json
import select
import socket
import sys
import time
from collections import Counter
from typing import Any

MILLISECOND = 1_000_000

# Connections


class Connection:
    """One TCP connection and who answers it."""

    __slots__ = ("error", "server", "sock")

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.server = ""
        self.error = ""
        """Name of the errno that it died of; empty while it lives."""


class Connections:
    """All connections of a run."""

    def __init__(self) -> None:
        self.all: list[Connection] = []
        self.sequence = 0

    def open(self, address: str, port: int, count: int, rounds: int, timeout_s: float) -> dict[str, Any]:
        """Open ``count`` connections one after another; each makes ``rounds`` round trips at once."""
        errors: Counter[str] = Counter()
        servers: Counter[str] = Counter()
        for _ in range(count):
            try:
                connection = Connection(socket.create_connection((address, port), timeout_s))
                connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                for _ in range(rounds):
                    self.sequence += 1
                    connection.sock.send(b"%d\n" % self.sequence)
                    connection.server = connection.sock.recv(256).partition(b" ")[0].decode()
            except OSError as error:
                errors[error_name(error)] += 1
                continue
            connection.sock.setblocking(False)
            servers[connection.server] += 1
            self.all.append(connection)
        return {"opened": sum(servers.values()), "servers": servers, "errors": errors}

    def check(self, timeout_s: float) -> dict[str, Any]:
        """One more round trip on every living connection."""
        self.sequence += 1
        question = b"%d\n" % self.sequence
        waiting: dict[int, Connection] = {}
        poll = select.poll()
        for connection in self.all:
            if connection.error:
                continue
            try:
                connection.sock.send(question)
            except OSError as error:
                connection.error = error_name(error)
                continue
            waiting[connection.sock.fileno()] = connection
            poll.register(connection.sock, select.POLLIN)
        end = time.monotonic() + timeout_s
        while waiting and (left := end - time.monotonic()) > 0:
            for fd, _ in poll.poll(left * 1000):
                connection = waiting[fd]
                try:
                    answer = connection.sock.recv(4096)
                    if not answer:
                        connection.error = "EOF"
                    elif not answer.endswith(b" " + question):
                        continue  # the answer to an older question, delivered late
                except OSError as error:
                    connection.error = error_name(error)
                poll.unregister(fd)
                del waiting[fd]
        for connection in waiting.values():
            connection.error = "ETIMEDOUT"
        return self.count()

    def count(self) -> dict[str, Any]:
        """Who lives and who died of what, in all and by realserver."""
        by_server: dict[str, dict[str, int]] = {}
        for connection in self.all:
            row = by_server.setdefault(connection.server, {"established": 0, "survived": 0})
            row["established"] += 1
            row["survived"] += not connection.error
        return {
            "established": len(self.all),
            "survived": sum(not connection.error for connection in self.all),
            "died": Counter(connection.error for connection in self.all if connection.error),
            "by_server": by_server,
        }

    def forget_dead(self) -> dict[str, Any]:
        """Close the dead ones, as a client does before it tries again."""
        dead = [connection for connection in self.all if connection.error]
        for connection in dead:
            connection.sock.close()
        self.all = [connection for connection in self.all if not connection.error]
        return {"forgotten": len(dead)}


def error_name(error: OSError) -> str:
    """``ECONNRESET``; a time-out has no errno of its own in Python."""
    if isinstance(error, TimeoutError):
        return "ETIMEDOUT"
    return errno.errorcode.get(error.errno or 0, type(error).__name__)


def drive_connections() -> None:
    """Obey orders like ``{"do": "open", "address": ..., ...}`` until stdin ends."""
    connections = Connections()
    for line in sys.stdin:
        order = json.loads(line)
        verb = order.pop("do")
        answer = getattr(connections, verb)(**order)
        print(json.dumps(answer | {"at": time.monotonic_ns()}), flush=True)


# Heartbeat


class Flow:
    """One UDP flow through a VIP, and the times of its echoes."""

    def __init__(self, address: str, port: int, avoid: str, interval_ms: float) -> None:
        self.address = address
        self.interval = round(interval_ms * MILLISECOND)
        self.next = time.monotonic_ns()
        self.echoes: list[int] = []
        self.sent = 0
        self.sock = self._connect(address, port, avoid.encode())

    @staticmethod
    def _connect(address: str, port: int, avoid: bytes) -> socket.socket:
        """A flow stays on one realserver; take one that is not on ``avoid``, which is going to die."""
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        for _ in range(8):
            sock = socket.socket(family, socket.SOCK_DGRAM)
            sock.connect((address, port))
            sock.settimeout(1.0)
            sock.send(b"hello")
            server = sock.recv(256).partition(b" ")[0]
            if not avoid or server != avoid:
                sock.setblocking(False)
                return sock
            sock.close()
        raise RuntimeError(f"every flow to {address} ends on {avoid.decode()}")


def drive_heartbeat() -> None:
    """Take one line (``flows``: pairs of address and interval in ms), beat until the next line, report."""
    order = json.loads(sys.stdin.readline())
    flows = [Flow(address, order["port"], order["avoid"], ms) for address, ms in order["flows"]]
    by_fd = {flow.sock.fileno(): flow for flow in flows}
    poll = select.poll()
    poll.register(sys.stdin, select.POLLIN)
    for fd in by_fd:
        poll.register(fd, select.POLLIN)
    print(json.dumps({"at": time.monotonic_ns()}), flush=True)

    clock = time.monotonic_ns
    datagram = b"beat"
    while True:
        now = clock()
        wait = 1_000 * MILLISECOND
        for flow in flows:
            if now >= flow.next:
                flow.next = max(flow.next + flow.interval, now)
                flow.sent += 1
                with contextlib.suppress(OSError):  # nobody at home just now; silence says so
                    flow.sock.send(datagram)
            wait = min(wait, flow.next - now)
        for fd, _ in poll.poll(-(-wait // MILLISECOND)):
            if fd not in by_fd:
                print(json.dumps(report(flows)), flush=True)
                return
            flow = by_fd[fd]
            try:
                flow.sock.recv(256)
            except OSError:
                continue  # an ICMP error came back: not an echo
            flow.echoes.append(clock())


def report(flows: list[Flow]) -> dict[str, Any]:
    now = time.monotonic_ns()
    rows = [{"address": flow.address, "sent": flow.sent, "echoes": flow.echoes} for flow in flows]
    return {"at": now, "flows": rows}
