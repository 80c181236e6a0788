"""The loop of vrrpd: epoll and one absolute timer.

asyncio rounds a time-out up to whole milliseconds and was measured 5.2 ms late
beside a busy neighbour, where an absolute ``timerfd`` was 0.14 ms late; and it
costs 10 MB. vrrpd needs file descriptors and one deadline, so it has just that.

Descriptors are served before deadlines. A loop that was held up finds both
ready, and a Backup must read the adverts that came meanwhile before it may
conclude that there were none.
"""

import ctypes
import os
import select
import time
from collections.abc import Callable

from lvsha.core.instant import SECOND, Instant

_CLOCK_MONOTONIC = 1
_TFD_TIMER_ABSTIME = 1
_TFD_NONBLOCK = os.O_NONBLOCK
_TFD_CLOEXEC = os.O_CLOEXEC
_ROUNDS_BEFORE_DEADLINES = 16
"""How often descriptors are polled again before deadlines get their turn: a flood must not starve them."""


class _TimeSpec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _TimerSpec(ctypes.Structure):
    _fields_ = (("interval", _TimeSpec), ("value", _TimeSpec))


_libc = ctypes.CDLL(None, use_errno=True)


def monotonic() -> Instant:
    """Now."""
    return Instant(time.monotonic_ns())


class Reactor:
    """Serves descriptors, then the deadline its owner names."""

    def __init__(
        self,
        deadline: Callable[[], Instant | None],
        on_deadline: Callable[[Instant], None],
    ) -> None:
        self._deadline = deadline
        self._on_deadline = on_deadline
        self._readers: dict[int, Callable[[], None]] = {}
        self._epoll = select.epoll()
        self._timer = _libc.timerfd_create(_CLOCK_MONOTONIC, _TFD_NONBLOCK | _TFD_CLOEXEC)
        if self._timer < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")
        self._armed: Instant | None = None
        self._spec = _TimerSpec()
        # Edge-triggered: a timer that is set anew needs not be read first.
        self._epoll.register(self._timer, select.EPOLLIN | select.EPOLLET)
        self._stopped = False
        self.worst_lateness = 0
        """Nanoseconds between the latest-served deadline and its time, since ``forget_lateness``."""

    def watch(self, fd: int, callback: Callable[[], None]) -> None:
        """Call ``callback`` whenever ``fd`` is readable."""
        self._readers[fd] = callback
        self._epoll.register(fd, select.EPOLLIN)

    def unwatch(self, fd: int) -> None:
        """Forget ``fd``; call before closing it."""
        if self._readers.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    def stop(self) -> None:
        """Leave ``run`` after the step under way."""
        self._stopped = True

    def forget_lateness(self) -> int:
        """The worst lateness so far, and a fresh start."""
        worst, self.worst_lateness = self.worst_lateness, 0
        return worst

    def run(self) -> None:
        """Until ``stop``."""
        while not self._stopped:
            # Asked again only after something was served: with many owners it is the dearest question here.
            deadline = self._deadline()
            self._arm(deadline)
            if self._serve(self._epoll.poll()):
                deadline = self._deadline()
            if deadline is None or monotonic() < deadline:
                continue
            for _ in range(_ROUNDS_BEFORE_DEADLINES):
                if not self._serve(self._epoll.poll(0)):
                    break
                deadline = self._deadline()
            now = monotonic()
            if not self._stopped and deadline is not None and now >= deadline:
                self.worst_lateness = max(self.worst_lateness, now - deadline)
                self._on_deadline(now)

    def close(self) -> None:
        self._epoll.close()
        os.close(self._timer)

    def _serve(self, events: list[tuple[int, int]]) -> bool:
        """Run the callbacks of what is ready; True when there was any."""
        served = False
        for fd, _ in events:
            if fd == self._timer:
                self._armed = None
                continue
            callback = self._readers.get(fd)
            if callback is not None:  # an earlier callback of this round may have unwatched it
                callback()
                served = True
        return served

    def _arm(self, deadline: Instant | None) -> None:
        if deadline == self._armed:
            return
        value = self._spec.value
        value.seconds, value.nanoseconds = (0, 0) if deadline is None else divmod(max(deadline, 1), SECOND)
        if _libc.timerfd_settime(self._timer, _TFD_TIMER_ABSTIME, ctypes.byref(self._spec), None) < 0:
            raise OSError(ctypes.get_errno(), "timerfd_settime")
        self._armed = deadline
