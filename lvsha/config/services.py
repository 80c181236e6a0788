"""[[service]] to kernel services, realservers and pools."""

from collections.abc import Iterable
from typing import cast

from lvsha.checker.pool import OnFailure, PoolMember, PoolSettings, QuorumUnit
from lvsha.config import schema
from lvsha.config.checks import Checks
from lvsha.config.context import Context, pick, seconds
from lvsha.config.findings import Findings
from lvsha.config.lines import Path
from lvsha.config.settings import (
    RealServerSettings,
    ServiceSettings,
)
from lvsha.core.addr import AF_INET, AF_INET6, Address, address_family, endpoint_text
from lvsha.ipvs.model import (
    Destination,
    ForwardingMethod,
    Protocol,
    Service,
    ServiceFlags,
    ServiceKey,
    TunnelFlags,
    TunnelType,
    netmask_of_prefix,
)

METHODS = {
    "dr": ForwardingMethod.DROUTE,
    "nat": ForwardingMethod.MASQ,
    "tun": ForwardingMethod.TUNNEL,
}
PROTOCOLS = {"tcp": Protocol.TCP, "udp": Protocol.UDP, "sctp": Protocol.SCTP}
TUNNEL_TYPES = {"ipip": TunnelType.IPIP, "gue": TunnelType.GUE, "gre": TunnelType.GRE}
TUNNEL_FLAGS = {"none": TunnelFlags.NOCSUM, "csum": TunnelFlags.CSUM, "remcsum": TunnelFlags.REMCSUM}
FALLBACK, HASH_PORT = ServiceFlags.SCHED_1, ServiceFlags.SCHED_2


class ServiceMemory:
    """What became of each service in one version of a file, for the next one."""

    def __init__(self) -> None:
        self.basis: object = None
        """What a service draws upon besides its own table: with another one nothing here is true."""
        self.known: dict[tuple[int, ServiceKey], tuple[schema.Service, ServiceSettings, Findings]] = {}
        """By the table's identity, which its being kept here makes lasting, and the kernel service."""


class Services:
    """The virtual services of a document."""

    def __init__(self, context: Context, node: str, memory: ServiceMemory) -> None:
        self._context = context
        self._findings = context.findings
        self._node = node
        self._memory = memory

    def all(self) -> list[tuple[Path, ServiceSettings]]:
        document = self._context.document
        basis = (document.directors, document.defaults, document.vrrp, document.sync, self._node)
        before = self._memory.known if self._memory.basis == basis else {}
        self._memory.basis, self._memory.known = basis, {}
        services: list[tuple[Path, ServiceSettings]] = []
        keys: dict[ServiceKey, int] = {}
        names: dict[str, int] = {}
        for place, service in zip(self._context.parts.service, self._context.document.service, strict=True):
            path: Path = ("service", place)
            for at, key, name in self._keys(path, service):
                if key in keys:
                    other = keys[key]
                    self._findings.error(
                        at,
                        f"{key} is already that of service[{other}]"
                        if other != place
                        else f"{key} is twice here",
                        "one service with all its realservers",
                    )
                    continue
                keys[key] = place
                if names.setdefault(name, place) != place:
                    self._findings.error(
                        (*path, "name"), f'"{name}" is already the name of service[{names[name]}]'
                    )
                    continue
                identity = (id(service), key)
                if (known := before.get(identity)) is None:
                    own = Findings()
                    one = Services(self._context.telling(own), self._node, self._memory)
                    known = (service, one._service(path, at, service, key, name), own)
                self._memory.known[identity] = known
                self._findings.take(known[2], place=place)
                services.append((at, known[1]))
        return services

    def _keys(self, path: Path, service: schema.Service) -> list[tuple[Path, ServiceKey, str]]:
        """What identifies each kernel service that the table stands for, and its name."""
        given = service.model_fields_set
        if service.fwmark is not None:
            for key in ("address", "protocol"):
                if key in given:
                    self._findings.error(
                        (*path, key),
                        f"a firewall mark takes the place of {key}",
                        f"remove {key} or fwmark",
                    )
            if service.address is not None:
                return []
            family = AF_INET if service.family == 4 else AF_INET6
            name = f"fwmark/{service.fwmark}" + ("" if service.family == 4 else "/6")
            return [
                (
                    (*path, "fwmark"),
                    ServiceKey.of_fwmark(service.fwmark, family),
                    service.name or name,
                )
            ]
        if "family" in given:
            self._findings.error(
                (*path, "family"), "is known from the address", "remove it; it is for fwmark services"
            )
        if not service.address:
            self._findings.error(
                (*path, "address"), "is missing", 'write address = "10.0.0.10:80", or fwmark = 5'
            )
            return []
        keys = []
        several = len(service.address) * len(service.protocol) > 1
        for number, endpoint in enumerate(service.address):
            for protocol in service.protocol:
                at: Path = (*path, "address", number)
                if not endpoint.port and service.persistence_timeout is None:
                    self._findings.error(
                        at,
                        f"{endpoint.address} has no port",
                        f'write "{endpoint_text(endpoint.address, 80)}", or add persistence_timeout '
                        "for all ports at once",
                    )
                    continue
                port = endpoint.port or 0
                default = f"{protocol}/{endpoint_text(endpoint.address, port)}"
                name = default if service.name is None else service.name
                keys.append(
                    (
                        at,
                        ServiceKey.of(PROTOCOLS[protocol], endpoint.address, port),
                        f"{name}/{default}" if several and service.name is not None else name,
                    )
                )
        return keys

    def _service(
        self, path: Path, at: Path, service: schema.Service, key: ServiceKey, name: str
    ) -> ServiceSettings:
        defaults = self._context.document.defaults.service
        scheduler = pick(service, defaults, "scheduler")
        record = Service(
            key=key,
            scheduler=scheduler,
            flags=self._flags(path, service, key, scheduler),
            persistence_timeout_s=self._persistence(path, service, key),
            netmask=self._netmask(path, service, key),
            pe_name=service.persistence_engine,
        )
        realservers = self._realservers(path, service, key)
        sorry = self._sorry(path, service, key, realservers)
        members = tuple(
            PoolMember(
                name=realserver.name,
                weight=realserver.destination.weight,
                on_failure=OnFailure(table.on_failure) if table.on_failure is not None else None,
            )
            for table, realserver in zip(service.realservers, realservers, strict=True)
        )
        pool = PoolSettings(
            name=name,
            members=members,
            quorum=service.quorum,
            hysteresis=service.hysteresis,
            quorum_unit=QuorumUnit(pick(service, defaults, "quorum_unit")),
            on_failure=OnFailure(pick(service, defaults, "on_failure")),
            has_sorry=sorry is not None,
            minimum_pooled_percent=pick(service, defaults, "minimum_pooled_percent"),
            slow_start=pick(service, defaults, "slow_start"),
        )
        if path[1] not in self._context.parts.realservers:
            self._check_pool(path, service, pool)
        return ServiceSettings(
            name=name,
            service=record,
            realservers=tuple(realservers),
            pool=pool,
            sorry=sorry,
        )

    def _flags(self, path: Path, service: schema.Service, key: ServiceKey, scheduler: str) -> ServiceFlags:
        flags = ServiceFlags.NONE
        defaults = self._context.document.defaults.service
        own = "scheduler_flags" in service.model_fields_set
        for number, flag in enumerate(pick(service, defaults, "scheduler_flags")):
            owner, _, what = flag.partition("-")
            if owner == scheduler:
                flags |= FALLBACK if what == "fallback" else HASH_PORT
            elif own:
                self._findings.error(
                    (*path, "scheduler_flags", number),
                    f'"{flag}" is a flag of {owner}, the scheduler is {scheduler}',
                    f'scheduler = "{owner}", or remove the flag',
                )
        if scheduler in ("sh", "mh"):
            # Both hash over realservers of weight 0 as well, and without this flag
            # the clients that they hash there get no answer at all.
            flags |= FALLBACK
        if scheduler == "dh":
            at = path if "scheduler" not in service.model_fields_set else (*path, "scheduler")
            self._findings.warning(
                at,
                "dh gives no answer for addresses that hash to a realserver that is down or drained",
                'scheduler = "mh" hashes and falls back',
            )
        if service.one_packet:
            if key.protocol not in (Protocol.UDP, 0):
                self._findings.error(
                    (*path, "one_packet"), "is for udp: a connection has more than one packet", "remove it"
                )
            flags |= ServiceFlags.ONE_PACKET
        return flags

    def _persistence(self, path: Path, service: schema.Service, key: ServiceKey) -> int | None:
        if service.persistence_timeout is None:
            for name in ("persistence_netmask", "persistence_engine"):
                if getattr(service, name) is not None:
                    self._findings.error(
                        (*path, name), "has no effect without persistence_timeout", "add persistence_timeout"
                    )
        elif service.persistence_engine is not None and key.protocol not in (Protocol.UDP, 0):
            self._findings.error(
                (*path, "persistence_engine"), "the sip engine reads datagrams", 'protocol = "udp"'
            )
        return seconds(self._findings, (*path, "persistence_timeout"), service.persistence_timeout)

    def _netmask(self, path: Path, service: schema.Service, key: ServiceKey) -> int | None:
        if service.persistence_netmask is None:
            return None
        try:
            return netmask_of_prefix(key.family, service.persistence_netmask)
        except ValueError as error:
            self._findings.error((*path, "persistence_netmask"), str(error))
            return None

    def _realservers(self, path: Path, service: schema.Service, key: ServiceKey) -> list[RealServerSettings]:
        checks = Checks(self._context, path, service, key, self._node)
        realservers = []
        endpoints: dict[tuple[Address, int], int] = {}
        names: dict[str, int] = {}
        places = self._context.parts.realservers.get(cast(int, path[1])) or range(len(service.realservers))
        for place, table in zip(places, service.realservers, strict=True):
            at: Path = (*path, "realservers", place)
            destination = self._destination(at, service, table, key, weight=table.weight)
            if table.lower_threshold > table.upper_threshold:
                self._findings.error(
                    (*at, "lower_threshold"),
                    f"{table.lower_threshold} is more than upper_threshold {table.upper_threshold}",
                )
            name = table.name or endpoint_text(destination.address, destination.port)
            if destination.key in endpoints:
                self._findings.error(
                    at, f"{destination} is already realservers[{endpoints[destination.key]}]"
                )
            elif name in names:
                self._findings.error(
                    (*at, "name"), f'"{name}" is already the name of realservers[{names[name]}]'
                )
            endpoints.setdefault(destination.key, place)
            names.setdefault(name, place)
            found, needs = checks.of(at, table, destination)
            realservers.append(
                RealServerSettings(
                    name=name,
                    destination=destination,
                    check=found[0] if found else None,
                    further_checks=found[1:],
                    needs=needs,
                )
            )
        return realservers

    def _destination(
        self,
        at: Path,
        service: schema.Service,
        table: schema.RealServer | schema.Sorry,
        key: ServiceKey,
        *,
        weight: int,
    ) -> Destination:
        defaults = self._context.document.defaults.service
        method = table.method or pick(service, defaults, "method")
        tunnel = table.tunnel or pick(service, defaults, "tunnel")
        address, port = table.address.address, table.address.port
        if port is not None and table.port is not None and port != table.port:
            self._findings.error(
                (*at, "port"), f"{table.port} contradicts {port} in the address", "write one"
            )
        port = table.port if port is None else port
        if port is None:
            port = key.port
        elif method != "nat" and port != key.port:
            if key.fwmark:
                self._findings.error(
                    at,
                    f"{method} leaves the client's port as it is; {port} means nothing with a fwmark",
                    "leave the port out; a check has its own",
                )
            else:
                self._findings.error(
                    at,
                    f"{method} cannot change the port: the service has {key.port}, the realserver {port}",
                    'leave the port out, or method = "nat"',
                )
        self._check_address(at, address, method, key)
        if method == "tun":
            where: Path = (*at, "tunnel") if table.tunnel is not None else (*at[:2], "tunnel")
            if tunnel.type == "gue" and tunnel.port == 0:
                self._findings.error(where, "gue needs a port", 'tunnel = { type = "gue", port = 6080 }')
            if tunnel.type != "gue" and tunnel.port != 0:
                self._findings.error(where, f"{tunnel.type} has no port", "remove it")
            if tunnel.checksum == "remcsum" and tunnel.type != "gue":
                self._findings.error(where, "remcsum is gue's", 'checksum = "csum"')
            if tunnel.checksum != "none" and tunnel.type == "ipip":
                self._findings.error(where, "ipip has no checksum", "remove it")
        elif table.tunnel is not None:
            self._findings.error((*at, "tunnel"), f"has no effect with {method}", 'method = "tun"')
        is_tunnel = method == "tun"
        return Destination(
            address=address,
            port=port,
            method=METHODS[method],
            weight=weight,
            upper_threshold=getattr(table, "upper_threshold", 0),
            lower_threshold=getattr(table, "lower_threshold", 0),
            tun_type=TUNNEL_TYPES[tunnel.type] if is_tunnel else TunnelType.IPIP,
            tun_port=tunnel.port if is_tunnel else 0,
            tun_flags=TUNNEL_FLAGS[tunnel.checksum] if is_tunnel else TunnelFlags.NOCSUM,
        )

    def _check_address(self, at: Path, address: Address, method: str, key: ServiceKey) -> None:
        if address in self._context.virtual_addresses or address == key.address:
            self._findings.error(
                at,
                f"{address} is a virtual address, not a realserver's own",
                "write the address that the machine keeps when the virtual one moves",
            )
        elif method != "nat" and address in self._context.director_addresses:
            self._findings.warning(
                at,
                f"{address} is director {self._context.director_addresses[address]}: what the other one "
                f"sends it by {method} is balanced again there",
                "keep directors and realservers apart, or use nat",
            )
        if address_family(address) == key.family:
            return
        version = 4 if key.family == AF_INET else 6
        if method != "tun":
            self._findings.error(
                at,
                f"{address} is IPv{address.version}, the service is IPv{version}",
                f'only method = "tun" carries IPv{version} to IPv{address.version}',
            )
        elif self._context.document.sync.enabled:
            self._findings.error(
                at,
                f"{address} is IPv{address.version}, the service is IPv{version}: with such a realserver the "
                "kernel refuses to run its sync daemons",
                "use one family, or [sync] enabled = false",
            )

    def _sorry(
        self,
        path: Path,
        service: schema.Service,
        key: ServiceKey,
        realservers: Iterable[RealServerSettings],
    ) -> Destination | None:
        if service.sorry is None:
            return None
        at: Path = (*path, "sorry")
        sorry = self._destination(at, service, service.sorry, key, weight=service.sorry.weight)
        if any(realserver.destination.key == sorry.key for realserver in realservers):
            self._findings.error(
                at, f"{sorry} is a realserver of this service", "a stand-in is another machine"
            )
        return sorry

    def _check_pool(self, path: Path, service: schema.Service, pool: PoolSettings) -> None:
        if not pool.members:
            self._findings.warning(
                path, "has no realservers: it answers nobody", 'add realservers = ["10.0.0.11", "10.0.0.12"]'
            )
            return
        by_weight = pool.quorum_unit is QuorumUnit.WEIGHT
        total = sum(member.weight for member in pool.members) if by_weight else len(pool.members)
        what = "the total weight" if by_weight else "the number of realservers"
        if total == 0:
            self._findings.warning(
                (*path, "realservers"), "all realservers have weight 0: nobody gets new connections"
            )
        elif pool.quorum > total:
            self._findings.error(
                (*path, "quorum"), f"{pool.quorum} is more than {what}, {total}: it is never reached"
            )
        elif pool.quorum + pool.hysteresis > total:
            self._findings.error(
                (*path, "hysteresis"),
                f"quorum {pool.quorum} + hysteresis {pool.hysteresis} is more than {what}, {total}: "
                "a service that went down never comes up again",
            )
        elif pool.hysteresis and pool.hysteresis >= pool.quorum:
            self._findings.warning(
                (*path, "hysteresis"),
                f"hysteresis {pool.hysteresis} is not less than quorum {pool.quorum}: "
                "the service counts as up until its last realserver is gone",
            )

    def check_carried(self, services: Iterable[tuple[Path, ServiceSettings]]) -> None:
        """Services at an address that no virtual router of this file moves."""
        if not self._context.document.vrrp or not self._context.parts.vrrp_complete:
            return
        for at, service in services:
            address = service.service.key.address
            if address is not None and address not in self._context.virtual_addresses:
                self._findings.warning(
                    at,
                    f"no [[vrrp]] carries {address}: it does not move when a director dies",
                    "add it to the addresses of a [[vrrp]]",
                )
