"""vrrpd: virtual routers, their addresses, their announcements. Nothing else.

It is a process of its own so that no check, dump or dashboard can delay an
advert, and it needs nothing of directord to go on. Everything it decides is
decided in ``lvsha.vrrp``; here is its life, and what goes into the machines and
comes out of them. Beside this file: ``ports`` (sockets), ``adverts`` (out),
``holdings`` (addresses, routes, rules), ``neighbors`` (ARP, NDP), ``fitness``
(interfaces, tracking, groups), ``virtual_macs``, ``catching_up``, ``watchdog``, ``status``.

Start: when its predecessor was MASTER less than a master-down interval ago and
the addresses are still bound, it goes on as MASTER and writes nothing. A cold
start waits until directord has put the services into the kernel, at most
``_SERVING_DEADLINE``.

Stop: directord is asked to flush the sync buffer, then every router hands over
(priority 0; addresses stay until the new MASTER is heard).
"""

import gc
import os
import signal
import time
from pathlib import Path
from typing import Any

from lvsha.agent.auth_files import AuthFiles
from lvsha.agent.blackbox import BlackBox
from lvsha.agent.control import ControlEnd
from lvsha.agent.ipc import IpcServer, Message
from lvsha.agent.journal import Journal
from lvsha.agent.links import InterfaceTable
from lvsha.agent.recording import Recording
from lvsha.agent.vrrpd.adverts import AdvertSender
from lvsha.agent.vrrpd.catching_up import CatchingUp
from lvsha.agent.vrrpd.fitness import Fitness
from lvsha.agent.vrrpd.holdings import Holdings
from lvsha.agent.vrrpd.neighbors import Neighbors
from lvsha.agent.vrrpd.ports import Port, Ports
from lvsha.agent.vrrpd.status import status_message
from lvsha.agent.vrrpd.virtual_macs import VirtualMacs
from lvsha.agent.vrrpd.watchdog import Watchdog
from lvsha.config.settings import Settings
from lvsha.core.errors import ConfigErrors
from lvsha.core.instant import MICROSECOND, MILLISECOND, SECOND, Instant, after, earliest
from lvsha.core.machine import Action, Event, Output
from lvsha.io.capabilities import Capability, require_capabilities
from lvsha.io.reactor import Reactor, monotonic
from lvsha.io.realtime import lock_memory, run_first
from lvsha.io.rtnl import RouteMonitor, RouteSocket
from lvsha.io.rtnl_routes import PolicySocket
from lvsha.vrrp.complaints import Complaints
from lvsha.vrrp.lease import Leases
from lvsha.vrrp.outputs import (
    AddAddresses,
    Announce,
    BecameMaster,
    CatchUp,
    Preparing,
    Reason,
    RemoveAddresses,
    RenewAddresses,
    SendAdvertisement,
    StopAnnouncing,
)
from lvsha.vrrp.record import RecordedRouter
from lvsha.vrrp.replay import ReplayGuard
from lvsha.vrrp.router import VirtualRouter
from lvsha.vrrp.settings import RouterSettings
from lvsha.vrrp.transitions import Phase, State

_BOOTED = Instant(0)
"""CLOCK_MONOTONIC counts from when the machine was booted: clock_gettime(2)."""
_ALIVE_INTERVAL = 500 * MILLISECOND
_SERVING_DEADLINE = 15 * SECOND
_FLUSH_DEADLINE = 500 * MILLISECOND


def _identity(settings: RouterSettings) -> tuple[str, int, int, str | None]:
    """What makes it another router when it changes; anything else is reconfigured in place."""
    return settings.interface, settings.vrid, settings.family, settings.vmac_interface


class Vrrpd:
    """One life of the process."""

    def __init__(self, settings: Settings, control: ControlEnd) -> None:
        self.settings = settings
        self.control = control
        run_dir = Path(settings.agent.run_dir)
        self.journal = Journal("vrrpd", settings.agent)
        self.reactor = Reactor(self._deadline, self._on_deadline)
        routes, policies = RouteSocket(), PolicySocket()
        self.monitor = RouteMonitor()
        self.blackbox = BlackBox(run_dir / "vrrpd.state")
        self.keys = AuthFiles()
        self.keys.read(settings.routers)
        self.guard = ReplayGuard(
            wall=time.time_ns() // MICROSECOND, now=monotonic(), last=self.blackbox.last_number
        )
        complaints = Complaints()
        self.interfaces = InterfaceTable(routes)
        self.routers: dict[str, VirtualRouter] = {}
        self.leases = Leases()
        self.ports = Ports(
            self.reactor,
            self.interfaces,
            self.routers,
            keys=self.keys,
            guard=self.guard,
            on_adverts=self._on_adverts,
            on_arp=lambda port: self.neighbors.on_arp(port),
            on_neighbors=lambda port: self.neighbors.on_neighbors(port),
        )
        self.macs = VirtualMacs(self.interfaces, self.ports, self.journal, note=run_dir / "vrrpd.sysctls")
        self.adverts = AdvertSender(self.ports, self.interfaces, keys=self.keys, guard=self.guard)
        self.holdings = Holdings(routes, policies, complaints=complaints, journal=self.journal)
        self.neighbors = Neighbors(self.ports, self.interfaces, policies, self.routers, self.journal)
        self.fitness = Fitness(
            self.routers,
            self.interfaces,
            self.ports,
            self.macs,
            complaints=complaints,
            journal=self.journal,
            perform=self._perform,
        )
        self.catching_up = CatchingUp(self.reactor, self._on_caught_up)
        agent = settings.agent
        self.watchdog = Watchdog(
            agent.watchdog, agent.watchdog_timeout, is_well=self._is_well, journal=self.journal
        )
        self._starting: dict[str, Instant] = {}
        """Routers that wait for their ``startup_delay`` or ``boot_delay``."""
        self.started = monotonic()
        self._alive_at = self.started
        self._held: Instant | None = None
        """Until when a cold start waits for directord; None: routers take part."""
        self._flushing: Instant | None = None
        """Until when a planned release waits for directord."""
        self._leaving = False
        self._held_back = False
        """directord does not have the connections yet: no preemption."""
        path = settings.agent.record_file
        self._record_file = Recording(Path(path)) if path is not None else None
        self.ipc = IpcServer(
            self.reactor,
            run_dir / "vrrpd.sock",
            on_connect=lambda: [self.status()],
            on_message=self._on_message,
        )
        self.journal.listeners.append(self._tell)

    # Life

    def run(self) -> int:
        """Until told to stop; every address is given up then."""
        wakeup_read, wakeup_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(wakeup_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGTERM, lambda *_: None)  # the byte in the pipe is what counts
        self.reactor.watch(wakeup_read, lambda: self._on_signal(wakeup_read))
        self.reactor.watch(self.control.fileno(), self._on_control)
        self.reactor.watch(self.monitor.fileno(), self._on_routes)
        for settings in self.settings.routers:
            self._add_router(settings)
        self.fitness.regroup()
        for refused in (run_first(), lock_memory()):
            if refused:
                self.journal.write("vrrp.realtime_refused", problem=refused)
        if refused := self.catching_up.begin():
            self.journal.write("vrrp.not_catching_up", problem=refused)
        now = monotonic()
        self.watchdog.begin(now)
        cold = all(self.blackbox.last_words(name) is None for name in self.routers)
        if cold and self.settings.services:
            self._held = after(now, _SERVING_DEADLINE)
        else:
            self._begin(now)
        self.control.send("ready")
        # Everything loaded so far stays; what the loop makes is freed by counting.
        gc.collect()
        gc.freeze()
        gc.disable()
        self.reactor.run()
        self.watchdog.close()
        self.ipc.close()
        self.catching_up.close()
        self.ports.close()
        for router in self.routers.values():
            self.macs.remove(router.settings)
        self.macs.restore()
        return 0

    def _add_router(self, settings: RouterSettings) -> None:
        record = self._record_file
        self.routers[settings.name] = (
            RecordedRouter(settings, record.write) if record is not None else VirtualRouter(settings)
        )
        self.routers[settings.name].is_held_back = self._held_back

    def _begin(self, now: Instant) -> None:
        """All routers take part from now on."""
        self._held = None
        self.interfaces.refresh()
        for name, router in self.routers.items():
            settings = router.settings
            words = self.blackbox.last_words(name)
            held = set(settings.bound_addresses) <= self.interfaces.bound(settings.bound_interface)
            was_master = (
                words is not None
                and words.state == State.MASTER
                and now - words.alive < 3 * settings.advert_interval
            )
            if not held:
                self.holdings.sweep(settings)
            self.fitness.look(router, now)
            if not held:
                self.macs.set_up(settings, up=False)
            begins = max(after(now, settings.startup_delay), _BOOTED + settings.boot_delay)
            if begins > now and not held:
                self._starting[name] = Instant(begins)
                continue
            self._perform(router, router.start(now, held=held, was_master=was_master), now)
        self.fitness.weigh(now)

    def _stop(self) -> None:
        """A planned release of everything, then the end."""
        if self._leaving:
            return
        self._leaving = True
        self._release()

    def _release(self) -> None:
        now = monotonic()
        masters = [router for router in self.routers.values() if router.state is State.MASTER]
        if masters and self.ipc.has_clients:
            hooks = [r.settings.pre_hook_timeout for r in masters if r.settings.pre_hook]
            self._flushing = after(now, max([_FLUSH_DEADLINE, *hooks]))
            self.ipc.broadcast({"type": "releasing"})
        else:
            self._release_now(now)

    def _release_now(self, now: Instant) -> None:
        self._flushing = None
        for router in self.routers.values():
            self._perform(router, router.release(now), now)
        self._finish_leaving()

    def _finish_leaving(self) -> None:
        if self._leaving and not any(router.holds_addresses for router in self.routers.values()):
            self.ipc.broadcast({"type": "released"})
            self.reactor.stop()

    # Inputs

    def _deadline(self) -> Instant | None:
        return earliest(
            self._alive_at,
            self._held,
            self._flushing,
            self.leases.deadline,
            self.neighbors.deadline,
            self.fitness.deadline,
            self.watchdog.deadline,
            *self._starting.values(),
            *(router.deadline for router in self.routers.values()),
        )

    def _on_deadline(self, now: Instant) -> None:
        # Adverts first: nothing else may make them later.
        for router in list(self.routers.values()):
            due = router.deadline
            if due is not None and now >= due:
                self._perform(router, router.on_deadline(now), now)
        if self.leases.deadline is not None and now >= self.leases.deadline:
            self._renew(now)
        self.neighbors.on_deadline(now)
        for name in [name for name, due in self._starting.items() if now >= due]:
            del self._starting[name]
            router = self.routers[name]
            if router.phase is Phase.IDLE:
                self._perform(router, router.start(now), now)
        if self.fitness.deadline is not None and now >= self.fitness.deadline:
            self._look(now)
        if self._held is not None and now >= self._held:
            self.journal.write("vrrp.not_waiting", reason="directord has not said that it serves")
            self._begin(now)
        if self._flushing is not None and now >= self._flushing:
            self.journal.write("vrrp.not_waiting", reason="directord has not flushed the sync buffer")
            self._release_now(now)
        self.watchdog.on_deadline(now)
        if now >= self._alive_at:
            self.control.send("alive")
            self._alive_at = after(now, _ALIVE_INTERVAL)

    def _advertise(self) -> None:
        """What has fallen due during something long."""
        now = monotonic()
        for router in self.routers.values():
            if router.phase is Phase.MASTER and router.deadline is not None and now >= router.deadline:
                self._perform(router, router.on_deadline(now), now)

    def _renew(self, now: Instant) -> None:
        orders = []
        for order in self.leases.on_deadline(now):
            assert isinstance(order, RenewAddresses), "leases ask for nothing else"
            orders.append((self.routers[order.router].settings, order))
        errnos = self.holdings.renew(orders)
        for settings, order in orders:
            if errno := errnos[settings.name]:
                router = self.routers[settings.name]
                self._perform(router, router.on_action_failed(order, errno, now), now)

    def _is_well(self) -> bool:
        """Nothing is held that is not ours to hold: only a restart helps where it cannot be taken off."""
        return not any(router.unbinds_again for router in self.routers.values())

    def _on_signal(self, wakeup: int) -> None:
        if signal.SIGTERM in os.read(wakeup, 64):
            self._stop()

    def _on_control(self) -> None:
        for message in self.control.receive():
            if message.kind == "stop":
                self._stop()
            elif message.kind == "reload":
                self._reload(message.payload)
        if self.control.closed:
            self.reactor.unwatch(self.control.fileno())
            self.journal.write("vrrp.supervisor_gone", action="handing over and leaving")
            self._stop()

    def _on_message(self, message: Message) -> list[Message]:
        kind, now = message.get("type"), monotonic()
        if kind == "get":
            return [self.status()]
        if kind == "serving" and self._held is not None:
            self._begin(now)
        elif kind == "ready" and self._flushing is not None:
            self._release_now(now)
        elif kind == "release":
            self._release()
        elif kind == "permit" and message.get("router") in self.routers:
            router = self.routers[message["router"]]
            self._perform(router, router.permit(now), now)
        elif kind == "resume":
            for router in self.routers.values():
                self._perform(router, router.resume(now), now)
        elif kind == "priority" and isinstance(message.get("offset"), int):
            self.fitness.offset(message.get("router"), message["offset"], now)
        elif kind == "preempt" and isinstance(message.get("allowed"), bool):
            self._held_back = not message["allowed"]
            for router in self.routers.values():
                router.is_held_back = self._held_back
        elif kind == "track" and isinstance(message.get("up"), bool):
            self.fitness.hear(str(message.get("key")), message["up"], now)
        return []

    def _on_adverts(self, port: Port) -> None:
        for datagram in port.socket.receive():
            received = port.endpoint.receive(
                datagram.payload,
                source=datagram.source,
                destination=datagram.destination,
                ttl=datagram.ttl,
                now=datagram.at,
            )
            for event in received.events:
                self.journal.record("vrrp", event)
            router = self.routers.get(received.router) if received.router is not None else None
            if router is not None and received.advert is not None and self._held is None:
                beside = port.interface != router.settings.interface
                receive = router.receive_beside if beside else router.receive
                self._perform(router, receive(received.advert, datagram.source, datagram.at), datagram.at)
                if router.state is not State.MASTER:
                    self._note(router, datagram.at)

    def _on_caught_up(self, name: str) -> None:
        if name in self.routers:
            now = monotonic()
            self._perform(self.routers[name], self.routers[name].caught_up(now), now)

    def _on_routes(self) -> None:
        """Something about interfaces or addresses changed: look, and tell the routers."""
        if self.interfaces.is_news(self.monitor.read()):
            self._look(monotonic())

    def _look(self, now: Instant) -> None:
        self.interfaces.refresh()
        for router in self.routers.values():
            held = router.holds_addresses
            self.macs.refreshed(router.settings)
            self.fitness.look(router, now)
            # What has just been bound or removed is not in the list yet; the kernel's own news follows.
            if self._held is None and router.holds_addresses == held:
                bound = self.interfaces.bound(router.settings.bound_interface)
                ours = frozenset(router.settings.bound_addresses) & bound
                self._perform(router, router.set_bound(ours, now), now)
        self.fitness.weigh(now)

    def _reload(self, settings: Settings) -> None:
        now = monotonic()
        try:
            self.keys.read(settings.routers)
        except ConfigErrors as refusal:
            for problem in refusal.problems:
                self.journal.write("vrrp.reload_refused", problem=str(problem))
            return
        wanted = {router.name: router for router in settings.routers}
        for name in list(self.routers):
            router = self.routers[name]
            if name not in wanted or _identity(router.settings) != _identity(wanted[name]):
                self._perform(router, router.shutdown(now), now)
                self.macs.remove(router.settings)
                del self.routers[name]
                self._starting.pop(name, None)
        self.settings = settings
        self.journal.configure(settings.agent)
        for name, router_settings in wanted.items():
            existing = self.routers.get(name)
            if existing is None:
                self._add_router(router_settings)
                if self._held is None:
                    self.fitness.look(self.routers[name], now)
                    self._perform(self.routers[name], self.routers[name].start(now), now)
            else:
                if existing.holds_addresses:
                    self.holdings.reroute(existing.settings, router_settings)
                self._perform(existing, existing.reconfigure(router_settings, now), now)
        self.ports.serve()
        self.fitness.reconfigured()
        self.keys.keep(settings.routers)
        self._look(now)
        self.journal.write("vrrp.reloaded", routers=len(self.routers))

    # Outputs

    def _perform(self, router: VirtualRouter, outputs: list[Output], now: Instant) -> None:
        """Carry a router's outputs out, in order; a failed action is its next input."""
        settings = router.settings
        pending = list(outputs)
        changed = moved = False
        while pending:
            output = pending.pop(0)
            errno = 0
            moved = moved or not isinstance(output, SendAdvertisement | CatchUp)
            if isinstance(output, SendAdvertisement):
                if output.priority:
                    self.macs.set_up(settings, up=True)
                errno = self.adverts.send(router, output.priority)
                self._note(router, now)
            elif isinstance(output, AddAddresses):
                lease = settings.lease
                errno = self.holdings.bind(settings, output.addresses, lease, between=self._advertise)
            elif isinstance(output, RenewAddresses):
                errno = self.holdings.bind(settings, output.addresses, output.lease)
            elif isinstance(output, RemoveAddresses):
                self.neighbors.watch(settings, output.addresses, held=False)
                errno = self.holdings.unbind(settings, output.addresses)
                if not router.holds_addresses:
                    self.macs.set_up(settings, up=False)
            elif isinstance(output, Announce):
                self.neighbors.announce(settings, output, now)
            elif isinstance(output, StopAnnouncing):
                self.neighbors.stop(output)
            elif isinstance(output, CatchUp):
                if not self.catching_up.ask(settings.name, again=output.again):
                    pending += router.caught_up(now)
            else:
                assert isinstance(output, Event), "every action of a router is one of the above"
                self.journal.record("vrrp", output)
                changed = True
                if isinstance(output, BecameMaster) and output.reason is not Reason.ADOPTED:
                    left = output.reason is Reason.MASTER_LEFT
                    self.neighbors.prove(settings, now, predecessor_left=left)
                elif isinstance(output, Preparing):
                    self._prepare(router, now)
            if errno and isinstance(output, Action):
                pending += router.on_action_failed(output, errno, now)
        if moved:
            held = settings.bound_addresses if router.holds_addresses else ()
            self.leases.hold(settings.name, held, settings.lease, now)
        if changed:
            self._note(router, now)
            is_master = router.state is State.MASTER
            self.neighbors.watch(settings, settings.bound_addresses, held=is_master)
            self.ipc.broadcast(self.status())
        if self._leaving and self._flushing is None:
            self._finish_leaving()

    def _prepare(self, router: VirtualRouter, now: Instant) -> None:
        """Ask directord to run its program; nobody there: nothing to wait for."""
        if self.ipc.has_clients:
            self.ipc.broadcast({"type": "preparing", "router": router.settings.name})
        else:
            router.permit(now)

    # What we look like

    def _note(self, router: VirtualRouter, now: Instant) -> None:
        self.blackbox.last_number = self.guard.last
        self.blackbox.note(router.settings.name, router.state, alive=now, since=router.since)

    def _tell(self, entry: dict[str, Any]) -> None:
        self.ipc.broadcast({"type": "event", **entry})

    def status(self) -> Message:
        """The message of that name; see ``agent.ipc``."""
        return status_message(
            self.settings,
            self.routers.values(),
            self.fitness,
            drops=self.ports.dropped(),
            worst_lateness=self.reactor.worst_lateness,
            started=self.started,
            now=monotonic(),
        )


def main(settings: Settings, control: ControlEnd) -> int:
    """The worker's entry point.

    Raises:
        LvshaError: it could never be MASTER here; a line that says what to do.
    """
    require_capabilities(Capability.NET_ADMIN, Capability.NET_RAW)
    return Vrrpd(settings, control).run()
