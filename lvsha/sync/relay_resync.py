"""Everything to a peer, and everything from it: who asked, who has answered, and barriers.

Source: ``proto/lvsha_relay_v1.md`` section 8.
"""

from collections.abc import Callable, Iterable
from typing import Final

from lvsha.core.instant import Instant
from lvsha.core.machine import Output
from lvsha.sync.relay_barriers import Barriers
from lvsha.sync.relay_outflow import Outflow
from lvsha.sync.relay_outputs import BarrierReached, Direction, ResyncFinished, ResyncStarted
from lvsha.sync.store import Held, Store
from lvsha.wire.relay import Status

_ASK_LIMIT: Final = 1 << 16


class Resync:
    """With one peer."""

    def __init__(
        self,
        peer: int,
        store: Store,
        outflow: Outflow,
        *,
        is_ours_to_send: Callable[[int, Held], bool],
        tell: Callable[[Instant], list[Output]],
        now: Instant,
    ) -> None:
        """``is_ours_to_send``: this row to this peer, when we meet it. ``tell`` sends a STATUS."""
        self._peer = peer
        self._store = store
        self._outflow = outflow
        self._is_ours_to_send = is_ours_to_send
        self._tell = tell
        self.asked = 1
        self.answered = 0
        self.is_done = False
        """We have everything that the peer had when we asked."""
        self._asked_at = now
        self._serving = 0
        self._barriers = Barriers()

    def begin(self, now: Instant) -> None:
        """We have just met: it gets everything that is ours to send."""
        self.is_done = False
        self._serving = self.answered = 0
        self._asked_at = now
        self.send_everything(now, is_missing=True)

    def end(self) -> None:
        """The session is lost."""
        self._barriers.clear()
        self.is_done = False

    def send_everything(self, now: Instant, *, is_missing: bool) -> None:
        """What is ours to send, once more. ``is_missing``: the peer may have no copy of it."""
        waiting = self._store.waiting[self._peer]
        waiting.sweep(
            self._store.sweep(
                lambda held: self._is_ours_to_send(self._peer, held),
                now,
                marks=is_missing,
                misses_rest=is_missing,
            )
        )
        self._outflow.flush_at = now

    def ask(self, now: Instant) -> None:
        """Ask the peer for everything that it has; the next STATUS says so."""
        self.asked = self.asked % (_ASK_LIMIT - 1) + 1
        self._asked_at = now
        self.is_done = False

    def on_status(self, status: Status, now: Instant) -> list[Output]:
        outputs: list[Output] = []
        if status.asked != self._serving and status.asked and self._store.is_complete:
            outputs += self._serve(status.asked, now)
        if not self.is_done and status.answered == self.asked:
            self.is_done = True
            took = now - self._asked_at
            outputs.append(ResyncFinished(self._peer, Direction.IN, status.rows, took))
        return outputs

    def _serve(self, asked: int, now: Instant) -> list[Output]:
        """The peer wants everything."""
        self._serving = asked
        rows = self._put(None, now)
        return [ResyncStarted(self._peer, Direction.OUT, rows), *self.settle((), now)]

    def barrier(self, token: int, now: Instant) -> list[Output]:
        """``BarrierReached`` once all that waits now is installed there."""
        self._put(token, now)
        return self.settle((), now)

    def _put(self, token: int | None, now: Instant) -> int:
        pending = self._outflow.pending
        unmet = sum(sweep.left for sweep in self._store.waiting[self._peer].sweeps)
        self._barriers.put(pending, token, now, unmet=unmet)
        return len(pending) + unmet

    def on_flushed(self, swept: Iterable[bytes], gone: Iterable[bytes], now: Instant) -> list[Output]:
        """Rows that a walk has met, and keys of which nothing is left to send."""
        if not len(self._barriers):
            return []
        self._barriers.met(swept)
        if not self._store.waiting[self._peer].sweeps:
            self._barriers.walked()
        return self.settle(gone, now)

    def at_rest(self, keys: Iterable[bytes], now: Instant) -> list[Output]:
        """The peer has these, unless they wait or fly again."""
        if not len(self._barriers):
            return []
        return self.settle(self._outflow.at_rest(keys), now)

    def settle(self, keys: Iterable[bytes], now: Instant) -> list[Output]:
        """These keys have nothing more to wait for."""
        outputs: list[Output] = []
        for barrier in self._barriers.settle(keys):
            if barrier.token is not None:
                outputs.append(BarrierReached(self._peer, barrier.token))
            else:
                self.answered = self._serving
                took = now - barrier.started
                outputs.append(ResyncFinished(self._peer, Direction.OUT, barrier.entries, took))
                outputs += self._tell(now)
        return outputs
