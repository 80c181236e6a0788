"""What is said to the neighbours of a MASTER and heard from them: ARP, and neighbour discovery for IPv6.

Said: where the addresses are (``vrrp.announce``), and the question whether that was heard
(``vrrp.proof``). Heard: the answers, and who else claims an address (``vrrp.conflict``).
"""

import contextlib
from collections.abc import Iterable, Mapping
from ipaddress import IPv4Address, IPv6Address
from typing import Any

from lvsha.agent.journal import Journal
from lvsha.agent.links import InterfaceTable
from lvsha.agent.vrrpd.ports import Port, Ports
from lvsha.core.addr import Address
from lvsha.core.errors import DecodeError
from lvsha.core.instant import Instant, earliest
from lvsha.core.machine import Event, Output
from lvsha.io.reactor import monotonic
from lvsha.io.rtnl_routes import PolicySocket
from lvsha.vrrp.announce import Announcer
from lvsha.vrrp.outputs import (
    Announce,
    AskNeighbor,
    SendGratuitousArp,
    SendNeighborAdvertisement,
    StopAnnouncing,
)
from lvsha.vrrp.proof import TakeoverProof
from lvsha.vrrp.router import VirtualRouter
from lvsha.vrrp.settings import Prefix, RouterSettings
from lvsha.wire.arp import ArpPacket, Operation, arp_request, decode_arp, gratuitous_arp
from lvsha.wire.ndisc import HOP_LIMIT as NEIGHBOR_HOP_LIMIT
from lvsha.wire.ndisc import (
    NeighborAdvertisement,
    decode_neighbor_advertisement,
    neighbor_solicitation,
    solicited_node,
    unsolicited_advertisement,
)


class Neighbors:
    def __init__(
        self,
        ports: Ports,
        interfaces: InterfaceTable,
        policies: PolicySocket,
        routers: Mapping[str, VirtualRouter],
        journal: Journal,
    ) -> None:
        self._ports = ports
        self._interfaces = interfaces
        self._policies = policies
        self._routers = routers
        self._journal = journal
        self._announcer = Announcer()
        self._proof = TakeoverProof()

    # Orders

    def announce(self, settings: RouterSettings, order: Announce, now: Instant) -> None:
        """Begin; the rounds follow with ``on_deadline``."""
        self._announcer.announce(
            router=settings.name,
            interface=settings.bound_interface,
            addresses=tuple(prefix.ip for prefix in order.addresses),
            rounds=order.rounds,
            garp=settings.garp,
            now=now,
            again=order.again,
        )

    def stop(self, order: StopAnnouncing) -> None:
        gone = tuple(prefix.ip for prefix in order.addresses)
        self._announcer.stop(router=order.router, addresses=gone)
        self._proof.stop(order.router)

    def prove(self, settings: RouterSettings, now: Instant, *, predecessor_left: bool) -> None:
        """Ask the neighbours whether they have followed; ``predecessor_left``: as ``TakeoverProof.begin``."""
        neighbors = settings.prove_to
        if neighbors is None:
            gateway = self._policies.gateway(settings.interface, settings.family)
            neighbors = (gateway,) if gateway is not None else ()
        addresses = tuple(p.ip for p in settings.bound_addresses if p.version == settings.family)
        self._perform(
            self._proof.begin(
                router=settings.name,
                interface=settings.bound_interface,
                addresses=addresses,
                neighbors=neighbors,
                predecessor_left=predecessor_left,
                now=now,
            )
        )

    @property
    def deadline(self) -> Instant | None:
        return earliest(self._announcer.deadline, self._proof.deadline)

    def on_deadline(self, now: Instant) -> None:
        for machine in (self._announcer, self._proof):
            if machine.deadline is not None and now >= machine.deadline:
                self._perform(machine.on_deadline(now))

    def watch(self, settings: RouterSettings, addresses: tuple[Prefix, ...], *, held: bool) -> None:
        """Who else claims these is a conflict from now on, or no more."""
        port = self._ports.get(settings.bound_interface, settings.family)
        if port is not None:
            change = port.conflicts.hold if held else port.conflicts.drop
            change(settings.name, addresses)

    # What is heard

    def on_arp(self, port: Port) -> None:
        assert port.arp is not None, "only IPv4 has ARP"
        now = monotonic()
        for frame in port.arp.receive():
            try:
                packet = decode_arp(frame)
            except DecodeError:
                continue  # not ARP over IPv4 and Ethernet: none of ours
            if packet.operation == Operation.REPLY and not packet.is_gratuitous:
                self._on_answer(port, packet.sender_address, packet.target_address, now)
            self._on_claim(port, packet, now)

    def on_neighbors(self, port: Port) -> None:
        assert port.neighbor is not None, "only IPv6 has neighbour discovery"
        for message in port.neighbor.receive():
            if message.ttl != NEIGHBOR_HOP_LIMIT:
                continue  # from beyond this network: RFC 4861 section 7.1.2
            assert isinstance(message.source, IPv6Address)
            assert isinstance(message.destination, IPv6Address)
            try:
                packet = decode_neighbor_advertisement(
                    message.payload, source=message.source, destination=message.destination
                )
            except DecodeError:
                continue
            if packet.solicited:
                self._on_answer(port, packet.target, message.destination, message.at)
            self._on_claim(port, packet, message.at)

    def _on_answer(self, port: Port, neighbor: Address, address: Address, now: Instant) -> None:
        self._record(self._proof.heard(interface=port.interface, neighbor=neighbor, address=address, now=now))

    def _on_claim(self, port: Port, packet: ArpPacket | NeighborAdvertisement, now: Instant) -> None:
        for output in port.conflicts.receive(packet, now):
            if isinstance(output, Announce):
                self.announce(self._routers[output.router].settings, output, now)
            else:
                self._record([output])

    # What is said

    def _perform(self, outputs: list[Output]) -> None:
        for output in outputs:
            if isinstance(output, SendGratuitousArp):
                port = self._ports.get(output.interface, 4)
                mac = self._interfaces.mac(output.interface)
                if port is not None and port.arp is not None and mac:
                    frame = gratuitous_arp(mac=mac, address=output.address, form=output.form)  # type: ignore[arg-type]
                    self._try(port.arp.send, frame)
            elif isinstance(output, SendNeighborAdvertisement):
                port = self._ports.get(output.interface, 6)
                mac = self._interfaces.mac(output.interface)
                if port is not None and port.neighbor is not None and mac:
                    message = unsolicited_advertisement(mac=mac, address=output.address)  # type: ignore[arg-type]
                    self._try(port.neighbor.send, message, output.address)
            elif isinstance(output, AskNeighbor):
                self._ask(output)
            else:
                self._record([output])

    def _ask(self, order: AskNeighbor) -> None:
        target, sender = order.target, order.sender
        port = self._ports.get(order.interface, target.version)
        mac = self._interfaces.mac(order.interface)
        if port is None or not mac:
            return
        if port.arp is not None and isinstance(target, IPv4Address):
            assert not isinstance(sender, IPv6Address), "a question is of one family"
            self._try(port.arp.send, arp_request(mac=mac, sender=sender, target=target))
        elif port.neighbor is not None and isinstance(target, IPv6Address):
            assert not isinstance(sender, IPv4Address), "a question is of one family"
            message = neighbor_solicitation(mac=mac, source=sender, target=target)
            self._try(port.neighbor.send, message, sender or IPv6Address(0), str(solicited_node(target)))

    @staticmethod
    def _try(send: Any, *arguments: Any) -> None:
        # When the interface is going the next round comes, and the route monitor tells the router.
        with contextlib.suppress(OSError):
            send(*arguments)

    def _record(self, outputs: Iterable[Output]) -> None:
        for output in outputs:
            if isinstance(output, Event):
                self._journal.record("vrrp", output)
