"""What a configuration means for one director, after defaults and per-director overrides.

Everything above this layer works with these records and never sees the file's
text. The engines own the records that they need (``vrrp.settings``,
``checker.settings``, ``checker.pool``, ``ipvs.model``, ``sync.settings``); here
they are only brought together.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from lvsha.checker.combine import Needs
from lvsha.checker.pool import PoolSettings
from lvsha.checker.settings import CheckSettings
from lvsha.config.alerts import AlertSettings
from lvsha.core.addr import Address
from lvsha.core.instant import MILLISECOND, SECOND
from lvsha.ipvs.model import Destination, Service, Timeouts
from lvsha.sync.settings import SyncSettings
from lvsha.vrrp.settings import RouterSettings


class LogFormat(StrEnum):
    """How a log line looks."""

    TEXT = "text"
    """``vrrp.became_master vrid=51 after_ms=361``, for people and journald."""
    JSON = "json"
    """One object a line, for log shippers."""


class LogLevel(StrEnum):
    """The least important event that still gets a line."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class OnStop(StrEnum):
    """What happens to the kernel's IPVS services of ours at a planned stop."""

    REMOVE = "remove"
    KEEP = "keep"


@dataclass(frozen=True, slots=True, kw_only=True)
class Director:
    """One of the machines that share the file."""

    name: str
    address: Address | None = None
    """Where the others reach it: unicast adverts, identity. None: only its name tells it apart."""
    priority: int | None = None
    """VRRP priority wherever a virtual router names none of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentSettings:
    """The two processes themselves. Defaults carry their reason in ``config.schema``."""

    log_format: LogFormat = LogFormat.TEXT
    log_level: LogLevel = LogLevel.INFO
    run_dir: str = "/run/lvsha"
    """Sockets. Gone after a reboot."""
    state_dir: str = "/var/lib/lvsha"
    """What must outlive a restart: roles, owned services, operator's drains."""
    on_stop: OnStop = OnStop.REMOVE
    record_file: str | None = None
    """Where vrrpd writes every input of its virtual routers; None: nowhere."""
    watchdog: str | None = None
    """The device that restarts the machine without vrrpd; None: none does."""
    watchdog_timeout: int = 15 * SECOND
    maintenance_dir: str | None = None
    """Files in it put the realservers of their names into maintenance; None: there is none."""
    exclusive: bool = False
    """True: IPVS services that the file does not name are removed. False: they are left alone."""
    check_workers: int = 0
    """Processes that make the probes; 0: directord does it itself."""
    drift_interval: int = 500 * MILLISECOND
    """How often the kernel's table is compared with the desired one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiSettings:
    """How a running director is asked. Defaults carry their reason in ``config.schema``."""

    group: str = "lvsha"
    listen: tuple[tuple[str, int], ...] = ()
    """Addresses and ports for TLS. Empty: the Unix socket alone."""
    certificate: str | None = None
    key: str | None = None
    token_file: str | None = None
    client_ca: str | None = None
    rate: int = 50
    """Requests a second of one client over TCP."""
    peer_role: str = "admin"
    """The most that another director may ask for on somebody's behalf: nobody, read, operate or admin."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RealServerSettings:
    """One realserver of one service."""

    name: str
    """Unique within its service; the same name in several services is the same machine."""
    destination: Destination
    """Its weight is the configured one; the pool decides the one in force."""
    check: CheckSettings | None
    """None: counts as always up."""
    further_checks: tuple[CheckSettings, ...] = ()
    """Where it has more than one."""
    needs: Needs = Needs.ALL
    """How many of them have to pass."""

    @property
    def checks(self) -> tuple[CheckSettings, ...]:
        """All of them."""
        return () if self.check is None else (self.check, *self.further_checks)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceSettings:
    """One IPVS service, its realservers and how their health is weighed."""

    name: str
    """Unique in the file."""
    service: Service
    realservers: tuple[RealServerSettings, ...]
    pool: PoolSettings
    sorry: Destination | None = None
    """Takes over when the quorum is lost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything one director has to know."""

    node: str
    """Which of ``directors`` we are."""
    directors: tuple[Director, ...]
    """All of them, this one included, in the order of the file."""
    routers: tuple[RouterSettings, ...] = ()
    services: tuple[ServiceSettings, ...] = ()
    sync: SyncSettings | None = None
    """None: no connection synchronisation (``sync.enabled = false``, or no interface to do it on)."""
    timeouts: Timeouts | None = None
    """None: the kernel's IPVS time-outs stay as they are."""
    sysctls: Mapping[str, str] = field(default_factory=dict)
    """``net.ipv4.vs.*`` by short name; ``""`` leaves one alone."""
    agent: AgentSettings = field(default_factory=AgentSettings)
    api: ApiSettings = field(default_factory=ApiSettings)
    alerts: tuple[AlertSettings, ...] = ()
    shared: str = ""
    """``config.shared.shared_generation``: other directors should have the same."""
    generation: str = ""
    """Which text they come from: twelve hex digits of its SHA-256, alike on every director."""

    @property
    def peers(self) -> tuple[Director, ...]:
        """The other directors."""
        return tuple(director for director in self.directors if director.name != self.node)
