"""What the relay's machine returns."""

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from lvsha.core.addr import Address
from lvsha.core.errors import DropReason
from lvsha.core.instant import Instant
from lvsha.core.machine import Action, Event
from lvsha.wire.relay import Readiness
from lvsha.wire.relay_talk import Word

# Actions


@dataclass(frozen=True, slots=True)
class SendDatagram(Action):
    """To this peer's address and port."""

    peer: int
    data: bytes


class Install(NamedTuple):
    """One row for the kernel."""

    key: bytes
    entry: bytes
    """Its time-out is what is left, in whole seconds, at least 1."""
    lifetime: int
    """Nanoseconds."""
    deleted: bool
    """The connection is gone; ``entry`` is the last that was known of it."""


@dataclass(frozen=True, slots=True)
class InstallEntries(Action):
    """Put these into the kernel and answer with ``Relay.installed``; only then the peer counts them."""

    peer: int
    token: int
    entries: tuple[Install, ...]


@dataclass(frozen=True, slots=True)
class TakeWord(Action):
    """Give it to whoever talks with this peer."""

    peer: int
    word: Word


# Events


class Direction(StrEnum):
    IN = "in"
    OUT = "out"


@dataclass(frozen=True, slots=True)
class PeerConnected(Event):
    """Both sides have proven that they live."""

    peer: int
    epoch: int


@dataclass(frozen=True, slots=True)
class PeerLost(Event):
    peer: int
    reason: str


@dataclass(frozen=True, slots=True)
class PeerTalks(Event):
    """It understands TALK: ``Relay.talk`` reaches it."""

    peer: int
    epoch: int


@dataclass(frozen=True, slots=True)
class ResyncStarted(Event):
    peer: int
    direction: Direction
    entries: int


@dataclass(frozen=True, slots=True)
class ResyncFinished(Event):
    """Everything that there was at the start is in the receiver's kernel."""

    peer: int
    direction: Direction
    entries: int
    took: int
    """Nanoseconds."""


@dataclass(frozen=True, slots=True)
class BarrierReached(Event):
    """All that waited when ``Relay.barrier`` was called is in the peer's kernel."""

    peer: int
    token: int


@dataclass(frozen=True, slots=True)
class FrameRefused(Event):
    """A frame was refused; said at the 1st, 10th, 100th ... time of a reason."""

    source: Address
    reason: DropReason
    detail: str


@dataclass(frozen=True, slots=True)
class PathTooNarrow(Event):
    """The path to the peer does not carry datagrams of this size."""

    peer: int
    datagram: int


@dataclass(frozen=True, slots=True)
class StoreFull(Event):
    """The store takes no more rows: what is beyond is not covered."""

    limit: int


@dataclass(frozen=True, slots=True)
class RowsEnded(Event):
    """Lives that ended in the store; nobody was told."""

    keys: tuple[bytes, ...]


# What there is to see


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerView:
    """One peer as it is now."""

    peer: int
    name: str
    connected: bool
    since: Instant | None
    """Of the present connection, or of its loss."""
    epoch: int
    readiness: Readiness
    live: int
    """Rows that it holds, as it says."""
    missing: int
    """Rows that we would lose if it took over: it has no copy of them."""
    coverage: float
    """1 - missing / rows; 0 while it is not connected (1 if there is nothing to lose)."""
    missing_here: int | None
    """Rows that we still lack of its, as it says; None: it has not said yet."""
    resynced: bool
    """It has given us everything that it had when we met."""
    lag: int
    """Age of the oldest change that is not installed there, nanoseconds."""
    rtt: int | None
    """Round trip including the installation, nanoseconds."""
    waiting: int
    """Keys that wait to be sent."""
    in_flight: int
    """Frames that are not installed there."""
    in_flight_keys: int
    on_its_way: int = 0
    """Of ``missing``, those that were sent and not reported lost: their acknowledgement is all that lacks."""
    sent_frames: int
    sent_bytes: int
    received_frames: int
    received_bytes: int
    resent: int
    """Frames that were lost and whose keys were sent again."""
    key_id: str
    """Of the key that it sends with."""
    uses_primary_key: bool
