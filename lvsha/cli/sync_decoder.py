"""From frames to lines: what ``lvsha sync decode`` does with one capture, or with a part of one.

A large pcap file is cut into parts and shared among processes. Each writes its own
parts' lines when it is their turn: a token goes round through pipes, so the output
is as if one process had done it all, and none of it is copied from one to another.
"""

import argparse
import contextlib
import json
import mmap
import os
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, Protocol, Self, TextIO

from lvsha.cli.sync_format import JsonLines, Origin, TextLines, address_text
from lvsha.cli.sync_options import entry_test, is_sync_destination, wanted_ports
from lvsha.core.errors import DecodeError
from lvsha.core.instant import Instant
from lvsha.io.capture import Frame, is_pcap, pcap_chunks, pcap_part
from lvsha.sync.inspect import Inspector
from lvsha.wire.datagram import DatagramReader
from lvsha.wire.ipvs_sync.message import decode_message, is_plain_v1
from lvsha.wire.ipvs_sync.receiver import Receiver
from lvsha.wire.ipvs_sync.records import Loses, Problem, SyncConn
from lvsha.wire.ipvs_sync.v1 import uniform_stride

SHARE_FROM: Final = 16 << 20
"""A smaller file is decoded before other processes have begun."""
CHUNK: Final = 1 << 19
"""Its lines, up to ten times as long, are what a process keeps in memory."""
OVERLAP: Final = 128 << 10
"""Read before a part for the fragments of a datagram that ends in it: two datagrams of the largest size."""
PROGRESS_INTERVAL_S: Final = 0.5


@dataclass(slots=True)
class Outcome:
    """What was found, in figures."""

    messages: int = 0
    lost: int = 0
    """Entries and messages that a receiver does not install."""
    cut_messages: int = 0
    """Messages that the capture holds only in part."""

    def __iadd__(self, other: "Outcome") -> Self:
        self.messages += other.messages
        self.lost += other.lost
        self.cut_messages += other.cut_messages
        return self


class Sink(Protocol):
    """Where lines go."""

    def write(self, lines: bytes, /) -> object: ...


class Decoder:
    """Takes frames or messages in order, and writes what they say or shows them to an inspector."""

    def __init__(self, options: argparse.Namespace, out: Sink, inspector: Inspector | None = None) -> None:
        self._write = out.write
        self.outcome = Outcome()
        self._options = options
        self._inspector = inspector
        self._receiver = Receiver(maxlen=options.maxlen)
        self._datagrams = DatagramReader(wanted_ports(options))
        self._test = entry_test(options)
        self._format: JsonLines | TextLines = JsonLines() if options.json else TextLines()
        self._uniform = None
        if isinstance(self._format, JsonLines) and not (
            self._test or options.errors or options.syncid is not None
        ):
            self._uniform = self._format.uniform

    def remember(self, frame: Frame) -> None:
        """A frame of which only fragments matter: its message has been taken elsewhere."""
        self._datagrams.read(frame.link, frame.data)

    def read(self, frame: Frame) -> None:
        """Take the message that this frame is or completes, if it is one."""
        time_ns, link, data, length = frame
        datagram = self._datagrams.read(link, data)
        if datagram is None or not is_sync_destination(self._options, datagram.destination, datagram.port):
            return
        self.outcome.cut_messages += datagram.is_cut or length > len(data)
        self.take(datagram.payload, time_ns, address_text(datagram.source), datagram.port)

    def take(self, payload: bytes, time_ns: int, source: str, port: int) -> None:
        """Take one message."""
        self.outcome.messages += 1
        if self._inspector is not None:
            self._inspector.observe(payload, source=source, port=port, now=Instant(time_ns))
            self.outcome.lost = self._inspector.lost_entries
            return
        if self._uniform is not None and is_plain_v1(payload, self._receiver):
            stride = uniform_stride(payload, self._receiver)
            if stride:
                origin = Origin(time_ns=time_ns, source=source, port=port, version=1, syncid=payload[1])
                self._write(self._uniform(origin, payload, stride))
                return
        self._take_slowly(payload, time_ns, source, port)

    def _take_slowly(self, payload: bytes, time_ns: int, source: str, port: int) -> None:
        options, test = self._options, self._test
        try:
            message = decode_message(payload, self._receiver)
        except DecodeError as error:
            self.outcome.lost += 1
            if test is None and options.syncid is None:
                origin = Origin(time_ns=time_ns, source=source, port=port, version=0, syncid=0)
                problem = Problem(reason=error.reason, loses=Loses.MESSAGE, offset=0, detail=error.detail)
                self._write(self._format.problem(origin, problem))
            return
        if options.syncid is not None and message.syncid != options.syncid:
            return
        self.outcome.lost += message.lost
        origin = Origin(
            time_ns=time_ns, source=source, port=port, version=message.version, syncid=message.syncid
        )
        installed = iter(() if options.errors else message.entries)
        number = 0
        for problem in message.problems:
            # What comes before it in the message is shown before it.
            if problem.entry is not None:
                self._show(origin, islice(installed, max(0, problem.entry - number)))
                number = problem.entry + 1
            elif problem.loses is Loses.NOTHING:
                self._show(origin, installed)
            if test is None or (problem.conn is not None and test(problem.conn)):
                self._write(self._format.problem(origin, problem))
        self._show(origin, installed)

    def _show(self, origin: Origin, entries: Iterable[SyncConn]) -> None:
        wanted = entries if self._test is None else filter(self._test, entries)
        self._write(self._format.entries(origin, wanted))


class Progress:
    """A line on standard error that says how far we are; silent where nobody looks."""

    def __init__(self, out: TextIO, total: int) -> None:
        self._out = out if out.isatty() else None
        self._total = total
        self._next = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._out is not None and self._next:
            self._out.write("\r\x1b[K")

    def show(self, done: int, what: str = "") -> None:
        if self._out is None or (now := time.monotonic()) < self._next:
            return
        self._next = now + PROGRESS_INTERVAL_S
        share = (
            f"{min(100, 100 * done // self._total)} % of {self._total / 1e6:,.0f} MB" if self._total else ""
        )
        self._out.write(f"\r\x1b[K{share or f'{done / 1e6:,.0f} MB'}  {what}")
        self._out.flush()


# Several processes


def worth_sharing(path: Path) -> bool:
    """A pcap file that is long enough, on a machine with more than one processor."""
    if len(os.sched_getaffinity(0)) < 2 or not path.is_file() or path.stat().st_size < SHARE_FROM:
        return False
    with path.open("rb") as file:
        return is_pcap(file.read(4))


def decode_in_parallel(path: Path, options: argparse.Namespace, out: BinaryIO) -> Outcome:
    """As one process would, line for line.

    Raises:
        CaptureError: the file is damaged; what comes before the damage has been written.
        OSError: it cannot be read, or a process cannot be started.
    """
    out.flush()
    sys.stderr.flush()
    jobs = options.jobs or len(os.sched_getaffinity(0))
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        ring = [os.pipe() for _ in range(jobs)]
        workers = [_Worker(number, ring, data, options, out.fileno()) for number in range(jobs)]
        for end in ring:
            os.close(end[0])
        os.write(ring[0][1], b"!")
        for end in ring:
            os.close(end[1])
        total = Outcome()
        try:
            with Progress(sys.stderr, len(data)) as progress:
                for number, chunk in enumerate(pcap_chunks(data, CHUNK, OVERLAP)):
                    progress.show(chunk[1])
                    workers[number % jobs].give(chunk)
                    _release(data, chunk[0])
        finally:
            for worker in workers:
                worker.no_more()
            for worker in workers:
                total += worker.result()
    return total


class _Worker:
    """One process: a pipe takes parts to it, another brings its outcome back."""

    def __init__(
        self,
        number: int,
        ring: list[tuple[int, int]],
        data: mmap.mmap,
        options: argparse.Namespace,
        out: int,
    ) -> None:
        task_in, self._tasks = os.pipe()
        self._results, result_out = os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            status = 1
            try:
                os.close(self._tasks)
                turn, next_turn = _own_ends(ring, number)
                outcome = _work(_tasks(task_in), turn, next_turn, data, options, out)
                os.write(result_out, json.dumps(asdict(outcome)).encode())
                status = 0
            except BrokenPipeError:
                status = 0
            except Exception:
                sys.excepthook(*sys.exc_info())
            finally:
                os._exit(status)
        os.close(task_in)
        os.close(result_out)

    def give(self, chunk: tuple[int, int, int]) -> None:
        os.write(self._tasks, b"%d %d %d\n" % chunk)

    def no_more(self) -> None:
        os.close(self._tasks)

    def result(self) -> Outcome:
        with os.fdopen(self._results, "rb") as file:
            text = file.read()
        _, status = os.waitpid(self._pid, 0)
        if status or not text:
            raise BrokenPipeError if not status else RuntimeError("a decoding process failed; try --jobs 1")
        return Outcome(**json.loads(text))


def _own_ends(ring: list[tuple[int, int]], number: int) -> tuple[int, int]:
    """Where this process gets the token and where it puts it.

    The others' ends are closed, so that a reader notices when the process before it has ended.
    """
    turn, next_turn = ring[number][0], ring[(number + 1) % len(ring)][1]
    for fd in (fd for ends in ring for fd in ends):
        if fd not in (turn, next_turn):
            os.close(fd)
    return turn, next_turn


def _tasks(fd: int) -> Iterator[tuple[int, int, int]]:
    with os.fdopen(fd) as file:
        for line in file:
            before, start, end = map(int, line.split())
            yield before, start, end


def _work(
    tasks: Iterator[tuple[int, int, int]],
    turn: int,
    next_turn: int,
    data: mmap.mmap,
    options: argparse.Namespace,
    out: int,
) -> Outcome:
    lines = _Lines()
    decoder = Decoder(options, lines)
    for before, start, end in tasks:
        for frame in pcap_part(data, before, start):
            decoder.remember(frame)
        for frame in pcap_part(data, start, end):
            decoder.read(frame)
        if not os.read(turn, 1):
            raise BrokenPipeError("the process before this one has ended")
        lines.write_to(out)
        with contextlib.suppress(BrokenPipeError):  # the next one had no more parts, and has ended
            os.write(next_turn, b"!")
        _release(data, before)
    return decoder.outcome


def _release(data: mmap.mmap, until: int) -> None:
    """Let the pages before ``until`` go; they count as this process's memory as long as they are mapped."""
    length = until - until % mmap.PAGESIZE
    if length:
        data.madvise(mmap.MADV_DONTNEED, 0, length)


class _Lines:
    """Lines that wait for their turn, in memory that is used again for the next part's."""

    def __init__(self) -> None:
        self._buffer = bytearray(12 * CHUNK)
        self._end = 0

    def write(self, lines: bytes) -> None:
        end = self._end + len(lines)
        # A slice past the end makes the buffer grow.
        self._buffer[self._end : end] = lines
        self._end = end

    def write_to(self, fd: int) -> None:
        with memoryview(self._buffer)[: self._end] as rest:
            written = 0
            while written < len(rest):
                written += os.write(fd, rest[written:])
        self._end = 0
