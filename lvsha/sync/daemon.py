"""Which kernel sync daemons should run, and how they are tuned.

Both roles run on every director, always, on one interface with one syncid: a
takeover then moves nothing but addresses, and a director that was master a
moment ago still hears what its successor announces. (The kernel allows one
daemon of each role in a network namespace; a master does not hear itself.)

Level-triggered like everything that touches the kernel: ``plan_daemons``
compares what should run with what does, and is empty the second time. The
kernel keeps a daemon listed as running after its interface was deleted or lost
its address, though it sends nothing any more; the shell says so with
``stale``, and such a daemon is stopped and started.

Sources: the kernel's IPVS netlink interface; figures measured on Linux 6.1 as
``docs/explanation/connection-sync.md`` tells.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from lvsha.core.addr import Address
from lvsha.core.machine import Action, Event
from lvsha.sync.settings import SyncSettings


class DaemonRole(StrEnum):
    """A sync daemon's role. Not a router's state: both daemons run on every director."""

    MASTER = "master"
    BACKUP = "backup"


DEFAULT_SYSCTLS: dict[str, str] = {
    # Announce a connection at its handshake ACK, not at its third packet, and
    # then every 10 s while it has traffic: "3 50" never announces a connection
    # that stays silent after the handshake.
    "sync_threshold": "0 0",
    "sync_refresh_period": "10",
    "sync_retries": "0",
    "sync_version": "1",
    # One thread: the last part-filled message can then be pushed out by one nudge.
    "sync_ports": "1",
    # A burst of entries fits; clamped by net.core.rmem_max and wmem_max.
    "sync_sock_size": "8388608",
    # 1 would make a director whose backup daemon runs forward nothing.
    "backup_only": "0",
    # A standby whose own check flaps must not delete the rows it was given.
    "expire_nodest_conn": "0",
}
"""``net.ipv4.vs.*`` that lvsha sets while it runs, and puts back when it stops."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncDaemon:
    """One kernel sync daemon as it should run; ``None`` takes the kernel's default."""

    role: DaemonRole
    interface: str
    syncid: int
    maxlen: int | None
    group: Address | None
    port: int
    ttl: int


@dataclass(frozen=True, slots=True)
class StartSyncDaemon(Action):
    daemon: SyncDaemon


@dataclass(frozen=True, slots=True)
class StopSyncDaemon(Action):
    role: DaemonRole


@dataclass(frozen=True, slots=True)
class SyncDaemonRepaired(Event):
    """A daemon did not run as it should and is put right."""

    role: DaemonRole
    reason: str


def desired_daemons(settings: SyncSettings) -> tuple[SyncDaemon, ...]:
    """Both roles as the settings say."""
    common = {
        "interface": settings.interface,
        "syncid": settings.syncid,
        "group": settings.group,
        "port": settings.port,
        "ttl": settings.ttl,
    }
    # A backup drops, silently, datagrams longer than its own maxlen.
    backup_maxlen = None if settings.maxlen is None else max(settings.maxlen, settings.backup_maxlen)
    return (
        # The backup first: nothing the peer sends while we start may be missed.
        SyncDaemon(role=DaemonRole.BACKUP, maxlen=backup_maxlen, **common),  # type: ignore[arg-type]
        SyncDaemon(role=DaemonRole.MASTER, maxlen=settings.maxlen, **common),  # type: ignore[arg-type]
    )


def difference(wanted: SyncDaemon, found: SyncDaemon) -> str:
    """In what two daemons of one role differ, in words; empty when they agree."""
    differences = []
    for name in ("interface", "syncid", "maxlen", "group", "port", "ttl"):
        want, have = getattr(wanted, name), getattr(found, name)
        if want is not None and want != have:
            differences.append(f"{name} is {have}, should be {want}")
    return ", ".join(differences)


def plan_daemons(
    wanted: Iterable[SyncDaemon], found: Iterable[SyncDaemon], *, stale: bool = False
) -> list[Action | Event]:
    """What to do, in order, so that exactly ``wanted`` runs.

    Args:
        wanted: one per role that should run; a role that is missing is stopped.
        found: what the kernel lists.
        stale: the interface was re-created or re-addressed since the daemons
            were started: they are listed as running, and are dead.
    """
    steps: list[Action | Event] = []
    running = {daemon.role: daemon for daemon in found}
    for daemon in wanted:
        existing = running.pop(daemon.role, None)
        if existing is None:
            steps.append(StartSyncDaemon(daemon))
            continue
        reason = "its interface was re-created or re-addressed" if stale else difference(daemon, existing)
        if reason:
            steps += [
                SyncDaemonRepaired(daemon.role, reason),
                StopSyncDaemon(daemon.role),
                StartSyncDaemon(daemon),
            ]
    steps.extend(StopSyncDaemon(role) for role in running)
    return steps


def desired_sysctls(settings: SyncSettings) -> dict[str, str]:
    """``net.ipv4.vs.*`` by short name: the defaults under what the operator says."""
    merged = {**DEFAULT_SYSCTLS, **settings.sysctls}
    return {name: value for name, value in merged.items() if value}
