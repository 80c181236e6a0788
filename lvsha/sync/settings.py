"""What an operator may say about the kernel's sync daemons."""

from dataclasses import dataclass, field
from enum import StrEnum

from lvsha.core.addr import Address
from lvsha.core.instant import MILLISECOND, SECOND
from lvsha.sync.relay_settings import RelaySettings


class Transport(StrEnum):
    """How entries travel between directors."""

    MULTICAST = "multicast"
    """The kernel's own datagrams on the sync interface; interoperates with plain kernels and keepalived."""
    RELAY = "relay"
    """The agents carry entries between the directors (``sync.relay``); the kernels talk to them only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncSettings:
    """The kernel daemons of both roles, always on. Defaults carry their reason."""

    interface: str
    syncid: int
    """1-255. 0 would accept every cluster's entries (kernel: a backup with syncid 0 filters nothing)."""

    group: Address | None = None
    """None: the kernel's 224.0.0.81."""
    port: int = 8848
    ttl: int = 1
    maxlen: int | None = 44
    """UDP payload of a message, bytes. 44 = one IPv4 entry: the next entry pushes the previous one out
    at once, where the kernel's 1,472 holds back up to 40 young connections for 2-3 s. None: the kernel's."""

    backup_maxlen: int = 1472
    """What the backup daemon takes at least, bytes: never less than what a plain kernel master sends, which
    would be dropped silently."""

    nudge_interval: int = 50 * MILLISECOND
    """How often a MASTER pushes the kernel's last part-filled message out; 0: never."""

    reset_grace: int = 2 * SECOND
    """How long the director's own TCP may not reset a flow of a virtual address that IPVS does not know
    (``director.reset_grace``); 0: not at all."""

    transport: Transport = Transport.MULTICAST
    relay: RelaySettings | None = None
    """None unless ``transport`` is ``RELAY``."""
    sysctls: dict[str, str] = field(default_factory=dict)
    """``net.ipv4.vs.*`` by short name, over ``sync.daemon.DEFAULT_SYSCTLS``; ``""`` leaves one alone."""
