"""Between the records of ``lvsha.ipvs.model`` and the numbers of ``lvsha.wire.genl_ipvs``. Pure.

A dump is read often and changes little, so destinations are remembered by the
numbers they were made of: a table that did not change costs no new records but
the counters.
"""

from ipaddress import IPv4Address, IPv6Address

from lvsha.core.addr import AF_INET, Address, address_family
from lvsha.ipvs.model import (
    AddDestination,
    AddService,
    Daemon,
    DaemonRole,
    Destination,
    DestinationState,
    EditDestination,
    EditService,
    ForwardingMethod,
    Operation,
    RemoveDestination,
    RemoveService,
    Service,
    ServiceFlags,
    ServiceKey,
    ServiceState,
    Stats,
    TunnelFlags,
    TunnelType,
)
from lvsha.wire import genl_ipvs
from lvsha.wire.genl_ipvs import (
    DEST_ACTIVE,
    DEST_COUNTERS,
    DEST_FAMILY,
    HASHED,
    PERSISTENT,
    DestinationRow,
    ServiceRow,
)

_ROLES = {DaemonRole.MASTER: genl_ipvs.STATE_MASTER, DaemonRole.BACKUP: genl_ipvs.STATE_BACKUP}
_FULL_NETMASK_4 = 0xFFFFFFFF
_FULL_NETMASK_6 = 128

_MEMORY = 65536
"""Destinations remembered; beyond that all are forgotten and learned again."""


def encode_key(key: ServiceKey) -> bytes:
    """The attribute that names a service."""
    return genl_ipvs.service_identity(
        family=key.family,
        protocol=key.protocol,
        address=key.address.packed if key.address is not None else b"",
        port=key.port,
        fwmark=key.fwmark,
    )


def encode_service(service: Service) -> bytes:
    """The attribute of NEW_SERVICE and SET_SERVICE: everything, so that nothing old remains."""
    key = service.key
    flags = int(service.flags)
    if service.persistence_timeout_s is not None:
        flags |= PERSISTENT
    full = _FULL_NETMASK_4 if key.family == AF_INET else _FULL_NETMASK_6
    return genl_ipvs.service_attributes(
        family=key.family,
        protocol=key.protocol,
        address=key.address.packed if key.address is not None else b"",
        port=key.port,
        fwmark=key.fwmark,
        scheduler=service.scheduler,
        flags=flags,
        flags_mask=0xFFFFFFFF & ~HASHED,
        timeout_s=service.persistence_timeout_s or 0,
        netmask=full if service.netmask is None else service.netmask,
        pe_name=service.pe_name,
    )


def encode_destination(destination: Destination) -> bytes:
    """The attribute of NEW_DEST and SET_DEST: everything, so that nothing old remains."""
    address = destination.address
    return genl_ipvs.destination_attributes(
        family=address_family(address),
        address=address.packed,
        port=destination.port,
        method=destination.method,
        weight=destination.weight,
        upper_threshold=destination.upper_threshold,
        lower_threshold=destination.lower_threshold,
        tun_type=destination.tun_type,
        tun_port=destination.tun_port,
        tun_flags=destination.tun_flags,
    )


class OperationEncoder:
    """Operations to request payloads; the name of a service is encoded once for all its destinations."""

    def __init__(self) -> None:
        self._keys: dict[ServiceKey, bytes] = {}

    def encode(self, operation: Operation) -> bytes:
        if isinstance(operation, AddService | EditService):
            number = genl_ipvs.NEW_SERVICE if isinstance(operation, AddService) else genl_ipvs.SET_SERVICE
            return genl_ipvs.command(number, encode_service(operation.service))
        name = self._keys.get(operation.key)
        if name is None:
            name = self._keys[operation.key] = encode_key(operation.key)
        if isinstance(operation, AddDestination):
            return genl_ipvs.command(genl_ipvs.NEW_DEST, name, encode_destination(operation.destination))
        if isinstance(operation, EditDestination):
            return genl_ipvs.command(genl_ipvs.SET_DEST, name, encode_destination(operation.destination))
        if isinstance(operation, RemoveDestination):
            address, port = operation.destination
            identity = genl_ipvs.destination_identity(
                family=address_family(address), address=address.packed, port=port
            )
            return genl_ipvs.command(genl_ipvs.DEL_DEST, name, identity)
        assert isinstance(operation, RemoveService), "every operation has an encoding"
        return genl_ipvs.command(genl_ipvs.DEL_SERVICE, name)


def _address(family: int, packed: bytes) -> Address:
    return IPv4Address(packed[:4]) if family == AF_INET else IPv6Address(packed)


def service_of(row: ServiceRow) -> ServiceState:
    """A listed service, without its destinations."""
    if row.fwmark:
        key = ServiceKey.of_fwmark(row.fwmark, row.family)
    else:
        key = ServiceKey.of(row.protocol, _address(row.family, row.address), row.port)
    full = _FULL_NETMASK_4 if row.family == AF_INET else _FULL_NETMASK_6
    service = Service(
        key=key,
        scheduler=row.scheduler or "none",
        flags=ServiceFlags(row.flags & ~(PERSISTENT | HASHED)),
        persistence_timeout_s=row.timeout_s if row.flags & PERSISTENT else None,
        netmask=None if row.netmask == full else row.netmask,
        pe_name=row.pe_name or None,
    )
    return ServiceState(service=service, stats=Stats(*row.counters))


class DestinationMemory:
    """Rows to records, each distinct destination made once."""

    def __init__(self) -> None:
        self._known: dict[tuple[int | bytes, ...], Destination] = {}

    def state_of(self, row: DestinationRow, service_family: int) -> DestinationState:
        """A listed destination."""
        written = row[:DEST_ACTIVE]
        if written[DEST_FAMILY] == 0:
            written = (*written[:DEST_FAMILY], service_family, *written[DEST_FAMILY + 1 :])
        destination = self._known.get(written)
        if destination is None:
            if len(self._known) >= _MEMORY:
                self._known.clear()
            destination = self._known[written] = _destination(written)
        return DestinationState(
            destination=destination,
            active=row[DEST_ACTIVE],
            inactive=row[DEST_ACTIVE + 1],
            persistent=row[DEST_ACTIVE + 2],
            stats=Stats._make(row[DEST_COUNTERS:]),
        )


def _destination(written: DestinationRow) -> Destination:
    packed, port, method, weight, upper, lower, family, tun_type, tun_port, tun_flags = written
    return Destination(
        address=_address(family, packed),
        port=int.from_bytes(port, "big"),
        method=ForwardingMethod(method & 7),
        weight=weight,
        upper_threshold=upper,
        lower_threshold=lower,
        tun_type=TunnelType(tun_type),
        tun_port=int.from_bytes(tun_port, "big"),
        tun_flags=TunnelFlags(tun_flags),
    )


def encode_daemon(daemon: Daemon) -> bytes:
    """The attribute of NEW_DAEMON."""
    return genl_ipvs.daemon_attributes(
        state=_ROLES[daemon.role],
        interface=daemon.interface,
        syncid=daemon.syncid,
        maxlen=daemon.maxlen,
        group=daemon.group.packed if daemon.group is not None else None,
        port=daemon.port,
        ttl=daemon.ttl,
    )


def encode_daemon_role(role: DaemonRole) -> bytes:
    """The attribute of DEL_DAEMON."""
    return genl_ipvs.daemon_attributes(state=_ROLES[role], interface="", syncid=0)


def daemon_of(row: tuple[int, str, int, int, bytes, int, int]) -> Daemon:
    """A listed daemon."""
    state, interface, syncid, maxlen, group, port, ttl = row
    address: Address | None = None
    if group:
        address = IPv4Address(group) if len(group) == 4 else IPv6Address(group)
    return Daemon(
        role=DaemonRole.MASTER if state == genl_ipvs.STATE_MASTER else DaemonRole.BACKUP,
        interface=interface,
        syncid=syncid,
        maxlen=maxlen or None,
        group=address,
        port=port or None,
        ttl=ttl or None,
    )
