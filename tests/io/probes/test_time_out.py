"""How long a probe waits when our own loop was late. In time that the test makes."""

import time
import weakref
from dataclasses import replace
from ipaddress import IPv4Address

from lvsha.checker.lag import CREDIT_LIMIT
from lvsha.checker.probes.dialogue import Verdict
from lvsha.checker.result import ProbeResult, Reason
from lvsha.checker.settings import CheckKind, CheckSettings
from lvsha.core.instant import MILLISECOND, SECOND, Instant
from lvsha.io.probes.engine import TICK, Engine
from lvsha.io.probes.prepare import prepare
from lvsha.io.probes.probe import Probe

SETTINGS = CheckSettings(kind=CheckKind.TCP, address=IPv4Address("127.0.0.1"), port=9, timeout=SECOND)


class Silent(Probe):
    """Nobody ever answers. ``owed`` is what the other side waited for us."""

    __slots__ = ("__weakref__", "owed")
    owed: int

    @property
    def missed(self) -> int:
        return self.owed

    def start(self) -> None:
        self.engine.put(self, Instant(self.started + self.prepared.settings.timeout))

    def release(self) -> None:
        pass

    def timed_out(self) -> Verdict:
        return Verdict(Reason.TIMEOUT, "silence")


class Bench:
    def __init__(self, owed: int = 0) -> None:
        self.engine = Engine()
        self.begun = self.now = time.monotonic_ns() // TICK * TICK
        self.engine.clock = lambda: self.now
        self.probe = Silent(self.engine, "web", prepare(SETTINGS), lambda _id, _result: None)
        self.probe.owed = owed
        self.probe.start()

    def at(self, after_ms: float) -> ProbeResult | None:
        """Wake so long after the start; the result that is there then."""
        self.now = self.begun + int(after_ms * MILLISECOND)
        self.engine.turn()
        finished = self.engine.take_finished()
        return finished[2] if finished is not None else None


def test_a_loop_in_time_concludes_at_the_time_out() -> None:
    bench = Bench()

    assert bench.at(990) is None
    result = bench.at(1010)

    assert result is not None
    assert result.reason is Reason.TIMEOUT


def test_a_loop_that_stood_still_reads_for_as_long_again_once() -> None:
    bench = Bench()

    assert bench.at(1310) is None
    assert bench.at(1600) is None
    assert bench.at(1930) is not None  # late again: it had its time


def test_no_more_time_than_the_time_out_however_long_it_stood_still() -> None:
    bench = Bench()

    assert bench.at(60_000) is None
    assert bench.at(61_010) is not None


def test_what_the_other_side_waited_for_us_is_added_up_to_a_limit() -> None:
    assert Bench(owed=200 * MILLISECOND).at(1010) is None
    late = Bench(owed=200 * MILLISECOND)
    assert late.at(1010) is None
    assert late.at(1210) is not None
    endless = Bench(owed=3600 * SECOND)
    for after_ms in range(1010, 1010 + CREDIT_LIMIT * 1000, 100):
        assert endless.at(after_ms) is None
    assert endless.at(1010 + CREDIT_LIMIT * 1000) is not None


def test_a_probe_that_is_over_leaves_the_wheel_long_before_its_time_out() -> None:
    bench = Bench()
    gone = weakref.ref(bench.probe)

    bench.probe.cancel()
    bench.probe = Silent(bench.engine, "next", prepare(SETTINGS), lambda _id, _result: None)
    bench.probe.owed = 0
    bench.probe.start()
    for ms in range(10, 60, 10):
        bench.at(ms)

    assert gone() is None


def test_who_has_a_long_time_out_is_looked_at_now_and_then_and_keeps_it() -> None:
    bench = Bench()
    bench.probe.prepared = prepare(replace(SETTINGS, timeout=90 * SECOND))
    bench.engine.drop(bench.probe)
    bench.probe.start()

    for seconds in range(1, 90):
        assert bench.at(seconds * 1000) is None

    result = bench.at(90_010)
    assert result is not None
    assert result.reason is Reason.TIMEOUT


def test_nobody_waits_for_a_turn_without_a_deadline() -> None:
    bench = Bench()
    assert bench.engine.next_turn is not None

    bench.probe.cancel()

    assert bench.engine.next_turn is None
