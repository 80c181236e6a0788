"""A planned switchover that loses nothing: first the connections, then the address.

::

    IDLE -> FLUSHING -> COPYING -> FLUSHING_REST -> COPYING_REST -> CONFIRMING
                                                                        | the peer is ready
    IDLE <- COPYING_LAST <- FLUSHING_LAST <- RELEASING <----------------+

1. Push the kernel's part-filled message out, and wait until all that waited for the
   peer is in its kernel. That may be much.
2. Once more: what came meanwhile. That is little.
3. The peer says that its services and their quorums are there and that it takes
   entries; nothing is missing there that is not on its way this moment.
4. Give up the address.
5. Once more: what came between 2 and 4, and the connections whose handshake began here
   and ends there: the kernel announces a connection with its third packet, which we
   shall not see.

Before step 4 a deadline, a lost peer or a peer that is not ready refuses the switchover,
with what would be lost; nothing has changed then. With ``force`` it goes on.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from lvsha.core.errors import StateError
from lvsha.core.instant import MILLISECOND, SECOND, Instant, after, to_seconds
from lvsha.core.machine import Action, Event, Output
from lvsha.sync.relay_outputs import PeerView
from lvsha.wire.relay import Readiness

READY: Final = Readiness.SERVICES | Readiness.QUORUM | Readiness.INJECTS
YOUNG: Final = 100 * MILLISECOND
"""What waits for the peer no longer than this is on its way, not missing: under traffic some always is."""
LAST_PATIENCE: Final = SECOND
"""For step 5: the address is gone, so this only delays the end of the command."""


class Step(StrEnum):
    IDLE = "idle"
    FLUSHING = "flushing"
    COPYING = "copying"
    FLUSHING_REST = "flushing_rest"
    COPYING_REST = "copying_rest"
    CONFIRMING = "confirming"
    RELEASING = "releasing"
    FLUSHING_LAST = "flushing_last"
    COPYING_LAST = "copying_last"


@dataclass(frozen=True, slots=True)
class FlushKernel(Action):
    """Push the kernel's part-filled sync message into the relay; answer with ``on_flushed``."""

    handshakes: bool = False
    """And the connections that it announces to nobody, because their handshake is not over."""


@dataclass(frozen=True, slots=True)
class StartBarrier(Action):
    """``Relay.barrier(peer, token)``; answer with ``on_barrier`` when it is reached."""

    peer: int
    token: int


@dataclass(frozen=True, slots=True)
class ReleaseAddresses(Action):
    """Give up every address in the planned way; answer with ``on_released``."""


@dataclass(frozen=True, slots=True)
class HandoverRefused(Event):
    """Nothing has changed."""

    reason: str
    lost: tuple[bytes, ...]
    """Keys of what would have been lost; not all of them if they are many."""
    lost_count: int


@dataclass(frozen=True, slots=True)
class HandoverFinished(Event):
    """The addresses are given up."""

    took: int
    """Nanoseconds."""
    forced: str
    """Why force was needed; empty: it was not."""
    lost_count: int
    """Connections that the peer does not have."""


def best_successor(peers: Sequence[PeerView]) -> PeerView | None:
    """The connected peer that is readiest and lacks least."""
    connected = [view for view in peers if view.connected]
    return max(
        connected, key=lambda view: ((view.readiness & READY).bit_count(), view.coverage), default=None
    )


class Handover:
    """See above. While it runs, show it the peer with ``on_peer`` every 10 ms or so."""

    def __init__(self, *, target: float, patience: int) -> None:
        """Args:
        target: the share of our rows that the peer must have, 0-1.
        patience: nanoseconds until it is refused.
        """
        self.target = target
        self.patience = patience
        self.step = Step.IDLE
        self.deadline: Instant | None = None
        self._peer: int | None = None
        self._force = False
        self._forced = ""
        self._started = Instant(0)
        self._token = 0
        self._view: PeerView | None = None
        self._lost: tuple[bytes, ...] = ()

    @property
    def is_running(self) -> bool:
        return self.step is not Step.IDLE

    def start(
        self,
        now: Instant,
        view: PeerView | None,
        *,
        rows: int,
        lost: tuple[bytes, ...] = (),
        force: bool = False,
    ) -> list[Output]:
        """Begin with this peer; None: nobody is connected. ``rows``: how many connections there are.

        Raises:
            StateError: one runs already.
        """
        if self.is_running:
            raise StateError("a switchover is running already")
        self._started = now
        self._force, self._forced = force, ""
        self._view, self._lost = view, lost
        self._peer = view.peer if view is not None else None
        if view is None or not view.connected:
            reason = "no other director is connected"
            if not force:
                return [HandoverRefused(reason, lost, rows)]
            self._forced = reason
            return self._release(now)
        self.deadline = after(now, self.patience)
        self.step = Step.FLUSHING
        return [FlushKernel()]

    def on_flushed(self, now: Instant) -> list[Output]:
        """The kernel's messages up to now are in the store."""
        following = {
            Step.FLUSHING: Step.COPYING,
            Step.FLUSHING_REST: Step.COPYING_REST,
            Step.FLUSHING_LAST: Step.COPYING_LAST,
        }.get(self.step)
        if following is None:
            return []
        if self._peer is None:
            return self._finish(now)
        self.step = following
        self._token += 1
        return [StartBarrier(self._peer, self._token)]

    def on_barrier(self, token: int, now: Instant) -> list[Output]:
        """All that waited when it was set is in the peer's kernel."""
        if token != self._token:
            return []
        if self.step is Step.COPYING:
            self.step = Step.FLUSHING_REST
            return [FlushKernel()]
        if self.step is Step.COPYING_REST:
            self.step = Step.CONFIRMING
            return self._confirm(now)
        if self.step is Step.COPYING_LAST:
            return self._finish(now)
        return []

    def on_peer(self, view: PeerView, lost: tuple[bytes, ...], now: Instant) -> list[Output]:
        """How the peer is now, and the keys that it lacks."""
        if not self.is_running or view.peer != self._peer:
            return []
        self._view, self._lost = view, lost
        if not view.connected:
            if self._is_released:
                return self._finish(now)
            return self._give_up(f"{view.name} was lost", now)
        return self._confirm(now) if self.step is Step.CONFIRMING else []

    def on_released(self, now: Instant) -> list[Output]:
        """The addresses are given up."""
        if self.step is not Step.RELEASING:
            return []
        self.step = Step.FLUSHING_LAST
        self.deadline = after(now, LAST_PATIENCE)
        return [FlushKernel(handshakes=True)]

    def on_deadline(self, now: Instant) -> list[Output]:
        if self.deadline is None or now < self.deadline:
            return []
        if self._is_released:
            return self._finish(now)
        waited = f"{to_seconds(self.patience):.1f} s have passed"
        return self._give_up(f"{self._hindrance() or f'still {self.step}'}; {waited}", now)

    @property
    def _is_released(self) -> bool:
        return self.step in (Step.RELEASING, Step.FLUSHING_LAST, Step.COPYING_LAST)

    def _confirm(self, now: Instant) -> list[Output]:
        return [] if self._hindrance() else self._release(now)

    def _hindrance(self) -> str:
        """What speaks against giving the address to the peer now; empty: nothing."""
        view = self._view
        assert view is not None, "without a peer nothing is confirmed"
        if lacking := READY & ~view.readiness:
            names = {
                Readiness.SERVICES: "its services are not all in its kernel",
                Readiness.QUORUM: "a service has no quorum there",
                Readiness.INJECTS: "its kernel takes no entries",
            }
            return f"{view.name} is not ready: {', '.join(names[each] for each in lacking)}"
        on_its_way = view.waiting + view.in_flight_keys if view.lag <= YOUNG else 0
        if view.missing > on_its_way and view.coverage < self.target:
            return f"{view.name} lacks {view.missing} connections"
        return ""

    def _give_up(self, reason: str, now: Instant) -> list[Output]:
        if self._force:
            self._forced = reason
            return self._release(now)
        self._end()
        return [HandoverRefused(reason, self._lost, self._view.missing if self._view is not None else 0)]

    def _release(self, now: Instant) -> list[Output]:
        self.step = Step.RELEASING
        self.deadline = after(now, self.patience)
        return [ReleaseAddresses()]

    def _finish(self, now: Instant) -> list[Output]:
        self._end()
        lost = self._view.missing if self._view is not None else 0
        return [HandoverFinished(now - self._started, self._forced, lost)]

    def _end(self) -> None:
        self.step, self.deadline = Step.IDLE, None
