"""All machines that were looked at, and what each of them is to the others."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from lvsha.core.addr import Address
from lvsha.doctor.catalogue import Kind
from lvsha.doctor.facts import Facts, Server, VirtualService
from lvsha.doctor.firewall import Drop, Packet, Ruleset, find_drop, parse_iptables, parse_nft


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is wrong on one machine."""

    kind: Kind
    host: str
    evidence: str


class Scene:
    """Built once; checks only read it."""

    def __init__(self, hosts: tuple[Facts, ...]) -> None:
        self.hosts = hosts

    @cached_property
    def directors(self) -> tuple[Facts, ...]:
        """Who has services or sync daemons, or is said to be one."""
        return tuple(
            host
            for host in self.hosts
            if host.role == "director" or (host.role == "auto" and (host.services or host.daemons))
        )

    @cached_property
    def realservers(self) -> tuple[Facts, ...]:
        """Who does the work of a service."""
        return tuple(host for host in self.hosts if host not in self.directors and any(self.work_of(host)))

    @cached_property
    def services(self) -> tuple[VirtualService, ...]:
        """Of all directors, and those that a configuration names.

        None on loopback: those are for the director itself, as the one that pushes sync buffers out.
        """
        found = [service for host in self.hosts for service in (*host.services, *host.expected)]
        return tuple(
            service
            for service in dict.fromkeys(found)
            if service.address is None or not service.address.is_loopback
        )

    @cached_property
    def vips(self) -> tuple[Address, ...]:
        return tuple(dict.fromkeys(service.address for service in self.services if service.address))

    @cached_property
    def clients(self) -> tuple[Address, ...]:
        """Addresses that use the services, of no machine that provides them."""
        providers = {own.address for host in (*self.directors, *self.realservers) for own in host.addresses}
        providers |= {server.address for service in self.services for server in service.servers}
        seen = [address for host in self.hosts for address in host.clients]
        for host in self.hosts:
            if host not in self.directors and host not in self.realservers:
                seen += [
                    own.address
                    for own in host.addresses
                    if own.interface != "lo" and not own.address.is_link_local
                ]
        return tuple(address for address in dict.fromkeys(seen) if address not in providers)

    def work_of(self, host: Facts) -> Iterator[tuple[VirtualService, Server]]:
        """The services that this machine is a realserver of. An unspecified address: whoever is asked."""
        own = {each.address for each in host.addresses}
        for service in self.services:
            for server in service.servers:
                if server.address in own or (server.address.is_unspecified and service in host.expected):
                    yield service, server

    def host_with(self, address: Address) -> Facts | None:
        return next((host for host in self.hosts if host.has(address)), None)

    def holders(self, vip: Address) -> list[Facts]:
        """Directors that have the address."""
        return [host for host in self.directors if host.has(vip)]

    def drop(self, host: Facts, packet: Packet) -> Drop | None:
        """The rule of this machine that drops a packet on its way in."""
        return find_drop(self._rules[id(host)], "input", packet)

    @cached_property
    def _rules(self) -> dict[int, Ruleset]:
        rules: dict[int, Ruleset] = {}
        for host in self.hosts:
            found = parse_iptables(host.iptables, 4)
            # A form that is not known here says nothing, rather than something wrong.
            with contextlib.suppress(ValueError, KeyError, TypeError, AttributeError):
                found |= parse_nft(host.nft)
            rules[id(host)] = found
        return rules
