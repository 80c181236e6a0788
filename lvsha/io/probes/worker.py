"""A process that makes probes for another one: ``python -m lvsha.io.probes.worker FD``.

It is told checks once and then asked by number; see ``workers`` for the other end. It
ends when its socket does: a director that died leaves nobody behind who goes on probing.
"""

import asyncio
import gc
import marshal
import pickle
import socket
import sys
from typing import Any

from lvsha.checker.result import ProbeResult
from lvsha.checker.settings import CheckSettings
from lvsha.core.machine import Output
from lvsha.io.probes.outbox import Outbox
from lvsha.io.probes.runner import ProbeRunner

DEFINE, START, CANCEL = 0, 1, 2
"""What a command is: (DEFINE, number, pickled settings), (START, number, sequence, is_plain),
(CANCEL, number)."""

MESSAGE_LIMIT = 64 * 1024
"""Bytes of a message, about: what it begins with fits, one entry more may be over it."""
COMMANDS_PER_MESSAGE = 1000
_RECEIVE_SIZE = 1 << 20


class Worker:
    """The child's end."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._loop = asyncio.get_running_loop()
        self._runner = ProbeRunner(self._on_event)
        self._checks: dict[int, tuple[str, CheckSettings]] = {}
        self._sequence: dict[str, tuple[int, int]] = {}
        self._results: list[tuple[object, ...]] = []
        self._outbox = Outbox(self._loop, connection)
        self._flush_due = False
        self.ended = asyncio.Event()
        self._loop.add_reader(connection.fileno(), self._on_readable)

    def _on_readable(self) -> None:
        for _ in range(16):
            try:
                message = self._socket.recv(_RECEIVE_SIZE)
            except BlockingIOError:
                return
            except OSError:
                message = b""
            if not message:
                self._loop.remove_reader(self._socket.fileno())
                self.ended.set()
                return
            for command in marshal.loads(message):
                self._take(command)

    def _take(self, command: tuple[Any, ...]) -> None:
        kind, number = command[0], command[1]
        if kind == START:
            check_id, settings = self._checks[number]
            self._sequence[check_id] = (number, command[2])
            self._runner.start(check_id, settings, self._on_result, is_plain=bool(command[3]))
        elif kind == DEFINE:
            self._checks[number] = (str(number), pickle.loads(command[2]))
        elif (known := self._checks.pop(number, None)) is not None:
            self._runner.cancel(known[0])
            self._sequence.pop(known[0], None)

    def _on_result(self, check_id: str, result: ProbeResult) -> None:
        asked = self._sequence.pop(check_id, None)
        if asked is None:
            return
        ok, reason, detail, timings, ours, lag, weight, percent, warning = result
        if ok and weight is None and percent is None and not warning:
            self._results.append((*asked, detail, lag, *timings))
        else:
            more = (ok, reason.value, ours, weight, percent, warning)
            self._results.append((*asked, detail, lag, *timings, *more))
        if not self._flush_due:
            self._flush_due = True
            self._loop.call_soon(self._flush)

    def _on_event(self, event: Output) -> None:
        self._outbox.put(b"e" + pickle.dumps(event))

    def _flush(self) -> None:
        self._flush_due = False
        results, self._results = self._results, []
        for at in range(0, len(results), COMMANDS_PER_MESSAGE // 4):
            self._outbox.put(b"r" + marshal.dumps(results[at : at + COMMANDS_PER_MESSAGE // 4]))

    def close(self) -> None:
        self._runner.close()


async def _serve(descriptor: int) -> None:
    connection = socket.socket(fileno=descriptor)
    connection.setblocking(False)
    worker = Worker(connection)
    gc.collect()
    gc.freeze()  # what is here stays: later collections need not look at it
    await worker.ended.wait()
    worker.close()
    connection.close()


def main() -> int:
    asyncio.run(_serve(int(sys.argv[1])))
    return 0


if __name__ == "__main__":
    sys.exit(main())
