"""vrrpd: virtual routers, their addresses, their announcements. Nothing else.

It is a process of its own so that no check, dump or dashboard can delay an
advert, and it needs nothing of directord to go on. Everything it decides is
decided in ``lvsha.vrrp``; here bytes and system calls are joined to the
machines.

Start: when its predecessor was MASTER less than a master-down interval ago and
the addresses are still bound, it goes on as MASTER and writes nothing. A cold
start waits until directord has put the services into the kernel, at most
``_SERVING_DEADLINE``.

Stop: directord is asked to flush the sync buffer, then every router hands over
(priority 0; addresses stay until the new MASTER is heard).
"""

import contextlib
import gc
import os
import signal
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import Any

from lvsha.agent.auth_files import AuthFiles
from lvsha.agent.blackbox import BlackBox
from lvsha.agent.control import ControlEnd
from lvsha.agent.ipc import IpcServer, Message
from lvsha.agent.journal import Journal, plain
from lvsha.agent.links import InterfaceTable
from lvsha.agent.recording import Recording
from lvsha.config.settings import Settings
from lvsha.core.addr import Address
from lvsha.core.errors import ConfigErrors, DecodeError, KernelError
from lvsha.core.instant import MICROSECOND, MILLISECOND, SECOND, Instant, after, earliest, to_seconds
from lvsha.core.machine import Action, Event, Output
from lvsha.director.status import peers_status
from lvsha.io.capabilities import Capability, require_capabilities
from lvsha.io.reactor import Reactor, monotonic
from lvsha.io.realtime import lock_memory, run_first
from lvsha.io.rtnl import FOREVER_S, RouteMonitor, RouteSocket
from lvsha.io.rtnl_routes import PolicySocket
from lvsha.io.sockets import VRRP_GROUP_4, VRRP_GROUP_6, ArpSocket, NeighborSocket, VrrpSocket
from lvsha.vrrp.announce import Announcer
from lvsha.vrrp.complaints import Complaints
from lvsha.vrrp.conflict import ConflictWatch
from lvsha.vrrp.endpoint import Endpoint
from lvsha.vrrp.group import fault as group_fault
from lvsha.vrrp.lease import Leases
from lvsha.vrrp.outputs import (
    AddAddresses,
    Announce,
    AskNeighbor,
    BecameMaster,
    Preparing,
    Reason,
    RemoveAddresses,
    RenewAddresses,
    SendAdvertisement,
    SendGratuitousArp,
    SendNeighborAdvertisement,
    StopAnnouncing,
)
from lvsha.vrrp.proof import TakeoverProof
from lvsha.vrrp.record import RecordedRouter
from lvsha.vrrp.replay import ReplayGuard
from lvsha.vrrp.router import VirtualRouter
from lvsha.vrrp.settings import HeartbeatPath, RouterSettings
from lvsha.vrrp.track import Judgement, SteadyLink, TrackKind, judge
from lvsha.vrrp.transitions import Phase, State
from lvsha.wire.arp import ArpPacket, Operation, arp_request, decode_arp, gratuitous_arp
from lvsha.wire.ndisc import HOP_LIMIT as NEIGHBOR_HOP_LIMIT
from lvsha.wire.ndisc import (
    NeighborAdvertisement,
    decode_neighbor_advertisement,
    neighbor_solicitation,
    solicited_node,
    unsolicited_advertisement,
)
from lvsha.wire.vrrp import Advertisement, encode_advertisement

_ALIVE_INTERVAL = 500 * MILLISECOND
_SERVING_DEADLINE = 15 * SECOND
_FLUSH_DEADLINE = 500 * MILLISECOND


class _Port:
    """The sockets of one interface and family, and who listens there."""

    def __init__(
        self,
        interface: str,
        index: int,
        family: int,
        routers: Sequence[RouterSettings],
        *,
        keys: AuthFiles,
        guard: ReplayGuard,
    ) -> None:
        self.index = index
        self.interface = interface
        self.endpoint = Endpoint(interface=interface, family=family, guard=guard)
        self._keys = keys
        self._names: tuple[str, ...] = ()
        self.serve(routers)
        self.conflicts = ConflictWatch(own_macs=frozenset())
        self.socket = VrrpSocket(interface, index, family)
        self.arp = ArpSocket(interface) if family == 4 else None
        self.neighbor = NeighborSocket(interface, index) if family == 6 else None

    def serve(self, routers: Sequence[RouterSettings]) -> None:
        """Listen for these, as they are set now, and for no others."""
        for name in self._names:
            self.endpoint.remove(name)
        for router in routers:
            self.endpoint.put(router, self._keys.of(router))
        self._names = tuple(router.name for router in routers)

    def close(self) -> None:
        self.socket.close()
        if self.arp is not None:
            self.arp.close()
        if self.neighbor is not None:
            self.neighbor.close()


def _identity(settings: RouterSettings) -> tuple[str, int, int]:
    """What makes it another router when it changes; anything else is reconfigured in place."""
    return settings.interface, settings.vrid, settings.family


class Vrrpd:
    """One life of the process."""

    def __init__(self, settings: Settings, control: ControlEnd) -> None:
        self.settings = settings
        self.control = control
        run_dir = Path(settings.agent.run_dir)
        self.journal = Journal("vrrpd", settings.agent)
        self.reactor = Reactor(self._deadline, self._on_deadline)
        self.routes = RouteSocket()
        self.policies = PolicySocket()
        self.monitor = RouteMonitor()
        self.blackbox = BlackBox(run_dir / "vrrpd.state")
        self.keys = AuthFiles()
        self.keys.read(settings.routers)
        self.guard = ReplayGuard(
            wall=time.time_ns() // MICROSECOND, now=monotonic(), last=self.blackbox.last_number
        )
        self.interfaces = InterfaceTable(self.routes)
        self.routers: dict[str, VirtualRouter] = {}
        self.ports: dict[tuple[str, int], _Port] = {}
        self.announcer = Announcer()
        self.leases = Leases()
        self.proof = TakeoverProof()
        self.complaints = Complaints()
        self.faults: dict[str, str] = {}
        self.own_faults: dict[str, str] = {}
        """By router, without those of its group."""
        self.verdicts: dict[str, bool] = {}
        """Of what is tracked, as directord last said; interfaces are seen here."""
        self.offsets: dict[str, int] = {}
        """What directord wants added to a router's priority."""
        self._links: dict[tuple[str, str], SteadyLink] = {}
        """By router and interface: what to believe of links that come and go."""
        self._starting: dict[str, Instant] = {}
        """Routers that wait for their ``startup_delay``."""
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
        self._regroup()
        for refused in (run_first(), lock_memory()):
            if refused:
                self.journal.write("vrrp.realtime_refused", problem=refused)
        now = monotonic()
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
        self.ipc.close()
        for port in self.ports.values():
            port.close()
        return 0

    def _begin(self, now: Instant) -> None:
        """All routers take part from now on."""
        self._held = None
        self.interfaces.refresh()
        for name, router in self.routers.items():
            settings = router.settings
            words = self.blackbox.last_words(name)
            held = set(settings.bound_addresses) <= self.interfaces.bound(settings.interface)
            was_master = (
                words is not None
                and words.state == State.MASTER
                and now - words.alive < 3 * settings.advert_interval
            )
            if not held and (settings.routes or settings.rules):
                # A predecessor that was killed, and whose lease is over, left them.
                self.policies.remove(settings.routes, settings.rules)
            self._refresh_interface(router, now)
            if settings.startup_delay and not held:
                self._starting[name] = after(now, settings.startup_delay)
                continue
            self._perform(router, router.start(now, held=held, was_master=was_master), now)
        self._retrack(now)

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
            self.announcer.deadline,
            self.leases.deadline,
            self.proof.deadline,
            *self._starting.values(),
            *(link.deadline for link in self._links.values()),
            *(router.deadline for router in self.routers.values()),
        )

    def _on_deadline(self, now: Instant) -> None:
        # Adverts first: nothing else may make them later.
        for router in list(self.routers.values()):
            if router.deadline is not None and now >= router.deadline:
                self._perform(router, router.on_deadline(now), now)
        if self.leases.deadline is not None and now >= self.leases.deadline:
            for order in self.leases.on_deadline(now):
                assert isinstance(order, RenewAddresses), "leases ask for nothing else"
                self._perform(self.routers[order.router], [order], now)
        if self.announcer.deadline is not None and now >= self.announcer.deadline:
            self._announce(self.announcer.on_deadline(now))
        if self.proof.deadline is not None and now >= self.proof.deadline:
            self._announce(self.proof.on_deadline(now))
        for name in [name for name, due in self._starting.items() if now >= due]:
            del self._starting[name]
            router = self.routers[name]
            if router.phase is Phase.IDLE:
                self._perform(router, router.start(now), now)
        if any(link.deadline is not None and now >= link.deadline for link in self._links.values()):
            self._look(now)
        if self._held is not None and now >= self._held:
            self.journal.write("vrrp.not_waiting", reason="directord has not said that it serves")
            self._begin(now)
        if self._flushing is not None and now >= self._flushing:
            self.journal.write("vrrp.not_waiting", reason="directord has not flushed the sync buffer")
            self._release_now(now)
        if now >= self._alive_at:
            self.control.send("alive")
            self._alive_at = after(now, _ALIVE_INTERVAL)

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
            for name in self.routers:
                if message.get("router") in (None, name):
                    self.offsets[name] = message["offset"]
            self._retrack(now)
        elif kind == "preempt" and isinstance(message.get("allowed"), bool):
            self._held_back = not message["allowed"]
            for router in self.routers.values():
                router.is_held_back = self._held_back
        elif kind == "track" and isinstance(message.get("up"), bool):
            self._on_verdict(str(message.get("key")), message["up"], now)
        return []

    # What is tracked

    def _on_verdict(self, key: str, up: bool, now: Instant) -> None:
        known = {track.key for router in self.routers.values() for track in router.settings.track}
        if key not in known or self.verdicts.get(key) == up:
            return
        was_told = key in self.verdicts
        self.verdicts[key] = up
        if was_told or not up:
            self.journal.write("vrrp.tracked", key=key, up=up)
        for router in self.routers.values():
            self._refresh_interface(router, now)
        self._retrack(now)

    def _steady(self, settings: RouterSettings, interface: str, up: bool, now: Instant) -> bool:
        """What ``settings`` believes of a link that is ``up`` at this moment, or not."""
        if not settings.link_up_delay and not settings.link_down_delay:
            return up
        link = self._links.setdefault(
            (settings.name, interface),
            SteadyLink(up_delay=settings.link_up_delay, down_delay=settings.link_down_delay),
        )
        return link.look(up, now)

    def _judge(self, router: VirtualRouter, now: Instant) -> Judgement:
        """A group is judged as one: a weight on one side moves both."""
        members = [self.routers[name].settings for name in self._group_of(router)] or [router.settings]
        tracks = dict.fromkeys(track for member in members for track in member.track)
        seen = {
            track.key: self._steady(router.settings, track.target, self.interfaces.is_up(track.target), now)
            for track in tracks
            if track.kind is TrackKind.INTERFACE
        }
        return judge(tracks, {**self.verdicts, **seen})

    def _retrack(self, now: Instant) -> None:
        """The effective priorities."""
        for name, router in self.routers.items():
            settings = router.settings
            if not settings.is_owner:
                offset = self.offsets.get(name, 0) + self._judge(router, now).offset
                wanted = min(254, max(1, settings.priority + offset))
                self._perform(router, router.set_priority(wanted, now), now)

    def _regroup(self) -> None:
        """Tell every router who leads or follows with it."""
        for router in self.routers.values():
            router.group = tuple(
                self.routers[name] for name in self._group_of(router) if name != router.settings.name
            )

    def _group_of(self, router: VirtualRouter) -> list[str]:
        group = router.settings.group
        return [name for name, other in self.routers.items() if group and other.settings.group == group]

    def _on_packets(self, port: _Port) -> None:
        for datagram in port.socket.receive():
            received = port.endpoint.receive(
                datagram.payload,
                source=datagram.source,
                destination=datagram.destination,
                ttl=datagram.ttl,
                now=datagram.at,
            )
            self._record(received.events)
            router = self.routers.get(received.router) if received.router is not None else None
            if router is not None and received.advert is not None and self._held is None:
                beside = port.interface != router.settings.interface
                receive = router.receive_beside if beside else router.receive
                self._perform(router, receive(received.advert, datagram.source, datagram.at), datagram.at)
                if router.state is not State.MASTER:
                    self._note(router, datagram.at)

    def _on_arp(self, port: _Port) -> None:
        assert port.arp is not None, "only IPv4 has ARP"
        now = monotonic()
        for frame in port.arp.receive():
            try:
                packet = decode_arp(frame)
            except DecodeError:
                continue  # not ARP over IPv4 and Ethernet: none of ours
            if packet.operation == Operation.REPLY and not packet.is_gratuitous:
                self._on_answer(port, packet.sender_address, packet.target_address, now)
            self._on_claim(port, packet, now)

    def _on_neighbors(self, port: _Port) -> None:
        assert port.neighbor is not None, "only IPv6 has neighbour discovery"
        for message in port.neighbor.receive():
            if message.ttl != NEIGHBOR_HOP_LIMIT:
                continue  # from beyond this network: RFC 4861 section 7.1.2
            assert isinstance(message.source, IPv6Address)
            assert isinstance(message.destination, IPv6Address)
            try:
                packet = decode_neighbor_advertisement(
                    message.payload, source=message.source, destination=message.destination
                )
            except DecodeError:
                continue
            if packet.solicited:
                self._on_answer(port, packet.target, message.destination, message.at)
            self._on_claim(port, packet, message.at)

    def _on_answer(self, port: _Port, neighbor: Address, address: Address, now: Instant) -> None:
        self._record(self.proof.heard(interface=port.interface, neighbor=neighbor, address=address, now=now))

    def _on_claim(self, port: _Port, packet: ArpPacket | NeighborAdvertisement, now: Instant) -> None:
        for output in port.conflicts.receive(packet, now):
            if isinstance(output, Announce):
                self._start_announcing(self.routers[output.router].settings, output, now)
            else:
                self._record([output])

    def _on_routes(self) -> None:
        """Something about interfaces or addresses changed: look, and tell the routers."""
        if self.interfaces.is_news(self.monitor.read()):
            self._look(monotonic())

    def _look(self, now: Instant) -> None:
        self.interfaces.refresh()
        for router in self.routers.values():
            held = router.holds_addresses
            self._refresh_interface(router, now)
            # What has just been bound or removed is not in the list yet; the kernel's own news follows.
            if self._held is None and router.holds_addresses == held:
                bound = self.interfaces.bound(router.settings.interface)
                ours = frozenset(router.settings.bound_addresses) & bound
                self._perform(router, router.set_bound(ours, now), now)
        self._retrack(now)

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
                del self.routers[name]
        self.settings = settings
        self.journal.configure(settings.agent)
        for name, router_settings in wanted.items():
            existing = self.routers.get(name)
            if existing is None:
                self._add_router(router_settings)
                if self._held is None:
                    self._refresh_interface(self.routers[name], now)
                    self._perform(self.routers[name], self.routers[name].start(now), now)
            else:
                self._reroute(existing, router_settings)
                self._perform(existing, existing.reconfigure(router_settings, now), now)
        for (interface, family), port in list(self.ports.items()):
            here = self._routers_at(interface, family)
            port.serve(here)
            if not here:
                self._close_port(self.ports.pop((interface, family)))
        tracked = {track.key for router in self.routers.values() for track in router.settings.track}
        self.verdicts = {key: up for key, up in self.verdicts.items() if key in tracked}
        for left in (self.own_faults, self.faults, self.offsets, self._starting):
            for name in set(left) - set(self.routers):
                del left[name]
        self._links.clear()
        self.keys.keep(settings.routers)
        self._regroup()
        self._look(now)
        self.journal.write("vrrp.reloaded", routers=len(self.routers))

    def _reroute(self, router: VirtualRouter, new: RouterSettings) -> None:
        """The routes and rules that a changed configuration adds and removes, while we hold the addresses."""
        old = router.settings
        gone = [route for route in old.routes if route not in new.routes]
        gone_rules = [rule for rule in old.rules if rule not in new.rules]
        if router.holds_addresses and (gone or gone_rules):
            self._policy_errno("vrrp.unbind_failed", new, self.policies.remove(gone, gone_rules))
        if router.holds_addresses and (new.routes, new.rules) != (old.routes, old.rules):
            self._policy_errno("vrrp.bind_failed", new, self.policies.add(new.routes, new.rules))

    # Outputs

    def _perform(self, router: VirtualRouter, outputs: list[Output], now: Instant) -> None:
        """Carry a router's outputs out, in order; a failed action is its next input."""
        settings = router.settings
        pending = list(outputs)
        changed = False
        while pending:
            output = pending.pop(0)
            if isinstance(output, SendAdvertisement):
                errno = self._send(router, output.priority)
                self._note(router, now)
            elif isinstance(output, AddAddresses):
                errno = self._bind(settings, output, settings.lease)
            elif isinstance(output, RenewAddresses):
                errno = self._bind(settings, output, output.lease)
            elif isinstance(output, RemoveAddresses):
                errno = self._unbind(settings, output)
            elif isinstance(output, Announce):
                errno = self._start_announcing(settings, output, now)
            elif isinstance(output, StopAnnouncing):
                gone = tuple(prefix.ip for prefix in output.addresses)
                self.announcer.stop(router=output.router, addresses=gone)
                self.proof.stop(output.router)
                errno = 0
            else:
                self._record([output])
                changed = True
                errno = 0
                if isinstance(output, BecameMaster) and output.reason is not Reason.ADOPTED:
                    self._prove(settings, now)
                elif isinstance(output, Preparing) and not self.ipc.has_clients:
                    router.permit(now)  # nobody there who could run its program
                elif isinstance(output, Preparing):
                    self.ipc.broadcast({"type": "preparing", "router": settings.name})
            if errno and isinstance(output, Action):
                pending += router.on_action_failed(output, errno, now)
        held = settings.bound_addresses if router.holds_addresses else ()
        self.leases.hold(settings.name, held, settings.lease, now)
        if changed:
            self._note(router, now)
            port = self.ports.get((settings.interface, settings.family))
            if port is not None:
                watch = port.conflicts.hold if router.state is State.MASTER else port.conflicts.drop
                watch(settings.name, settings.bound_addresses)
            self.ipc.broadcast(self.status())
        if self._leaving and self._flushing is None:
            self._finish_leaving()

    def _start_announcing(self, settings: RouterSettings, order: Announce, now: Instant) -> int:
        self.announcer.announce(
            router=settings.name,
            interface=settings.interface,
            addresses=tuple(prefix.ip for prefix in order.addresses),
            rounds=order.rounds,
            garp=settings.garp,
            now=now,
            again=order.again,
        )
        return 0

    def _prove(self, settings: RouterSettings, now: Instant) -> None:
        """Ask the neighbours whether they have followed."""
        neighbors = settings.prove_to
        if neighbors is None:
            gateway = self.policies.gateway(settings.interface, settings.family)
            neighbors = (gateway,) if gateway is not None else ()
        addresses = tuple(p.ip for p in settings.bound_addresses if p.version == settings.family)
        self._announce(
            self.proof.begin(
                router=settings.name,
                interface=settings.interface,
                addresses=addresses,
                neighbors=neighbors,
                now=now,
            )
        )

    def _ask(self, order: AskNeighbor) -> None:
        target, sender = order.target, order.sender
        port = self.ports.get((order.interface, target.version))
        mac = self.interfaces.mac(order.interface)
        if port is None or not mac:
            return
        if port.arp is not None and isinstance(target, IPv4Address):
            assert not isinstance(sender, IPv6Address), "a question is of one family"
            self._try(port.arp.send, arp_request(mac=mac, sender=sender, target=target))
        elif port.neighbor is not None and isinstance(target, IPv6Address):
            assert not isinstance(sender, IPv4Address), "a question is of one family"
            message = neighbor_solicitation(mac=mac, source=sender, target=target)
            self._try(port.neighbor.send, message, sender or IPv6Address(0), str(solicited_node(target)))

    def _send(self, router: VirtualRouter, priority: int) -> int:
        """An advert to the group or to every peer; the last errno when it reached nobody, else 0."""
        settings = router.settings
        port = self.ports.get((settings.interface, settings.family))
        source = router.primary
        advert = router.advertisement(priority)
        for path in settings.paths:
            self._send_beside(settings, path, advert)
        if port is None or source is None:
            return 99  # EADDRNOTAVAIL
        group = VRRP_GROUP_4 if settings.family == 4 else VRRP_GROUP_6
        destinations = settings.unicast_peers or (ip_address(group),)
        keys = self.keys.of(settings)
        number = self.guard.next(monotonic()) if keys is not None else 0
        errno = 0
        reached = False
        for destination in destinations:
            try:
                payload = encode_advertisement(
                    advert, source=source, destination=destination, checksum=settings.checksum
                )
                if keys is not None:
                    payload = keys.seal(payload, number, source=source, destination=destination)
                port.socket.send(payload, source, destination)
                reached = True
            except OSError as error:
                errno = error.errno or 5
        return 0 if reached else errno

    def _send_beside(self, settings: RouterSettings, path: HeartbeatPath, advert: Advertisement) -> None:
        port = self.ports.get((path.interface, settings.family))
        view = self.interfaces.view(path.interface, settings.family, exclude=set())
        if port is None or view.primary is None:
            return
        keys = self.keys.of(settings)
        number = self.guard.next(monotonic()) if keys is not None else 0
        for peer in path.peers:
            if peer == view.primary:
                continue
            payload = encode_advertisement(
                advert, source=view.primary, destination=peer, checksum=settings.checksum
            )
            if keys is not None:
                payload = keys.seal(payload, number, source=view.primary, destination=peer)
            self._try(port.socket.send, payload, view.primary, peer)

    def _bind(self, settings: RouterSettings, output: AddAddresses | RenewAddresses, lease: int) -> int:
        failures = self.routes.add_addresses(
            [(settings.interface, prefix) for prefix in output.addresses],
            nodad=settings.no_address_detection,
            valid_s=lease // SECOND or FOREVER_S,
        )
        errno = self._first_errno("vrrp.bind_failed", settings, failures)
        if not errno and (settings.routes or settings.rules):
            refused = self.policies.add(settings.routes, settings.rules)
            errno = self._policy_errno("vrrp.bind_failed", settings, refused)
        return errno

    def _policy_errno(self, event: str, settings: RouterSettings, refused: list[KernelError]) -> int:
        if refused and self.complaints.count(f"{event} {settings.name}", monotonic()) is not None:
            for error in refused[:3]:
                self.journal.write(event, router=settings.name, error=str(error))
        return refused[0].errno if refused else 0

    def _unbind(self, settings: RouterSettings, output: RemoveAddresses) -> int:
        port = self.ports.get((settings.interface, settings.family))
        if port is not None:
            port.conflicts.drop(settings.name, output.addresses)
        if settings.routes or settings.rules:
            self._policy_errno(
                "vrrp.unbind_failed", settings, self.policies.remove(settings.routes, settings.rules)
            )
        failures = self.routes.remove_addresses([(settings.interface, prefix) for prefix in output.addresses])
        return self._first_errno("vrrp.unbind_failed", settings, failures)

    def _first_errno(self, event: str, settings: RouterSettings, failures: list[Any]) -> int:
        if failures and self.complaints.count(f"{event} {settings.name}", monotonic()) is not None:
            for item, error in failures[:3]:
                self.journal.write(event, router=settings.name, address=str(item[1]), error=str(error))
        return failures[0][1].errno if failures else 0

    def _announce(self, outputs: list[Output]) -> None:
        for output in outputs:
            if isinstance(output, SendGratuitousArp):
                port = self.ports.get((output.interface, 4))
                mac = self.interfaces.mac(output.interface)
                if port is not None and port.arp is not None and mac:
                    frame = gratuitous_arp(mac=mac, address=output.address, form=output.form)  # type: ignore[arg-type]
                    self._try(port.arp.send, frame)
            elif isinstance(output, SendNeighborAdvertisement):
                port = self.ports.get((output.interface, 6))
                mac = self.interfaces.mac(output.interface)
                if port is not None and port.neighbor is not None and mac:
                    message = unsolicited_advertisement(mac=mac, address=output.address)  # type: ignore[arg-type]
                    self._try(port.neighbor.send, message, output.address)
            elif isinstance(output, AskNeighbor):
                self._ask(output)
            else:
                self._record([output])

    @staticmethod
    def _try(send: Any, *arguments: Any) -> None:
        # When the interface is going the next round comes, and the route monitor tells the router.
        with contextlib.suppress(OSError):
            send(*arguments)

    def _record(self, outputs: Iterable[Output]) -> None:
        for output in outputs:
            if isinstance(output, Event):
                self.journal.record("vrrp", output)

    # Interfaces

    def _add_router(self, settings: RouterSettings) -> None:
        record = self._record_file
        self.routers[settings.name] = (
            RecordedRouter(settings, record.write) if record is not None else VirtualRouter(settings)
        )
        self.routers[settings.name].is_held_back = self._held_back

    def _routers_at(self, interface: str, family: int) -> list[RouterSettings]:
        """As their adverts come there: on their own network, or over a path of theirs."""
        found = []
        for router in self.routers.values():
            settings = router.settings
            if (settings.interface, settings.family) == (interface, family):
                found.append(settings)
            for path in settings.paths:
                if (path.interface, settings.family) == (interface, family):
                    found.append(replace(settings, interface=interface, unicast_peers=path.peers))
        return found

    def _refresh_interface(self, router: VirtualRouter, now: Instant) -> None:
        """Open the sockets that are missing, and tell the router whether it can work."""
        settings = router.settings
        ours = {
            prefix.ip
            for other in self.routers.values()
            if other.settings.interface == settings.interface
            for prefix in other.settings.bound_addresses
        }
        view = self.interfaces.view(settings.interface, settings.family, exclude=ours)
        key = (settings.interface, settings.family)
        port = self.ports.get(key)
        if port is not None and port.index != view.index:
            self._close_port(self.ports.pop(key))
            port = None
        problem = view.problem
        if port is None and view.index:
            try:
                port = self._open_port(settings.interface, settings.family, view.index)
            except KernelError as error:
                problem = str(error)
        for path in settings.paths:
            self._refresh_path(settings, path)
        if port is not None:
            port.endpoint.own_addresses = self.interfaces.local_addresses()
            port.conflicts.own_macs = frozenset({self.interfaces.mac(settings.interface)})
        primary = settings.source_address or view.primary
        steady = self._steady(settings, settings.interface, not problem, now)
        if problem and steady:
            problem, primary = "", primary or router.primary
        elif not problem and not steady:
            problem = f"{settings.interface} is back: it counts when it has stayed for link_up_delay"
        own = problem or self._judge(router, now).fault
        is_news = own != self.own_faults.get(settings.name, "")
        self.own_faults[settings.name] = own
        group = self._group_of(router)
        problem = own or group_fault(settings.name, group, self.own_faults)
        usable = not problem and primary is not None
        if problem != self.faults.get(settings.name, ""):
            self.faults[settings.name] = problem
            if problem:
                self.journal.write("vrrp.interface_unusable", router=settings.name, problem=problem)
        self._perform(router, router.set_interface(usable, primary, now), now)
        if is_news:
            for name in group:
                if name != settings.name:
                    self._refresh_interface(self.routers[name], now)

    def _refresh_path(self, settings: RouterSettings, path: HeartbeatPath) -> None:
        """Open its sockets where they are missing; without them the router works on."""
        view = self.interfaces.view(path.interface, settings.family, exclude=set())
        key = (path.interface, settings.family)
        port = self.ports.get(key)
        if port is not None and port.index != view.index:
            self._close_port(self.ports.pop(key))
            port = None
        if port is None and view.index:
            try:
                port = self._open_port(path.interface, settings.family, view.index)
            except KernelError as error:
                if self.complaints.count(f"path {path.interface}", monotonic()) is not None:
                    self.journal.write("vrrp.path_unusable", router=settings.name, problem=str(error))
        if port is not None:
            port.endpoint.own_addresses = self.interfaces.local_addresses()

    def _open_port(self, interface: str, family: int, index: int) -> _Port:
        here = self._routers_at(interface, family)
        port = _Port(interface, index, family, here, keys=self.keys, guard=self.guard)
        self.ports[(interface, family)] = port
        self.reactor.watch(port.socket.fileno(), lambda: self._on_packets(port))
        if port.arp is not None:
            self.reactor.watch(port.arp.fileno(), lambda: self._on_arp(port))
        if port.neighbor is not None:
            self.reactor.watch(port.neighbor.fileno(), lambda: self._on_neighbors(port))
        return port

    def _close_port(self, port: _Port) -> None:
        self.reactor.unwatch(port.socket.fileno())
        if port.arp is not None:
            self.reactor.unwatch(port.arp.fileno())
        if port.neighbor is not None:
            self.reactor.unwatch(port.neighbor.fileno())
        port.close()

    # What we look like

    def _note(self, router: VirtualRouter, now: Instant) -> None:
        self.blackbox.last_number = self.guard.last
        self.blackbox.note(router.settings.name, router.state, alive=now, since=router.since)

    def _tell(self, entry: dict[str, Any]) -> None:
        self.ipc.broadcast({"type": "event", **entry})

    def status(self) -> Message:
        """The message of that name; see ``agent.ipc``."""
        now = monotonic()
        routers = []
        for router in self.routers.values():
            settings = router.settings
            routers.append(
                {
                    "name": settings.name,
                    "interface": settings.interface,
                    "vrid": settings.vrid,
                    "family": settings.family,
                    "version": settings.version,
                    "state": router.state,
                    "since_s": round(to_seconds(now - router.since), 3),
                    "since_monotonic_s": round(to_seconds(router.since), 3),
                    "priority": router.priority,
                    "advert_interval_s": to_seconds(settings.advert_interval),
                    "master": str(router.master_address) if router.master_address else None,
                    "master_priority": router.master_priority,
                    "holds_addresses": router.holds_addresses,
                    "addresses": [str(prefix) for prefix in settings.bound_addresses],
                    "fault": self.faults.get(settings.name) or None,
                    "group": settings.group,
                    "promised_interval_s": to_seconds(router.promised_interval),
                    "tracked": {
                        track.key: self.interfaces.is_up(track.target)
                        if track.kind is TrackKind.INTERFACE
                        else self.verdicts.get(track.key)
                        for track in settings.track
                    },
                }
            )
        drops: dict[str, int] = {}
        for port in self.ports.values():
            for reason, count in port.endpoint.dropped().items():
                drops[reason] = drops.get(reason, 0) + count
        process = {
            "pid": os.getpid(),
            "uptime_s": round(to_seconds(now - self.started), 3),
            "worst_lateness_ms": round(self.reactor.worst_lateness / 1e6, 3),
            "drops": drops,
        }
        return {
            "type": "status",
            "node": self.settings.node,
            "peers": peers_status(self.settings.peers),
            "routers": plain(routers),
            "process": process,
        }


def main(settings: Settings, control: ControlEnd) -> int:
    """The worker's entry point.

    Raises:
        LvshaError: it could never be MASTER here; a line that says what to do.
    """
    require_capabilities(Capability.NET_ADMIN, Capability.NET_RAW)
    return Vrrpd(settings, control).run()
