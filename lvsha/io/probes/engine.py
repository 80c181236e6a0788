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

import select
import time
from collections import deque
from collections.abc import Callable
from itertools import count
from typing import Protocol

from lvsha.checker.lag import LagMeter
from lvsha.checker.result import ProbeResult
from lvsha.core.instant import MILLISECOND, Instant
from lvsha.io.probes.tls import Contexts

TICK = 10 * MILLISECOND
"""The wheel's grid: a deadline passes up to this much late."""

_ROUNDS = 16
"""How often the epoll descriptor is asked again before deadlines get their turn."""

_FEW = 8

_EDGES = select.EPOLLIN | select.EPOLLOUT | select.EPOLLRDHUP | select.EPOLLET

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


class Restartable(Protocol):
    """Who may be started once more within its deadline."""

    is_over: bool

    def start(self) -> None: ...


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
        self._restarts: deque[Restartable] = deque()
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

    def start_later(self, probe: Restartable) -> None:
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
