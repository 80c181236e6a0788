"""What all probes in flight have in common: a deadline, and one result."""

from lvsha.checker.lag import CREDIT_LIMIT, NOTICEABLE
from lvsha.checker.probes.dialogue import Verdict
from lvsha.checker.result import ProbeResult, Reason, Timings
from lvsha.core.instant import Instant
from lvsha.io.probes.engine import TICK, Done, Engine
from lvsha.io.probes.prepare import Prepared

_OK = Reason.OK


class Probe:
    """One question on its way. It reacts to events of its descriptor and to its deadline."""

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
        return Timings(total)

    @property
    def missed(self) -> int:
        """For how long the other side has waited for us, in nanoseconds: its time-out is longer by that."""
        return self.engine.meter.total - self.lag_at_start

    def on_expired(self, now: Instant) -> None:
        timeout = self.prepared.settings.timeout
        due = Instant(self.started + timeout + min(self.missed, CREDIT_LIMIT * timeout))
        late = now - max(self.bucket, due // TICK + 1) * TICK
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
        if engine.now < self.started:
            engine.now = engine.clock()  # it ended where it began, after the last batch
        reason, detail, weight, percent, warning = verdict
        timings = self.timings(engine.now - self.started)
        lag = engine.meter.total - self.lag_at_start
        self.cancel()
        fields = (reason is _OK, reason, detail, timings, ours, lag, weight, percent, warning)
        engine.finish(self.done, self.check_id, tuple.__new__(ProbeResult, fields))

    def fail(self, result: ProbeResult) -> None:
        """The end, by an error of a system call."""
        self.conclude(Verdict(result.reason, result.detail), ours=result.ours)

    def cancel(self) -> None:
        """The end without a result."""
        if self.is_over:
            return
        self.is_over = True
        self.engine.drop(self)
        self.release()
