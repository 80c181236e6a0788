"""From frames to lines: what ``lvsha sync decode`` does with one capture, or with a part of one.

A large pcap file is cut into parts and shared among processes. Each writes its own
parts' lines when it is their turn: a token goes round through pipes, so the output
is as if one process had done it all, and none of it is copied from one to another.
"""

import argparse
import contextlib
import ctypes
import fcntl
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
from typing import TYPE_CHECKING, BinaryIO, Final, Protocol, Self, TextIO

from lvsha.cli.sync_format import JsonLines, Origin, TextLines, address_text
from lvsha.cli.sync_options import entry_test, is_sync_destination, message_test, wanted_ports
from lvsha.core.errors import DecodeError
from lvsha.core.instant import Instant
from lvsha.io.capture import Frame, PcapChunks, is_pcap, pcap_form, pcap_part
from lvsha.sync.inspect import Inspector
from lvsha.wire.datagram import DatagramReader
from lvsha.wire.ipvs_sync.message import decode_message, is_plain_v1
from lvsha.wire.ipvs_sync.receiver import Receiver
from lvsha.wire.ipvs_sync.records import Loses, Problem, SyncConn
from lvsha.wire.ipvs_sync.v1 import uniform_stride

if TYPE_CHECKING:
    from lvsha.cli.sync_block import BlockDecoder

SHARE_FROM: Final = 16 << 20
"""A smaller file is decoded before other processes have begun."""
CHUNK: Final = 1 << 18
"""Its lines, up to ten times as long, are what a process keeps in memory; longer ones leave its cache."""
OVERLAP: Final = 128 << 10
"""Read before a part for the fragments of a datagram that ends in it: two datagrams of the largest size."""
PROGRESS_INTERVAL_S: Final = 0.5
_TASK_SIZE: Final = 128

_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
"""glibc's; other C libraries have no mallopt."""


@dataclass(slots=True)
class Outcome:
    """What was found, in figures."""

    messages: int = 0
    lost: int = 0
    """Entries and messages that a receiver does not install."""
    cut_messages: int = 0
    """Messages that the capture holds only in part."""
    is_cut: bool = False
    """The file ends in the middle of a record."""

    def __iadd__(self, other: "Outcome") -> Self:
        self.messages += other.messages
        self.lost += other.lost
        self.cut_messages += other.cut_messages
        self.is_cut |= other.is_cut
        return self


class Sink(Protocol):
    """Where lines go."""

    def write(self, lines: bytes | memoryview, /) -> object: ...


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
        self._message_test = message_test(options)
        self._format: JsonLines | TextLines = JsonLines() if options.json else TextLines()
        self.prints_all_json = options.json and not (
            inspector or self._test or options.errors or self._message_test
        )
        self._uniform = (
            self._format.uniform if isinstance(self._format, JsonLines) and self.prints_all_json else None
        )

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
            if test is None and self._message_test is None:
                origin = Origin(time_ns=time_ns, source=source, port=port, version=0, syncid=0)
                problem = Problem(reason=error.reason, loses=Loses.MESSAGE, offset=0, detail=error.detail)
                self._write(self._format.problem(origin, problem))
            return
        passes = self._message_test
        if passes is not None and not passes(message.version, message.syncid, source, port):
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


def worth_mapping(path: Path) -> bool:
    """A pcap file that is long enough to be cut into parts."""
    if not path.is_file() or path.stat().st_size < SHARE_FROM:
        return False
    with path.open("rb") as file:
        return is_pcap(file.read(4))


def decode_parts(path: Path, options: argparse.Namespace, out: BinaryIO) -> Outcome:
    """A pcap file, by as many processes as there are processors, as one would, line for line.

    Raises:
        CaptureError: the file is damaged; what comes before the damage has been written.
        OSError: it cannot be read, or a process cannot be started.
    """
    out.flush()
    sys.stderr.flush()
    jobs = options.jobs or len(os.sched_getaffinity(0))
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        chunks = PcapChunks(data, CHUNK, OVERLAP)
        with Progress(sys.stderr, len(data)) as progress:
            if jobs == 1:
                total = _alone(chunks, data, options, out, progress)
            else:
                total = _together(chunks, data, options, out, progress, jobs)
        total.is_cut = chunks.is_cut
    return total


Chunk = tuple[int, int, int]


def _alone(
    chunks: Iterable[Chunk],
    data: mmap.mmap,
    options: argparse.Namespace,
    out: BinaryIO,
    progress: Progress,
) -> Outcome:
    parts = _Parts(data, options)
    for chunk in chunks:
        progress.show(chunk[1])
        parts.read(chunk)
        parts.write_to(out.fileno())
    return parts.outcome


def _together(
    chunks: Iterable[Chunk],
    data: mmap.mmap,
    options: argparse.Namespace,
    out: BinaryIO,
    progress: Progress,
    jobs: int,
) -> Outcome:
    ring = [os.pipe() for _ in range(jobs)]
    workers = [_Worker(number, ring, data, options, out.fileno()) for number in range(jobs)]
    for end in ring:
        os.close(end[0])
    os.write(ring[0][1], b"!")
    for end in ring:
        os.close(end[1])
    total = Outcome()
    try:
        for number, chunk in enumerate(chunks):
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
        fcntl.fcntl(self._tasks, fcntl.F_SETPIPE_SZ, mmap.PAGESIZE)
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

    def give(self, chunk: Chunk) -> None:
        # Few fit into the pipe: what has been given is nearly what has been done, and progress says so.
        os.write(self._tasks, (b"%d %d %d" % chunk).ljust(_TASK_SIZE - 1) + b"\n")

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


def _tasks(fd: int) -> Iterator[Chunk]:
    with os.fdopen(fd) as file:
        for line in file:
            before, start, end = map(int, line.split())
            yield before, start, end


def _work(
    tasks: Iterator[Chunk],
    turn: int,
    next_turn: int,
    data: mmap.mmap,
    options: argparse.Namespace,
    out: int,
) -> Outcome:
    parts = _Parts(data, options)
    for chunk in tasks:
        parts.read(chunk)
        if not os.read(turn, 1):
            raise BrokenPipeError("the process before this one has ended")
        parts.write_to(out)
        with contextlib.suppress(BrokenPipeError):  # the next one had no more parts, and has ended
            os.write(next_turn, b"!")
    return parts.outcome


def _release(data: mmap.mmap, until: int) -> None:
    """Let the pages before ``until`` go; they count as this process's memory as long as they are mapped."""
    length = until - until % mmap.PAGESIZE
    if length:
        data.madvise(mmap.MADV_DONTNEED, 0, length)


class _Parts:
    """Decodes parts of a file, and keeps the lines of one until it is their turn."""

    def __init__(self, data: mmap.mmap, options: argparse.Namespace) -> None:
        self._data = data
        self._lines: list[bytes | memoryview] = []
        self._decoder = Decoder(options, self)
        self._blocks = _block_decoder(self._decoder, pcap_form(data), options, self)

    @property
    def outcome(self) -> Outcome:
        return self._decoder.outcome

    def write(self, lines: bytes | memoryview) -> None:
        self._lines.append(lines)

    def read(self, chunk: Chunk) -> None:
        before, start, end = chunk
        if self._blocks is not None:
            self._blocks.read(self._data[before:start], self._data[start:end])
        else:
            for frame in pcap_part(self._data, before, start):
                self._decoder.remember(frame)
            for frame in pcap_part(self._data, start, end):
                self._decoder.read(frame)
        _release(self._data, before)

    def write_to(self, fd: int) -> None:
        for lines in self._lines:
            with memoryview(lines) as rest:
                written = 0
                while written < len(rest):
                    written += os.write(fd, rest[written:])
        self._lines.clear()


def _block_decoder(
    decoder: Decoder, form: tuple[str, int, int], options: argparse.Namespace, out: Sink
) -> "BlockDecoder | None":
    """The quick way, if NumPy is here and the options leave all lines as they are."""
    if not decoder.prints_all_json:
        return None
    # Before NumPy is loaded: its pool of threads takes longer to start than we need it.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    keep_memory()
    try:
        from lvsha.cli.sync_block import BlockDecoder
    except ImportError:
        return None
    return BlockDecoder(decoder, form, options, out)


def keep_memory() -> None:
    """Have the C library keep what is freed: columns are made and freed all the time.

    To give their pages back and take new ones takes a third of the processor's time.
    """
    with contextlib.suppress(AttributeError, OSError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_TRIM_THRESHOLD, 1 << 30)
        mallopt(_M_MMAP_THRESHOLD, 1 << 30)
