"""All the checks of a director as one machine with one deadline.

Ten thousand timers would wake the loop ten thousand times an interval. The
fleet's deadline lies on a 10 ms grid: it wakes at most a hundred times a second
and then starts everything that is due, late by at most one step of the grid.
"""

from collections.abc import Callable, Iterator
from heapq import heappop, heappush

from lvsha.checker.check import Check, start_spread
from lvsha.checker.result import ProbeResult
from lvsha.checker.settings import CheckSettings
from lvsha.core.instant import MILLISECOND, Instant
from lvsha.core.machine import Output

GRID = 10 * MILLISECOND


class Fleet:
    """The checks, by id. ``random`` returns numbers in [0, 1)."""

    def __init__(self, *, random: Callable[[], float]) -> None:
        self._random = random
        self._checks: dict[str, Check] = {}
        self._heap: list[tuple[Instant, str]] = []
        """An entry is valid while it is what ``_queued`` says of its check."""
        self._queued: dict[str, Instant] = {}

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
            self._queued.pop(check_id, None)
        new: list[Check] = []
        for check_id, settings in wanted.items():
            check = self._checks.get(check_id)
            if check is not None:
                outputs += check.reconfigure(settings, now)
                self._queue(check)
                continue
            check = Check(check_id, settings, random=self._random, adopted=(adopted or {}).get(check_id))
            self._checks[check_id] = check
            new.append(check)
        for check in new:
            outputs += check.start(now, spread=start_spread(len(new), check.settings.interval))
            self._queue(check)
        self._compact()
        return outputs

    def probe_now(self, check_id: str, now: Instant) -> list[Output]:
        """Ask one target without waiting for its interval."""
        check = self._checks.get(check_id)
        if check is None:
            return []
        outputs = check.probe_now(now)
        self._queue(check)
        return outputs

    @property
    def deadline(self) -> Instant | None:
        """The next step of the grid at which something is due."""
        while self._heap:
            due, check_id = self._heap[0]
            if self._queued.get(check_id) == due:
                return Instant(-(-due // GRID) * GRID)
            heappop(self._heap)
        return None

    def on_deadline(self, now: Instant) -> list[Output]:
        """Start what is due."""
        outputs: list[Output] = []
        while self._heap and self._heap[0][0] <= now:
            due, check_id = heappop(self._heap)
            if self._queued.get(check_id) == due:
                del self._queued[check_id]
                check = self._checks[check_id]
                outputs += check.on_deadline(now)
                self._queue(check)
        return outputs

    def on_result(self, check_id: str, result: ProbeResult, now: Instant) -> list[Output]:
        """A probe's answer; one for a check that is gone is ignored."""
        check = self._checks.get(check_id)
        if check is None:
            return []
        outputs = check.on_result(result, now)
        self._queue(check)
        return outputs

    def stop(self) -> list[Output]:
        """Probe no more."""
        return self.reconfigure({}, Instant(0))

    def _queue(self, check: Check) -> None:
        due = check.deadline
        if due is None:
            self._queued.pop(check.check_id, None)
        elif self._queued.get(check.check_id) != due:
            self._queued[check.check_id] = due
            heappush(self._heap, (due, check.check_id))
            if len(self._heap) > 4 * len(self._checks) + 64:
                self._compact()

    def _compact(self) -> None:
        """Throw the invalid entries out, so that the heap is bounded by the checks."""
        self._heap = sorted((due, check_id) for check_id, due in self._queued.items())
