"""The gate: a director does not come back to an address before it holds its connections.

A director that has just started knows no connections; if it took an address back by
its higher priority, every one of them would be reset. So while the gate is closed it
must not preempt. What it may do in any case is take over from nobody: an address that
no director holds serves no connection at all.

The gate opens when every peer that is connected has given us everything it had, and we
hold the share of its rows that the target asks for; when there is no peer; or at the
deadline. It closes again when a peer comes back after it was lost, because what
happened meanwhile is not here yet; never while we are MASTER.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from lvsha.core.instant import Instant, after, to_seconds
from lvsha.core.machine import Event, Output
from lvsha.sync.relay_outputs import PeerView


@dataclass(frozen=True, slots=True)
class GateOpened(Event):
    """Addresses may be taken back from now on."""

    reason: str


@dataclass(frozen=True, slots=True)
class GateClosed(Event):
    """Addresses are not taken from another director until ``GateOpened``."""

    reason: str


class Gate:
    """See above. ``reason`` says in a sentence why it is as it is, for ``lvsha status``."""

    def __init__(self, *, target: float, patience: int) -> None:
        """Args:
        target: the share of a peer's rows that must be here, 0-1.
        patience: nanoseconds from closing until it opens in any case.
        """
        self.target = target
        self.patience = patience
        self.is_open = True
        self.reason = "not started"
        self.deadline: Instant | None = None
        self._met: set[int] = set()
        """Peers that were connected at the last look."""

    def start(self, now: Instant, *, peers: int) -> list[Output]:
        """``peers``: how many other directors there should be."""
        if not peers:
            self.reason = "there is no other director"
            return []
        return self._close("no peer has been heard yet", now)

    def on_peers(self, peers: Sequence[PeerView], now: Instant, *, is_master: bool) -> list[Output]:
        """How the peers are now; ``is_master``: we hold an address."""
        connected = {view.peer for view in peers if view.connected}
        returned, self._met = connected - self._met, connected
        if is_master:
            return [] if self.is_open else self._open("we are MASTER")
        lacking = [self._lacks(view) for view in peers if view.connected]
        if self.is_open:
            if returned and any(lacking):
                return self._close(next(filter(None, lacking)), now)
            return []
        if not connected:
            self.reason = "no peer is connected"
            return []
        if any(lacking):
            self.reason = next(filter(None, lacking))
            return []
        return self._open("everything that the peers hold is here")

    def on_deadline(self, now: Instant) -> list[Output]:
        if self.is_open or self.deadline is None or now < self.deadline:
            return []
        return self._open(f"{to_seconds(self.patience):.0f} s have passed: {self.reason}")

    def _lacks(self, view: PeerView) -> str:
        """What is missing of a peer's rows; empty: enough is here."""
        if view.missing_here is None or not view.resynced:
            return f"{view.name} is still sending what it has"
        if view.missing_here > (1 - self.target) * view.live:
            return f"{view.missing_here} of {view.live} connections of {view.name} are not here"
        return ""

    def _open(self, reason: str) -> list[Output]:
        self.is_open, self.reason, self.deadline = True, reason, None
        return [GateOpened(reason)]

    def _close(self, reason: str, now: Instant) -> list[Output]:
        self.is_open, self.reason = False, reason
        self.deadline = after(now, self.patience)
        return [GateClosed(reason)]
