"""Addresses on a lease: who stops renewing loses them, whatever has become of him.

A MASTER that is frozen (SIGSTOP, a hypervisor that does not run it, a loop that hangs)
cannot take its addresses off, and its kernel goes on answering ARP for them beside the
new MASTER's. So the addresses are bound with a short life time, as a driver of a train
keeps a pedal down: the process renews them while its loop turns, and when it does not,
the kernel removes them by itself.

They are renewed every ``lease / RENEWALS``, not all at once: slices of at most
``SLICE`` addresses, spread over that time, so that thousands of addresses delay no
advert by more than one slice.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from lvsha.core.instant import Instant, after, earliest
from lvsha.core.machine import Output
from lvsha.vrrp.outputs import RenewAddresses
from lvsha.vrrp.settings import Prefix

RENEWALS = 4
"""Per lease: three may fail."""
SLICE = 128
"""Addresses at once; about 1 ms of work (docs/reference/benchmarks-vrrp.md)."""


@dataclass(slots=True)
class _Held:
    addresses: tuple[Prefix, ...]
    lease: int
    turn: int
    """Which slice is next."""
    due: Instant


class Leases:
    """One per process: what the virtual routers hold."""

    def __init__(self) -> None:
        self._held: dict[str, _Held] = {}

    def hold(self, router: str, addresses: Iterable[Prefix], lease: int, now: Instant) -> None:
        """Level-triggered: what ``router`` holds from now on, just bound or just renewed.

        Args:
            addresses: none: it holds nothing.
            lease: nanoseconds; 0: for ever, nothing is renewed.
        """
        wanted = tuple(addresses)
        if not wanted or not lease:
            self._held.pop(router, None)
            return
        held = self._held.get(router)
        if held is None or held.lease != lease:
            self._held[router] = _Held(wanted, lease, 0, after(now, _pause(wanted, lease)))
        elif held.addresses != wanted:
            held.addresses, held.turn = wanted, 0

    def renew_now(self, router: str, now: Instant) -> None:
        """It was not we who bound them, and nobody knows how long ago."""
        held = self._held.get(router)
        if held is not None:
            held.turn, held.due = 0, now

    @property
    def deadline(self) -> Instant | None:
        return earliest(*(held.due for held in self._held.values())) if self._held else None

    def on_deadline(self, now: Instant) -> list[Output]:
        """The slice of one router, the one that has waited longest."""
        router, held = min(self._held.items(), key=lambda item: item[1].due)
        if held.due > now:
            return []
        start = held.turn * SLICE
        held.turn = 0 if start + SLICE >= len(held.addresses) else held.turn + 1
        held.due = after(now, _pause(held.addresses, held.lease))
        return [RenewAddresses(router, held.addresses[start : start + SLICE], held.lease)]


def _pause(addresses: tuple[Prefix, ...], lease: int) -> int:
    """Between two slices."""
    return lease // RENEWALS // -(-len(addresses) // SLICE)
