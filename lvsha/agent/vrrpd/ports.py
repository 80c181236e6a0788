"""The sockets of each interface and family: opened when the interface is there, closed when it goes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from lvsha.agent.auth_files import AuthFiles
from lvsha.agent.links import InterfaceTable
from lvsha.io.reactor import Reactor
from lvsha.io.sockets import ArpSocket, NeighborSocket, VrrpSocket
from lvsha.vrrp.conflict import ConflictWatch
from lvsha.vrrp.endpoint import Endpoint
from lvsha.vrrp.replay import ReplayGuard
from lvsha.vrrp.router import VirtualRouter
from lvsha.vrrp.settings import RouterSettings


class Port:
    """The sockets of one interface and family, and who listens there."""

    def __init__(
        self,
        interface: str,
        index: int,
        family: int,
        routers: Sequence[RouterSettings],
        *,
        keys: AuthFiles,
        guard: ReplayGuard,
        listens: bool = True,
    ) -> None:
        """``listens`` False: no adverts come in here."""
        self.index = index
        self.interface = interface
        self.endpoint = Endpoint(interface=interface, family=family, guard=guard)
        self._keys = keys
        self._names: tuple[str, ...] = ()
        self.serve(routers)
        self.conflicts = ConflictWatch(own_macs=frozenset())
        self.socket = VrrpSocket(interface, index, family, listens=listens)
        self.arp = ArpSocket(interface) if family == 4 else None
        self.neighbor = NeighborSocket(interface, index) if family == 6 else None

    def serve(self, routers: Sequence[RouterSettings]) -> None:
        """Listen for these, as they are set now, and for no others."""
        for name in self._names:
            self.endpoint.remove(name)
        for router in routers:
            self.endpoint.put(router, self._keys.of(router))
        self._names = tuple(router.name for router in routers)

    def close(self) -> None:
        self.socket.close()
        if self.arp is not None:
            self.arp.close()
        if self.neighbor is not None:
            self.neighbor.close()


Handler = Callable[[Port], None]


class Ports:
    """All of them, by interface and family."""

    def __init__(
        self,
        reactor: Reactor,
        interfaces: InterfaceTable,
        routers: Mapping[str, VirtualRouter],
        *,
        keys: AuthFiles,
        guard: ReplayGuard,
        on_adverts: Handler,
        on_arp: Handler,
        on_neighbors: Handler,
    ) -> None:
        """The handlers are called when there is something to read."""
        self._reactor = reactor
        self._interfaces = interfaces
        self._routers = routers
        self._keys = keys
        self._guard = guard
        self._on_adverts = on_adverts
        self._on_arp = on_arp
        self._on_neighbors = on_neighbors
        self._ports: dict[tuple[str, int], Port] = {}

    def get(self, interface: str, family: int) -> Port | None:
        return self._ports.get((interface, family))

    def open(self, interface: str, family: int, index: int) -> Port | None:
        """The sockets of an interface of that index; those of another one of its name are closed.

        Returns:
            None: ``index`` is 0, there is no such interface.

        Raises:
            KernelError: they cannot be opened.
        """
        key = (interface, family)
        port = self._ports.get(key)
        if port is not None and port.index != index:
            self._close(self._ports.pop(key))
            port = None
        if port is None and index:
            here = self._routers_at(interface, family)
            port = Port(
                interface, index, family, here, keys=self._keys, guard=self._guard, listens=bool(here)
            )
            self._ports[key] = port
            self._watch(port)
        if port is not None:
            port.endpoint.own_addresses = self._interfaces.local_addresses()
            port.conflicts.own_macs = frozenset({self._interfaces.mac(interface)})
        return port

    def serve(self) -> None:
        """The routers are other ones, or set in another way; ports that none needs are closed."""
        for (interface, family), port in list(self._ports.items()):
            here = self._routers_at(interface, family)
            port.serve(here)
            if not here and not self._is_bound_to(interface, family):
                self._close(self._ports.pop((interface, family)))

    def dropped(self) -> dict[str, int]:
        """Adverts refused since the start, by reason."""
        drops: dict[str, int] = {}
        for port in self._ports.values():
            for reason, count in port.endpoint.dropped().items():
                drops[reason] = drops.get(reason, 0) + count
        return drops

    def close(self) -> None:
        for port in self._ports.values():
            port.close()

    def _routers_at(self, interface: str, family: int) -> list[RouterSettings]:
        """As their adverts come there: on their own network, or over a path of theirs."""
        found = []
        for router in self._routers.values():
            settings = router.settings
            if (settings.interface, settings.family) == (interface, family):
                found.append(settings)
            for path in settings.paths:
                if (path.interface, settings.family) == (interface, family):
                    found.append(replace(settings, interface=interface, unicast_peers=path.peers))
        return found

    def _is_bound_to(self, interface: str, family: int) -> bool:
        """Whether a router has its addresses there, and sends from there."""
        places = [
            (router.settings.bound_interface, router.settings.family) for router in self._routers.values()
        ]
        return (interface, family) in places

    def _watch(self, port: Port) -> None:
        self._reactor.watch(port.socket.fileno(), lambda: self._on_adverts(port))
        if port.arp is not None:
            self._reactor.watch(port.arp.fileno(), lambda: self._on_arp(port))
        if port.neighbor is not None:
            self._reactor.watch(port.neighbor.fileno(), lambda: self._on_neighbors(port))

    def _close(self, port: Port) -> None:
        self._reactor.unwatch(port.socket.fileno())
        if port.arp is not None:
            self._reactor.unwatch(port.arp.fileno())
        if port.neighbor is not None:
            self._reactor.unwatch(port.neighbor.fileno())
        port.close()
