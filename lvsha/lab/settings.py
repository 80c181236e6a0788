"""What one run of a scenario is asked for."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from lvsha.lab.topology import Method, TopologySettings


class DirectorKind(StrEnum):
    """Whose directors are on stage."""

    LVSHA = "lvsha"
    KEEPALIVED = "keepalived"


class Process(StrEnum):
    """Which part of a director is killed."""

    VRRPD = "vrrpd"
    """The one that holds the addresses (keepalived: its VRRP child)."""
    DIRECTORD = "directord"
    """The one that checks and fills the table (keepalived: its checker child)."""
    BOTH = "both"
    """These two at the same moment; whoever supervises them lives."""
    ALL = "all"
    """The whole director, its supervisor included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSettings:
    """One scenario, once, with one kind of director. Durations in seconds."""

    scenario: str
    director: DirectorKind = DirectorKind.LVSHA
    connections: int = 100
    advert_s: float = 0.1
    """Both kinds of director speak VRRPv3 at this interval."""
    vips: int = 1
    crowd: int = 0
    """Realservers that nobody checks or uses, spread over a service more of each virtual address."""
    method: Method = Method.DR
    family: int = 4
    crash_after_s: float = 1.0
    """From the last new connection to the fault."""
    process: Process = Process.BOTH
    restart_after_s: float = 1.0
    """From a kill to the restart, where nothing else restarts it."""
    duration_s: float = 20.0
    """How long a fault that lasts is kept up: load, a cut, a flapping link."""
    rate: int = 0
    """Of a flood, packets a second, of a load, new connections a second; 0: as many as go, or its default."""
    protocol: str = "tcp"
    """Of the connections; ``udp`` is always persistent."""
    persistent: bool = False
    """Services are persistent, and the connections come from many addresses of the client."""
    fwmark: int = 0
    """Not 0: a service for this firewall mark (and the next, for a second address) instead of by address."""
    idle: int = 10_000
    """Connections that say nothing, beside a load."""
    distance_ms: float = 0.0
    """Of the client from the directors, each way."""
    handovers: int = 1
    """Of ``switchover-under-load``, one after another."""
    entries: int = 100_000
    """Rows put into the master's kernel, beside the connections."""
    loss: int = 20
    """Of the packets between the directors that carry connections, in per cent."""
    phase: float | None = 0.5
    """Where between two adverts the fault falls: 0.5 = half-way, so that runs compare. None: anywhere."""
    check_interval_s: float = 0.5
    check_timeout_s: float = 0.5
    check_fall: int = 2
    sync_maxlen: int | None = None
    """UDP payload of a sync message; None: the director's own default."""
    transport: str = "relay"
    """How lvsha's directors synchronise: ``relay`` or ``multicast``."""
    warm: bool = False
    """lvsha's directors begin as forks that have their modules already: seconds less in a guest."""
    beat_ms: float = 2.0
    """Between two heartbeats; fewer cost a guest's one processor less, and see no shorter silence."""
    capture: bool = True
    """Record the wire with tcpdump, to be kept if the run fails."""

    @property
    def topology(self) -> TopologySettings:
        return TopologySettings(method=self.method, family=self.family, vips=self.vips)

    @property
    def is_persistent(self) -> bool:
        """A UDP flow is a flow only while its packets go to one realserver."""
        return self.persistent or self.protocol == "udp"

    def as_json(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__dataclass_fields__}

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> "RunSettings":
        kinds: dict[str, Any] = {"director": DirectorKind, "method": Method, "process": Process}
        values: dict[str, Any] = {
            key: kinds[key](value) if key in kinds else value for key, value in document.items()
        }
        return cls(**values)
