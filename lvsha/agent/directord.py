"""directord: checks, the IPVS table, the sync daemons, the API.

It may be killed at any moment without touching traffic: the kernel goes on
forwarding and synchronising, vrrpd goes on advertising, and the successor
adopts what it finds and writes nothing.

What it does to the kernel's table is in ``agent.kernel_table``.
"""

import asyncio
import gc
import importlib
import random
import secrets
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from lvsha.agent.accept_mode import AcceptMode
from lvsha.agent.alerts import AlertDesk, watch_coverage
from lvsha.agent.chronicle import Chronicle
from lvsha.agent.config_life import Load
from lvsha.agent.connection_sync import ConnectionSync, on_private_interface
from lvsha.agent.control import ControlEnd
from lvsha.agent.hooks import Hooks
from lvsha.agent.journal import Journal
from lvsha.agent.kernel_sync import KernelSync
from lvsha.agent.kernel_table import KernelTable
from lvsha.agent.maintenance_dir import MaintenanceDir
from lvsha.agent.multicast_sync import MulticastSync
from lvsha.agent.operations import Operations
from lvsha.agent.path_answers import PathAnswers
from lvsha.agent.peers import PeerDesk
from lvsha.agent.reset_grace import ResetGrace
from lvsha.agent.switchover import Switchover
from lvsha.agent.templates import QuiescentTemplates
from lvsha.agent.timeouts import KernelTimeouts
from lvsha.agent.trackers import Trackers
from lvsha.agent.vrrpd_client import VrrpdClient
from lvsha.checker.check import CancelProbe, StartProbe
from lvsha.checker.result import ProbeResult
from lvsha.config.settings import OnStop, Settings
from lvsha.core.errors import ConfigErrors
from lvsha.core.instant import Instant, to_seconds
from lvsha.core.machine import Event, Output
from lvsha.director.director import Director, ReconcileTable
from lvsha.director.drain import DrainEnded
from lvsha.director.overrides import OverrideExpired, OverrideRemoved, OverrideSet
from lvsha.io.ipvs_genl import IpvsSocket
from lvsha.io.launcher import Launcher
from lvsha.io.probes.runner import ProbeRunner
from lvsha.io.probes.workers import ProbeWorkers
from lvsha.io.reactor import monotonic

_ALERT_FLUSH_S = 1.0
"""How long a planned stop waits for messages that are on their way."""
_ALIVE_INTERVAL = 0.5
_TABLE_FIRST_S = 8.0
"""How long the API waits for a resync: on one processor they would only hold each other up."""
_FREEZE_S = 10.0
_MANY_CHANGES = 2000
_GARBAGE = (1_000, 10, 100)
"""A table of ten thousand rows is no garbage: with Python's own (700, 10, 10) all of it was looked at with
every second reading, and again and again the rows of a resync. No more than 10,000 objects at once, four
milliseconds."""
_RELAY_FLUSH_S = 0.4
"""How long a hand-over waits for the peers to have everything in their kernels."""


class Directord:
    """One life of the process."""

    def __init__(self, settings: Settings, control: ControlEnd, *, load: Load, file: str) -> None:
        """``load`` reads the agent's ``file``, or a text, as the supervisor would."""
        self.launcher = Launcher()
        self.settings = settings
        self.control = control
        self.started = monotonic()
        self.run_dir = Path(settings.agent.run_dir)
        self.journal = Journal("directord", settings.agent)
        self.ipvs = IpvsSocket()
        self.kernel = KernelTable(self, self.ipvs, IpvsSocket())
        self.director = Director(settings, random=random.Random().random, actual=self.kernel.table)
        self.sync = KernelSync(
            on_private_interface(settings.sync), self.ipvs, self.journal, self.run_dir, settings.sysctls
        )
        self.timeouts = KernelTimeouts(self.ipvs, self.journal, self.run_dir)
        self.vrrp = VrrpdClient(
            self.run_dir / "vrrpd.sock",
            self.journal,
            on_releasing=self._flush,
            on_preparing=self._before_role,
            on_routers=self._on_routers,
            on_event=self._on_vrrp_event,
            stays_out=lambda: self.operations.is_out,
        )
        self.relay = ConnectionSync.of(
            settings.sync,
            ipvs=self.ipvs,
            journal=self.journal,
            allow_preemption=self.vrrp.allow_preemption,
        )
        self.sync.follow(self.relay, peers=len(settings.peers))
        self.multicast = MulticastSync.of(settings.sync, ipvs=self.ipvs, journal=self.journal)
        self.peers = PeerDesk(self)
        self._switchover: Switchover | None = None
        self.reset_grace = ResetGrace(self.journal, self.run_dir, run=self.launcher.run)
        self.accept_mode = AcceptMode(self.journal, self.run_dir, run=self.launcher.run)
        self.templates = QuiescentTemplates(self.journal, self.run_dir)
        self.path_answers = PathAnswers(self.journal, self.run_dir)
        self.hooks = Hooks(states=self.vrrp.states, journal=self.journal, run=self.launcher.run)
        state_dir = Path(settings.agent.state_dir)
        self.chronicle = Chronicle(self.journal, state_dir / "history.jsonl")
        self.alerts = AlertDesk(self.journal, node=settings.node)
        self.operations = Operations(self, state_dir, load, file=file)
        self.maintenance_dir = MaintenanceDir(self.journal, self.operations)
        self.director.generation = settings.generation
        self.runner: ProbeRunner | ProbeWorkers | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._armed: Instant | None = None
        self._stop = asyncio.Event()
        self._reloads: set[asyncio.Task[None]] = set()
        self._api: Any = None
        """The ``ApiServer``; aiohttp is imported late."""
        self._on_vrrp_line: Callable[[dict[str, Any]], None] = lambda _: None
        """Whoever listens to vrrpd's journal."""
        self.refused: dict[str, Any] | None = None
        """Why the configuration file is not in force: a line of the supervisor's journal."""

    # Life

    async def run(self) -> None:
        """Until told to stop."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._stop.set)
        loop.add_reader(self.control.fileno(), self._on_control)
        self.runner = self._make_runner()
        self.trackers = Trackers(
            send=self.vrrp.send,
            has_quorum=lambda name: view.quorum_met if (view := self.director.views().get(name)) else None,
            runner=self.runner,
            run=self.launcher.run,
        )
        self.trackers.reconfigure(self.settings.routers)
        self.hooks.reconfigure(self.settings.routers)
        self.alerts.reconfigure(self.settings.alerts)
        self.journal.listeners.append(self.alerts.hear)
        self.sync.start()
        self.perform(
            self.director.start(
                monotonic(),
                at=time.time(),
                overrides=self.operations.standing.overrides,
                ended=self.operations.standing.ended,
                over=self.operations.standing.over,
            )
        )
        self.operations.start()
        await self.kernel.reconcile()
        gc.freeze()
        tasks = [
            asyncio.create_task(self.kernel.keep()),
            asyncio.create_task(self._keep_alive()),
            asyncio.create_task(self._keep_frozen()),
            asyncio.create_task(self.vrrp.run()),
            asyncio.create_task(self._keep_nudging()),
            asyncio.create_task(self.sync.watch()),
            asyncio.create_task(self.reset_grace.run()),
            asyncio.create_task(self.accept_mode.run()),
            asyncio.create_task(watch_coverage(self.journal, self._coverage)),
            asyncio.create_task(self.maintenance_dir.run(lambda: self.settings.agent.maintenance_dir)),
        ]
        if self.relay is not None:
            tasks.append(asyncio.create_task(self.relay.run()))
        if self.multicast is not None:
            tasks.append(asyncio.create_task(self.multicast.run()))
        self.control.send("ready")
        self.journal.write(
            "director.started",
            node=self.settings.node,
            services=len(self.settings.services),
            writes=self.kernel.writes,
        )
        if self.relay is not None:
            await self.relay.joined(_TABLE_FIRST_S, leaves=self._stop.is_set)
        # aiohttp takes longest to import; the kernel has what it needs by now, so it may.
        server = await asyncio.to_thread(importlib.import_module, "lvsha.api.server")
        events = server.EventStream(secrets.token_hex(4))
        for entry in self.journal.recent:
            events.publish("journal", entry)
        self.journal.listeners.append(lambda entry: events.publish("journal", entry))
        self.chronicle.listeners.append(lambda change: events.publish("change", change))
        self._on_vrrp_line = lambda entry: events.publish("journal", entry)
        api = server.ApiServer(self.operations, events=events)
        await api.start(self.run_dir / "directord.sock", group=self.settings.api.group)
        self._api = api
        try:
            await api.listen(self.settings.api)
        except ConfigErrors as refusal:
            # The Unix socket works, and so does everything else: say it and go on.
            for problem in refusal.problems:
                self.journal.write("director.api_refused", problem=str(problem))
        stopping = asyncio.create_task(self._stop.wait())
        done, _ = await asyncio.wait([stopping, *tasks], return_when=asyncio.FIRST_COMPLETED)
        if stopping in done:
            await self._flush()  # what came after the addresses went
        self.peers.close()
        for task in (*tasks, stopping):
            task.cancel()
        await self.alerts.close(_ALERT_FLUSH_S)
        await api.stop()
        for task in done:
            if task is not stopping:
                task.result()  # a task that ended by itself has failed: let its error be seen
        await self._leave()

    async def _leave(self) -> None:
        """The reverse of the start; nothing that waits to be sent is thrown away."""
        if self.runner is not None:
            self.trackers.close()
            self.hooks.close()
            self.runner.close()
        if self._timer is not None:
            self._timer.cancel()  # no check begins any more
            self._timer = self._armed = None
        if self.control.closed:
            self.journal.write("director.left", reason="the supervisor is gone", kernel="left as it is")
            return
        self.operations.close()
        self.chronicle.close()
        await self.sync.flush()
        if self.vrrp.connected:
            # It is stopped before us where everything is stopped. Addresses without their services would be
            # answered with resets, here or after a takeover: whoever starts next adopts what is there.
            self.journal.write("director.left", reason="vrrpd runs on", kernel="left as it is")
            return
        await self.reset_grace.stop()
        await self.accept_mode.stop()
        if self.settings.agent.on_stop is OnStop.REMOVE:
            self.sync.stop()
            await self.kernel.remove_ours()
            self.timeouts.restore()
            self.templates.restore()
            self.path_answers.restore()
        self.launcher.close()
        self.journal.write("director.left", kernel=str(self.settings.agent.on_stop))

    async def _keep_alive(self) -> None:
        while True:
            self.control.send("alive")
            await asyncio.sleep(_ALIVE_INTERVAL)

    async def _keep_frozen(self) -> None:
        """What was loaded, and what has been told, stays: a collector that looks at a quarter of a million
        of such objects again and again holds the loop up for a tenth of a second each time.

        Not oftener than that: garbage of this very moment is never found again.
        """
        frozen = -_MANY_CHANGES
        while True:
            await asyncio.sleep(_FREEZE_S)
            if self.chronicle.count - frozen >= _MANY_CHANGES:
                frozen = self.chronicle.count
                gc.freeze()

    def _on_control(self) -> None:
        for message in self.control.receive():
            if message.kind == "stop":
                self._stop.set()
            elif message.kind == "reload":
                self._reload(message.payload)
            elif message.kind == "said":
                self._on_supervisor_line(message.payload)
        if self.control.closed:
            self._stop.set()

    def _reload(self, settings: Settings) -> None:
        self.settings = settings
        self.refused = None
        self.director.generation = settings.generation
        self.journal.configure(settings.agent)
        self.perform(self.director.reconfigure(settings, monotonic()))
        self.trackers.reconfigure(settings.routers)
        self.hooks.reconfigure(settings.routers)
        self.alerts.reconfigure(settings.alerts)
        self.maintenance_dir.reconsider()
        self.sync.reconfigure(on_private_interface(settings.sync), settings.sysctls)
        if self.relay is not None:
            self.relay.reconfigure(settings.sync)
        if self.multicast is not None:
            self.multicast.reconfigure(settings.sync)
        task = asyncio.create_task(self._in_force(settings))
        self._reloads.add(task)
        task.add_done_callback(self._reloads.discard)

    async def _in_force(self, settings: Settings) -> None:
        """The rest of a reload: the kernel has these settings, and everybody hears it."""
        await self.kernel.reconcile()
        gc.freeze()
        self.operations.on_reloaded()
        self.peers.settle()
        try:
            if self._api is not None:
                self._api.configure(settings.api)
        except ConfigErrors as refusal:
            for problem in refusal.problems:
                self.journal.write("director.api_refused", problem=str(problem))
        self.journal.write(
            "director.reloaded", services=len(settings.services), checks=self.director.check_count
        )

    # Checks

    def perform(self, outputs: list[Output]) -> None:
        """Carry out what the director says."""
        assert self.runner is not None, "checks start after the runner"
        for output in outputs:
            if isinstance(output, StartProbe):
                self.runner.start(output.check_id, output.settings, self._on_probe, is_plain=output.is_plain)
            elif isinstance(output, CancelProbe):
                self.runner.cancel(output.check_id)
            elif isinstance(output, ReconcileTable):
                self.kernel.want()
            elif isinstance(output, (OverrideSet, OverrideRemoved, OverrideExpired, DrainEnded)):
                self.journal.record("director", output)
            elif isinstance(output, Event):
                self.journal.record("checker", output)
        self.operations.on_outputs(outputs)
        self._arm()

    def _make_runner(self) -> ProbeRunner | ProbeWorkers:
        def on_event(event: Output) -> None:
            self.journal.record("checker", event)

        workers = self.settings.agent.check_workers
        return ProbeWorkers(workers, on_event) if workers else ProbeRunner(on_event)

    def _on_probe(self, check_id: str, result: ProbeResult) -> None:
        outputs = self.director.on_probe(check_id, result, monotonic())
        if outputs:
            self.perform(outputs)
        else:
            self._arm()

    def _arm(self) -> None:
        deadline = self.director.deadline
        if deadline is not None and self._armed is not None and self._armed <= deadline:
            return  # the timer finds nothing to do then, and arms again: less than a timer for each result
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._armed = deadline
        if deadline is not None:
            delay = max(0.0, to_seconds(deadline - monotonic()))
            self._timer = asyncio.get_running_loop().call_later(delay, self._on_timer, deadline)

    def _on_timer(self, deadline: Instant) -> None:
        self._timer = self._armed = None
        self.perform(self.director.on_deadline(max(deadline, monotonic())))

    @property
    def forwards(self) -> bool:
        """Whether new connections come here, so that none that we count are copies of another's."""
        return not self.settings.routers or self.vrrp.is_master

    # Connection synchronisation

    async def _keep_nudging(self) -> None:
        while True:
            interval = self.settings.sync.nudge_interval if self.settings.sync is not None else 0
            if interval and self.relay is not None:
                interval = self.relay.nudge_interval(interval)
            await asyncio.sleep(to_seconds(interval) if interval else 1.0)
            if interval and self.vrrp.is_master:
                self.sync.nudge()

    async def _before_role(self, router: str, what: str) -> None:
        """vrrpd waits: a virtual router is about to be promoted or demoted."""
        await asyncio.gather(
            *(self.hooks.before(each, what) for each in self.settings.routers if each.name == router)
        )

    async def _flush(self) -> None:
        """vrrpd is about to hand over, or has: push the kernel's part-filled sync buffer out."""
        await self.sync.flush()
        if self.relay is not None:
            await self.relay.flush(_RELAY_FLUSH_S)

    async def switchover(self, *, force: bool) -> dict[str, Any]:
        """Hand the addresses over; an answer with ``error`` says that nothing has changed, and why."""

        def release() -> bool:
            return self.vrrp.send({"type": "release"})

        if not self.vrrp.connected:
            return {"error": "vrrpd does not answer; is lvsha-vrrpd running?"}
        if self.relay is None or not self.vrrp.is_master:
            release()
            return {"ordered": "release"}
        if self._switchover is not None and self._switchover.is_running:
            return {"error": "refused: a switchover is running already"}
        self._switchover = Switchover(
            self.relay,
            self.journal,
            flush_kernel=self.sync.flush,
            release=release,
            holds_addresses=lambda: self.vrrp.holds_addresses,
        )
        return await self._switchover.run(force=force)

    def resync(self) -> dict[str, Any]:
        """All connections once more, both ways."""
        if self.relay is None:
            return {"error": "there is no relay: [sync] transport is multicast, or there is no peer"}
        return {"connections": self.relay.resync(), "peers": self.relay.status({})["peers"]}

    def _on_routers(self, routers: Sequence[dict[str, Any]]) -> None:
        self.chronicle.on_routers(routers)
        if self.relay is not None:
            self.relay.on_routers(routers)
        if self.multicast is not None:
            self.multicast.on_routers(routers)

    def _on_supervisor_line(self, entry: dict[str, Any]) -> None:
        """What only the supervisor knows: it is in its log, and here for alerts and who listens."""
        if entry["event"] in ("agent.reload_refused", "agent.last_good_used"):
            self.refused = entry
        self.alerts.hear(entry)
        self._on_vrrp_line(entry)

    def _coverage(self) -> tuple[float, float] | None:
        """What the peers hold of our connections, and should; None: the addresses are not here."""
        if self.relay is None or not self.vrrp.is_master:
            return None
        views = self.relay.relay.peers(monotonic())
        return min((view.coverage for view in views), default=0.0), self.relay.settings.coverage_target

    def _on_vrrp_event(self, event: dict[str, Any]) -> None:
        self.chronicle.on_vrrp_event(event)
        self.alerts.hear(event)
        self._on_vrrp_line(event)


def main(settings: Settings, control: ControlEnd, load: Load, file: str) -> int:
    """The worker's entry point."""
    directord = Directord(settings, control, load=load, file=file)
    # A thread that works hands the processor back after 1 ms, not 5: checks wait for it.
    sys.setswitchinterval(0.001)
    gc.set_threshold(*_GARBAGE)
    asyncio.run(directord.run())
    return 0
