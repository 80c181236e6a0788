"""Interfaces with hardware addresses of the virtual routers (``vmac``): up while held, gone at the end.

A router that has one binds its addresses there and advertises from there, so that a takeover
changes no neighbour's cache: the address and the hardware address move together. Adverts are
still heard on the interface below, and their source is its address.

Its interface is up only while the addresses are held: RFC 9568 section 6.4.2 has a BACKUP take
no frame that is meant for the virtual router. One that is there already, with the right kind,
hardware address and interface below, is adopted as it is.
"""

import contextlib
import json
from dataclasses import asdict
from errno import ENOENT
from pathlib import Path

from lvsha.agent.journal import Journal
from lvsha.agent.links import InterfaceTable
from lvsha.agent.vrrpd.ports import Ports
from lvsha.core.errors import KernelError
from lvsha.io.macvlan import KIND, MacvlanSocket
from lvsha.io.rtnl import Link
from lvsha.io.sysctl import SavedSysctl, change_sysctls, restore_sysctls
from lvsha.vrrp.settings import RouterSettings
from lvsha.wire.vrrp import virtual_mac

_BELOW = {
    # It sees the same requests, and must not answer for addresses that it does not have.
    "net.ipv4.conf.{}.arp_ignore": "1",
    # Nor ask in the name of one, which would teach its own hardware address to the one asked.
    "net.ipv4.conf.{}.arp_announce": "2",
}
_ABOVE = {
    "net.ipv4.conf.{}.arp_ignore": "1",
    # The route back to a client leads over the interface below: loose, or it drops all that comes.
    "net.ipv4.conf.{}.rp_filter": "2",
    "net.ipv4.conf.{}.arp_filter": "0",
    # The first address of a network may go without the others.
    "net.ipv4.conf.{}.promote_secondaries": "1",
    # No address that is made of the hardware address, which two directors share.
    "net.ipv6.conf.{}.addr_gen_mode": "1",
    "net.ipv6.conf.{}.accept_ra": "0",
    "net.ipv6.conf.{}.autoconf": "0",
}


class VirtualMacs:
    def __init__(self, interfaces: InterfaceTable, ports: Ports, journal: Journal, *, note: Path) -> None:
        """``note``: a file that tells a successor what to put back, after one that was killed."""
        self._interfaces = interfaces
        self._ports = ports
        self._journal = journal
        self._netlink: MacvlanSocket | None = None
        self._up: dict[str, bool] = {}
        """By router that has one."""
        self._note = note
        self._saved: list[SavedSysctl] = []
        """Of the interfaces below: what to put back."""
        # None, or half of one: then nothing is put back.
        with contextlib.suppress(OSError, ValueError, TypeError):
            self._saved = [SavedSysctl(**entry) for entry in json.loads(note.read_text())]

    def prepare(self, settings: RouterSettings) -> str:
        """Its interface is there, with sockets; why not, and what to do, where that cannot be.

        Writes nothing where all is as it should be.
        """
        name, below = settings.vmac_interface, self._interfaces.link(settings.interface)
        if name is None or below is None:
            return ""
        try:
            if self._interfaces.link(name) is None:
                self._up.pop(settings.name, None)
                self._socket().create(name, mac=_mac(settings), parent=below.index)
                self._interfaces.refresh()
            link = self._interfaces.link(name)
            if link is None or not _is_ours(link, settings, below):
                mac = _mac(settings).hex(":")
                return (
                    f"{name} is there and is no macvlan on {settings.interface} with {mac}: remove it, or"
                    " give vmac_interface another name"
                )
            if settings.name not in self._up:
                self._tune(settings, name)
                self._up[settings.name] = link.up
            self._ports.open(name, settings.family, link.index)
        except KernelError as error:
            return str(error)
        return ""

    def refreshed(self, settings: RouterSettings) -> None:
        """The table of interfaces is new: somebody else may have set ours up or down."""
        link = self._interfaces.link(settings.vmac_interface) if settings.vmac_interface else None
        if link is not None and settings.name in self._up:
            self._up[settings.name] = link.up

    def set_up(self, settings: RouterSettings, *, up: bool) -> None:
        """Level-triggered and cheap: while the router holds its addresses, and advertises."""
        name = settings.vmac_interface
        if name is None or self._up.get(settings.name) in (up, None):
            return
        link = self._interfaces.link(name)
        if link is None:
            return
        try:
            self._socket().set_up(name, link.index, up=up)
        except KernelError as error:
            self._journal.write("vrrp.vmac_failed", router=settings.name, problem=str(error))
        else:
            self._up[settings.name] = up

    def remove(self, settings: RouterSettings) -> None:
        """It takes part no more."""
        name = settings.vmac_interface
        if name is None or self._up.pop(settings.name, None) is None:
            return
        self._interfaces.refresh()
        link, below = self._interfaces.link(name), self._interfaces.link(settings.interface)
        try:
            if link is not None and below is not None and _is_ours(link, settings, below):
                self._socket().delete(name, link.index)
        except KernelError as error:
            self._journal.write("vrrp.vmac_failed", router=settings.name, problem=str(error))

    def restore(self) -> None:
        """The settings of the interfaces below, as they were."""
        restore_sysctls(self._saved)
        self._saved.clear()
        self._note.unlink(missing_ok=True)

    def _tune(self, settings: RouterSettings, name: str) -> None:
        failures: list[KernelError] = []
        for interface, wanted in ((name, _ABOVE), (settings.interface, _BELOW)):
            path = interface.replace(".", "/")
            saved, refused = change_sysctls({key.format(path): value for key, value in wanted.items()})
            failures += refused
            if interface == settings.interface and saved:
                self._saved += saved
                self._note.write_text(json.dumps([asdict(entry) for entry in self._saved]))
        for error in failures:
            if error.errno != ENOENT:  # a kernel without IPv6
                self._journal.write("vrrp.vmac_failed", router=settings.name, problem=str(error))

    def _socket(self) -> MacvlanSocket:
        if self._netlink is None:
            self._netlink = MacvlanSocket()
        return self._netlink


def _mac(settings: RouterSettings) -> bytes:
    return virtual_mac(family=settings.family, vrid=settings.vrid)


def _is_ours(link: Link, settings: RouterSettings, below: Link) -> bool:
    return (link.kind, link.mac, link.parent) == (KIND, _mac(settings), below.index)
