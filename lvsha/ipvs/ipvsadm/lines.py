"""Between records and ipvsadm's words: what a line of ``-S`` means, and how a record is written as one.

Unlike ``saving`` nothing is left out: thresholds, and the netmask of a service that
is not persistent.
"""

from ipaddress import IPv4Address, IPv6Address

from lvsha.core.addr import AF_INET, AF_INET6, Address, endpoint_text
from lvsha.ipvs.ipvsadm.command import PERSISTENT, Command
from lvsha.ipvs.ipvsadm.words import FLAGS, METHODS, TUNNEL_SUMS, TUNNEL_TYPES
from lvsha.ipvs.model import (
    AddDestination,
    AddService,
    Destination,
    EditDestination,
    EditService,
    ForwardingMethod,
    Operation,
    Protocol,
    RemoveDestination,
    RemoveService,
    Service,
    ServiceFlags,
    ServiceKey,
    TunnelFlags,
    TunnelType,
)

_FULL = {AF_INET: 0xFFFFFFFF, AF_INET6: 128}
_PROTOCOLS = {Protocol.TCP: "-t", Protocol.UDP: "-u", Protocol.SCTP: "--sctp-service"}
_METHODS = {number: f"--{name}" for name, number in METHODS.items()} | {0: "-m", 2: "-i", 3: "-g"}
_TYPES = {number: name for name, number in TUNNEL_TYPES.items()}
_FLAG_BITS = (0x08, 0x10, 0x20)
_SUMS = {number: f"--{name}" for name, number in TUNNEL_SUMS.items()}


def _address(family: int, packed: bytes) -> Address:
    return IPv6Address(packed) if family == AF_INET6 else IPv4Address(packed)


def key_of(command: Command) -> ServiceKey:
    """The service that a command names."""
    if command.fwmark:
        return ServiceKey.of_fwmark(command.fwmark, command.family)
    return ServiceKey.of(command.protocol, _address(command.family, command.address), command.port)


def service_of(command: Command) -> Service:
    """The service that ``-A`` and ``-E`` describe."""
    netmask = None if command.netmask == _FULL[command.family] else command.netmask
    return Service(
        key=key_of(command),
        scheduler=command.scheduler,
        flags=ServiceFlags(command.flags & ~PERSISTENT),
        persistence_timeout_s=command.timeout if command.flags & PERSISTENT else None,
        netmask=netmask,
        pe_name=command.pe or None,
    )


def destination_of(command: Command) -> Destination:
    """The realserver that ``-a`` and ``-e`` describe."""
    return Destination(
        address=_address(command.server_family, command.server),
        port=command.server_port,
        method=ForwardingMethod(command.method),
        weight=command.weight,
        upper_threshold=command.upper,
        lower_threshold=command.lower,
        tun_type=TunnelType(command.tun_type),
        tun_port=command.tun_port,
        tun_flags=TunnelFlags(command.tun_flags),
    )


def key_words(key: ServiceKey) -> str:
    """``-t 192.0.2.1:80``, ``-f 5 -6``."""
    if key.address is None:
        return f"-f {key.fwmark}" + (" -6" if key.family == AF_INET6 else "")
    return f"{_PROTOCOLS.get(Protocol(key.protocol), '-t')} {endpoint_text(key.address, key.port)}"


def service_words(service: Service) -> str:
    """What follows ``-A`` or ``-E``."""
    parts = [key_words(service.key), f"-s {service.scheduler}"]
    if service.persistence_timeout_s is not None:
        parts.append(f"-p {service.persistence_timeout_s}")
    if service.netmask is not None:
        mask = service.netmask
        six = service.key.family == AF_INET6
        parts.append(f"-M {mask if six else IPv4Address(mask)}")
    if service.pe_name:
        parts.append(f"--pe {service.pe_name}")
    if service.flags & ServiceFlags.ONE_PACKET:
        parts.append("-o")
    names = [_flag_name(service.scheduler, bit) for bit in _FLAG_BITS if service.flags & bit]
    if names:
        parts.append(f"-b {','.join(names)}")
    return " ".join(parts)


def _flag_name(scheduler: str, bit: int) -> str:
    """The scheduler's own name of a flag, if it has one."""
    names = {owner: name for name, (each, owner) in FLAGS.items() if each == bit}
    return names.get(scheduler, names[""])


def destination_words(key: ServiceKey, destination: Destination) -> str:
    """What follows ``-a`` or ``-e``."""
    endpoint = endpoint_text(destination.address, destination.port)
    method = _METHODS.get(int(destination.method), f"(method {int(destination.method)})")
    parts = [key_words(key), f"-r {endpoint} {method} -w {destination.weight}"]
    if destination.upper_threshold or destination.lower_threshold:
        parts.append(f"-x {destination.upper_threshold} -y {destination.lower_threshold}")
    if destination.method is ForwardingMethod.TUNNEL and destination.tun_type is not TunnelType.IPIP:
        parts.append(f"--tun-type {_TYPES[int(destination.tun_type)]}")
        if destination.tun_type is TunnelType.GUE:
            parts.append(f"--tun-port {destination.tun_port}")
        parts.append(_SUMS[int(destination.tun_flags)])
    return " ".join(parts)


def operation_words(operation: Operation) -> str:
    """An operation as the ipvsadm command that does it."""
    match operation:
        case AddService(service):
            return f"-A {service_words(service)}"
        case EditService(service):
            return f"-E {service_words(service)}"
        case RemoveService(key):
            return f"-D {key_words(key)}"
        case AddDestination(key, destination):
            return f"-a {destination_words(key, destination)}"
        case EditDestination(key, destination):
            return f"-e {destination_words(key, destination)}"
        case RemoveDestination(key, place):
            return f"-d {key_words(key)} -r {endpoint_text(*place)}"
