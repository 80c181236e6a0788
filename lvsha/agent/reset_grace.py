"""Keeps the rules of ``director.reset_grace`` in the kernel.

By nftables; where the kernel has that without IPv4 and IPv6 (Debian's user-mode
Linux), by the older iptables. What was applied is noted in the run directory, so
that a restarted directord writes nothing.
"""

import asyncio
import contextlib
from pathlib import Path
from typing import Protocol

from lvsha.agent.journal import Journal
from lvsha.director.reset_grace import (
    CHAIN,
    JUMP,
    TABLE,
    Endpoint,
    guarded_endpoints,
    legacy_rules,
    ruleset,
)
from lvsha.io.launcher import Run, run_program
from lvsha.io.nftables import restore_iptables, run_iptables, run_nft
from lvsha.ipvs.model import DesiredTable

_ADVICE = (
    "nothing else is affected; install nftables and a kernel with nf_tables and its inet family, "
    "or set reset_grace = 0 in [sync] to go without"
)
_LOOK_S = 10.0
"""How often to look whether a reloaded firewall has swept our rules away."""

Endpoints = tuple[Endpoint, ...]


class _Firewall(Protocol):
    """One way to have the rules. Each method returns an error, empty when it worked."""

    @property
    def name(self) -> str: ...

    def text(self, endpoints: Endpoints, grace: int) -> str:
        """The rules, to be compared with what was applied."""

    async def is_there(self, endpoints: Endpoints) -> bool: ...

    async def apply(self, endpoints: Endpoints, grace: int) -> str: ...

    async def remove(self) -> None: ...


class _Nftables:
    name = "nft"

    def __init__(self, run: Run) -> None:
        self._run = run

    def text(self, endpoints: Endpoints, grace: int) -> str:
        return ruleset(endpoints, grace)

    async def is_there(self, endpoints: Endpoints) -> bool:
        return not await run_nft("", "list", "table", *TABLE.split(), run=self._run)

    async def apply(self, endpoints: Endpoints, grace: int) -> str:
        return await run_nft(ruleset(endpoints, grace), run=self._run)

    async def remove(self) -> None:
        await run_nft(ruleset((), 0), run=self._run)


def _versions(endpoints: Endpoints) -> list[int]:
    return sorted({address.version for address, _ in endpoints})


class _Iptables:
    name = "iptables"

    def __init__(self, run: Run) -> None:
        self._run = run

    def text(self, endpoints: Endpoints, grace: int) -> str:
        return legacy_rules(endpoints)

    async def is_there(self, endpoints: Endpoints) -> bool:
        return not any(
            [await run_iptables(version, "-C", *JUMP, run=self._run) for version in _versions(endpoints)]
        )

    async def apply(self, endpoints: Endpoints, grace: int) -> str:
        for version in _versions(endpoints):
            mine = tuple(endpoint for endpoint in endpoints if endpoint[0].version == version)
            if error := await restore_iptables(version, legacy_rules(mine), run=self._run):
                return error
            if await run_iptables(version, "-C", *JUMP, run=self._run) and (
                error := await run_iptables(version, "-I", *JUMP, run=self._run)
            ):
                return error
        return ""

    async def remove(self) -> None:
        for version in (4, 6):
            for order in (("-D", *JUMP), ("-F", CHAIN), ("-X", CHAIN)):
                await run_iptables(version, *order, run=self._run)


class ResetGrace:
    """See above."""

    def __init__(self, journal: Journal, run_dir: Path, *, run: Run = run_program) -> None:
        """``run``: how the firewall's tools are started."""
        self._journal = journal
        self._run_dir = run_dir
        self._wanted: tuple[Endpoints, int] = ((), 0)
        self._changed = asyncio.Event()
        self._complaint = ""
        self._firewalls: tuple[_Firewall, ...] = (_Nftables(run), _Iptables(run))

    def want(self, table: DesiredTable, grace: int) -> None:
        """The rules that belong to ``table``; ``grace`` in nanoseconds, 0: none."""
        wanted = (guarded_endpoints(table) if grace else (), grace)
        if wanted != self._wanted:
            self._wanted = wanted
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
        for firewall in self._firewalls:
            if self._note(firewall).exists():
                await firewall.remove()
                self._note(firewall).unlink(missing_ok=True)

    def _note(self, firewall: _Firewall) -> Path:
        return self._run_dir / f"reset-grace.{firewall.name}"

    async def _settle(self) -> None:
        endpoints, grace = self._wanted
        if not endpoints:
            await self.stop()
            return
        errors = []
        for firewall in self._firewalls:
            note = self._note(firewall)
            text = firewall.text(endpoints, grace)
            if note.exists() and note.read_text() == text:
                if await firewall.is_there(endpoints):
                    return
                self._journal.write("director.reset_grace_repaired", firewall=firewall.name)
            error = await firewall.apply(endpoints, grace)
            if not error:
                if not note.exists():
                    self._journal.write("director.reset_grace_applied", firewall=firewall.name)
                note.write_text(text)
                self._complaint = ""
                return
            errors.append(error)
        complaint = "; ".join(errors)
        if complaint != self._complaint:
            self._complaint = complaint
            self._journal.write("director.reset_grace_unavailable", error=complaint, advice=_ADVICE)
