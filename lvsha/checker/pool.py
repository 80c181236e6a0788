"""Which members of a pool get new connections, and with which weight."""

from dataclasses import dataclass
from enum import StrEnum

from lvsha.core.instant import Instant
from lvsha.core.machine import Output


class OnFailure(StrEnum):
    """What happens to the destination of a member that is down."""

    WEIGHT_ZERO = "weight-zero"
    """It stays with weight 0: no new connections, and the established ones go on as far as
    the realserver still serves them. The default."""
    REMOVE = "remove"
    """It is deleted; IPVS then drops the packets of its established connections."""


class QuorumUnit(StrEnum):
    """What quorum and hysteresis count."""

    WEIGHT = "weight"
    SERVERS = "servers"


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolMember:
    """One realserver of a pool."""

    name: str
    weight: int = 1
    """What the operator wants it to have, 0-65535. 0: drained by configuration."""
    on_failure: OnFailure | None = None
    """None: as the pool."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolSettings:
    """A virtual service's members and when they suffice."""

    name: str = ""
    members: tuple[PoolMember, ...] = ()
    quorum: int = 1
    """Enough alive weight (or servers) for the service to count as up. More than there is
    counts as all there is."""
    hysteresis: int = 0
    """Up again at quorum + hysteresis, down below quorum - hysteresis."""
    quorum_unit: QuorumUnit = QuorumUnit.WEIGHT
    on_failure: OnFailure = OnFailure.WEIGHT_ZERO
    has_sorry: bool = False
    """A sorry server stands by: while the quorum is lost it alone gets new connections."""
    minimum_pooled_percent: int = 0
    """The depool brake: this share of the members is never taken out, however many checks
    fail. 0: no brake."""
    slow_start: int = 0
    """A member that comes back reaches its full weight over this duration; 0: at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolView:
    """What the kernel's table should hold for the pool now."""

    weights: dict[str, int | None]
    """Weight by member; None: not in the table."""
    sorry_active: bool
    quorum_met: bool
    alive_weight: int
    alive_servers: int
    pooled_though_down: tuple[str, ...] = ()
    """Members that only the depool brake keeps in."""


class Pool:
    """Signatures; the machine follows."""

    def __init__(self, settings: PoolSettings, *, up: frozenset[str] = frozenset()) -> None:
        """``up``: members that are known to be up already (adopted from the kernel at a restart)."""
        raise NotImplementedError

    def on_check(self, member: str, up: bool, reason: str, now: Instant) -> list[Output]:
        raise NotImplementedError

    def on_weight(
        self, member: str, now: Instant, *, weight: int | None = None, percent: int | None = None
    ) -> list[Output]:
        raise NotImplementedError

    def drain(self, member: str, drained: bool, now: Instant) -> list[Output]:
        raise NotImplementedError

    def reconfigure(self, settings: PoolSettings, now: Instant) -> list[Output]:
        raise NotImplementedError

    @property
    def deadline(self) -> Instant | None:
        raise NotImplementedError

    def on_deadline(self, now: Instant) -> list[Output]:
        raise NotImplementedError

    def view(self) -> PoolView:
        raise NotImplementedError
