"""All the checks of a director as one machine with one deadline.

Ten thousand timers would wake the loop ten thousand times an interval. The
fleet is a wheel on a 10 ms grid: it wakes at most a hundred times a second and
then starts everything that is due, late by at most one step of the grid.

A check whose probe is in flight is not in the wheel; a sweep once a second
looks for probes that never came back.

Bounds: one probe of a check at a time; ``PROBES_AT_ONCE`` of all, because each
may hold a descriptor; ``PROGRAMS_AT_ONCE`` programs, because each is a process.
A check that finds its bound reached waits in line and starts as soon as another
one's result comes: late, but asked.
"""

from collections import deque
from collections.abc import Callable, Iterator
from heapq import heappop, heappush

from lvsha.checker.check import Check, start_spread
from lvsha.checker.result import ProbeResult
from lvsha.checker.settings import CheckKind, CheckSettings
from lvsha.core.instant import MILLISECOND, SECOND, Instant
from lvsha.core.machine import Output

GRID = 10 * MILLISECOND
SWEEP = 1 * SECOND

PROBES_AT_ONCE = 16_384
PROGRAMS_AT_ONCE = 32


class Fleet:
    """The checks, by id. ``random`` returns numbers in [0, 1)."""

    def __init__(self, *, random: Callable[[], float]) -> None:
        self._random = random
        self._checks: dict[str, Check] = {}
        self._wheel: dict[int, list[Check]] = {}
        """By step of the grid. A check that has moved to another step since is passed over."""
        self._steps: list[int] = []
        """A heap of the wheel's keys."""
        self._in_flight: dict[str, Check] = {}
        self._sweep_at: Instant | None = None
        self._programs: set[str] = set()
        """Those in flight that are programs."""
        self._waiting: deque[Check] = deque()
        """Due, and stopped by a bound; one that was asked or left meanwhile is passed over."""
        self._waiting_programs: deque[Check] = deque()

    def __len__(self) -> int:
        return len(self._checks)

    def __iter__(self) -> Iterator[Check]:
        return iter(self._checks.values())

    def get(self, check_id: str) -> Check | None:
        return self._checks.get(check_id)

    def reconfigure(
        self, wanted: dict[str, CheckSettings], now: Instant, *, adopted: dict[str, bool] | None = None
    ) -> list[Output]:
        """Make the fleet consist of ``wanted``: keep, change, add, remove. Also the way to begin."""
        outputs: list[Output] = []
        for check_id in [known for known in self._checks if known not in wanted]:
            outputs += self._checks.pop(check_id).stop()
            self._land(check_id)
        new: list[Check] = []
        changed = sum(
            1
            for check_id, settings in wanted.items()
            if (known := self._checks.get(check_id)) is not None and known.settings != settings
        )
        for check_id, settings in wanted.items():
            check = self._checks.get(check_id)
            if check is not None:
                outputs += check.reconfigure(settings, now, spread=start_spread(changed, settings.interval))
                if check.started is None:
                    self._land(check_id)
                    self._queue(check)
                continue
            check = Check(check_id, settings, random=self._random, adopted=(adopted or {}).get(check_id))
            self._checks[check_id] = check
            new.append(check)
        for check in new:
            outputs += check.start(now, spread=start_spread(len(new), check.settings.interval))
            self._queue(check)
        if not self._checks:
            self._wheel.clear()
            self._steps.clear()
        if not self._in_flight:
            self._sweep_at = None
        return outputs

    def probe_now(self, check_id: str, now: Instant) -> list[Output]:
        """Ask one target without waiting for its interval."""
        check = self._checks.get(check_id)
        if check is None:
            return []
        outputs = check.probe_now(now)
        if check.started is None:
            self._queue(check)
        return outputs

    @property
    def deadline(self) -> Instant | None:
        """The next step of the grid at which something may be due."""
        sweep_at = self._sweep_at
        if not self._steps:
            return sweep_at
        due = self._steps[0] * GRID
        return sweep_at if sweep_at is not None and sweep_at < due else Instant(due)

    def on_deadline(self, now: Instant) -> list[Output]:
        """Start what is due."""
        outputs: list[Output] = []
        reached = now // GRID
        in_flight, program = self._in_flight, CheckKind.EXEC
        while self._steps and self._steps[0] <= reached:
            step = heappop(self._steps)
            for check in self._wheel.pop(step):
                # Not one that is gone, was asked already, or has moved to a later step.
                due = check.deadline
                if due is not None and check.started is None and due <= now:
                    if check.settings.kind is program:
                        self._waiting_programs.append(check)
                    elif len(in_flight) < PROBES_AT_ONCE:
                        outputs.append(check.begin(now))
                        in_flight[check.check_id] = check
                    else:
                        self._waiting.append(check)
        if self._sweep_at is not None and self._sweep_at <= now:
            outputs += self._sweep(now)
        outputs += self._start_waiting(now)
        if self._in_flight and self._sweep_at is None:
            self._sweep_at = Instant((now // GRID) * GRID + SWEEP)
        return outputs

    def on_result(self, check_id: str, result: ProbeResult, now: Instant) -> list[Output]:
        """A probe's answer; one for a check that is gone is ignored."""
        check = self._in_flight.pop(check_id, None)
        if check is None:
            return []
        if self._programs:
            self._programs.discard(check_id)
        outputs = check.on_result(result, now)
        self._queue(check)
        if self._waiting or self._waiting_programs:
            outputs += self._start_waiting(now)
        return outputs

    def stop(self) -> list[Output]:
        """Probe no more."""
        return self.reconfigure({}, Instant(0))

    def _sweep(self, now: Instant) -> list[Output]:
        """Give up probes that never came back."""
        outputs: list[Output] = []
        for check in tuple(self._in_flight.values()):
            if check.deadline is not None and check.deadline <= now:
                self._land(check.check_id)
                outputs += check.on_deadline(now)
                self._queue(check)
        self._sweep_at = Instant((now // GRID) * GRID + SWEEP) if self._in_flight else None
        return outputs

    def _land(self, check_id: str) -> Check | None:
        """A probe is over."""
        if self._programs:
            self._programs.discard(check_id)
        return self._in_flight.pop(check_id, None)

    def _start_waiting(self, now: Instant) -> list[Output]:
        """Start whoever waits in line, as far as the bounds let them."""
        outputs: list[Output] = []
        for line in (self._waiting_programs, self._waiting):
            is_programs = line is self._waiting_programs
            while line and len(self._in_flight) < PROBES_AT_ONCE:
                if is_programs and len(self._programs) >= PROGRAMS_AT_ONCE:
                    break
                check = line.popleft()
                due = check.deadline
                is_gone = self._checks.get(check.check_id) is not check
                if is_gone or due is None or check.started is not None or due > now:
                    continue
                outputs += check.on_deadline(now)
                self._in_flight[check.check_id] = check
                if is_programs:
                    self._programs.add(check.check_id)
        return outputs

    def _queue(self, check: Check) -> None:
        due = check.deadline
        if due is None:
            return
        step = -(-due // GRID)
        checks = self._wheel.get(step)
        if checks is None:
            self._wheel[step] = [check]
            heappush(self._steps, step)
        elif checks[-1] is not check:
            checks.append(check)
