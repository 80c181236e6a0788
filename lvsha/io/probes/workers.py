"""Probes made by processes of their own, behind the same face as ``ProbeRunner``.

For directors with so many checks that one core is not enough. The machines stay here;
only the asking is elsewhere, so a worker that dies takes no verdict with it. A target
always belongs to the same worker (by its address), each request carries a number of its
own and an answer to an older one is dropped.

A worker that dies is started again, at once the first time and then after a growing
pause, and asked again whatever it had not answered. Meanwhile nothing is failed: the
check's own guard counts a probe that never comes back as one that says nothing.
"""

import asyncio
import marshal
import pickle
import socket
import subprocess
import sys
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import Any

from lvsha.checker.result import ProbeResult, Reason, Timings
from lvsha.checker.settings import CheckSettings
from lvsha.core.machine import Event, Output
from lvsha.io.probes.engine import Done
from lvsha.io.probes.outbox import Outbox
from lvsha.io.probes.worker import CANCEL, COMMANDS_PER_MESSAGE, DEFINE, MESSAGE_LIMIT, START

_RECEIVE_SIZE = 1 << 20
_BUFFER = 1 << 20
_FIRST_PAUSE_S = 0.2
_LONGEST_PAUSE_S = 10.0
_STEADY_S = 30.0
"""Who lived so long begins again without a pause."""
_LEAVE_S = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckWorkerEnded(Event):
    """A process that makes probes has ended by itself; another one takes its place."""

    worker: int
    status: int
    """Below zero: by that signal."""
    in_flight: int
    """Probes that will be asked again."""


class _Asked:
    """A check as its worker knows it."""

    __slots__ = ("check_id", "done", "is_plain", "number", "pickled", "sequence", "settings", "worker")

    def __init__(self, check_id: str, settings: CheckSettings, number: int, worker: "_Process") -> None:
        self.check_id = check_id
        self.settings = settings
        self.number = number
        self.worker = worker
        self.pickled = pickle.dumps(settings)
        self.sequence = 0
        """Of the request in flight; 0: none is."""
        self.is_plain = False
        self.done: Done | None = None


class ProbeWorkers:
    """Runs probes in ``processes`` others. ``on_event`` hears of their lateness and their ends."""

    def __init__(self, processes: int, on_event: Callable[[Output], None] | None = None) -> None:
        self._on_event = on_event
        self._numbers = count(1)
        self._sequences = count(1)
        self._by_id: dict[str, _Asked] = {}
        self._by_number: dict[int, _Asked] = {}
        self._is_closed = False
        self._processes = [_Process(index, self) for index in range(processes)]

    def __len__(self) -> int:
        """Probes in flight."""
        return sum(1 for asked in self._by_id.values() if asked.sequence)

    @property
    def pids(self) -> list[int]:
        """Of the processes that live."""
        return [each.process.pid for each in self._processes if each.process is not None]

    def start(self, check_id: str, settings: CheckSettings, done: Done, *, is_plain: bool = False) -> None:
        """As ``ProbeRunner.start``."""
        assert not self._is_closed, "closed workers start nothing"
        asked = self._by_id.get(check_id)
        if asked is None or asked.settings is not settings:
            if asked is not None:
                self.cancel(check_id)
            index = zlib.crc32(settings.address.packed) % len(self._processes)
            asked = _Asked(check_id, settings, next(self._numbers), self._processes[index])
            self._by_id[check_id] = self._by_number[asked.number] = asked
            asked.worker.order((DEFINE, asked.number, asked.pickled))
        asked.sequence = next(self._sequences)
        asked.done = done
        asked.is_plain = is_plain
        asked.worker.order((START, asked.number, asked.sequence, is_plain))

    def cancel(self, check_id: str) -> None:
        """As ``ProbeRunner.cancel``."""
        asked = self._by_id.pop(check_id, None)
        if asked is not None:
            del self._by_number[asked.number]
            asked.worker.order((CANCEL, asked.number))

    def close(self) -> None:
        """Let the workers go; they end by themselves when their socket does."""
        if self._is_closed:
            return
        self._is_closed = True
        for each in self._processes:
            each.close()
        self._by_id.clear()
        self._by_number.clear()

    # For the processes

    def of(self, worker: "_Process") -> list[_Asked]:
        return [asked for asked in self._by_id.values() if asked.worker is worker]

    def report(self, event: Output) -> None:
        if self._on_event is not None:
            self._on_event(event)

    def take(self, results: list[tuple[Any, ...]]) -> None:
        """Results of a worker. Callbacks may start and cancel probes."""
        by_number = self._by_number
        for number, sequence, detail, lag, total, connected, tls, first_byte, *more in results:
            asked = by_number.get(number)
            if asked is None or asked.sequence != sequence:
                continue  # cancelled, or asked again since
            asked.sequence = 0
            timings = Timings(total, connected, tls, first_byte)
            if more:
                ok, reason, ours, weight, percent, warning = more
                result = ProbeResult(ok, Reason(reason), detail, timings, ours, lag, weight, percent, warning)
            else:
                result = ProbeResult(True, Reason.OK, detail, timings, False, lag)
            done, asked.done = asked.done, None
            assert done is not None, "whoever was asked has somebody to tell"
            done(asked.check_id, result)


class _Process:
    """One worker and the way to it."""

    def __init__(self, index: int, owner: ProbeWorkers) -> None:
        self._index = index
        self._owner = owner
        self._loop = asyncio.get_running_loop()
        self._orders: list[tuple[object, ...]] = []
        self._flush_due = False
        self._pause_s = 0.0
        self._again: asyncio.TimerHandle | None = None
        self._socket: socket.socket | None = None
        self._outbox: Outbox | None = None
        self.process: subprocess.Popen[bytes] | None = None
        self._began = 0.0
        self._start()

    def order(self, command: tuple[object, ...]) -> None:
        """Tell the worker, with whatever else is ordered in this turn of the loop."""
        if self._socket is None:
            return  # whoever takes its place is told everything
        self._orders.append(command)
        if not self._flush_due:
            self._flush_due = True
            self._loop.call_soon(self._flush)

    def close(self) -> None:
        if self._again is not None:
            self._again.cancel()
        self._let_go()
        process, self.process = self.process, None
        if process is not None:
            try:
                process.wait(_LEAVE_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _start(self) -> None:
        self._again = None
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        for end in (ours, theirs):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER)
        ours.setblocking(False)
        command = [sys.executable, "-m", "lvsha.io.probes.worker", str(theirs.fileno())]
        self.process = subprocess.Popen(command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)
        theirs.close()
        self._socket = ours
        self._outbox = Outbox(self._loop, ours)
        self._began = self._loop.time()
        self._loop.add_reader(ours.fileno(), self._on_readable)
        for asked in self._owner.of(self):
            self.order((DEFINE, asked.number, asked.pickled))
            if asked.sequence:
                self.order((START, asked.number, asked.sequence, asked.is_plain))

    def _let_go(self) -> None:
        outbox, self._outbox = self._outbox, None
        if outbox is not None:
            outbox.close()
        ours, self._socket = self._socket, None
        if ours is not None:
            self._loop.remove_reader(ours.fileno())
            ours.close()
        self._orders.clear()

    def _flush(self) -> None:
        self._flush_due = False
        orders, self._orders = self._orders, []
        if self._outbox is None:
            return
        batch: list[tuple[object, ...]] = []
        size = 0
        for order in orders:
            batch.append(order)
            size += len(order[2]) if order[0] == DEFINE and isinstance(order[2], bytes) else 20
            if size >= MESSAGE_LIMIT or len(batch) >= COMMANDS_PER_MESSAGE:
                self._outbox.put(marshal.dumps(batch))
                batch, size = [], 0
        if batch:
            self._outbox.put(marshal.dumps(batch))

    def _on_readable(self) -> None:
        for _ in range(16):
            if self._socket is None:
                return
            try:
                message = self._socket.recv(_RECEIVE_SIZE)
            except BlockingIOError:
                return
            except OSError:
                message = b""
            if not message:
                self._on_end()
                return
            if message[:1] == b"r":
                self._owner.take(marshal.loads(memoryview(message)[1:]))
            else:
                self._owner.report(pickle.loads(message[1:]))

    def _on_end(self) -> None:
        self._let_go()
        process, self.process = self.process, None
        status = 0
        if process is not None:
            process.kill()  # a worker that closed its socket has nothing more to say
            status = process.wait()
        in_flight = sum(1 for asked in self._owner.of(self) if asked.sequence)
        self._owner.report(CheckWorkerEnded(worker=self._index, status=status, in_flight=in_flight))
        if self._loop.time() - self._began >= _STEADY_S:
            self._pause_s = 0.0
        pause, self._pause_s = self._pause_s, min(max(self._pause_s * 2, _FIRST_PAUSE_S), _LONGEST_PAUSE_S)
        self._again = self._loop.call_later(pause, self._start)
