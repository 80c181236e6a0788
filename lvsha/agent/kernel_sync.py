"""The kernel's sync daemons and their sysctls, kept as the settings want them.

Restores at a planned stop what it found at its first start, also when a killed
directord lies between the two: the originals wait in the run directory.
"""

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lvsha.agent.journal import Journal
from lvsha.core.errors import KernelError
from lvsha.io.ipvs_genl import IpvsSocket
from lvsha.io.private_link import PRIVATE_INTERFACE, ensure_private_link, remove_private_link
from lvsha.io.rtnl import RouteSocket
from lvsha.io.sockets import NudgeSocket
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
from lvsha.sync.nudge import nudge_packets
from lvsha.sync.settings import SyncSettings

_WATCH_INTERVAL_S = 1.0
_FLUSH_S = 0.03
"""From a nudge until the kernel has sent: 20 ms and a little (measured 22-28 ms on Linux 6.1)."""
_SYSCTL = "net.ipv4.vs."
_AUTOMATIC = {(name, "1", "2") for name in ("drop_entry", "drop_packet", "secure_tcp")}
"""The kernel itself makes 2 of 1 while memory is short: no drift."""


class KernelSync:
    """See above; ``settings`` None means that there is no connection synchronisation."""

    def __init__(
        self, settings: SyncSettings | None, ipvs: IpvsSocket, journal: Journal, run_dir: Path
    ) -> None:
        self._settings = settings
        self._ipvs = ipvs
        self._journal = journal
        self._saved_path = run_dir / "sysctls.json"
        self._identity_path = run_dir / "sync-interface.json"
        self._saved: dict[str, str] = self._load(self._saved_path)
        self._packets = nudge_packets()
        self._nudger: NudgeSocket | None = None
        self._said: set[str] = set()
        self._drifted: dict[str, str] = {}
        """What was found in the place of our values, so that each is told once."""

    # Life

    def start(self) -> None:
        """Tune, then run the daemons. A daemon that cannot start is said and tried again by ``watch``."""
        if self._settings is None:
            return
        self._tune(desired_sysctls(self._settings))
        self._nudger = NudgeSocket()
        self._settle()

    def reconfigure(self, settings: SyncSettings | None) -> None:
        self._settings = settings
        if settings is None:
            self.stop()
        else:
            self._tune(desired_sysctls(settings))
            if self._nudger is None:
                self._nudger = NudgeSocket()
            self._settle()

    def stop(self) -> None:
        """Stop both daemons and put the sysctls back."""
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
        for name, value in self._saved.items():
            self._write(name, value)
        self._saved = {}
        self._saved_path.unlink(missing_ok=True)
        self._identity_path.unlink(missing_ok=True)

    async def watch(self) -> None:
        """Interfaces are re-created and re-addressed, and the kernel tells nobody: look every second."""
        while True:
            await asyncio.sleep(_WATCH_INTERVAL_S)
            if self._settings is not None:
                self.repair_sysctls(desired_sysctls(self._settings))
                self._settle()

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
            "missing": [role for role in wanted if role not in {daemon.role.value for daemon in running}],
        }

    # Within

    def _settle(self) -> None:
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
            steps = plan_daemons(desired_daemons(self._settings), found, stale=stale)
            for step in steps:
                if isinstance(step, StopSyncDaemon):
                    self._ipvs.stop_daemon(KernelRole(step.role.value))
                elif isinstance(step, StartSyncDaemon):
                    self._ipvs.start_daemon(_to_kernel(step.daemon))
                    self._journal.write(
                        "sync.daemon_started", role=step.daemon.role, interface=step.daemon.interface
                    )
                elif isinstance(step, SyncDaemonRepaired):
                    self._journal.record("sync", step)
        except KernelError as error:
            self._say("sync.daemon_failed", error=str(error))
            return
        self._said.clear()
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
