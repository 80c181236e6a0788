"""The engine of the probes: one epoll descriptor, one wheel of deadlines, no task per check.

A probe is a small object that reacts to events of its descriptor and to its
deadline. The engine does not wait by itself: ``runner`` calls ``serve`` when the
epoll descriptor is ready and ``turn`` when the wheel has to turn.

Descriptors are watched edge-triggered and registered once, which saves two
system calls of a probe's seven. Two rules follow: read until the kernel has no
more, and start nothing while a batch of events is being served, because a new
probe could get the number of a descriptor that the batch has just closed and
with it the stale event. Hence results are handed out after the batch.

Lateness: a deadline passes only after everything that lies ready has been read,
and whatever our loop was late by is added to it (at most four times the
time-out). So a time-out says that the realserver had its whole time while
somebody listened.
"""

import errno
import select
import socket
import ssl
import time
from collections import deque
from collections.abc import Callable
from itertools import count
from typing import Protocol

from lvsha.checker.lag import CREDIT_LIMIT, NOTICEABLE, LagMeter
from lvsha.checker.probes.dialogue import Dialogue, Step, Verdict
from lvsha.checker.result import ProbeResult, Reason, Timings
from lvsha.checker.settings import TlsOptions
from lvsha.core.instant import MILLISECOND, Instant
from lvsha.io.probes.prepare import Prepared
from lvsha.io.probes.sockets import CannotProbe, open_socket, our_failure, their_failure
from lvsha.io.probes.tls import Contexts, TlsFailure, TlsStream

TICK = 10 * MILLISECOND
"""The wheel's grid: a deadline passes up to this much late."""

_READ_SIZE = 64 * 1024
_READS_PER_EVENT = 4
"""One probe's share before the others get theirs."""
_ROUNDS = 16
"""How often the epoll descriptor is asked again before deadlines get their turn."""

_FEW = 8

_EDGES = select.EPOLLIN | select.EPOLLOUT | select.EPOLLRDHUP | select.EPOLLET
_ERROR = select.EPOLLERR | select.EPOLLHUP
_READABLE = select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR
_HANGUP = select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR

Done = Callable[[str, ProbeResult], None]


class Handler(Protocol):
    """Whoever owns a descriptor."""

    def on_event(self, mask: int) -> None:
        """The descriptor is ready."""


class Timed(Protocol):
    """Whoever has a deadline in the wheel."""

    bucket: int

    def on_expired(self, now: Instant) -> None:
        """The deadline has passed."""


class Engine:
    """See above. Not thread-safe."""

    def __init__(self) -> None:
        self.clock: Callable[[], int] = time.monotonic_ns
        self.meter = LagMeter(Instant(time.monotonic_ns()))
        self.contexts = Contexts()
        self.tokens = count()
        self._epoll = select.epoll()
        self._handlers: dict[int, Handler] = {}
        self._wheel: dict[int, set[Timed]] = {}
        self._turned = time.monotonic_ns() // TICK
        self._again: deque[Handler] = deque()
        self._restarts: deque[Probe] = deque()
        self._finished: deque[tuple[Done, str, ProbeResult]] = deque()
        self._closed = False

    def fileno(self) -> int:
        return self._epoll.fileno()

    # For the runner

    def serve(self) -> int:
        """Serve what is ready now; how many events there were."""
        events = self._epoll.poll(0)
        handlers = self._handlers
        for fd, mask in events:
            handler = handlers.get(fd)
            if handler is not None:
                handler.on_event(mask)
        served = len(events)
        for _ in range(len(self._again)):
            self._again.popleft().on_event(select.EPOLLIN)
            served += 1
        while self._restarts:
            probe = self._restarts.popleft()
            if not probe.is_over:
                probe.start()
        return served

    def turn(self) -> None:
        """Serve what is ready, then let the deadlines pass that have come."""
        for _ in range(_ROUNDS):
            if not self.serve():
                break
        now = Instant(self.clock())
        reached = now // TICK
        if reached - self._turned > len(self._wheel):
            due = [tick for tick in self._wheel if tick <= reached]
        else:
            due = [tick for tick in range(self._turned + 1, reached + 1) if tick in self._wheel]
        self._turned = reached
        for tick in sorted(due):
            for timed in tuple(self._wheel.pop(tick)):
                timed.on_expired(now)

    @property
    def next_turn(self) -> Instant | None:
        """When ``turn`` has something to do; None: no deadline is in the wheel."""
        if not self._wheel:
            return None
        # Every tick although little may be due: that is how our own lateness is noticed.
        # Few deadlines are worth fewer wakes.
        if len(self._wheel) < _FEW:
            return Instant(min(*self._wheel, self._turned + 5) * TICK)
        return Instant((self._turned + 1) * TICK)

    def take_finished(self) -> tuple[Done, str, ProbeResult] | None:
        """The next result that is to be handed out; None: there is none."""
        return self._finished.popleft() if self._finished else None

    def retract(self, check_id: str) -> None:
        """Forget a result that has not been handed out."""
        if self._finished:
            self._finished = deque(item for item in self._finished if item[1] != check_id)

    @property
    def has_finished(self) -> bool:
        """Whether ``take_finished`` has something."""
        return bool(self._finished)

    @property
    def has_more(self) -> bool:
        """Whether ``serve`` has work although no descriptor has an event."""
        return bool(self._again)

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._epoll.close()

    # For the probes

    def watch(self, fd: int, handler: Handler, mask: int = _EDGES) -> None:
        self._handlers[fd] = handler
        self._epoll.register(fd, mask)

    def unwatch(self, fd: int) -> None:
        """Forget a descriptor that is about to be closed (closing takes it out of the epoll set)."""
        self._handlers.pop(fd, None)

    def read_again(self, handler: Handler) -> None:
        """Come back to a descriptor that has more, after the others had their turn."""
        self._again.append(handler)

    def start_later(self, probe: "Probe") -> None:
        """Start a probe, once more, when the batch of events under way has been served."""
        self._restarts.append(probe)

    def put(self, timed: Timed, deadline: Instant) -> None:
        """Call ``on_expired`` at ``deadline`` or up to one tick later."""
        if not self._wheel:
            # The wheel has stood still while it was empty.
            self._turned = max(self._turned, self.clock() // TICK)
        tick = max(deadline // TICK + 1, self._turned + 1)
        timed.bucket = tick
        bucket = self._wheel.get(tick)
        if bucket is None:
            self._wheel[tick] = {timed}
        else:
            bucket.add(timed)

    def drop(self, timed: Timed) -> None:
        """Take a deadline out of the wheel; harmless when it is not in."""
        bucket = self._wheel.get(timed.bucket)
        if bucket is not None:
            bucket.discard(timed)
            if not bucket:
                del self._wheel[timed.bucket]

    def finish(self, done: Done, check_id: str, result: ProbeResult) -> None:
        self._finished.append((done, check_id, result))


class Probe:
    """What all probes in flight have in common."""

    __slots__ = (
        "bucket",
        "check_id",
        "done",
        "engine",
        "is_over",
        "lag_at_start",
        "prepared",
        "started",
        "was_given_time",
    )

    def __init__(self, engine: Engine, check_id: str, prepared: Prepared, done: Done) -> None:
        self.engine = engine
        self.check_id = check_id
        self.prepared = prepared
        self.done = done
        self.bucket = 0
        self.is_over = False
        self.was_given_time = False
        self.lag_at_start = engine.meter.total
        self.started = engine.clock()

    def start(self) -> None:
        """Begin. An error becomes a result."""
        raise NotImplementedError

    def release(self) -> None:
        """Give up sockets and everything else that is held."""
        raise NotImplementedError

    def timed_out(self) -> Verdict:
        """What a passed deadline means."""
        raise NotImplementedError

    def timings(self, total: int) -> Timings:
        return Timings(total=total)

    @property
    def missed(self) -> int:
        """For how long the other side has waited for us, in nanoseconds: its time-out is longer by that."""
        return self.engine.meter.total - self.lag_at_start

    def on_expired(self, now: Instant) -> None:
        timeout = self.prepared.settings.timeout
        due = Instant(self.started + timeout + min(self.missed, CREDIT_LIMIT * timeout))
        late = now - self.bucket * TICK
        if due <= now and late >= NOTICEABLE and not self.was_given_time:
            # The whole machine may have stood still: what came meanwhile is read before time runs out again.
            self.was_given_time = True
            due = Instant(now + min(late, timeout))
        if due > now:
            self.engine.put(self, due)
            return
        self.conclude(self.timed_out())

    def conclude(self, verdict: Verdict, *, ours: bool = False) -> None:
        """The end: give everything up and hand the result out."""
        if self.is_over:
            return
        engine = self.engine
        reason, detail, weight, percent, warning = verdict
        timings = self.timings(engine.clock() - self.started)
        lag = engine.meter.total - self.lag_at_start
        self._end(
            ProbeResult(reason is Reason.OK, reason, detail, timings, ours, lag, weight, percent, warning)
        )

    def fail(self, result: ProbeResult) -> None:
        """The end, by an error of a system call."""
        self.conclude(Verdict(result.reason, result.detail), ours=result.ours)

    def cancel(self) -> None:
        """The end without a result."""
        self._end(None)

    def _end(self, result: ProbeResult | None) -> None:
        if self.is_over:
            return
        self.is_over = True
        self.engine.drop(self)
        self.release()
        if result is not None:
            self.engine.finish(self.done, self.check_id, result)


class StreamProbe(Probe):
    """A probe over TCP, and TLS where it is asked for."""

    __slots__ = (
        "_connected_at",
        "_dialogue",
        "_first_byte_at",
        "_is_connected",
        "_is_handshaking",
        "_queue",
        "_socket",
        "_tls",
        "_tls_at",
    )

    def __init__(self, engine: Engine, check_id: str, prepared: Prepared, done: Done) -> None:
        super().__init__(engine, check_id, prepared, done)
        assert prepared.question is not None, "a stream has a question"
        self._dialogue: Dialogue = prepared.question.begin()
        self._socket: socket.socket | None = None
        self._tls: TlsStream | None = None
        self._queue = b""
        self._is_connected = False
        self._is_handshaking = False
        self._connected_at: int | None = None
        self._tls_at: int | None = None
        self._first_byte_at: int | None = None

    def start(self) -> None:
        prepared = self.prepared
        try:
            opened = open_socket(prepared.settings, socket.SOCK_STREAM)
        except CannotProbe as cannot:
            self.fail(cannot.result)
            return
        self._socket = opened
        try:
            opened.connect(prepared.destination)
        except OSError as error:
            if error.errno != errno.EINPROGRESS:
                self.fail(our_failure("connect", error))
                return
        self.engine.put(self, Instant(self.started + prepared.settings.timeout))
        self.engine.watch(opened.fileno(), self)

    def _reconnect(self) -> None:
        """Another connection within the same probe: one deadline for all of it."""
        self.engine.drop(self)
        self.release()
        self._is_connected = self._is_handshaking = False
        self.engine.start_later(self)

    def release(self) -> None:
        opened, self._socket = self._socket, None
        if opened is not None:
            self.engine.unwatch(opened.fileno())
            opened.close()
        self._tls = None
        self._queue = b""

    @property
    def missed(self) -> int:
        # Nobody waits for us before the connection is there, and its answer waits in the kernel.
        return super().missed if self._is_connected else 0

    def timings(self, total: int) -> Timings:
        return Timings(total, self._connected_at, self._tls_at, self._first_byte_at)

    def timed_out(self) -> Verdict:
        if not self._is_connected:
            return Verdict(Reason.TIMEOUT, "no answer to connect")
        if self._is_handshaking:
            return Verdict(Reason.TIMEOUT, "connected, waiting for the TLS handshake")
        if self._queue:
            return Verdict(Reason.TIMEOUT, f"connected, {len(self._queue)} bytes could not be sent")
        return Verdict(Reason.TIMEOUT, f"connected, waiting for {self._dialogue.phase}")

    def on_event(self, mask: int) -> None:
        opened = self._socket
        if opened is None:
            return
        if not self._is_connected:
            if mask & _ERROR:
                number = opened.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if number:
                    self.fail(their_failure("connect", number))
                    return
            if not mask & select.EPOLLOUT:
                return
            self._is_connected = True
            self._connected_at = self.engine.clock() - self.started
            if self.prepared.tls is not None:
                self._begin_tls(self.prepared.tls)
            else:
                self._act(self._dialogue.connected())
        elif self._queue and mask & select.EPOLLOUT:
            self._flush()
        if mask & _READABLE and self._socket is not None:
            self._read(mask)

    # Reading

    def _read(self, mask: int) -> None:
        for _ in range(_READS_PER_EVENT):
            opened = self._socket
            if opened is None:
                return
            try:
                data = opened.recv(_READ_SIZE)
            except BlockingIOError:
                return
            except OSError as error:
                self.fail(their_failure(f"waiting for {self._waiting_for()}", error.errno or 0))
                return
            if not data:
                self._closed()
                return
            if self._first_byte_at is None and not self._is_handshaking:
                self._first_byte_at = self.engine.clock() - self.started
            self._take(data)
            if len(data) < _READ_SIZE and not mask & _HANGUP:
                # Drained: whatever comes now is a new edge. With a hang-up there may be an
                # end behind these bytes that belongs to the edge that we have used up.
                return
        if self._socket is not None:
            self.engine.read_again(self)

    def _take(self, data: bytes) -> None:
        tls = self._tls
        if tls is None:
            self._act(self._dialogue.received(data))
            return
        try:
            if self._is_handshaking:
                done = tls.handshake(data)
                self._send_raw(tls.pending())
                if not done:
                    return
                self._is_handshaking = False
                self._tls_at = self.engine.clock() - self.started
                self._act(self._dialogue.connected())
                data = b""
            for piece in tls.decrypt(data):
                if self._socket is None or self._tls is not tls:
                    return
                if not piece:
                    self._closed()
                    return
                if self._first_byte_at is None:
                    self._first_byte_at = self.engine.clock() - self.started
                self._act(self._dialogue.received(piece))
            if self._socket is not None:
                self._send_raw(tls.pending())
        except TlsFailure as failure:
            if self._socket is not None:
                self._send_raw(tls.pending())  # the alert tells the realserver's log why
            self.conclude(failure.verdict)

    def _closed(self) -> None:
        if self._is_handshaking:
            self.conclude(Verdict(Reason.TLS_FAILED, "closed during the TLS handshake"))
        else:
            self.conclude(self._dialogue.closed())

    def _waiting_for(self) -> str:
        return "the TLS handshake" if self._is_handshaking else self._dialogue.phase

    # Acting

    def _act(self, step: Step) -> None:
        if step.send:
            try:
                self._send(step.send)
            except TlsFailure as failure:
                self.conclude(failure.verdict)
                return
        if step.verdict is not None:
            warning = self._tls.warning if self._tls is not None else ""
            self.conclude(step.verdict._replace(warning=warning) if warning else step.verdict)
        elif step.reconnect and self._socket is not None:
            self._reconnect()
        elif step.start_tls and self._socket is not None:
            assert self.prepared.starttls is not None, "who starts TLS has options for it"
            self._begin_tls(self.prepared.starttls)

    def _send(self, data: bytes) -> None:
        if self._tls is not None:
            self._tls.encrypt(data)
            data = self._tls.pending()
        self._send_raw(data)

    def _send_raw(self, data: bytes) -> None:
        if not data:
            return
        if self._queue:
            self._queue += data
            return
        self._queue = data
        self._flush()

    def _flush(self) -> None:
        opened = self._socket
        if opened is None:
            return
        try:
            sent = opened.send(self._queue)
        except BlockingIOError:
            return
        except OSError as error:
            self._send_failed(error)
            return
        # A short count means a full buffer: the next edge comes when there is room.
        self._queue = self._queue[sent:]

    def _send_failed(self, error: OSError) -> None:
        """The other side does not read any more. What it said before that may still be the answer."""
        self._queue = b""
        opened = self._socket
        try:
            data = opened.recv(_READ_SIZE) if opened is not None else b""
        except OSError:
            data = b""
        if data:
            self._take(data)
        if self._socket is not None:
            self.fail(their_failure("send", error.errno or 0))

    def _begin_tls(self, options: TlsOptions) -> None:
        try:
            context = self.engine.contexts.get(options)
            self._tls = TlsStream(options, context, self.prepared.server_name)
            self._is_handshaking = True
            self._tls.handshake()
        except TlsFailure as failure:
            self.conclude(failure.verdict, ours=failure.verdict.reason is Reason.MISCONFIGURED)
            return
        except (ssl.SSLError, ValueError) as error:
            self.conclude(
                Verdict(Reason.MISCONFIGURED, f"TLS name {self.prepared.server_name!r}: {error}"), ours=True
            )
            return
        self._send_raw(self._tls.pending())
