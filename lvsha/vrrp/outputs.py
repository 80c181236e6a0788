"""What the VRRP machines return: actions for the shell, events for everybody else.

An event's stable name is its class in snake case: ``BecameMaster`` is
``vrrp.became_master``.
"""

from dataclasses import dataclass
from enum import StrEnum

from lvsha.core.addr import Address
from lvsha.core.errors import DropReason
from lvsha.core.machine import Action, Event
from lvsha.vrrp.settings import Prefix
from lvsha.wire.arp import ArpForm


class Reason(StrEnum):
    """Why a router changed its state."""

    OWNER = "owner"
    STARTED = "started"
    RESUMED = "resumed"
    ADOPTED = "adopted"
    """We were MASTER a moment ago and the addresses are still ours."""
    MASTER_DOWN = "master_down"
    """No advert for a master-down interval."""
    MASTER_LEFT = "master_left"
    """The MASTER sent priority 0."""
    PREEMPTED = "preempted"
    """The MASTER's priority is lower than ours."""
    BETTER_MASTER = "better_master"
    OVERSLEPT = "overslept"
    """We ran so late that somebody else has surely taken over."""
    INTERFACE_DOWN = "interface_down"
    INTERFACE_UP = "interface_up"
    BIND_FAILED = "bind_failed"
    SEND_FAILED = "send_failed"
    RETRY = "retry"
    """A fault of our own has had time to go away."""
    HEARD_MASTER = "heard_master"
    DEADLINE = "deadline"
    NOT_MASTER = "not_master"
    SHUTDOWN = "shutdown"


# Actions of VirtualRouter


@dataclass(frozen=True, slots=True)
class SendAdvertisement(Action):
    """To the group or to every unicast peer; ``VirtualRouter.advertisement`` makes the record.

    It fails only when it reached nobody.
    """

    router: str
    priority: int


@dataclass(frozen=True, slots=True)
class AddAddresses(Action):
    """Bind. An address that is already there counts as done."""

    router: str
    addresses: tuple[Prefix, ...]


@dataclass(frozen=True, slots=True)
class RemoveAddresses(Action):
    """Unbind. An address that is already gone counts as done."""

    router: str
    addresses: tuple[Prefix, ...]


@dataclass(frozen=True, slots=True)
class RenewAddresses(Action):
    """Bind for another ``lease``. Adds what is gone, too: the route monitor would ask for it anyway."""

    router: str
    addresses: tuple[Prefix, ...]
    lease: int
    """Nanoseconds, whole seconds of them."""


@dataclass(frozen=True, slots=True)
class Announce(Action):
    """Tell the neighbours; ``vrrp.announce.Announcer.announce`` takes it."""

    router: str
    addresses: tuple[Prefix, ...]
    rounds: int
    """0: only the periodic refresh."""
    again: int = 0
    """Nanoseconds until one round more is due: by then the lease of the former MASTER is over."""


@dataclass(frozen=True, slots=True)
class StopAnnouncing(Action):
    """Announce these no more, not even the rounds that are due."""

    router: str
    addresses: tuple[Prefix, ...]


@dataclass(frozen=True, slots=True)
class CatchUp(Action):
    """Read all that has come so far, also what the kernel has not sorted yet; then say ``caught_up``."""

    router: str
    again: bool = False
    """Asked for already in this silence, and no answer yet."""


# Actions of Announcer


@dataclass(frozen=True, slots=True)
class SendGratuitousArp(Action):
    """``wire.arp.gratuitous_arp`` makes the frame."""

    interface: str
    address: Address
    form: ArpForm


@dataclass(frozen=True, slots=True)
class SendNeighborAdvertisement(Action):
    """``wire.ndisc.unsolicited_advertisement`` makes the message."""

    interface: str
    address: Address


# Actions of TakeoverProof


@dataclass(frozen=True, slots=True)
class AskNeighbor(Action):
    """An ARP request or a Neighbor Solicitation for ``target``."""

    interface: str
    sender: Address | None
    """A virtual address of ours; None: from nobody, an ARP probe."""
    target: Address


# Events


@dataclass(frozen=True, slots=True)
class BecameMaster(Event):
    router: str
    reason: Reason
    after: int
    """Nanoseconds since the last advert of the previous MASTER, or since the state began."""


@dataclass(frozen=True, slots=True)
class BecameBackup(Event):
    router: str
    reason: Reason
    master: Address | None
    """Whose advert decided it, where one did."""
    master_priority: int | None


@dataclass(frozen=True, slots=True)
class Preparing(Event):
    """About to take over: waits for ``VirtualRouter.permit``, for ``pre_hook_timeout`` at most."""

    router: str


@dataclass(frozen=True, slots=True)
class EnteredFault(Event):
    router: str
    reason: Reason
    detail: str


@dataclass(frozen=True, slots=True)
class Releasing(Event):
    """A planned hand-over began: priority 0 is out, the addresses are still bound. ``Released`` ends it."""

    router: str


@dataclass(frozen=True, slots=True)
class Released(Event):
    """Takes no part until ``resume``; the addresses are gone."""

    router: str
    reason: Reason
    """HEARD_MASTER, DEADLINE (nobody took over), NOT_MASTER (there was nothing to release) or SHUTDOWN."""
    master: Address | None


@dataclass(frozen=True, slots=True)
class AdoptedAddresses(Event):
    """Found our addresses bound at start; nothing was written."""

    router: str
    as_master: bool


@dataclass(frozen=True, slots=True)
class MasterChanged(Event):
    """A BACKUP follows another MASTER, or the MASTER changed its priority or interval."""

    router: str
    master: Address
    priority: int
    advert_interval: int


@dataclass(frozen=True, slots=True)
class DuplicateMaster(Event):
    """Another router advertises what we hold. Rate limited: 1st, 10th, 100th ... time."""

    router: str
    other: Address
    other_priority: int
    yields: bool
    """True: we give way. False: we hold, advertise at once and announce again."""
    count: int


@dataclass(frozen=True, slots=True)
class PriorityChanged(Event):
    """The effective priority, after tracking."""

    router: str
    old: int
    new: int


@dataclass(frozen=True, slots=True)
class ActionFailed(Event):
    """The shell could not do what we asked. Rate limited per kind of action."""

    router: str
    action: str
    errno: int
    count: int


@dataclass(frozen=True, slots=True)
class AddressesRepaired(Event):
    """Somebody else bound or unbound our addresses; we put them back as our state says."""

    router: str
    added: tuple[Prefix, ...]
    removed: tuple[Prefix, ...]


@dataclass(frozen=True, slots=True)
class RanLate(Event):
    """``on_deadline`` came so late that the machine had to change its mind about what it knows."""

    router: str
    late: int


@dataclass(frozen=True, slots=True)
class PaceChanged(Event):
    """A MASTER that runs late names a longer interval in its adverts, or the configured one again."""

    router: str
    advert_interval: int
    """Named from now on, nanoseconds; adverts leave as often as before."""
    late: int
    """How late the advert was that decided it."""


@dataclass(frozen=True, slots=True)
class AdvertisementDropped(Event):
    """An advert was refused. Rate limited per reason and VRID: 1st, 10th, 100th ... time."""

    interface: str
    family: int
    reason: DropReason
    source: Address
    vrid: int | None
    router: str | None
    """Ours of that VRID, where there is one."""
    detail: str
    """What to do about it."""
    count: int


@dataclass(frozen=True, slots=True)
class PeerDisagrees(Event):
    """An advert was accepted although its sender is configured differently. Rate limited as drops are."""

    router: str
    source: Address
    what: str
    """``advert_interval``, ``addresses``, ``checksum``, ``authentication`` or ``owner``."""
    detail: str
    count: int


@dataclass(frozen=True, slots=True)
class TakeoverProved(Event):
    """Every neighbour that was asked has answered to every virtual address: they know where it is."""

    router: str
    neighbors: tuple[Address, ...]
    after: int
    """Nanoseconds since the takeover."""
    asked: int


@dataclass(frozen=True, slots=True)
class TakeoverUnproved(Event):
    """Neighbours that have not answered: they may still send to the former MASTER. Asking goes on."""

    router: str
    silent: tuple[Address, ...]
    addresses: int
    """Virtual addresses of which that is so."""
    asked: int


@dataclass(frozen=True, slots=True)
class AddressConflict(Event):
    """Another machine claims an address that we hold. At most once per address and 10 s."""

    router: str
    address: Address
    mac: bytes
    count: int
