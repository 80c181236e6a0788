"""One check of one target: when to probe, and what a row of results means.

::

               one good                      fall bad in a row
    unproven ───────────▶ up ◀───────────────────────────────────▶ down
        │                     rise good in a row                    ▲
        └───────────────────────────────────────────────────────────┘
           one bad (begins down) or fall bad (begins up)

Rule 1: a result that contradicts the state is a suspicion, and only a row of
them is a verdict. While there is a suspicion the next probe comes after
``fast_interval``, else after ``interval``.

Rule 2: a realserver is not failed by our own lateness. A probe waits as much
longer as its loop was late, up to a limit, so a time-out says what it should.
Beyond that limit, and where the other side gave the connection up while we were
late, a bad result says nothing; it is asked again at once. Five such results in
a row are counted after all: a director that is late for ever must not keep the
dead in service.

Rule 3: a probe that never comes back (its worker died, or gets no processor) is given up
by a guard. It changes no verdict, however often: we know nothing, and to fail a realserver for
it would fail all of them. Each time in a row the guard waits twice as long, up to
``PATIENCE_LIMIT`` times, so that asking again does not keep a slow worker from answering.
"""

from collections.abc import Callable
from dataclasses import dataclass

from lvsha.checker.lag import CREDIT_LIMIT
from lvsha.checker.result import ProbeResult, Reason, Timings
from lvsha.checker.settings import CheckKind, CheckSettings, Initial
from lvsha.core.instant import MILLISECOND, SECOND, Instant, after
from lvsha.core.machine import Action, Event, Output


@dataclass(frozen=True, slots=True, kw_only=True)
class StartProbe(Action):
    """Ask the target now; exactly one ``on_result`` answers, unless ``CancelProbe`` comes first."""

    check_id: str
    settings: CheckSettings
    is_plain: bool = False
    """Only connect; see ``CheckSettings.plain_connects``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelProbe(Action):
    """Forget the probe in flight, if any; no result is wanted."""

    check_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckRose(Event):
    """The target is up from now on."""

    check_id: str
    first: bool
    """Its first verdict: nothing was known before."""
    successes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckFell(Event):
    """The target is down from now on."""

    check_id: str
    first: bool
    reason: Reason
    detail: str
    ours: bool
    failures: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckFaltered(Event):
    """A bad result from a target that is up, and not yet the last straw."""

    check_id: str
    reason: Reason
    detail: str
    failures: int
    fall: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckInconclusive(Event):
    """A bad result that our own lateness may have caused; it is not counted."""

    check_id: str
    reason: Reason
    lag: int
    """By how many nanoseconds we were late; 0: the probe never came back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckWeighed(Event):
    """The check itself says a weight, or a share of the configured one; both None: no longer."""

    check_id: str
    weight: int | None
    percent: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckWarned(Event):
    """The check passed, and there is something to look after. Said once per text."""

    check_id: str
    warning: str


IMPATIENT = frozenset({Reason.CLOSED, Reason.RESET})
"""Bad results that a late loop can produce from a good realserver that has a time-out of its own."""

_NOTHING_MORE = ProbeResult(ok=True)[6:]
"""No weight, no share, no warning."""

INCONCLUSIVE_LIMIT = 5
"""Uncounted results in a row; the next one counts."""

GUARD_GRACE = 2 * SECOND
"""How long after its time-out a probe may still be on its way back."""

PATIENCE_LIMIT = 8

STARTS_PER_SECOND = 5000
"""The pace at which a start asks all targets for the first time."""


def start_spread(count: int, interval: int) -> int:
    """Over which duration ``count`` checks that begin together should begin, in nanoseconds.

    Long enough that they are no herd, and never longer than the interval, so that
    every target has its first verdict within one interval and one time-out.
    """
    return min(interval, count * SECOND // STARTS_PER_SECOND)


class Check:
    """The machine of one check. ``random`` returns numbers in [0, 1)."""

    __slots__ = (
        "_guarded",
        "_impatience",
        "_inconclusive",
        "_is_steady",
        "_jitter",
        "_patience",
        "_plain_left",
        "_random",
        "_scattered",
        "_shortest",
        "_start",
        "check_id",
        "deadline",
        "failures",
        "last_at",
        "last_result",
        "proven",
        "settings",
        "since",
        "started",
        "successes",
        "up",
        "warning",
        "weighed",
    )

    def __init__(
        self,
        check_id: str,
        settings: CheckSettings,
        *,
        random: Callable[[], float],
        adopted: bool | None = None,
    ) -> None:
        """``adopted``: what the kernel's table says of the target after our restart; it then
        needs the whole ``rise`` or ``fall`` to change."""
        self.check_id = check_id
        self._take(settings)
        self.up = settings.initial is Initial.UP if adopted is None else adopted
        self.proven = adopted is not None
        """Whether ``up`` is a verdict rather than an assumption."""
        self.since: Instant | None = None
        """Since when ``up`` is what it is; None before the start."""
        self.successes = 0
        self.failures = 0
        self.last_result: ProbeResult | None = None
        self.last_at: Instant | None = None
        self.warning = ""
        self.started: Instant | None = None
        """When the probe in flight began; None: none is."""
        self.deadline: Instant | None = None
        self._guarded = False
        self._impatience = 1
        """How many times ``_patience`` the guard waits."""
        self._inconclusive = 0
        self._is_steady = False
        """Up, and the last result changed nothing: one more like it needs no second thought."""
        self._plain_left = 0
        """So many of the next probes only connect, as long as nothing is the matter."""
        self._scattered = False
        self.weighed: tuple[int | None, int | None] = (None, None)
        """Weight, and share of the configured one, that the last good result gave."""
        self._random = random

    def _take(self, settings: CheckSettings) -> None:
        """Work out once what each probe needs."""
        self.settings = settings
        self._start = StartProbe(check_id=self.check_id, settings=settings)
        self._patience = 2 * settings.timeout + GUARD_GRACE
        jitter = settings.jitter_percent / 100
        self._shortest = settings.interval * (1 - jitter)
        self._jitter = settings.interval * 2 * jitter

    def start(self, now: Instant, *, spread: int = 0) -> list[Output]:
        """Begin: the first probe comes within ``spread`` (see ``start_spread``)."""
        self.since = now
        if self.settings.kind is CheckKind.ON:
            return self._rise(now)
        if self.settings.kind is CheckKind.OFF:
            return self._fall(ProbeResult(ok=False, reason=Reason.TOLD_DOWN, detail="configured off"), now)
        self.deadline = after(now, int(self._random() * spread))
        return []

    def stop(self) -> list[Output]:
        """Probe no more; the state stays as it is."""
        self.deadline = None
        was_probing = self.started is not None
        self.started = None
        return [CancelProbe(check_id=self.check_id)] if was_probing else []

    def probe_now(self, now: Instant) -> list[Output]:
        """Do not wait for the interval (an operator, or news of the target)."""
        if self.deadline is not None and self.started is None:
            self.deadline = now
        return []

    def reconfigure(self, settings: CheckSettings, now: Instant, *, spread: int = 0) -> list[Output]:
        """Go on under other settings. A verdict stays until the new question has its own, which
        is asked within ``spread`` (see ``start_spread``): a reload is no herd either."""
        if settings == self.settings:
            return []
        old = self.settings
        self._take(settings)
        self._is_steady = False
        outputs = self.stop()
        self.successes = self.failures = self._inconclusive = 0
        if settings.kind in (CheckKind.ON, CheckKind.OFF):
            if not self.proven or self.up is not (settings.kind is CheckKind.ON):
                outputs += self.start(now)
            else:
                self.deadline = None
        elif (old.kind, old.address, old.port, old.options) != (
            settings.kind,
            settings.address,
            settings.port,
            settings.options,
        ):
            self.deadline = after(now, int(self._random() * spread))
        else:
            self.deadline = after(now, int(self._random() * self._interval()))
        return outputs

    def on_deadline(self, now: Instant) -> list[Output]:
        """Time for a probe, or for giving up one that never came back."""
        if self.deadline is None or now < self.deadline:
            return []
        if self.started is None:
            return [self.begin(now)]
        outputs: list[Output] = [CancelProbe(check_id=self.check_id)]
        lost = ProbeResult(
            ok=False,
            reason=Reason.INTERNAL,
            detail="the probe never came back",
            timings=Timings(total=now - self.started),
            ours=True,
        )
        self._guarded = True
        return outputs + self.on_result(lost, now)

    def begin(self, now: Instant) -> StartProbe:
        """What ``on_deadline`` does when it is time for a probe, for who knows that it is."""
        self.started = now
        self.deadline = Instant(now + self._patience * self._impatience)
        if self._plain_left and self._is_steady:
            self._plain_left -= 1
            return StartProbe(check_id=self.check_id, settings=self.settings, is_plain=True)
        self._plain_left = self.settings.plain_connects
        return self._start

    def on_result(self, result: ProbeResult, now: Instant) -> list[Output]:
        """What the probe found. A result that nobody waits for is ignored."""
        started = self.started
        if started is None:
            return []
        self.started = None
        self.last_result, self.last_at = result, now
        if self._is_steady and result.ok and result[6:] == _NOTHING_MORE:
            self.successes += 1
            # What ``_next`` would say.
            due = started + int(self._shortest + self._jitter * self._random())
            self.deadline = Instant(due if due > now else now)
            return []

        guarded, self._guarded = self._guarded, False
        self._impatience = min(2 * self._impatience, PATIENCE_LIMIT) if guarded else 1
        doubtful = not result.ok and self._is_doubtful(result, guarded)
        if doubtful and (self._inconclusive < INCONCLUSIVE_LIMIT or (guarded and self.proven)):
            if not (guarded and self.proven):
                self._inconclusive += 1
            self._is_steady = False  # the next good one ends the row
            # Not at the same instant again: what made us late may pass.
            self.deadline = after(now, int((0.5 + self._random()) * self.settings.fast_interval / 2))
            return [CheckInconclusive(check_id=self.check_id, reason=result.reason, lag=result.lag)]

        if not doubtful:
            self._inconclusive = 0
        outputs = self._good(result, now) if result.ok else self._bad(result, now)
        self.deadline = self._next(started, now)
        self._is_steady = (
            result.ok and self.up and self._scattered and self.weighed == (None, None) and not self.warning
        )
        return outputs

    def _good(self, result: ProbeResult, now: Instant) -> list[Output]:
        self.failures = 0
        self.successes += 1
        outputs: list[Output] = []
        if result.warning != self.warning:
            self.warning = result.warning
            if result.warning:
                outputs.append(CheckWarned(check_id=self.check_id, warning=result.warning))
        if self.weighed != (result.weight, result.percent):
            self.weighed = (result.weight, result.percent)
            outputs.append(CheckWeighed(check_id=self.check_id, weight=result.weight, percent=result.percent))
        if not self.proven or (not self.up and self.successes >= self.settings.rise):
            outputs += self._rise(now)
        return outputs

    def _bad(self, result: ProbeResult, now: Instant) -> list[Output]:
        self.successes = 0
        self.failures += 1
        if self.proven and not self.up:
            return []
        if self.failures >= (self.settings.fall if self.up else 1):
            return self._fall(result, now)
        return [
            CheckFaltered(
                check_id=self.check_id,
                reason=result.reason,
                detail=result.detail,
                failures=self.failures,
                fall=self.settings.fall,
            )
        ]

    def _rise(self, now: Instant) -> list[Output]:
        first, self.proven = not self.proven, True
        if not self.up:
            self.up, self.since = True, now
        return [CheckRose(check_id=self.check_id, first=first, successes=self.successes)]

    def _fall(self, result: ProbeResult, now: Instant) -> list[Output]:
        first, self.proven = not self.proven, True
        if self.up:
            self.up, self.since = False, now
        return [
            CheckFell(
                check_id=self.check_id,
                first=first,
                reason=result.reason,
                detail=result.detail,
                ours=result.ours,
                failures=self.failures,
            )
        ]

    def _is_doubtful(self, result: ProbeResult, guarded: bool) -> bool:
        timeout = self.settings.timeout
        if result.reason is Reason.TIMEOUT:
            return guarded or result.lag > CREDIT_LIMIT * timeout
        return guarded or (result.reason in IMPATIENT and result.lag > max(timeout // 4, 20 * MILLISECOND))

    def _interval(self) -> int:
        if not self.proven or (self.failures > 0 if self.up else self.successes > 0):
            return self.settings.fast_interval
        if not self.up and self.settings.down_interval is not None:
            return self.settings.down_interval
        return self.settings.interval

    def _next(self, started: Instant, now: Instant) -> Instant:
        interval = self._interval()
        if self._scattered or not self.proven:
            jitter = self.settings.jitter_percent / 100
            interval = int(interval * (1 + jitter * (2 * self._random() - 1)))
        else:
            # All targets were first asked within a moment (``start_spread``);
            # from the second time on they lie anywhere in the interval.
            self._scattered = True
            interval = int(interval * self._random())
        return max(after(started, interval), now)
