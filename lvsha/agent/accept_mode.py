"""Keeps the rules of ``director.accept_mode`` in the kernel.

A reloaded firewall sweeps them away; they are put back. What was applied is noted in the run
directory, so that a restarted directord writes nothing.
"""

import asyncio
import contextlib
from collections.abc import Iterable
from pathlib import Path

from lvsha.agent.journal import Journal
from lvsha.director.accept_mode import TABLE, accept_rules, removal
from lvsha.io.launcher import Run, run_program
from lvsha.io.nftables import run_nft
from lvsha.vrrp.settings import RouterSettings

_ADVICE = "the virtual addresses answer; install nftables and a kernel with nf_tables and its inet family"
_LOOK_S = 10.0


class AcceptMode:
    def __init__(self, journal: Journal, run_dir: Path, *, run: Run = run_program) -> None:
        """``run``: how ``nft`` is started."""
        self._run = run
        self._journal = journal
        self._note = run_dir / "accept-mode.nft"
        self._wanted: str | None = None
        """Empty: none; None: nobody has said yet."""
        self._changed = asyncio.Event()
        self._complaint = ""

    def want(self, routers: Iterable[RouterSettings]) -> None:
        """The rules that these need, from now on."""
        wanted = accept_rules(routers)
        if wanted != self._wanted:
            self._wanted = wanted
            self._changed.set()

    async def run(self) -> None:
        """For ever."""
        while True:
            await self.settle()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), _LOOK_S)
            self._changed.clear()

    async def stop(self) -> None:
        """Take the rules away, where there are any."""
        if self._note.exists():
            await run_nft(removal(), run=self._run)
            self._note.unlink(missing_ok=True)

    async def settle(self) -> None:
        """What is wanted is there, or it is said why not."""
        wanted = self._wanted
        if not wanted:
            if wanted is not None:
                await self.stop()
            return
        if self._note.exists() and self._note.read_text() == wanted:
            if not await run_nft("", "list", "table", *TABLE.split(), run=self._run):
                return
            self._journal.write("director.accept_mode_repaired")
        error = await run_nft(wanted, run=self._run)
        if not error:
            self._note.write_text(wanted)
            self._journal.write("director.accept_mode_applied")
        elif error != self._complaint:
            self._journal.write("director.accept_mode_unavailable", error=error, advice=_ADVICE)
        self._complaint = error
