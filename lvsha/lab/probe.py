"""The client: connections that must survive, and a heartbeat that measures silence.

Both are driven by JSON lines on stdin and answer each with one on stdout. Instants are CLOCK_MONOTONIC
nanoseconds.

``connections``: each is opened through the VIP and makes a few echo round trips before the next is opened;
``check`` makes one more round trip on all of them and counts who answers, and how the others died.
``heartbeat``: one numbered UDP datagram every 2 ms on each flow, whose echoes are timed; silence is the time
between two echoes, and a number that never comes back is a beat lost.
"""

import contextlib
import errno
import json
import random
import resource
import select
import socket
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

MILLISECOND = 1_000_000

QUESTION = b"0\n"
"""Of a connection of the load."""

RETRY = 1_000 * MILLISECOND
"""Nanoseconds."""

LAST_ECHOES_S = 0.3
"""How long a stopped heartbeat waits for what is still under way."""

# Connections


class Connection:
    """One TCP connection, or UDP flow, and who answers it."""

    __slots__ = ("error", "opened_at", "server", "sock", "spoke_at")

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.opened_at = time.monotonic_ns()
        self.spoke_at = self.opened_at
        self.server = ""
        self.error = ""
        """Name of the errno that it died of; empty while it lives."""


class Connections:
    """All connections of a run."""

    def __init__(self) -> None:
        self.all: list[Connection] = []
        self.sequence = 0

    def open(
        self,
        address: str,
        port: int,
        count: int,
        rounds: int,
        timeout_s: float,
        sources: Sequence[str] = (),
        protocol: str = "tcp",
    ) -> dict[str, Any]:
        """Open ``count`` connections one after another; each makes ``rounds`` round trips at once.

        From the addresses ``sources`` in turn, if there are any.
        """
        errors: Counter[str] = Counter()
        servers: Counter[str] = Counter()
        many_files(len(self.all) + count)
        for number in range(count):
            connection = Connection(new_socket(address, protocol, sources, number))
            try:
                connection.sock.settimeout(timeout_s)
                connection.sock.connect((address, port))
                connection.opened_at = time.monotonic_ns()
                for _ in range(rounds):
                    self.sequence += 1
                    connection.sock.send(b"%d\n" % self.sequence)
                    connection.server = connection.sock.recv(256).partition(b" ")[0].decode()
            except OSError as error:
                errors[error_name(error)] += 1
                connection.sock.close()
                continue
            connection.sock.setblocking(False)
            servers[connection.server] += 1
            self.all.append(connection)
        return {"opened": sum(servers.values()), "servers": servers, "errors": errors}

    def load(
        self, address: str, port: int, rate: float, sources: Sequence[str] = (), protocol: str = "tcp"
    ) -> dict[str, Any]:
        """Open ``rate`` connections a second until the next order comes; each makes one round trip.

        Counted is what the client sees: ``unanswered`` of those that it believes established, and how long
        the slowest answer took. A UDP question without an answer is asked again after a second, as TCP does
        with a SYN.
        """
        many_files(20_000)
        poll = select.poll()
        poll.register(0, select.POLLIN)
        pending: dict[int, Connection] = {}
        errors: Counter[str] = Counter()
        interval = round(1e9 / rate)
        began = due = time.monotonic_ns()
        slowest, end, opened = 0, None, 0
        while (now := time.monotonic_ns()) < (end or now + 1) and (pending or end is None):
            if end is None and now >= due:
                due = max(due + interval, now - MILLISECOND * 100)
                sock = new_socket(address, protocol, sources, opened)
                opened += 1
                sock.setblocking(False)
                sock.connect_ex((address, port))
                pending[sock.fileno()] = Connection(sock)
                poll.register(sock, select.POLLOUT)
                continue
            if protocol == "udp":
                ask_again(pending.values(), now)
            wait = (due if end is None else min(end, now + RETRY // 4)) - now
            for fd, event in poll.poll(max(0, -(-wait // MILLISECOND))):
                if fd == 0:
                    poll.unregister(0)
                    end = time.monotonic_ns() + 3_000 * MILLISECOND
                    continue
                connection = pending[fd]
                try:
                    if event & select.POLLOUT:
                        connection.sock.send(QUESTION)
                        poll.modify(fd, select.POLLIN)
                        continue
                    connection.server = connection.sock.recv(256).partition(b" ")[0].decode()
                except OSError as error:
                    errors[error_name(error)] += 1
                    connection.sock.close()
                else:
                    slowest = max(slowest, time.monotonic_ns() - connection.opened_at)
                    self.all.append(connection)
                poll.unregister(fd)
                del pending[fd]
        took = (time.monotonic_ns() if end is None else end - 3_000 * MILLISECOND) - began
        return {
            "tried": opened,
            "opened": len(self.all),
            "errors": errors,
            "unanswered": len(pending),
            "slowest_ms": round(slowest / MILLISECOND, 1),
            "rate": round(opened / (took / 1e9), 1),
        }

    def check(self, timeout_s: float) -> dict[str, Any]:
        """One more round trip on every living connection."""
        self.sequence += 1
        question = b"%d\n" % self.sequence
        waiting: dict[int, Connection] = {}
        poll = select.poll()
        # In another order than they were opened in: a scheduler that begins anew must not be right by chance.
        for connection in random.Random(self.sequence).sample(self.all, len(self.all)):
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
                    elif connection.server and not answer.startswith(connection.server.encode() + b" "):
                        connection.error = "MOVED"  # a datagram that another realserver has answered
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

    def by_age(self, at: int, ages_ms: list[float]) -> dict[str, Any]:
        """Established and survived, of the connections that were so old at an instant: up to each age."""
        rows = []
        for least, most in zip([float("-inf"), *ages_ms], [*ages_ms, float("inf")], strict=True):
            old = [c for c in self.all if least <= (at - c.opened_at) / MILLISECOND < most]
            lived = sum(not connection.error for connection in old)
            rows.append({"established": len(old), "survived": lived})
        lost = [(at - connection.opened_at) / MILLISECOND for connection in self.all if connection.error]
        return {"rows": rows, "oldest_lost_ms": round(max(lost), 3) if lost else None}

    def forget_dead(self) -> dict[str, Any]:
        """Close the dead ones, as a client does before it tries again."""
        dead = [connection for connection in self.all if connection.error]
        for connection in dead:
            connection.sock.close()
        self.all = [connection for connection in self.all if not connection.error]
        return {"forgotten": len(dead)}


def many_files(count: int) -> None:
    """Let this process have so many sockets, where it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count + 4096
    if soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, max(hard, wanted)))


def new_socket(address: str, protocol: str, sources: Sequence[str], number: int) -> socket.socket:
    """For the ``number``-th connection to an address, from one of our addresses in turn."""
    kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
    sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, kind)
    if protocol == "tcp":
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if sources:
        sock.bind((sources[number % len(sources)], 0))
    return sock


def ask_again(waiting: Iterable[Connection], now: int) -> None:
    """The question once more on each UDP flow that waits for its answer since ``RETRY``."""
    for connection in waiting:
        if now - connection.spoke_at >= RETRY:
            connection.spoke_at = now
            with contextlib.suppress(OSError):  # no answer in the end says it
                connection.sock.send(QUESTION)


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
        self.beats: list[int] = []
        """When each was sent, by its number."""
        self.back: set[int] = set()
        """The numbers that came back."""
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

    def beat(self, now: int) -> None:
        """Send the next one."""
        self.next = max(self.next + self.interval, now)
        number = len(self.beats)
        self.beats.append(now)
        with contextlib.suppress(OSError):  # nobody at home just now; silence says so
            self.sock.send(b"%d" % number)

    def hear(self, clock: Callable[[], int]) -> None:
        """Take one echo: the realserver's name, a space and the number."""
        try:
            data = self.sock.recv(256)
        except OSError:
            return  # an ICMP error came back: not an echo
        self.echoes.append(clock())
        self.back.add(int(data.rpartition(b" ")[2]))


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
    end: int | None = None
    stopped_at = 0
    while end is None or clock() < end:
        now = clock()
        wait = 1_000 * MILLISECOND if end is None else end - now
        for flow in flows if end is None else ():
            if now >= flow.next:
                flow.beat(now)
            wait = min(wait, flow.next - now)
        for fd, _ in poll.poll(max(0, -(-wait // MILLISECOND))):
            if fd in by_fd:
                by_fd[fd].hear(clock)
            else:
                poll.unregister(fd)
                stopped_at = clock()
                end = stopped_at + round(LAST_ECHOES_S * 1000) * MILLISECOND
    print(json.dumps(report(flows, stopped_at)), flush=True)


def report(flows: list[Flow], stopped_at: int) -> dict[str, Any]:
    rows = [
        {
            "address": flow.address,
            "sent": len(flow.beats),
            "lost": [at for number, at in enumerate(flow.beats) if number not in flow.back],
            "echoes": [at for at in flow.echoes if at <= stopped_at],
        }
        for flow in flows
    ]
    return {"at": stopped_at, "flows": rows}
