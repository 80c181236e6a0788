"""Addresses on a lease: who stops renewing loses them, whatever has become of him.

A MASTER that is frozen (SIGSTOP, a hypervisor that does not run it, a loop that hangs)
cannot take its addresses off, and its kernel goes on answering ARP for them beside the
new MASTER's. So the addresses are bound with a short life time, as a driver of a train
keeps a pedal down: the process renews them while its loop turns, and when it does not,
the kernel removes them by itself.

They are renewed every ``lease / RENEWALS``, not all at once: slices of at most
``SLICE`` addresses, spread over that time, so that thousands of addresses delay no
advert by more than one slice. Routers of few addresses are renewed together: what is
due within a pause's ``TOGETHER``-th part comes along, and from then on in step.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from lvsha.core.instant import Instant, after
from lvsha.core.machine import Output
from lvsha.vrrp.outputs import RenewAddresses
from lvsha.vrrp.settings import Prefix

RENEWALS = 4
"""Per lease: three may fail."""
SLICE = 128
"""Addresses at once; about 1 ms of work (docs/reference/benchmarks-vrrp.md)."""
TOGETHER = 4


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
        self._deadline: Instant | None = None

    def hold(self, router: str, addresses: Iterable[Prefix], lease: int, now: Instant) -> None:
        """Level-triggered: what ``router`` holds from now on, just bound or just renewed.

        Args:
            addresses: none: it holds nothing.
            lease: nanoseconds; 0: for ever, nothing is renewed.
        """
        wanted = tuple(addresses)
        held = self._held.get(router)
        if not wanted or not lease:
            if self._held.pop(router, None) is not None:
                self._look()
        elif held is None or held.lease != lease:
            self._held[router] = _Held(wanted, lease, 0, after(now, _pause(wanted, lease)))
            self._look()
        elif held.addresses != wanted:
            held.addresses, held.turn = wanted, 0

    def renew_now(self, router: str, now: Instant) -> None:
        """It was not we who bound them, and nobody knows how long ago."""
        held = self._held.get(router)
        if held is not None:
            held.turn, held.due = 0, now
            self._look()

    @property
    def deadline(self) -> Instant | None:
        return self._deadline

    def on_deadline(self, now: Instant) -> list[Output]:
        """The slice of the router that has waited longest, and those of others that fit in beside it."""
        outputs: list[Output] = []
        room = SLICE
        for router, held in sorted(self._held.items(), key=lambda item: item[1].due):
            start = held.turn * SLICE
            addresses = held.addresses[start : start + SLICE]
            pause = _pause(held.addresses, held.lease)
            if held.due > (now if not outputs else now + pause // TOGETHER) or len(addresses) > room:
                break
            room -= len(addresses)
            held.turn = 0 if start + SLICE >= len(held.addresses) else held.turn + 1
            held.due = after(now, pause)
            outputs.append(RenewAddresses(router, addresses, held.lease))
        self._look()
        return outputs

    def _look(self) -> None:
        self._deadline = min((held.due for held in self._held.values()), default=None)


def _pause(addresses: tuple[Prefix, ...], lease: int) -> int:
    """Between two slices."""
    return lease // RENEWALS // -(-len(addresses) // SLICE)
