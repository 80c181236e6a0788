"""Instants and durations: integer nanoseconds of the monotonic clock.

An ``Instant`` says *when*, a duration says *how long*. Both are plain ``int``,
so that arithmetic stays cheap and exact; only the shell (``lvsha.io``) reads a
clock. A machine's deadline is always an ``Instant``, never a countdown.
"""

from typing import NewType

Instant = NewType("Instant", int)
"""Nanoseconds of CLOCK_MONOTONIC (real time in a director, virtual in ``lvsha.sim``)."""

MICROSECOND = 1_000
MILLISECOND = 1_000_000
SECOND = 1_000_000_000


def seconds(value: float) -> int:
    """A duration in nanoseconds from seconds, rounded to the nearest one."""
    return round(value * SECOND)


def to_seconds(duration: int) -> float:
    """A duration in seconds from nanoseconds."""
    return duration / SECOND


def after(now: Instant, duration: int) -> Instant:
    """The instant that lies ``duration`` nanoseconds after ``now``."""
    return Instant(now + duration)


def earliest(*deadlines: Instant | None) -> Instant | None:
    """The first of several deadlines; None when none is armed."""
    first: Instant | None = None
    for deadline in deadlines:  # not min(): vrrpd and the simulator ask this more often than anything
        if deadline is not None and (first is None or deadline < first):
            first = deadline
    return first
