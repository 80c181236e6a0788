"""A virtual director: the machines of ``lvsha.vrrp``, a kernel with addresses, and a process that can suffer.

It does what ``agent.vrrpd`` does, in virtual time: bytes go through the endpoint,
outputs are carried out in order, and an action that fails is the next input. What
can happen to it is what happens to directors: the power goes (everything is lost),
the process is killed (the kernel keeps the addresses) and started again (it adopts
them), the process stands still while packets queue up (SIGSTOP, a busy host), the
link goes, the kernel refuses, the clock runs fast. Power, kill and standstill can
also come in the middle of what follows one input, after any of its steps.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace

from lvsha.core.addr import Address
from lvsha.core.instant import MICROSECOND, Instant, earliest
from lvsha.core.machine import Action, Event, Output
from lvsha.sim.clock import Clock
from lvsha.sim.kernel import Kernel
from lvsha.sim.network import Claim, Datagram, Frame, Network
from lvsha.sim.speaker import Speaker, authenticates, claim_packet, mac_of
from lvsha.sim.world import NEVER, World
from lvsha.vrrp.announce import Announcer
from lvsha.vrrp.conflict import ConflictWatch
from lvsha.vrrp.endpoint import Endpoint
from lvsha.vrrp.lease import Leases
from lvsha.vrrp.outputs import (
    AddAddresses,
    Announce,
    CatchUp,
    RemoveAddresses,
    RenewAddresses,
    SendAdvertisement,
    SendGratuitousArp,
    SendNeighborAdvertisement,
    StopAnnouncing,
)
from lvsha.vrrp.replay import ReplayGuard
from lvsha.vrrp.router import VirtualRouter
from lvsha.vrrp.settings import Prefix, RouterSettings
from lvsha.vrrp.transitions import State
from lvsha.wire.vrrp_auth import AuthKeys

INBOX = 256
"""Datagrams that wait for a process that stands still; what comes then is lost, as in a socket buffer."""

ENETDOWN = 100
_EPOCH = 1_800_000_000_000_000
"""Where every wall clock begins: microseconds, in 2027."""


@dataclass(frozen=True, slots=True)
class Beside:
    """What came over the second path."""

    datagram: Datagram


@dataclass(slots=True)
class LastWords:
    """What the process left in shared memory: its state at its last advert or input."""

    state: State
    at: Instant


@dataclass(slots=True)
class Trap:
    """It waits for the process in the middle of its next transition."""

    steps: int
    """Outputs that are still carried out."""
    spring: Callable[[], object]


class Director:
    def __init__(
        self,
        *,
        name: str,
        address: Address,
        routers: tuple[RouterSettings, ...],
        world: World,
        network: Network,
        log: Callable[[str, Output], None],
        keys: AuthKeys | None = None,
        beside: Network | None = None,
    ) -> None:
        """``keys``: for routers that authenticate their adverts; ``beside``: a second network for adverts."""
        self.name = name
        self.address = address
        self.settings = routers
        self.kernel = Kernel()
        self.routers: dict[str, VirtualRouter] = {}
        """Empty while the process does not run."""
        self.announcer = Announcer()
        self.leases = Leases()
        self.inbox: deque[Frame | Beside] = deque()
        self.is_frozen = False
        self.lag = 0
        """Nanoseconds from when something happens until the process gets to run: a busy machine."""
        self.queue = 0
        """Nanoseconds that what comes lies in the kernel before it is in a socket: a starved thread."""
        self.link_up = True
        self.overflowed = 0
        self.trap: Trap | None = None
        self.clock = Clock(world)
        self.wall_error = 0
        """Microseconds that the wall clock is ahead when the process starts."""
        self.due = NEVER
        """When the world comes back: for the process or for the kernel."""
        self._wakes = NEVER
        """For the process."""
        self._world = world
        self._network = network
        self._log = log
        self._keys = keys
        self._can_send_without_link = beside is not None
        self._speaker = Speaker(name=name, address=address, network=network, beside=beside, keys=keys)
        self._last_words: dict[str, LastWords] = {}
        self._last_number = 0
        self._interrupted: deque[tuple[VirtualRouter, deque[Output]]] = deque()
        """What it was about to do when it was stopped."""
        self._numbers = self._guard_of(0)
        self._endpoint = self._endpoint_beside = Endpoint(
            interface=routers[0].interface, family=routers[0].family
        )
        self._conflicts = ConflictWatch(own_macs=frozenset())
        world.join(self)
        network.attach(name, address, self._arrive)
        if beside is not None:
            beside.attach(name, address, self._arrive_beside)

    # What happens to it

    @property
    def remembers(self) -> bool:
        """It runs, or has run since it was booted, and has sent or taken an authenticated advert."""
        return self._last_number > 0

    @property
    def is_running(self) -> bool:
        return bool(self.routers)

    def start(self) -> None:
        """The process begins; what the kernel holds it adopts."""
        if self.is_running:
            return
        now = self._now()
        self._numbers = self._guard_of(self._last_number)
        self._endpoint = self._listen(self.settings[0].interface)
        self._endpoint_beside = self._listen("beside")
        self._conflicts = ConflictWatch(own_macs=frozenset({mac_of(self.name)}))
        self.routers = {settings.name: VirtualRouter(settings) for settings in self.settings}
        for settings, router in zip(self.settings, tuple(self.routers.values()), strict=True):
            words = self._last_words.get(settings.name)
            was_master = (
                words is not None
                and words.state is State.MASTER
                and now - words.at < 3 * settings.advert_interval
            )
            router.set_interface(self.link_up, self.address if self.link_up else None, now)
            held = set(settings.bound_addresses) <= self.kernel.bound
            self._perform(router, router.start(now, held=held, was_master=was_master))
            self._perform(router, router.set_bound(frozenset(self.kernel.bound), now))
        self.arm()

    def kill(self) -> None:
        """SIGKILL: the process is gone, the kernel keeps what it holds."""
        self.routers = {}
        self.announcer = Announcer()
        self.leases = Leases()
        self.inbox.clear()
        self._interrupted.clear()
        self.trap = None
        self.is_frozen = False
        self.arm()

    def power_off(self) -> None:
        """Everything is gone."""
        self.kernel = Kernel()
        self.kill()
        self._last_words = {}
        self._last_number = 0

    def freeze(self) -> None:
        """SIGSTOP, or a host too busy to run us: packets wait, the kernel goes on answering ARP."""
        if self.is_running:
            self.is_frozen = True
            self.arm()

    def thaw(self) -> None:
        """It goes on: what it was doing first, then descriptors, then deadlines, as ``io.reactor`` does."""
        if not self.is_frozen:
            return
        self.is_frozen = False
        interrupted, self._interrupted = self._interrupted, deque()
        for router, outputs in interrupted:
            self._perform(router, outputs)
        self._read()
        self._look_at_the_kernel()
        self._on_deadline()
        self.arm()

    def set_link(self, up: bool) -> None:
        self.link_up = up
        self._input(lambda router: router.set_interface(up, self.address if up else None, self._now()))

    def release(self) -> None:
        self._input(lambda router: router.release(self._now()))

    def resume(self) -> None:
        self._input(lambda router: router.resume(self._now()))

    def shutdown(self) -> None:
        self._input(lambda router: router.shutdown(self._now()))

    def set_priority(self, priority: int) -> None:
        self._input(lambda router: router.set_priority(priority, self._now()))

    def reconfigure(self, **changes: object) -> None:
        """Every router gets these settings."""
        self._speaker.forget()
        self.settings = tuple(replace(settings, **changes) for settings in self.settings)  # type: ignore[arg-type]
        for settings in self.settings:
            router = self.routers.get(settings.name)
            if router is not None:
                self._endpoint.put(settings, self._keys)
                self._endpoint_beside.put(replace(settings, interface="beside"), self._keys)
                self._perform(router, router.reconfigure(settings, self._now()))
        self.arm()

    def tamper(self, prefix: Prefix, *, bound: bool) -> None:
        """Somebody else binds or unbinds an address; the route monitor tells."""
        if bound:
            self.kernel.bound.add(prefix)
        else:
            self.kernel.unbind((prefix,))
        self._look_at_the_kernel()

    # Looking at it

    def state(self, router: str) -> State | None:
        return self.routers[router].state if router in self.routers else None

    def is_master(self, router: str) -> bool:
        return self.state(router) is State.MASTER

    def binds_what_it_should(self) -> bool:
        """All of a MASTER's addresses, none of those that are not held, and nothing else.

        While adopting or releasing, what somebody else took off stays off.
        """
        must: set[Prefix] = set()
        may: set[Prefix] = set()
        for router in self.routers.values():
            if router.holds_addresses:
                may.update(router.settings.bound_addresses)
            if router.state is State.MASTER:
                must.update(router.settings.bound_addresses)
        return not self.is_running or must <= self.kernel.bound <= may

    # The loop

    def on_due(self) -> None:
        """The world comes back."""
        if self.kernel.due <= self._now() and self.kernel.lapse(self._now()):
            self._look_at_the_kernel()
        if self._wakes <= self._world.now:
            self._read()
            self._on_deadline()
        self.arm()

    def _now(self) -> Instant:
        """As this host's clock has it."""
        clock = self.clock
        return self._world.now if clock.is_true else clock.now()

    def _look_at_the_kernel(self) -> None:
        """What the route monitor leads to: interfaces and addresses, as they are."""
        now, primary = self._now(), self.address if self.link_up else None
        self._input(lambda router: router.set_interface(self.link_up, primary, now))
        self._input(lambda router: router.set_bound(frozenset(self.kernel.bound), now))

    def _input(self, happen: Callable[[VirtualRouter], list[Output]]) -> None:
        for router in tuple(self.routers.values()):
            if not self.is_frozen:
                self._perform(router, happen(router))
        self.arm()

    def _arrive_beside(self, frame: Frame) -> None:
        """What comes over the second path comes whatever the first link does."""
        assert isinstance(frame, Datagram), "nobody answers for addresses there"
        if self.is_running:
            self._take(Beside(frame))

    def _arrive(self, frame: Frame) -> None:
        if self.routers and self.link_up:
            self._take(frame)

    def _take(self, frame: "Frame | Beside") -> None:
        if self.queue:
            self._world.at(Instant(self._world.now + self.queue), lambda: self._sorted(frame))
        else:
            self._sorted(frame)

    def _sorted(self, frame: "Frame | Beside") -> None:
        """The kernel has it in the socket."""
        if not self.routers:
            return
        if self.is_frozen or self.lag:
            if len(self.inbox) >= INBOX:
                self.overflowed += 1
                return
            self.inbox.append(frame)
            if not self.is_frozen:
                self._world.at(Instant(self._world.now + self.lag), self._wake)
            return
        self._receive(frame)
        self.arm()

    def _wake(self) -> None:
        """The busy machine lets the process run: it reads all that has come."""
        self._read()
        self.arm()

    def _read(self) -> None:
        while self.inbox and not self.is_frozen:
            self._receive(self.inbox.popleft())

    def _receive(self, frame: "Frame | Beside") -> None:
        if isinstance(frame, Datagram):
            self._receive_advert(frame, beside=False)
        elif isinstance(frame, Beside):
            self._receive_advert(frame.datagram, beside=True)
        else:
            for output in self._conflicts.receive(claim_packet(frame), self._now()):
                if isinstance(output, Announce):
                    self._perform(self.routers[output.router], [output])
                else:
                    self._log(self.name, output)

    def _receive_advert(self, frame: Datagram, *, beside: bool) -> None:
        now = self._now()
        endpoint = self._endpoint_beside if beside else self._endpoint
        received = endpoint.receive(
            frame.payload, source=frame.source, destination=frame.destination, ttl=frame.ttl, now=now
        )
        for event in received.events:
            self._log(self.name, event)
        if received.router is not None and received.advert is not None:
            router = self.routers[received.router]
            receive = router.receive_beside if beside else router.receive
            self._perform(router, receive(received.advert, frame.source, now))

    def arm(self) -> None:
        """Ask the world to come back at the first deadline."""
        due, lapse = NEVER, self.kernel.due
        if self.routers and not self.is_frozen:
            due = earliest(self.announcer.deadline, self.leases.deadline) or NEVER
            for router in self.routers.values():
                deadline = router.deadline
                if deadline is not None and deadline < due:
                    due = deadline
        if not self.clock.is_true:
            due, lapse = self.clock.when(due), self.clock.when(lapse)
        self._wakes = Instant(due + self.lag) if due < NEVER else NEVER
        self.due = self._wakes if self._wakes < lapse else lapse

    def _on_deadline(self) -> None:
        now = self._now()
        for router in tuple(self.routers.values()):
            if self._is_alive and router.deadline is not None and now >= router.deadline:
                self._perform(router, router.on_deadline(now))
        if self._is_alive and self.leases.deadline is not None and now >= self.leases.deadline:
            for order in self.leases.on_deadline(now):
                assert isinstance(order, RenewAddresses), "leases ask for nothing else"
                self._perform(self.routers[order.router], [order])
        if self._is_alive and self.announcer.deadline is not None and now >= self.announcer.deadline:
            for output in self.announcer.on_deadline(now):
                if isinstance(output, SendGratuitousArp | SendNeighborAdvertisement) and self.link_up:
                    self._network.send(self.name, Claim(self.name, output.address))

    @property
    def _is_alive(self) -> bool:
        return bool(self.routers) and not self.is_frozen

    # Carrying out

    def _perform(self, router: VirtualRouter, outputs: "list[Output] | deque[Output]") -> None:
        settings = router.settings
        if self.routers.get(settings.name) is not router:
            return  # it died while it did this
        if self.is_frozen:
            self._interrupted.append((router, deque(outputs)))
            return
        now = self._now()
        if outputs:
            self._carry_out_all(router, deque(outputs))
            if not self._is_alive:
                return
            held = settings.bound_addresses if router.holds_addresses else ()
            self.leases.hold(settings.name, held, settings.lease, now)
        words = self._last_words.get(settings.name)
        if words is None:
            words = self._last_words[settings.name] = LastWords(router.state, now)
        words.state, words.at = router.state, now
        self._last_number = self._numbers.last

    def _carry_out_all(self, router: VirtualRouter, pending: deque[Output]) -> None:
        settings = router.settings
        trap = self.trap if len(pending) > 1 else None
        while pending:
            if trap is not None:
                if not trap.steps:
                    self.trap = None
                    trap.spring()
                    if self.is_frozen:
                        self._interrupted.append((router, pending))
                    return
                trap.steps -= 1
            output = pending.popleft()
            if isinstance(output, CatchUp):
                # Whoever gets to a deadline here has read his inbox.
                if self.queue:
                    self._world.at(Instant(self._world.now + self.queue), lambda: self._catch_up(router))
                else:
                    pending.extend(router.caught_up(self._now()))
                continue
            self._log(self.name, output)
            if isinstance(output, Action):
                failed = self._carry_out(router, output)
                if failed:
                    pending.extend(router.on_action_failed(output, failed, self._now()))
            elif isinstance(output, Event):
                watch = self._conflicts.hold if router.state is State.MASTER else self._conflicts.drop
                watch(settings.name, settings.bound_addresses)

    def _catch_up(self, router: VirtualRouter) -> None:
        if self.routers.get(router.settings.name) is router and not self.is_frozen:
            self._perform(router, router.caught_up(self._now()))
            self.arm()

    def _carry_out(self, router: VirtualRouter, action: Action) -> int:
        """Its errno; 0: done."""
        kernel, settings = self.kernel, router.settings
        if isinstance(action, SendAdvertisement):
            return self._send(router, action.priority)
        if isinstance(action, AddAddresses | RenewAddresses):
            if kernel.bind_errno:
                return kernel.bind_errno
            kernel.writes += isinstance(action, AddAddresses)
            kernel.bind(action.addresses, settings.lease, self._now())
        elif isinstance(action, RemoveAddresses):
            if kernel.unbind_errno:
                return kernel.unbind_errno
            kernel.writes += 1
            kernel.unbind(action.addresses)
        elif isinstance(action, Announce):
            self.announcer.announce(
                router=settings.name,
                interface=settings.interface,
                addresses=tuple(prefix.ip for prefix in action.addresses),
                rounds=action.rounds,
                garp=settings.garp,
                now=self._now(),
                again=action.again,
            )
        elif isinstance(action, StopAnnouncing):
            self.announcer.stop(
                router=settings.name, addresses=tuple(prefix.ip for prefix in action.addresses)
            )
        return 0

    def _send(self, router: VirtualRouter, priority: int) -> int:
        errno = self.kernel.send_errno or (0 if self.link_up else ENETDOWN)
        if errno and not self._can_send_without_link:
            return errno
        number = self._numbers.next(self._now()) if authenticates(router) else 0
        self._speaker.say(router, priority, number=number, only_beside=bool(errno))
        return errno

    # Making

    def _listen(self, interface: str) -> Endpoint:
        endpoint = Endpoint(interface=interface, family=self.settings[0].family, guard=self._numbers)
        endpoint.own_addresses = frozenset({self.address})
        for settings in self.settings:
            endpoint.put(replace(settings, interface=interface), self._keys)
        return endpoint

    def _guard_of(self, last: int) -> ReplayGuard:
        now = self._now()
        return ReplayGuard(wall=_EPOCH + now // MICROSECOND + self.wall_error, now=now, last=last)
