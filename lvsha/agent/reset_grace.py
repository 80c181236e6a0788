"""Keeps the rules of ``director.reset_grace`` in the kernel."""

import asyncio
import contextlib
from pathlib import Path

from lvsha.agent.journal import Journal
from lvsha.director.reset_grace import TABLE, guarded_endpoints, ruleset
from lvsha.io.nftables import NftUnavailable, run_nft
from lvsha.ipvs.model import DesiredTable

_ADVICE = (
    "nothing else is affected; install nftables and a kernel with nf_tables and its inet family, "
    "or set reset_grace = 0 in [sync] to go without"
)
_LOOK_S = 10.0
"""How often to look whether a reloaded firewall has swept our table away."""


class ResetGrace:
    """What was applied is noted in the run directory, so that a restarted directord writes nothing."""

    def __init__(self, journal: Journal, run_dir: Path) -> None:
        self._journal = journal
        self._noted = run_dir / "reset-grace.nft"
        self._wanted = ""
        self._changed = asyncio.Event()
        self._complaint = ""

    def want(self, table: DesiredTable, grace: int) -> None:
        """The rules that belong to ``table``; ``grace`` in nanoseconds, 0: none."""
        text = ruleset(guarded_endpoints(table), grace)
        if text != self._wanted:
            self._wanted = text
            self._changed.set()

    async def run(self) -> None:
        """For ever."""
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), _LOOK_S)
            self._changed.clear()
            await self._settle()

    async def stop(self) -> None:
        """Take the rules away."""
        if self._noted.exists():
            with contextlib.suppress(NftUnavailable):
                await run_nft(f"table {TABLE} {{}}\ndelete table {TABLE}\n")
            self._noted.unlink(missing_ok=True)

    async def _settle(self) -> None:
        text = self._wanted
        try:
            if self._noted.exists() and self._noted.read_text() == text:
                if not await run_nft("", "list", "table", *TABLE.split()) or "chain" not in text:
                    return
                self._journal.write("director.reset_grace_repaired", table=TABLE)
            elif "chain" not in text and not self._noted.exists():
                return
            error = await run_nft(text)
        except (NftUnavailable, OSError) as problem:
            error = str(problem)
        if not error:
            self._noted.write_text(text)
            self._complaint = ""
        elif error != self._complaint:
            self._complaint = error
            self._journal.write("director.reset_grace_unavailable", error=error, advice=_ADVICE)
