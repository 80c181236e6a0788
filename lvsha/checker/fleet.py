"""All the checks of a director as one machine with one deadline.

Ten thousand timers would wake the loop ten thousand times an interval. The
fleet is a wheel on a 10 ms grid: it wakes at most a hundred times a second and
then starts everything that is due, late by at most one step of the grid.

A check whose probe is in flight is not in the wheel; a sweep once a second
looks for probes that never came back.
"""

from collections.abc import Callable, Iterator
from heapq import heappop, heappush

from lvsha.checker.check import Check, start_spread
from lvsha.checker.result import ProbeResult
from lvsha.checker.settings import CheckSettings
from lvsha.core.instant import MILLISECOND, SECOND, Instant
from lvsha.core.machine import Output

GRID = 10 * MILLISECOND
SWEEP = 1 * SECOND


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
            self._in_flight.pop(check_id, None)
        new: list[Check] = []
        for check_id, settings in wanted.items():
            check = self._checks.get(check_id)
            if check is not None:
                outputs += check.reconfigure(settings, now)
                if check.started is None:
                    self._in_flight.pop(check_id, None)
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
        while self._steps and self._steps[0] <= reached:
            step = heappop(self._steps)
            for check in self._wheel.pop(step):
                # Not one that is gone, was asked already, or has moved to a later step.
                due = check.deadline
                if due is not None and check.started is None and due <= now:
                    outputs += check.on_deadline(now)
                    self._in_flight[check.check_id] = check
        if self._in_flight and self._sweep_at is None:
            self._sweep_at = Instant((now // GRID) * GRID + SWEEP)
        elif self._sweep_at is not None and self._sweep_at <= now:
            outputs += self._sweep(now)
        return outputs

    def on_result(self, check_id: str, result: ProbeResult, now: Instant) -> list[Output]:
        """A probe's answer; one for a check that is gone is ignored."""
        check = self._in_flight.pop(check_id, None)
        if check is None:
            return []
        outputs = check.on_result(result, now)
        self._queue(check)
        return outputs

    def stop(self) -> list[Output]:
        """Probe no more."""
        return self.reconfigure({}, Instant(0))

    def _sweep(self, now: Instant) -> list[Output]:
        """Give up probes that never came back."""
        outputs: list[Output] = []
        for check in tuple(self._in_flight.values()):
            if check.deadline is not None and check.deadline <= now:
                del self._in_flight[check.check_id]
                outputs += check.on_deadline(now)
                self._queue(check)
        self._sweep_at = Instant((now // GRID) * GRID + SWEEP) if self._in_flight else None
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
