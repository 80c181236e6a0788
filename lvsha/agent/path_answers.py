"""Lets the answers of checks through the forwarding path in.

With direct routing and tunnels a realserver answers from the virtual address. A MASTER has
that address itself, and its kernel drops packets that come in from an address of its own
(as martians) unless ``accept_local`` of the interface says otherwise. It is set on the
interfaces towards those realservers while there are such checks, and put back afterwards.

IPv6 asks nothing of the kind.
"""

import json
from collections.abc import Iterable
from pathlib import Path

from lvsha.agent.journal import Journal
from lvsha.config.settings import Settings
from lvsha.core.addr import Address
from lvsha.core.errors import KernelError
from lvsha.io.forward_probe import source_towards
from lvsha.io.rtnl import RouteSocket
from lvsha.io.sysctl import SavedSysctl, change_sysctls, restore_sysctls
from lvsha.ipvs.model import ForwardingMethod


class PathAnswers:
    """Level-triggered: ``settle`` writes nothing where the kernel has what is wanted."""

    def __init__(self, journal: Journal, run_dir: Path) -> None:
        self._journal = journal
        self._path = run_dir / "accept-local.json"
        self._saved = self._load()
        self._settled: Settings | None = None
        self._wanted: dict[str, str] = {}
        self._complaint = ""

    def settle(self, settings: Settings) -> None:
        """Have the kernel as these settings need it."""
        if settings is not self._settled:
            self._settled = settings
            try:
                self._wanted = {
                    f"net.ipv4.conf.{name.replace('.', '/')}.accept_local": "1"
                    for name in interfaces_towards(realservers_of(settings))
                }
            except KernelError as error:
                self._settled = None  # there is no route yet: once more, next time
                self._complain(error)
                return
        surplus = [each for each in self._saved if each.name not in self._wanted]
        changed, failures = change_sysctls(self._wanted)
        for each in changed:
            self._journal.write("director.accept_local_set", sysctl=each.name, before=each.before)
        known = {each.name for each in self._saved}
        new = [each for each in changed if each.name not in known]
        if surplus or new:
            restore_sysctls(surplus)
            self._keep([each for each in self._saved if each.name in self._wanted] + new)
        if failures:
            self._complain(failures[0])
        else:
            self._complaint = ""

    def restore(self) -> None:
        """As it was found."""
        restore_sysctls(self._saved)
        self._keep([])

    def _complain(self, error: KernelError) -> None:
        if str(error) != self._complaint:
            self._complaint = str(error)
            self._journal.write("director.accept_local_failed", error=str(error))

    def _keep(self, saved: list[SavedSysctl]) -> None:
        self._saved = saved
        if saved:
            self._path.write_text(json.dumps({each.name: each.before for each in saved}))
        else:
            self._path.unlink(missing_ok=True)

    def _load(self) -> list[SavedSysctl]:
        try:
            found = json.loads(self._path.read_text())
            return [SavedSysctl(name=name, before=str(before), ours="1") for name, before in found.items()]
        except (OSError, ValueError, AttributeError):
            return []


def realservers_of(settings: Settings) -> set[Address]:
    """Those whose answers come from a virtual address."""
    return {
        realserver.destination.address
        for service in settings.services
        for realserver in service.realservers
        for check in realserver.checks
        if check.through_path
        and check.address.version == 4
        and realserver.destination.method is not ForwardingMethod.MASQ
    }


def interfaces_towards(targets: Iterable[Address]) -> set[str]:
    """The interfaces that the kernel reaches them by.

    Raises:
        KernelError: there is no way to one of them.
    """
    sources = {source_towards(target) for target in targets}
    if not sources:
        return set()
    with RouteSocket() as routes:
        links = routes.links()
        return {
            links[each.index].name
            for each in routes.addresses()
            if each.prefix.ip in sources and each.index in links
        }
