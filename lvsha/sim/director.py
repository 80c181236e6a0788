"""A virtual director: the machines of ``lvsha.vrrp``, a kernel with addresses, and a process that can suffer.

It does what ``agent.vrrpd`` does, in virtual time: bytes go through the endpoint,
outputs are carried out in order, and an action that fails is the next input. What
can happen to it is what happens to directors: the power goes (everything is lost),
the process is killed (the kernel keeps the addresses) and started again (it adopts
them), the process stands still while packets queue up (SIGSTOP, a busy host), the
link goes, the kernel refuses.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace

from lvsha.core.addr import Address
from lvsha.core.instant import MICROSECOND, Instant, earliest, to_seconds
from lvsha.core.machine import Action, Event, Output
from lvsha.sim.network import Claim, Datagram, Frame, Network
from lvsha.sim.world import World
from lvsha.vrrp.announce import Announcer
from lvsha.vrrp.conflict import ConflictWatch
from lvsha.vrrp.endpoint import Endpoint
from lvsha.vrrp.lease import Leases
from lvsha.vrrp.outputs import (
    AddAddresses,
    Announce,
    RemoveAddresses,
    RenewAddresses,
    SendAdvertisement,
    SendGratuitousArp,
    SendNeighborAdvertisement,
    StopAnnouncing,
)
from lvsha.vrrp.replay import ReplayGuard
from lvsha.vrrp.router import VirtualRouter
from lvsha.vrrp.settings import Authentication, Prefix, RouterSettings
from lvsha.vrrp.transitions import State
from lvsha.wire.arp import ArpPacket
from lvsha.wire.ndisc import NeighborAdvertisement
from lvsha.wire.vrrp import GROUP_IPV4, GROUP_IPV6, TTL, encode_advertisement
from lvsha.wire.vrrp_auth import AuthKeys

INBOX = 256
"""Datagrams that wait for a process that stands still; what comes then is lost, as in a socket buffer."""

_EPOCH = 1_800_000_000_000_000
"""Where every wall clock begins: microseconds, in 2027."""


@dataclass(slots=True)
class Kernel:
    """What outlives the process: addresses. And what it refuses."""

    bound: set[Prefix]
    bind_errno: int = 0
    unbind_errno: int = 0
    send_errno: int = 0
    writes: int = 0
    leases: dict[Prefix, Instant] = field(default_factory=dict)
    """When the kernel removes what nobody renews."""


@dataclass(frozen=True, slots=True)
class Beside:
    """What came over the second path."""

    datagram: Datagram


@dataclass(frozen=True, slots=True)
class _LastWords:
    """What the process left in shared memory: its state at its last advert or input."""

    state: State
    at: Instant


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
        self.kernel = Kernel(bound=set())
        self.routers: dict[str, VirtualRouter] = {}
        """Empty while the process does not run."""
        self.announcer = Announcer()
        self.leases = Leases()
        self.inbox: deque[Frame | Beside] = deque()
        self.is_frozen = False
        self.lag = 0
        """Nanoseconds from when something happens until the process gets to run: a busy machine."""
        self.link_up = True
        self.overflowed = 0
        self.priorities: dict[str, int] = {}
        self._world = world
        self._network = network
        self._log = log
        self._keys = keys
        self.wall_error = 0
        """Microseconds that the wall clock is ahead when the process starts."""
        self._numbers = self._guard_of(0)
        self._endpoint = Endpoint(interface=routers[0].interface, family=routers[0].family)
        self._endpoint_beside = Endpoint(interface="beside", family=routers[0].family)
        self._conflicts = ConflictWatch(own_macs=frozenset())
        self._last_words: dict[str, _LastWords] = {}
        self._last_number = 0
        self._armed: Instant | None = None
        self._said: dict[tuple[str, int, int, Address], Datagram] = {}
        """Adverts repeat: each is encoded once, by router, priority, promised interval and destination."""
        self._beside = beside
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
        now = self._world.now
        self.announcer = Announcer()
        self.leases = Leases()
        self._numbers = self._guard_of(self._last_number)
        self._endpoint = Endpoint(
            interface=self.settings[0].interface, family=self.settings[0].family, guard=self._numbers
        )
        self._endpoint_beside = Endpoint(
            interface="beside", family=self.settings[0].family, guard=self._numbers
        )
        self._endpoint.own_addresses = self._endpoint_beside.own_addresses = frozenset({self.address})
        self._conflicts = ConflictWatch(own_macs=frozenset({mac_of(self.name)}))
        for settings in self.settings:
            self._endpoint.put(settings, self._keys)
            self._endpoint_beside.put(replace(settings, interface="beside"), self._keys)
            router = VirtualRouter(settings)
            self.routers[settings.name] = router
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
        self._arm()

    def kill(self) -> None:
        """SIGKILL: the process is gone, the kernel keeps what it holds."""
        self.routers = {}
        self.inbox.clear()
        self.is_frozen = False
        self._armed = None

    def power_off(self) -> None:
        """Everything is gone."""
        self.kill()
        self.kernel = Kernel(bound=set())
        self._last_words = {}
        self._last_number = 0

    def freeze(self) -> None:
        """SIGSTOP, or a host too busy to run us: packets wait, the kernel goes on answering ARP."""
        if self.is_running:
            self.is_frozen = True

    def thaw(self) -> None:
        """It goes on: descriptors first, then deadlines, as ``io.reactor`` does."""
        if not self.is_frozen:
            return
        self.is_frozen = False
        while self.inbox:
            self._receive(self.inbox.popleft())
        self._look_at_the_kernel()
        self._on_deadline()

    def set_link(self, up: bool) -> None:
        self.link_up = up
        self._input(lambda router: router.set_interface(up, self.address if up else None, self._world.now))

    def release(self) -> None:
        self._input(lambda router: router.release(self._world.now))

    def resume(self) -> None:
        self._input(lambda router: router.resume(self._world.now))

    def shutdown(self) -> None:
        self._input(lambda router: router.shutdown(self._world.now))

    def set_priority(self, priority: int) -> None:
        self._input(lambda router: router.set_priority(priority, self._world.now))

    def reconfigure(self, **changes: object) -> None:
        """Every router gets these settings."""
        self._said.clear()
        self.settings = tuple(replace(settings, **changes) for settings in self.settings)  # type: ignore[arg-type]
        for settings in self.settings:
            router = self.routers.get(settings.name)
            if router is not None:
                self._endpoint.put(settings, self._keys)
                self._endpoint_beside.put(replace(settings, interface="beside"), self._keys)
                self._perform(router, router.reconfigure(settings, self._world.now))
        self._arm()

    def tamper(self, prefix: Prefix, *, bound: bool) -> None:
        """Somebody else binds or unbinds an address; the route monitor tells."""
        (self.kernel.bound.add if bound else self.kernel.bound.discard)(prefix)
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

    def _look_at_the_kernel(self) -> None:
        """What the route monitor leads to: interfaces and addresses, as they are."""
        now, primary = self._world.now, self.address if self.link_up else None
        self._input(lambda router: router.set_interface(self.link_up, primary, now))
        self._input(lambda router: router.set_bound(frozenset(self.kernel.bound), now))

    def _input(self, happen: Callable[[VirtualRouter], list[Output]]) -> None:
        if self.is_frozen:
            return
        for router in list(self.routers.values()):
            self._perform(router, happen(router))
        self._arm()

    def _arrive_beside(self, frame: Frame) -> None:
        """What comes over the second path comes whatever the first link does."""
        assert isinstance(frame, Datagram), "nobody answers for addresses there"
        if self.is_running:
            self._take(Beside(frame))

    def _arrive(self, frame: Frame) -> None:
        if self.is_running and self.link_up:
            self._take(frame)

    def _take(self, frame: "Frame | Beside") -> None:
        if self.is_frozen or self.lag:
            if len(self.inbox) >= INBOX:
                self.overflowed += 1
                return
            self.inbox.append(frame)
            if not self.is_frozen:
                self._world.at(Instant(self._world.now + self.lag), self._wake)
            return
        self._receive(frame)
        self._arm()

    def _wake(self) -> None:
        """The busy machine lets the process run: it reads all that has come."""
        if not self.is_frozen:
            while self.inbox:
                self._receive(self.inbox.popleft())
            self._arm()

    def _receive(self, frame: "Frame | Beside") -> None:
        now = self._world.now
        if isinstance(frame, Beside):
            self._receive_advert(frame.datagram, beside=True)
            return
        if isinstance(frame, Claim):
            for output in self._conflicts.receive(_claim_packet(frame), now):
                if isinstance(output, Announce):
                    self._perform(self.routers[output.router], [output])
                else:
                    self._log(self.name, output)
            return
        self._receive_advert(frame, beside=False)

    def _receive_advert(self, frame: Datagram, *, beside: bool) -> None:
        now = self._world.now
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

    def _arm(self) -> None:
        """Ask the world to come back at the first deadline."""
        due = earliest(
            self.announcer.deadline,
            self.leases.deadline,
            *(router.deadline for router in self.routers.values()),
        )
        if due is None or self.is_frozen or not self.is_running or due == self._armed:
            return
        self._armed = due
        self._world.at(Instant(due + self.lag), lambda: self._come_back(due))

    def _come_back(self, due: Instant) -> None:
        if due == self._armed:
            self._armed = None
            if not self.is_frozen:
                while self.inbox:
                    self._receive(self.inbox.popleft())
                self._on_deadline()

    def _on_deadline(self) -> None:
        now = self._world.now
        self._armed = None
        for router in list(self.routers.values()):
            if router.deadline is not None and now >= router.deadline:
                self._perform(router, router.on_deadline(now))
        if self.leases.deadline is not None and now >= self.leases.deadline:
            for order in self.leases.on_deadline(now):
                assert isinstance(order, RenewAddresses), "leases ask for nothing else"
                self._perform(self.routers[order.router], [order])
        if self.is_running and self.announcer.deadline is not None and now >= self.announcer.deadline:
            for output in self.announcer.on_deadline(now):
                if isinstance(output, SendGratuitousArp | SendNeighborAdvertisement) and self.link_up:
                    self._network.send(self.name, Claim(self.name, output.address))
        self._arm()

    # Carrying out

    def _perform(self, router: VirtualRouter, outputs: list[Output]) -> None:
        now = self._world.now
        settings = router.settings
        pending = deque(outputs)
        while pending:
            output = pending.popleft()
            self._log(self.name, output)
            if isinstance(output, Action):
                failed = self._carry_out(router, output)
                if failed:
                    pending.extend(router.on_action_failed(output, failed, now))
            elif isinstance(output, Event):
                watch = self._conflicts.hold if router.state is State.MASTER else self._conflicts.drop
                watch(settings.name, settings.bound_addresses)
        held = settings.bound_addresses if router.holds_addresses else ()
        self.leases.hold(settings.name, held, settings.lease, now)
        self._last_words[settings.name] = _LastWords(router.state, now)
        self._last_number = self._numbers.last

    def _carry_out(self, router: VirtualRouter, action: Action) -> int:
        """Its errno; 0: done."""
        kernel, settings = self.kernel, router.settings
        if isinstance(action, SendAdvertisement):
            return self._send(router, action.priority)
        if isinstance(action, AddAddresses | RenewAddresses):
            if kernel.bind_errno:
                return kernel.bind_errno
            kernel.bound.update(action.addresses)
            kernel.writes += isinstance(action, AddAddresses)
            self._lend(action.addresses, settings.lease)
        elif isinstance(action, RemoveAddresses):
            if kernel.unbind_errno:
                return kernel.unbind_errno
            kernel.bound.difference_update(action.addresses)
            for prefix in action.addresses:
                kernel.leases.pop(prefix, None)
            kernel.writes += 1
        elif isinstance(action, Announce):
            self.announcer.announce(
                router=settings.name,
                interface=settings.interface,
                addresses=tuple(prefix.ip for prefix in action.addresses),
                rounds=action.rounds,
                garp=settings.garp,
                now=self._world.now,
                again=action.again,
            )
        elif isinstance(action, StopAnnouncing):
            self.announcer.stop(
                router=settings.name, addresses=tuple(prefix.ip for prefix in action.addresses)
            )
        return 0

    def _lend(self, addresses: tuple[Prefix, ...], lease: int) -> None:
        """Bind for so long; 0: for ever."""
        kernel = self.kernel
        if not lease:
            for prefix in addresses:
                kernel.leases.pop(prefix, None)
            return
        is_first = not kernel.leases
        over = Instant(self._world.now + lease)
        kernel.leases.update(dict.fromkeys(addresses, over))
        if is_first:
            self._world.at(over, lambda: self._lapse(kernel))

    def _lapse(self, kernel: Kernel) -> None:
        """The kernel removes what has not been renewed, and looks again when the next lease may be over."""
        now = self._world.now
        over = [prefix for prefix, end in kernel.leases.items() if end <= now]
        for prefix in over:
            kernel.bound.discard(prefix)
            del kernel.leases[prefix]
        if kernel.leases:
            self._world.at(min(kernel.leases.values()), lambda: self._lapse(kernel))
        if over and kernel is self.kernel:
            self._look_at_the_kernel()

    def _send(self, router: VirtualRouter, priority: int) -> int:
        settings = router.settings
        errno = self.kernel.send_errno or (0 if self.link_up else 100)  # ENETDOWN
        if errno and self._beside is None:
            return errno
        group: Address = GROUP_IPV4 if settings.family == 4 else GROUP_IPV6
        seals = settings.authentication is not Authentication.NONE
        number = self._numbers.next(self._world.now) if seals else 0
        for destination in settings.unicast_peers or (group,):
            key = (settings.name, priority, router.promised_interval, destination)
            datagram = self._said.get(key)
            if datagram is None:
                payload = encode_advertisement(
                    router.advertisement(priority),
                    source=self.address,
                    destination=destination,
                    checksum=settings.checksum,
                )
                datagram = self._said[key] = Datagram(self.address, destination, TTL, payload)
            sealed = self._sealed(datagram, number) if seals else datagram
            if not errno:
                self._network.send(self.name, sealed)
            if self._beside is not None:
                self._beside.send(self.name, sealed)
        return errno

    def _sealed(self, datagram: Datagram, number: int) -> Datagram:
        assert self._keys is not None, "the endpoint asks for them"
        source, destination = datagram.source, datagram.destination
        payload = self._keys.seal(datagram.payload, number, source=source, destination=destination)
        return replace(datagram, payload=payload)

    def _guard_of(self, last: int) -> ReplayGuard:
        now = self._world.now
        return ReplayGuard(wall=_EPOCH + now // MICROSECOND + self.wall_error, now=now, last=last)


def mac_of(node: str) -> bytes:
    """A hardware address that is different for every node."""
    return b"\x02" + node.encode()[:5].rjust(5, b"\0")


def _claim_packet(claim: Claim) -> ArpPacket | NeighborAdvertisement:
    mac = mac_of(claim.node)
    if claim.address.version == 4:
        return ArpPacket(
            operation=1,
            sender_mac=mac,
            sender_address=claim.address,
            target_mac=bytes(6),
            target_address=claim.address,
        )
    return NeighborAdvertisement(target=claim.address, router=True, solicited=False, override=True, mac=mac)


def line(now: Instant, node: str, output: Output) -> str:
    """One line of a transcript: ``3.609 b became_master reason=master_down after=3.609s``."""
    parts = [f"{to_seconds(now):.3f}", node, _snake(type(output).__name__)]
    for each in fields(output):  # type: ignore[arg-type]  # every output is a dataclass
        value = getattr(output, each.name)
        if each.name == "router" or (each.name == "again" and not value):
            continue
        if each.name in ("after", "again", "late", "lease", "advert_interval"):
            value = f"{to_seconds(value):g}s"
        elif isinstance(value, tuple):
            value = ",".join(map(str, value)) or "none"
        elif isinstance(value, bytes):
            value = value.hex(":")
        elif isinstance(value, str) and (" " in value or not value):
            value = f'"{value}"'
        parts.append(f"{each.name}={value}")
    return " ".join(parts)


def _snake(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name).lstrip("_")
