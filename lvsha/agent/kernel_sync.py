"""The kernel's sync daemons and their sysctls, kept as the settings want them.

Restores at a planned stop what it found at its first start, also when a killed
directord lies between the two: the originals wait in the run directory.
"""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any, Protocol

from lvsha.agent.journal import Journal
from lvsha.core.errors import KernelError
from lvsha.core.instant import SECOND
from lvsha.core.machine import Event
from lvsha.io.ipvs_genl import IpvsSocket
from lvsha.io.private_link import PRIVATE_INTERFACE, ensure_private_link, remove_private_link
from lvsha.io.procfs import udp_sockets
from lvsha.io.reactor import monotonic
from lvsha.io.realtime import sync_threads_run_ahead
from lvsha.io.rtnl import RouteSocket
from lvsha.io.sockets import NudgeSocket
from lvsha.io.sync_ear import SyncEar
from lvsha.io.sysctl import read_sysctl, write_sysctl
from lvsha.ipvs.model import Daemon
from lvsha.ipvs.model import DaemonRole as KernelRole
from lvsha.sync.daemon import (
    DaemonRole,
    StartSyncDaemon,
    StopSyncDaemon,
    SyncDaemon,
    SyncDaemonRepaired,
    desired_daemons,
    desired_sysctls,
    plan_daemons,
)
from lvsha.sync.governor import ONE_ENTRY, ApplyTuning, Counters, Governor, SyncTuned, Tuning
from lvsha.sync.mirror import Mirror
from lvsha.sync.neighbours import Neighbours
from lvsha.sync.nudge import nudge_packets
from lvsha.sync.settings import SyncSettings, Transport
from lvsha.wire.ipvs_sync.names import DEFAULT_GROUP

_WATCH_INTERVAL_S = 1.0
_FLUSH_S = 0.03
"""From a nudge until the kernel has sent: 20 ms and a little (measured 22-28 ms on Linux 6.1)."""
_SYSCTL = "net.ipv4.vs."


class Announced(Protocol):
    """Who reads what our kernel announces."""

    @property
    def mirror(self) -> Mirror: ...

    def read_again(self) -> None:
        """The kernel did not announce anything for a moment: read its table."""

    def takes_messages(self, maxlen: int) -> None:
        """The backup daemon that runs takes messages of so many bytes."""


_AUTOMATIC = {(name, "1", "2") for name in ("drop_entry", "drop_packet", "secure_tcp")}
"""The kernel itself makes 2 of 1 while memory is short: no drift."""


class KernelSync:
    """See above; ``settings`` None means that there is no connection synchronisation: then only the
    ``sysctls`` of the configuration are kept."""

    def __init__(
        self,
        settings: SyncSettings | None,
        ipvs: IpvsSocket,
        journal: Journal,
        run_dir: Path,
        sysctls: Mapping[str, str] | None = None,
    ) -> None:
        self._settings = settings
        self._alone = sysctls or {}
        self._ipvs = ipvs
        self._journal = journal
        self._saved_path = run_dir / "sysctls.json"
        self._identity_path = run_dir / "sync-interface.json"
        self._saved: dict[str, str] = self._load(self._saved_path)
        self._packets = nudge_packets()
        self._nudger: NudgeSocket | None = None
        self._said: set[str] = set()
        self._announced: Announced | None = None
        self._peers = 1
        self._ear: SyncEar | None = None
        self._neighbours: Neighbours | None = None
        self._governor = self._new_governor()
        self._drifted: dict[str, str] = {}
        """What was found in the place of our values, so that each is told once."""

    # Life

    def follow(self, announced: Announced | None, *, peers: int = 1) -> None:
        """Tune the daemons to what this reader measures; None: there is none. ``peers``: other directors."""
        self._announced = announced
        self._peers = peers

    def start(self) -> None:
        """Tune, then run the daemons. A daemon that cannot start is said and tried again by ``watch``."""
        self._tune(self._sysctls())
        if self._settings is None:
            return
        self._nudger = NudgeSocket()
        self._settle()

    def reconfigure(self, settings: SyncSettings | None, sysctls: Mapping[str, str] | None = None) -> None:
        self._alone = sysctls or {}
        if settings != self._settings:
            self._settings = settings
            self._governor = self._new_governor()
            self._stop_listening()
        if settings is None:
            self._stop_daemons()
        self._tune(self._sysctls())
        if settings is not None:
            if self._nudger is None:
                self._nudger = NudgeSocket()
            self._settle()

    def stop(self) -> None:
        """Stop both daemons and put the sysctls back."""
        self._stop_daemons()
        for name, value in self._saved.items():
            self._write(name, value)
        self._saved = {}
        self._saved_path.unlink(missing_ok=True)

    def _stop_daemons(self) -> None:
        self._stop_listening()
        if self._nudger is not None:
            self._nudger.close()
            self._nudger = None
        for role in KernelRole:
            try:
                self._ipvs.stop_daemon(role)
            except KernelError as error:
                self._say("sync.stop_failed", role=role, error=str(error))
            else:
                self._journal.write("sync.daemon_stopped", role=role)
        if self._settings is None or self._settings.interface == PRIVATE_INTERFACE:
            try:
                remove_private_link()
            except KernelError as error:
                self._say("sync.link_failed", error=str(error))
        self._identity_path.unlink(missing_ok=True)

    async def watch(self) -> None:
        """Interfaces are re-created and re-addressed, and the kernel tells nobody: look every second."""
        while True:
            await asyncio.sleep(_WATCH_INTERVAL_S)
            if self._settings is not None:
                await self._govern()
            # Each asks the kernel a dozen things; entries go first.
            await asyncio.sleep(0)
            self.repair_sysctls(self._sysctls())
            for step in (self._settle, self._listen):
                await asyncio.sleep(0)
                if self._settings is not None:
                    step()

    # Who else is there

    def _listen(self) -> None:
        """On an interface that others share: find what the daemons drop without a word."""
        settings = self._settings
        if settings is None or settings.interface == PRIVATE_INTERFACE:
            return
        group = settings.group or IPv4Address(DEFAULT_GROUP)
        if not isinstance(group, IPv4Address):
            return
        try:
            if self._ear is None or self._neighbours is None:
                running = {daemon.role: daemon for daemon in self._ipvs.daemons()}
                backup = running.get(KernelRole.BACKUP)
                if backup is None or backup.maxlen is None:
                    return
                self._neighbours = Neighbours(
                    syncid=settings.syncid, port=settings.port, maxlen=backup.maxlen, peers=self._peers
                )
                self._ear = SyncEar(settings.interface, group=group, port=settings.port)
            heard, delivered = self._ear.heard(), self._ear.delivered()
        except KernelError as error:
            self._say("sync.ear_failed", error=str(error))
            self._stop_listening()
            return
        for event in self._neighbours.look(heard, delivered=delivered, now=monotonic()):
            if isinstance(event, Event):
                self._journal.record("sync", event)

    def _stop_listening(self) -> None:
        if self._ear is not None:
            self._ear.close()
        self._ear = self._neighbours = None

    # Tuned while it runs

    def _new_governor(self) -> Governor:
        settings = self._settings
        if settings is None:
            return Governor(Tuning(), governs=frozenset())
        governs = {
            "maxlen": settings.maxlen == ONE_ENTRY and settings.transport is Transport.RELAY,
            "refresh": "sync_refresh_period" not in settings.sysctls,
            "buffer": "sync_sock_size" not in settings.sysctls,
        }
        return Governor(Tuning(), governs=frozenset(name for name, ours in governs.items() if ours))

    def _tuned(self) -> SyncSettings:
        """The settings, with what the governor has found."""
        assert self._settings is not None, "without settings nothing is tuned"
        tuning, settings = self._governor.tuning, self._settings
        if tuning == Tuning():
            return settings
        sysctls = {"sync_refresh_period": str(tuning.refresh_s), "sync_sock_size": str(tuning.buffer)}
        maxlen = tuning.maxlen if settings.maxlen == ONE_ENTRY else settings.maxlen
        return replace(settings, maxlen=maxlen, sysctls={**sysctls, **settings.sysctls})

    def _sysctls(self) -> dict[str, str]:
        if self._settings is None:
            return {name: value for name, value in self._alone.items() if value}
        return desired_sysctls(self._tuned())

    async def _govern(self) -> None:
        """Look at the figures, and do what follows."""
        assert self._settings is not None, "only what runs is tuned"
        mirror = self._announced.mirror if self._announced is not None else None
        where = (self._settings.group or IPv4Address(DEFAULT_GROUP), self._settings.port)
        counters = Counters(
            heard=mirror.heard if mirror is not None else 0,
            passed_on=mirror.passed_on if mirror is not None else 0,
            drops=sum(row.drops for row in udp_sockets() if (row.address, row.port) == where),
        )
        before = self._governor.tuning
        for output in self._governor.on_counters(counters, monotonic()):
            if isinstance(output, SyncTuned):
                self._journal.record("sync", output)
            elif isinstance(output, ApplyTuning):
                await self.flush()  # what waits in a daemon that is stopped is thrown away
                if mirror is not None:
                    mirror.window = output.tuning.refresh_s * SECOND
                self._tune(self._sysctls())
                self._settle(restart=before.buffer != output.tuning.buffer)

    # The nudge

    def nudge(self) -> None:
        """Push what waits in the kernel's part-filled message out; see ``sync.nudge``."""
        if self._nudger is not None:
            self._nudger.send(self._packets)

    async def flush(self) -> None:
        """Nudge, and wait until the kernel has sent."""
        if self._settings is not None:
            self.nudge()
            await asyncio.sleep(_FLUSH_S)

    # What we look like

    def status(self) -> dict[str, Any]:
        wanted = (
            []
            if self._settings is None
            else [daemon.role.value for daemon in desired_daemons(self._settings)]
        )
        try:
            running = self._ipvs.daemons()
        except KernelError:
            running = []
        return {
            "expected": bool(wanted),
            "interface": self._settings.interface if self._settings else None,
            "syncid": self._settings.syncid if self._settings else None,
            "transport": str(self._settings.transport) if self._settings else None,
            "daemons": [
                {
                    "role": daemon.role.value,
                    "interface": daemon.interface,
                    "syncid": daemon.syncid,
                    "maxlen": daemon.maxlen,
                    "group": str(daemon.group),
                    "port": daemon.port,
                    "ttl": daemon.ttl,
                }
                for daemon in running
            ],
            "troubles": [
                {"trouble": str(trouble), "source": source, "detail": detail}
                for trouble, source, detail in (self._neighbours.troubles if self._neighbours else ())
            ],
            "tuning": {
                "maxlen": self._governor.tuning.maxlen,
                "refresh_s": self._governor.tuning.refresh_s,
                "buffer": self._governor.tuning.buffer,
                "changes_per_s": round(self._governor.news_per_s, 1),
                "echoes_per_s": round(self._governor.echoes_per_s, 1),
                "reason": self._governor.reason,
            },
            "missing": [role for role in wanted if role not in {daemon.role.value for daemon in running}],
        }

    # Within

    def _settle(self, *, restart: bool = False) -> None:
        assert self._settings is not None, "nothing to settle without settings"
        if self._settings.interface == PRIVATE_INTERFACE:
            try:
                ensure_private_link()
            except KernelError as error:
                self._say("sync.link_failed", error=str(error))
        identity = self._identity(self._settings.interface)
        if identity is None:
            self._say("sync.no_interface", interface=self._settings.interface, retry_s=_WATCH_INTERVAL_S)
            return
        known = self._load(self._identity_path)
        try:
            found = [_from_kernel(daemon) for daemon in self._ipvs.daemons()]
            stale = bool(found) and bool(known) and known != identity
            wanted = desired_daemons(self._tuned())
            steps = plan_daemons(() if restart else wanted, found, stale=stale)
            steps += plan_daemons(wanted, ()) if restart else []
            for step in steps:
                if isinstance(step, StopSyncDaemon):
                    self._ipvs.stop_daemon(KernelRole(step.role.value))
                elif isinstance(step, StartSyncDaemon):
                    self._ipvs.start_daemon(_to_kernel(step.daemon))
                    self._stop_listening()  # another interface, or another maxlen
                    if self._announced is not None:
                        self._announced.read_again()
                    self._journal.write(
                        "sync.daemon_started", role=step.daemon.role, interface=step.daemon.interface
                    )
                elif isinstance(step, SyncDaemonRepaired):
                    self._journal.record("sync", step)
            if steps:
                sync_threads_run_ahead()
        except KernelError as error:
            self._say("sync.daemon_failed", error=str(error))
            return
        self._said.clear()
        if self._announced is not None:
            backup = next(daemon for daemon in wanted if daemon.role is DaemonRole.BACKUP)
            self._announced.takes_messages(backup.maxlen or 0)
        if known != identity:
            self._identity_path.write_text(json.dumps(identity))

    def _identity(self, interface: str) -> dict[str, str] | None:
        """What a daemon is bound to: the interface's number and its first IPv4 address."""
        with RouteSocket() as routes:
            link = next((link for link in routes.links().values() if link.name == interface), None)
            if link is None:
                return None
            addresses = [
                str(address.prefix.ip)
                for address in routes.addresses()
                if address.index == link.index and address.prefix.version == 4 and address.is_primary
            ]
        return {"index": str(link.index), "address": addresses[0] if addresses else ""}

    def _tune(self, wanted: dict[str, str]) -> None:
        for name in self._saved.keys() - wanted.keys():  # left the file at a reload
            self._write(name, self._saved.pop(name))
            self._saved_path.write_text(json.dumps(self._saved))
        for name, value in wanted.items():
            current = self._read(name)
            if current is None or current.split() == value.split():
                continue
            if name not in self._saved:
                self._saved[name] = current
                self._saved_path.write_text(json.dumps(self._saved))
            self._write(name, value)

    def repair_sysctls(self, wanted: Mapping[str, str]) -> None:
        """Set again what somebody else has changed, and say so: once for each value that was found."""
        for name, value in wanted.items():
            found = self._read(name)
            if found is None or found.split() == value.split() or (name, value, found) in _AUTOMATIC:
                self._drifted.pop(name, None)
                continue
            if self._drifted.get(name) != found:
                self._drifted[name] = found
                self._journal.write("sync.sysctl_drifted", sysctl=_SYSCTL + name, found=found, wanted=value)
            self._write(name, value)

    def _read(self, name: str) -> str | None:
        try:
            return read_sysctl(_SYSCTL + name)
        except (OSError, KernelError):
            return None  # older kernels lack some; nothing to set then

    def _write(self, name: str, value: str) -> None:
        try:
            write_sysctl(_SYSCTL + name, value)
        except (OSError, KernelError) as error:
            self._say("sync.sysctl_failed", sysctl=_SYSCTL + name, value=value, error=str(error))

    def _say(self, event: str, **values: Any) -> None:
        """Once, until something works again."""
        key = f"{event} {values}"
        if key not in self._said:
            self._said.add(key)
            self._journal.write(event, **values)

    @staticmethod
    def _load(path: Path) -> dict[str, str]:
        try:
            loaded = json.loads(path.read_text())
        except (OSError, ValueError):
            return {}
        return loaded if isinstance(loaded, dict) else {}


def _from_kernel(daemon: Daemon) -> SyncDaemon:
    return SyncDaemon(
        role=DaemonRole(daemon.role.value),
        interface=daemon.interface,
        syncid=daemon.syncid,
        maxlen=daemon.maxlen,
        group=daemon.group,
        port=daemon.port or 0,
        ttl=daemon.ttl or 0,
    )


def _to_kernel(daemon: SyncDaemon) -> Daemon:
    return Daemon(
        role=KernelRole(daemon.role.value),
        interface=daemon.interface,
        syncid=daemon.syncid,
        maxlen=daemon.maxlen,
        group=daemon.group,
        port=daemon.port,
        ttl=daemon.ttl,
    )
