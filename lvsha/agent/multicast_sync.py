"""directord's part where the kernels synchronise over a shared group (``transport = "multicast"``).

::

    kernel master daemon ─ the sync interface ─▶ other directors' kernels
              ├────────▶ SyncCapture ▶ Announcer ─▶ the same group, while we hold addresses
    a host that joins the group ▶ GroupJoins ──┘

``lvsha.sync.announcer`` decides; see there what is said, and why nothing else may be.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from ipaddress import IPv4Address, ip_interface
from typing import Any

from lvsha.agent.journal import Journal
from lvsha.agent.seeding import read_entries
from lvsha.core.errors import KernelError
from lvsha.core.instant import SECOND, Instant, to_seconds
from lvsha.io.group_joins import GroupJoins
from lvsha.io.ipvs_genl import IpvsSocket
from lvsha.io.reactor import monotonic
from lvsha.io.sync_capture import SyncCapture
from lvsha.io.sync_socket import GroupSender
from lvsha.ipvs.model import Table
from lvsha.sync.announcer import Announcer
from lvsha.sync.daemon import desired_sysctls
from lvsha.sync.mirror import DEFAULT_WINDOW
from lvsha.sync.producer import SendMessage
from lvsha.sync.settings import SyncSettings, Transport
from lvsha.wire.ipvs_sync.names import DEFAULT_GROUP

_RETRY_S = 1.0
_READS_AT_ONCE = 8
"""Batches of captured messages between two looks at everything else."""

Status = dict[str, Any]


class MulticastSync:
    """One task, and the reader of one interface; made only for the multicast transport."""

    @classmethod
    def of(
        cls, settings: SyncSettings | None, *, ipvs: IpvsSocket, journal: Journal
    ) -> "MulticastSync | None":
        """None: the kernels do not speak over a group, or over one of IPv6, which is not captured."""
        if settings is None or not _is_captured(settings):
            return None
        return cls(settings, ipvs=ipvs, journal=journal)

    def __init__(self, settings: SyncSettings, *, ipvs: IpvsSocket, journal: Journal) -> None:
        self._settings = settings
        self._ipvs = ipvs
        self._journal = journal
        self.announcer = _announcer(settings)
        self._capture: SyncCapture | None = None
        self._sender: GroupSender | None = None
        self._joins: GroupJoins | None = None
        self._marks: frozenset[int] = frozenset()
        self._routers: Sequence[dict[str, Any]] = ()
        self._wants_reading = False
        self._wake = asyncio.Event()
        self._complaint = ""

    async def run(self) -> None:
        """For ever; the daemons run already."""
        try:
            while True:
                if self._sender is None and not self._open():
                    await asyncio.sleep(_RETRY_S)
                    continue
                if self._wants_reading:
                    self._wants_reading = False
                    await self._inherit()
                await self._pause(self.announcer.deadline)
                self._announce(monotonic())
        finally:
            self._close()

    def reconfigure(self, settings: SyncSettings | None) -> None:
        """Another interface, group or syncid. Another transport needs a restart."""
        if settings is None or settings == self._settings or not _is_captured(settings):
            return
        self._settings = settings
        self._close()
        self.announcer = _announcer(settings)
        self.on_routers(self._routers)

    def on_routers(self, routers: Sequence[dict[str, Any]]) -> None:
        """vrrpd's picture changed: which addresses are ours now."""
        self._routers = routers
        masters = [router for router in routers if router.get("state") == "MASTER"]
        claims = {ip_interface(text).ip.packed for router in masters for text in router.get("addresses", ())}
        if masters and len(masters) == len(routers):
            # A mark belongs to no address: only who holds all may speak for it.
            for mark in self._marks:
                claims |= {mark.to_bytes(4, "big"), mark.to_bytes(4, "big") + bytes(12)}
        if self.announcer.claim(frozenset(claims)):
            self._wants_reading = True
        self._wake.set()

    def on_table(self, table: Table) -> None:
        """The kernel's services are as they are now."""
        marks = frozenset(key.fwmark for key in table if key.fwmark)
        if marks != self._marks:
            self._marks = marks
            self.on_routers(self._routers)

    def status(self) -> Status:
        """``sync.multicast`` of ``lvsha status --json``."""
        announcer = self.announcer
        return {
            "holds_addresses": bool(announcer.claims),
            "connections": len(announcer),
            "heard": announcer.heard,
            "inherited_said": announcer.inherited,
            "said_again": announcer.repeated,
            "refused": announcer.refused,
            "capture_lost": self._capture.lost if self._capture is not None else 0,
        }

    # Within

    async def _pause(self, deadline: Instant | None) -> None:
        pause_s = 1.0 if deadline is None else min(1.0, max(0.0, to_seconds(deadline - monotonic())))
        with suppress(TimeoutError):
            await asyncio.wait_for(self._wake.wait(), pause_s)
        self._wake.clear()

    def _announce(self, now: Instant) -> None:
        if self._capture is not None and self._capture.take_lost():
            self._wants_reading = bool(self.announcer.claims)
        for output in self.announcer.on_deadline(now):
            if isinstance(output, SendMessage) and self._sender is not None:
                try:
                    self._sender.send(output.payload)
                except KernelError as error:
                    self._failed(error)

    async def _inherit(self) -> None:
        """What we hold since a moment ago: our kernel's table has it, and has told nobody."""
        try:
            table = await read_entries(self._ipvs)
        except KernelError as error:
            self._journal.write("sync.seed_failed", error=str(error))
            return
        taken = self.announcer.inherit(table, monotonic())
        self._journal.write("sync.announcing_inherited", rows=taken)

    def _on_capture(self) -> None:
        now = monotonic()
        for _ in range(_READS_AT_ONCE):
            if self._capture is None:
                return
            try:
                messages = self._capture.receive()
            except KernelError as error:
                self._failed(error)
                return
            for message in messages:
                self.announcer.hear(message, now)
            if not messages:
                return

    def _on_joins(self) -> None:
        try:
            if self._joins is not None and self._joins.has_newcomer():
                self.announcer.newcomer(monotonic())
                self._wake.set()
        except KernelError as error:
            self._failed(error)

    def _open(self) -> bool:
        settings = self._settings
        try:
            self._sender = GroupSender(
                settings.interface,
                group=IPv4Address(settings.group or DEFAULT_GROUP),
                port=settings.port,
                ttl=settings.ttl,
            )
            self._capture = SyncCapture(settings.interface, port=settings.port, ours=self._sender.port)
            self._joins = GroupJoins(settings.interface, IPv4Address(settings.group or DEFAULT_GROUP))
        except KernelError as error:
            self._failed(error)
            return False
        self._complaint = ""
        loop = asyncio.get_running_loop()
        loop.add_reader(self._capture.fileno(), self._on_capture)
        loop.add_reader(self._joins.fileno(), self._on_joins)
        return True

    def _failed(self, error: KernelError) -> None:
        """The interface went, or was made anew: all is opened again."""
        if str(error) != self._complaint:
            self._complaint = str(error)
            self._journal.write("sync.announcing_failed", error=str(error), retry_s=_RETRY_S)
        self._close()

    def _close(self) -> None:
        for each in (self._capture, self._joins):
            if each is not None:
                asyncio.get_running_loop().remove_reader(each.fileno())
                each.close()
        if self._sender is not None:
            self._sender.close()
        self._capture = self._joins = self._sender = None


def _is_captured(settings: SyncSettings) -> bool:
    is_inet = settings.group is None or isinstance(settings.group, IPv4Address)
    return settings.transport is Transport.MULTICAST and is_inet


def _announcer(settings: SyncSettings) -> Announcer:
    period_s = int(desired_sysctls(settings).get("sync_refresh_period", "0"))
    return Announcer(syncid=settings.syncid, window=period_s * SECOND or DEFAULT_WINDOW)
