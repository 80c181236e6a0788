"""Probes for asyncio: start one, be called with its result.

The engine's epoll descriptor is itself readable when one of its own is, so one
reader in asyncio's selector serves all probes. Waking asyncio for every single
event would cost more than the probe; while much happens the runner therefore
looks every 10 ms instead and serves what has gathered. It does so at whole
multiples of 10 ms, where the fleet's timer and the wheel's ticks lie as well: one
wake serves all of them. A wake with nothing to do costs 40 to 80 us of processor
time, as much as two probes; the price is that phases are then seen in steps of 10 ms.
"""

import asyncio
import contextlib
from collections.abc import Callable

from lvsha.checker.lag import LagMeter
from lvsha.checker.probes.dialogue import Verdict
from lvsha.checker.result import ProbeResult, Reason, bounded_detail
from lvsha.checker.settings import CheckSettings
from lvsha.core.instant import MILLISECOND, SECOND, Instant
from lvsha.core.machine import Output
from lvsha.io.probes.datagrams import DatagramProbe
from lvsha.io.probes.engine import TICK, Done, Engine
from lvsha.io.probes.pinger import Pinger, PingProbe
from lvsha.io.probes.prepare import Prepared, Transport, prepare
from lvsha.io.probes.probe import Probe
from lvsha.io.probes.programs import FileProbe, ProgramProbe
from lvsha.io.probes.stream import StreamProbe

PACE = 10 * MILLISECOND
"""How often the runner looks while much happens."""

BUSY_WAKES = 8
"""So many wakes within one tick begin the pacing; a tick with fewer events ends it."""


_PROBES: dict[Transport, Callable[[Engine, str, Prepared, Done], Probe]] = {
    Transport.STREAM: StreamProbe,
    Transport.DATAGRAM: DatagramProbe,
    Transport.PROGRAM: ProgramProbe,
    Transport.FILE: FileProbe,
}


class ProbeRunner:
    """Runs probes on the running event loop. ``on_event`` hears that our loop is late, or no longer."""

    def __init__(
        self,
        on_event: Callable[[Output], None] | None = None,
        *,
        listen: Callable[[Prepared], Prepared] | None = None,
    ) -> None:
        self._listen = listen
        self._loop = asyncio.get_running_loop()
        self._engine = Engine()
        self._pinger = Pinger(self._engine)
        self._on_event = on_event
        self._prepared: dict[str, Prepared] = {}
        """By check id; ``cancel`` takes it out, and a check that goes on needs it each time."""
        self._in_flight: dict[str, Probe] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._due: Instant | None = None
        self._soon: asyncio.Handle | None = None
        self._is_paced = False
        self._wakes = 0
        self._wakes_since = self._engine.clock()
        self._is_closed = False
        self._loop.add_reader(self._engine.fileno(), self._on_ready)

    @property
    def lag(self) -> LagMeter:
        """How late our own loop is."""
        return self._engine.meter

    def __len__(self) -> int:
        """Probes in flight."""
        return len(self._in_flight)

    def start(self, check_id: str, settings: CheckSettings, done: Done, *, is_plain: bool = False) -> None:
        """Ask once; ``done`` is called with the result, never from within this call.

        A probe of the same check that is still in flight is cancelled. ``is_plain``: only connect,
        where the kind has a connection.
        """
        assert not self._is_closed, "a closed runner starts nothing"
        flying = self._in_flight.get(check_id)
        if flying is not None:
            flying.cancel()
            self._engine.retract(check_id)
            del self._in_flight[check_id]
        prepared = self._prepared.get(check_id)
        if prepared is None or prepared.settings is not settings:
            try:
                prepared = prepare(settings)
            except (OSError, ValueError) as error:
                result = ProbeResult(
                    ok=False, reason=Reason.MISCONFIGURED, detail=bounded_detail(str(error)), ours=True
                )
                self._engine.finish(done, check_id, result)
                self._schedule()
                return
            if self._listen is not None:
                prepared = self._listen(prepared)
            self._prepared[check_id] = prepared
        if is_plain and prepared.plain is not None:
            prepared = prepared.plain
        probe = self._make(check_id, prepared, done)
        self._in_flight[check_id] = probe
        try:
            probe.start()
        except OSError as error:
            words = bounded_detail(f"{settings.target()}: {error}")
            probe.conclude(Verdict(Reason.INTERNAL, words), ours=True)
        # A timer that stands comes within five ticks anyway.
        if self._due is None or settings.timeout < 5 * TICK or self._engine.has_finished:
            self._schedule()

    def cancel(self, check_id: str) -> None:
        """Forget a check: ``done`` is not called for it any more."""
        probe = self._in_flight.pop(check_id, None)
        if probe is not None:
            probe.cancel()
        self._engine.retract(check_id)
        self._prepared.pop(check_id, None)

    def close(self) -> None:
        """Cancel everything and let go of every descriptor."""
        if self._is_closed:
            return
        self._is_closed = True
        for probe in self._in_flight.values():
            probe.cancel()
        self._in_flight.clear()
        if not self._is_paced:
            self._loop.remove_reader(self._engine.fileno())
        if self._timer is not None:
            self._timer.cancel()
        if self._soon is not None:
            self._soon.cancel()
        self._pinger.close()
        self._engine.close()

    # Within

    def _make(self, check_id: str, prepared: Prepared, done: Done) -> Probe:
        if prepared.transport is Transport.PING:
            return PingProbe(self._engine, self._pinger, check_id, prepared, done)
        return _PROBES[prepared.transport](self._engine, check_id, prepared, done)

    def _on_ready(self) -> None:
        """A descriptor is ready."""
        self._engine.serve()
        self._wakes += 1
        if self._wakes >= BUSY_WAKES:
            now = Instant(self._engine.clock())
            if now - self._wakes_since < TICK:
                self._is_paced = True
                self._loop.remove_reader(self._engine.fileno())
            self._wakes, self._wakes_since = 0, now
        self._deliver()

    def _on_timer(self) -> None:
        """Time to look, to turn the wheel, or both."""
        due, self._due, self._timer = self._due, None, None
        now = Instant(self._engine.clock())
        if due is not None:
            for output in self._engine.meter.woke(due=due, now=now):
                if self._on_event is not None:
                    self._on_event(output)
        turn = self._engine.next_turn
        served = self._engine.turn() if turn is not None and turn <= now else self._engine.serve()
        if self._is_paced:
            self._wakes += served
            if now - self._wakes_since >= 10 * TICK:
                if self._wakes < 10 * BUSY_WAKES // 2:
                    self._is_paced = False
                    self._loop.add_reader(self._engine.fileno(), self._on_ready)
                self._wakes, self._wakes_since = 0, now
        self._deliver()

    def _on_soon(self) -> None:
        self._soon = None
        self._engine.serve()
        self._deliver()

    def _deliver(self) -> None:
        """Hand out what has ended. Callbacks may start and cancel probes."""
        try:
            while not self._is_closed and (finished := self._engine.take_finished()) is not None:
                done, check_id, result = finished
                self._in_flight.pop(check_id, None)
                done(check_id, result)
        finally:
            # A callback that raised is asyncio's to report; the other results still go out.
            if not self._is_closed:
                self._schedule()

    def _schedule(self) -> None:
        engine = self._engine
        if (engine.has_finished or engine.has_more) and self._soon is None:
            self._soon = self._loop.call_soon(self._on_soon)
        due = engine.next_turn
        if self._is_paced:
            soon = Instant((engine.clock() // PACE + 1) * PACE)
            due = soon if due is None else min(due, soon)
        if due is None:
            return  # a timer that is still armed finds nothing to do
        if self._due is not None:
            if self._due <= due:
                return
            assert self._timer is not None, "who is due has a timer"
            self._timer.cancel()
        self._due = due
        self._timer = self._loop.call_at(due / SECOND, self._on_timer)


async def probe_once(
    settings: CheckSettings, *, listen: Callable[[Prepared], Prepared] | None = None
) -> ProbeResult:
    """One probe by itself, for a command or a test. ``listen``: see ``recorder``."""
    runner = ProbeRunner(listen=listen)
    ended: asyncio.Future[ProbeResult] = asyncio.get_running_loop().create_future()

    def done(check_id: str, result: ProbeResult) -> None:
        with contextlib.suppress(asyncio.InvalidStateError):
            ended.set_result(result)

    try:
        runner.start("once", settings, done)
        return await ended
    finally:
        runner.close()
