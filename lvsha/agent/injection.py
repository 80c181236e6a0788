"""Carries what the installer hands out into the kernel, one batch after another, beside the event loop.

A batch waits for the kernel at its barrier; that is done in a thread, so that checks
and the relay go on. A batch that the kernel dropped is sent again: entries are states,
and twice is once.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from lvsha.agent.journal import Journal
from lvsha.core.errors import KernelError
from lvsha.io.realtime import run_ahead
from lvsha.io.sync_socket import Delivery, SyncInjector
from lvsha.sync.resync import BATCH_ENTRIES, Batch, Installer, Token

_TRIES = 5
_RETRY_S = 0.2
_PACE_S = 0.008
"""Between two small batches: a batch costs twenty system calls, whether it has one entry or a thousand."""


class Injection:
    """One task; ``wake`` it when the installer has got something."""

    def __init__(
        self,
        installer: Installer,
        journal: Journal,
        *,
        interface: str,
        port: int,
        on_installed: Callable[[Sequence[Token]], None],
    ) -> None:
        self._installer = installer
        self._journal = journal
        self._interface = interface
        self._port = port
        self._on_installed = on_installed
        self._injector: SyncInjector | None = None
        self._wanted = asyncio.Event()
        # A thread of its own: a slow name look-up of somebody else's must not hold entries up.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="injection", initializer=run_ahead)
        self._is_complaining = False
        self.dropped = 0
        """Messages that the daemon's socket had no room for; all were sent again."""
        self.is_idle = True

    def wake(self) -> None:
        self._wanted.set()

    def reopen(self) -> None:
        """The interface was made anew: the sockets are bound to one that is gone."""
        injector, self._injector = self._injector, None
        if injector is not None:
            injector.close()

    async def run(self) -> None:
        """For ever."""
        try:
            while True:
                await self._wanted.wait()
                self._wanted.clear()
                self.is_idle = False
                while (batch := self._installer.next_batch()) is not None:
                    begun = time.monotonic()
                    await self._install(batch)
                    self._on_installed(batch.tokens)
                    is_small = batch.entries < BATCH_ENTRIES // 4
                    # Also after none: a walk that met nothing yet must not hold others up.
                    await asyncio.sleep(max(0.0, begun + _PACE_S - time.monotonic()) if is_small else 0)
                self.is_idle = True
        finally:
            self.reopen()
            self._thread.shutdown(wait=False, cancel_futures=True)

    async def _install(self, batch: Batch) -> None:
        """Until the kernel has it; while nobody listens there, for as long as that takes."""
        tries = 0
        while batch.messages:
            try:
                loop = asyncio.get_running_loop()
                delivery = await loop.run_in_executor(self._thread, self._deliver, batch)
            except KernelError as error:
                if not self._is_complaining:
                    self._journal.write("sync.injection_failed", error=str(error), retry_s=_RETRY_S)
                self._is_complaining = True
                self.reopen()
                await asyncio.sleep(_RETRY_S)
                continue
            self._is_complaining = False
            self.dropped += delivery.dropped
            tries += 1
            if not delivery.dropped and not delivery.unconfirmed:
                return
            if tries == _TRIES:
                self._journal.write(
                    "sync.entries_dropped", messages=delivery.dropped, unconfirmed=delivery.unconfirmed
                )
                return

    def _deliver(self, batch: Batch) -> Delivery:
        if self._injector is None:
            self._injector = SyncInjector(self._interface, port=self._port)
        return self._injector.deliver(batch.messages)
