"""What somebody changed behind our back, in words.

``plan`` repairs it without knowing; an operator wants to know. Compare what was
last applied with a fresh dump: every difference is somebody else's doing. (Who it
was the kernel does not tell.)
"""

from dataclasses import dataclass

from lvsha.core.addr import AF_INET, endpoint_text
from lvsha.core.machine import Event
from lvsha.ipvs.model import DesiredTable, Destination, Service, ServiceFlags, Table

LIMIT = 100
"""Differences told one by one; a table of thousands that was rewritten fills no disk."""


@dataclass(frozen=True, slots=True)
class ServiceMissing(Event):
    """Somebody removed one of our services, and its destinations with it."""

    service: str
    destinations: int


@dataclass(frozen=True, slots=True)
class ServiceAltered(Event):
    """Somebody edited one of our services."""

    service: str
    changes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DestinationMissing(Event):
    """Somebody removed a destination of ours."""

    service: str
    destination: str


@dataclass(frozen=True, slots=True)
class DestinationAltered(Event):
    """Somebody edited a destination of ours."""

    service: str
    destination: str
    changes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DestinationForeign(Event):
    """Somebody added a destination to one of our services."""

    service: str
    destination: str


@dataclass(frozen=True, slots=True)
class DriftNotTold(Event):
    """There is more of it."""

    more: int


def drift(applied: DesiredTable, actual: Table, *, limit: int = LIMIT) -> list[Event]:
    """Every difference between what we applied and what is there; at most ``limit``, and how many more."""
    events: list[Event] = []
    for key, wanted in applied.items():
        found = actual.get(key)
        name = str(key)
        if found is None:
            events.append(ServiceMissing(name, len(wanted.destinations)))
            continue
        if found.service != wanted.service:
            events.append(ServiceAltered(name, service_changes(wanted.service, found.service)))
        ours = {destination.key: destination for destination in wanted.destinations}
        for place, destination in ours.items():
            state = found.destinations.get(place)
            if state is None:
                events.append(DestinationMissing(name, str(destination)))
            elif state.destination != destination:
                changes = destination_changes(destination, state.destination)
                events.append(DestinationAltered(name, str(destination), changes))
        events += [
            DestinationForeign(name, endpoint_text(*place))
            for place in found.destinations
            if place not in ours
        ]
    if len(events) > limit:
        return [*events[:limit], DriftNotTold(len(events) - limit)]
    return events


def _persistence(service: Service) -> str:
    seconds = service.persistence_timeout_s
    return "off" if seconds is None else f"{seconds} s"


def _netmask(service: Service) -> str:
    if service.netmask is None:
        return "each client alone"
    if service.key.family == AF_INET:
        return ".".join(str(byte) for byte in service.netmask.to_bytes(4, "big"))
    return f"/{service.netmask}"


def _flags(flags: ServiceFlags) -> str:
    names = [str(flag.name).lower().replace("_", "-") for flag in ServiceFlags(flags)]
    return " ".join(names) or "none"


def service_changes(wanted: Service, found: Service) -> tuple[str, ...]:
    """In what two services of one key differ: ``scheduler is rr, should be wlc``."""
    pairs = (
        ("scheduler", wanted.scheduler, found.scheduler),
        ("flags", _flags(wanted.flags), _flags(found.flags)),
        ("persistence", _persistence(wanted), _persistence(found)),
        ("netmask", _netmask(wanted), _netmask(found)),
        ("persistence engine", wanted.pe_name or "none", found.pe_name or "none"),
    )
    return tuple(f"{what} is {has}, should be {should}" for what, should, has in pairs if should != has)


def destination_changes(wanted: Destination, found: Destination) -> tuple[str, ...]:
    """In what two destinations of one key differ: ``weight is 3, should be 1``."""
    pairs: tuple[tuple[str, object, object], ...] = (
        ("weight", wanted.weight, found.weight),
        ("method", wanted.method.name.lower(), found.method.name.lower()),
        ("upper threshold", wanted.upper_threshold, found.upper_threshold),
        ("lower threshold", wanted.lower_threshold, found.lower_threshold),
        ("tunnel", wanted.tun_type.name.lower(), found.tun_type.name.lower()),
        ("tunnel port", wanted.tun_port, found.tun_port),
        ("tunnel checksum", wanted.tun_flags.value, found.tun_flags.value),
    )
    return tuple(f"{what} is {has}, should be {should}" for what, should, has in pairs if should != has)
