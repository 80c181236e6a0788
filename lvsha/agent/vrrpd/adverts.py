"""Adverts on their way out: to the group or to every peer, and over the other paths."""

import contextlib
from dataclasses import dataclass
from ipaddress import ip_address

from lvsha.agent.auth_files import AuthFiles
from lvsha.agent.links import InterfaceTable
from lvsha.agent.vrrpd.ports import Ports
from lvsha.core.addr import Address
from lvsha.io.reactor import monotonic
from lvsha.io.sockets import VRRP_GROUP_4, VRRP_GROUP_6
from lvsha.vrrp.replay import ReplayGuard
from lvsha.vrrp.router import VirtualRouter
from lvsha.vrrp.settings import HeartbeatPath, RouterSettings
from lvsha.wire.vrrp import Advertisement, encode_advertisement

_NO_ADDRESS = 99
"""EADDRNOTAVAIL."""


@dataclass(frozen=True, slots=True)
class _Said:
    """What a router said last, as bytes: a MASTER says the same for years."""

    settings: RouterSettings
    source: Address
    priority: int
    promised_interval: int
    messages: tuple[tuple[bytes, Address], ...]
    """And to whom; without what authenticates them."""


class AdvertSender:
    def __init__(
        self, ports: Ports, interfaces: InterfaceTable, *, keys: AuthFiles, guard: ReplayGuard
    ) -> None:
        self._ports = ports
        self._interfaces = interfaces
        self._keys = keys
        self._guard = guard
        self._said: dict[str, _Said] = {}

    def send(self, router: VirtualRouter, priority: int) -> int:
        """One advert; the last errno when it reached nobody on the router's own network, else 0."""
        settings = router.settings
        # Peers by name may be behind a gateway, to which only the interface below has a route.
        interface = settings.interface if settings.unicast_peers else settings.bound_interface
        port = self._ports.get(interface, settings.family)
        source = router.primary
        if settings.paths:
            advert = router.advertisement(priority)
            for path in settings.paths:
                self._send_beside(settings, path, advert)
        if port is None or source is None:
            return _NO_ADDRESS
        keys = self._keys.of(settings)
        number = self._guard.next(monotonic()) if keys is not None else 0
        errno = 0
        reached = False
        for payload, destination in self._messages(router, priority, source):
            try:
                if keys is not None:
                    payload = keys.seal(payload, number, source=source, destination=destination)
                port.socket.send(payload, source, destination)
                reached = True
            except OSError as error:
                errno = error.errno or 5
        return 0 if reached else errno

    def _messages(
        self, router: VirtualRouter, priority: int, source: Address
    ) -> tuple[tuple[bytes, Address], ...]:
        settings, promised = router.settings, router.promised_interval
        said = self._said.get(settings.name)
        if (
            said is not None
            and said.settings is settings
            and (said.source, said.priority, said.promised_interval) == (source, priority, promised)
        ):
            return said.messages
        advert = router.advertisement(priority)
        group = VRRP_GROUP_4 if settings.family == 4 else VRRP_GROUP_6
        messages = tuple(
            (encode_advertisement(advert, source=source, destination=to, checksum=settings.checksum), to)
            for to in settings.unicast_peers or (ip_address(group),)
        )
        self._said[settings.name] = _Said(settings, source, priority, promised, messages)
        return messages

    def _send_beside(self, settings: RouterSettings, path: HeartbeatPath, advert: Advertisement) -> None:
        port = self._ports.get(path.interface, settings.family)
        view = self._interfaces.view(path.interface, settings.family, exclude=set())
        if port is None or view.primary is None:
            return
        keys = self._keys.of(settings)
        number = self._guard.next(monotonic()) if keys is not None else 0
        for peer in path.peers:
            if peer == view.primary:
                continue
            payload = encode_advertisement(
                advert, source=view.primary, destination=peer, checksum=settings.checksum
            )
            if keys is not None:
                payload = keys.seal(payload, number, source=view.primary, destination=peer)
            with contextlib.suppress(OSError):  # the network itself is what counts
                port.socket.send(payload, view.primary, peer)
