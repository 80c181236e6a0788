"""What a director's kernel holds: addresses, each perhaps on a lease, and what it refuses."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from lvsha.core.instant import Instant, after
from lvsha.sim.world import NEVER
from lvsha.vrrp.settings import Prefix


@dataclass(slots=True)
class Kernel:
    """It outlives the process. Instants are of its host's clock."""

    bound: set[Prefix] = field(default_factory=set)
    bind_errno: int = 0
    unbind_errno: int = 0
    send_errno: int = 0
    writes: int = 0
    leases: dict[Prefix, Instant] = field(default_factory=dict)
    """When it removes what nobody renews."""
    due: Instant = NEVER
    """When the first lease ends."""

    def bind(self, addresses: Iterable[Prefix], lease: int, now: Instant) -> None:
        """Bind or renew for ``lease`` nanoseconds; 0: for ever."""
        self.bound.update(addresses)
        if lease:
            self.leases.update(dict.fromkeys(addresses, after(now, lease)))
        else:
            self._forget(addresses)
        self.due = min(self.leases.values(), default=NEVER)

    def unbind(self, addresses: Iterable[Prefix]) -> None:
        """Whose hand it is does not matter to it."""
        self.bound.difference_update(addresses)
        self._forget(addresses)
        self.due = min(self.leases.values(), default=NEVER)

    def lapse(self, now: Instant) -> bool:
        """Remove what has not been renewed; whether there was any."""
        over = [prefix for prefix, end in self.leases.items() if end <= now]
        self.unbind(over)
        return bool(over)

    def _forget(self, addresses: Iterable[Prefix]) -> None:
        for prefix in addresses:
            self.leases.pop(prefix, None)
