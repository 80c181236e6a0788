"""Carries a planned switchover out: ``director.handover`` decides, this does."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from lvsha.agent.connection_sync import ConnectionSync
from lvsha.agent.journal import Journal
from lvsha.core.machine import Output
from lvsha.director.handover import (
    FlushKernel,
    Handover,
    HandoverFinished,
    HandoverRefused,
    ReleaseAddresses,
    StartBarrier,
    Step,
    best_successor,
)
from lvsha.io.reactor import monotonic

_LOOK_S = 0.01
_LIST_MAX = 1000

Json = dict[str, Any]


class Switchover:
    """One at a time."""

    def __init__(
        self,
        sync: ConnectionSync,
        journal: Journal,
        *,
        flush_kernel: Callable[[], Awaitable[None]],
        release: Callable[[], bool],
        holds_addresses: Callable[[], bool],
    ) -> None:
        """``release``: tell vrrpd to give the addresses up; False: it is not there."""
        self._sync = sync
        self._journal = journal
        self._flush_kernel = flush_kernel
        self._release = release
        self._holds_addresses = holds_addresses
        settings = sync.settings
        self._handover = Handover(target=settings.coverage_target, patience=settings.switchover_deadline)
        self._barrier: tuple[int, asyncio.Future[None]] | None = None

    @property
    def is_running(self) -> bool:
        return self._handover.is_running

    async def run(self, *, force: bool) -> Json:
        """``{"ordered": "release", ...}``, or ``{"error": reason, "lost": [...], "lost_count": n}``."""
        handover, relay = self._handover, self._sync.relay
        if not self._sync.store.is_complete and not force:
            # What is not read yet is not counted as missing anywhere.
            return {"error": "refused: this kernel's table is still being read; try again in a few seconds"}
        now = monotonic()
        view = best_successor(relay.peers(now))
        # Without a peer it is everything.
        lost = relay.would_lose(view.peer if view is not None else 0, _LIST_MAX)
        result = await self._perform(
            handover.start(now, view, rows=len(self._sync.store), lost=lost, force=force)
        )
        while result is None:
            await asyncio.sleep(_LOOK_S)
            now = monotonic()
            outputs: list[Output] = []
            if self._barrier is not None and self._barrier[1].done():
                (token, _), self._barrier = self._barrier, None
                outputs += handover.on_barrier(token, now)
            if handover.step is Step.RELEASING and not self._holds_addresses():
                outputs += handover.on_released(now)
            for each in relay.peers(now):
                if view is not None and each.peer == view.peer:
                    outputs += handover.on_peer(each, relay.would_lose(each.peer, _LIST_MAX), now)
            if handover.deadline is not None and handover.deadline <= now:
                outputs += handover.on_deadline(now)
            result = await self._perform(outputs)
        return result

    async def _perform(self, outputs: Iterable[Output]) -> Json | None:
        """The end of it, or None while it goes on."""
        pending = list(outputs)
        while pending:
            output = pending.pop(0)
            if isinstance(output, FlushKernel):
                if output.handshakes:
                    # First: their clients wait for an answer now.
                    await self._sync.tell_handshakes()
                await self._flush_kernel()
                self._sync.read_kernel()
                pending += self._handover.on_flushed(monotonic())
            elif isinstance(output, StartBarrier):
                self._barrier = (output.token, self._sync.barrier(output.peer))
            elif isinstance(output, ReleaseAddresses):
                self._release()
            elif isinstance(output, HandoverRefused):
                self._journal.write("director.handover_refused", reason=output.reason, lost=output.lost_count)
                return {
                    "error": f"refused: {output.reason}; --force hands over all the same",
                    "lost": [self._sync.describe(key) for key in output.lost],
                    "lost_count": output.lost_count,
                }
            elif isinstance(output, HandoverFinished):
                self._journal.record("director", output)
                return {
                    "ordered": "release",
                    "took_ms": round(output.took / 1e6),
                    "forced": output.forced,
                    "lost_count": output.lost_count,
                }
        return None
