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
time-out). So a time-out says that the realserver had its whole time while somebody
listened.

Cheap because most probes are answered: a deadline that is not needed any more stays
in the wheel until its turn, where it is passed over, and the clock is read once for
all events of a batch.
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

_SOON = 4
"""Ticks. Most probes are over by then; only the others go to their deadline's own tick, so that those
which are over do not lie in the wheel for as long as their time-out is."""

_HORIZON = 6000
"""Ticks. A later deadline is looked at once in that time."""

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
    """The tick of its deadline; 0: it has none."""

    def on_expired(self, now: Instant) -> None:
        """The deadline has passed: drop it, or put it off."""


class Restartable(Protocol):
    """Who may be started once more within its deadline."""

    is_over: bool

    def start(self) -> None: ...


class Engine:
    """See above. Not thread-safe."""

    def __init__(self) -> None:
        self.clock: Callable[[], int] = time.monotonic_ns
        self.now = self.clock()
        """When the batch of events under way, or the last one, was taken."""
        self.meter = LagMeter(Instant(time.monotonic_ns()))
        self.contexts = Contexts()
        self.tokens = count()
        self._epoll = select.epoll()
        self._handlers: dict[int, Handler] = {}
        self._wheel: dict[int, list[Timed]] = {}
        """By tick. One whose ``bucket`` is another by now is passed over."""
        self._armed = 0
        """Deadlines that are still wanted."""
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
        self.now = self.clock()
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

    def turn(self) -> int:
        """Serve what is ready, then let the deadlines pass that have come; how many events there were."""
        served = more = self.serve()
        reached = self.now // TICK
        if reached - self._turned > len(self._wheel):
            due = sorted(tick for tick in self._wheel if tick <= reached)
        else:
            due = [tick for tick in range(self._turned + 1, reached + 1) if tick in self._wheel]
        self._turned = reached
        passed = [(tick, timed) for tick in due for timed in self._wheel.pop(tick) if timed.bucket == tick]
        if not passed:
            return served
        for _ in range(_ROUNDS):
            if not more:
                break
            more = self.serve()
            served += more
        now = Instant(self.now)
        for tick, timed in passed:
            if timed.bucket == tick:
                timed.on_expired(now)
        return served

    @property
    def next_turn(self) -> Instant | None:
        """When ``turn`` has something to do; None: no deadline is in the wheel."""
        if not self._armed:
            return None
        # Every tick although little may be due: that is how our own lateness is noticed.
        # Few deadlines are worth fewer wakes.
        if self._armed < _FEW:
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

    def put(self, timed: Timed, deadline: int) -> None:
        """Call ``on_expired`` at ``deadline`` or up to one tick later; earlier where it lies far ahead."""
        if not self._armed:
            # The wheel has stood still while nobody had a deadline.
            self._wheel.clear()
            self._turned = max(self._turned, self.clock() // TICK)
        farthest = self._turned + _HORIZON
        if not timed.bucket:
            self._armed += 1
            farthest = self._turned + _SOON
        tick = deadline // TICK + 1
        if tick > farthest:
            tick = farthest
        elif tick <= self._turned:
            tick = self._turned + 1
        timed.bucket = tick
        bucket = self._wheel.get(tick)
        if bucket is None:
            self._wheel[tick] = [timed]
        else:
            bucket.append(timed)

    def drop(self, timed: Timed) -> None:
        """Its deadline is not wanted any more; harmless when it has none."""
        if timed.bucket:
            timed.bucket = 0
            self._armed -= 1

    def finish(self, done: Done, check_id: str, result: ProbeResult) -> None:
        self._finished.append((done, check_id, result))
