"""Programs of others, started by a small process of ours.

Starting a program stops the process that does it, every thread of it, until the program runs. Where
that process runs ahead of others and the program does not (``io.realtime.run_ahead``), it waits for the
program's turn: on a busy machine 100 to 300 ms, in which no connection is passed on. So directord forks
a helper while it is small, at ordinary priority, and asks it.

The helper ends when it hears nothing more from us; what it has started goes on. Without it programs are
started here.
"""

import asyncio
import contextlib
import gc
import os
import pickle
import signal
import socket
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from itertools import count
from typing import Any, Final, NamedTuple

OUTPUT_MOST: Final = 1 << 16
"""Bytes of what a program wrote that are kept, from the end."""
_LENGTH: Final = struct.Struct("!I")


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """What to start, in a session of its own."""

    words: tuple[str, ...]
    text: bytes = b""
    """For its standard input; empty: it has none."""
    environment: dict[str, str] | None = None
    """None: ours."""
    limit_s: float
    """Then it is killed, with all that it has started."""
    says: str = "both"
    """What is kept: ``both`` of its outputs, or only ``errors``."""


class Ended(NamedTuple):
    status: int | None
    """As of ``subprocess``; None: it was killed at its limit."""
    output: bytes


Run = Callable[[Program], Awaitable[Ended]]
"""Until it has ended. Raises OSError: it could not be started."""


async def run_program(program: Program) -> Ended:
    """Started by this process."""
    both = program.says == "both"
    process = await asyncio.create_subprocess_exec(
        *program.words,
        stdin=asyncio.subprocess.PIPE if program.text else asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE if both else asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.STDOUT if both else asyncio.subprocess.PIPE,
        env=program.environment,
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(program.limit_s):
            output, error = await process.communicate(program.text or None)
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
        return Ended(None, b"")
    return Ended(process.returncode, ((output if both else error) or b"")[-OUTPUT_MOST:])


class Launcher:
    """The helper, seen from who asks it. Make it before there are threads or a loop."""

    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                _help(theirs)
            finally:
                os._exit(0)
        theirs.close()
        self._numbers = count()
        self._waiting: dict[int, asyncio.Future[Ended]] = {}
        self._writer: asyncio.StreamWriter | None = None
        self._reading: asyncio.Task[None] | None = None
        self._meeting = asyncio.Lock()
        self._is_gone = False

    async def run(self, program: Program) -> Ended:
        """See ``Run``."""
        async with self._meeting:
            if self._reading is None:
                reader, self._writer = await asyncio.open_unix_connection(sock=self._socket)
                self._reading = asyncio.create_task(self._read(reader))
        if self._is_gone or self._writer is None:
            return await run_program(program)
        number = next(self._numbers)
        future: asyncio.Future[Ended] = asyncio.get_running_loop().create_future()
        self._waiting[number] = future
        try:
            self._writer.write(_packed((number, program)))
            return await future
        finally:
            self._waiting.pop(number, None)

    def close(self) -> None:
        """The helper ends; nobody asks it any more."""
        self._is_gone = True
        if self._reading is not None:
            self._reading.cancel()
        if self._writer is not None:
            self._writer.close()
        self._socket.close()
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, os.WNOHANG)

    async def _read(self, reader: asyncio.StreamReader) -> None:
        try:
            while True:
                number, answer = await _unpacked(reader)
                future = self._waiting.get(number)
                if future is None or future.done():
                    continue
                if isinstance(answer, OSError):
                    future.set_exception(answer)
                else:
                    future.set_result(Ended(*answer))
        except (EOFError, OSError):
            self._is_gone = True
            for future in self._waiting.values():
                if not future.done():
                    future.set_exception(ChildProcessError("the helper that starts programs has died"))


def _help(sock: socket.socket) -> None:
    """The helper's life."""
    gc.freeze()
    # Handlers and not SIG_IGN, which the programs would inherit: who ends us closes the line.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: None)
    for name in os.listdir("/proc/self/fd"):
        if int(name) > 2 and int(name) != sock.fileno():
            with contextlib.suppress(OSError):
                os.close(int(name))
    asyncio.run(_serve(sock))


async def _serve(sock: socket.socket) -> None:
    reader, writer = await asyncio.open_unix_connection(sock=sock)
    tasks: set[asyncio.Task[None]] = set()

    async def answer(number: int, program: Program) -> None:
        said: Any
        try:
            said = tuple(await run_program(program))
        except OSError as error:
            said = OSError(error.errno, error.strerror, error.filename)
        writer.write(_packed((number, said)))

    while True:
        try:
            number, program = await _unpacked(reader)
        except (EOFError, OSError):
            os._exit(0)  # what runs goes on by itself
        task = asyncio.create_task(answer(number, program))
        tasks.add(task)
        task.add_done_callback(tasks.discard)


def _packed(record: object) -> bytes:
    data = pickle.dumps(record, pickle.HIGHEST_PROTOCOL)
    return _LENGTH.pack(len(data)) + data


async def _unpacked(reader: asyncio.StreamReader) -> Any:
    """Both ends were forked from one process, and nobody else can reach the line."""
    (length,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
    return pickle.loads(await reader.readexactly(length))
