"""A kernel's IPVS table that refuses what the real one refuses, and strategies that fill it."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address

from hypothesis import strategies as st

from lvsha.core.addr import AF_INET, AF_INET6
from lvsha.ipvs.model import (
    AddDestination,
    AddService,
    DesiredService,
    DesiredTable,
    Destination,
    DestinationState,
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
    ServiceState,
    Table,
)


class Refused(Exception):
    """The kernel would have answered with an error."""


def copy_of(table: Table) -> Table:
    return {key: replace(state, destinations=dict(state.destinations)) for key, state in table.items()}


def table_of(desired: DesiredTable) -> Table:
    """A kernel that holds exactly ``desired``."""
    return {
        key: ServiceState(
            service=wanted.service,
            destinations={d.key: DestinationState(destination=d) for d in wanted.destinations},
        )
        for key, wanted in desired.items()
    }


def written(table: Table) -> dict[ServiceKey, tuple[Service, frozenset[Destination]]]:
    """A table without what only the kernel writes, for comparison."""
    return {
        key: (state.service, frozenset(d.destination for d in state.destinations.values()))
        for key, state in table.items()
    }


def carry_out(
    table: Table, operations: Iterable[Operation], after_each: Callable[[Table], None] = lambda _: None
) -> None:
    """Do to ``table`` what the kernel would do."""
    for operation in operations:
        _carry_out(table, operation)
        after_each(table)


def _carry_out(table: Table, operation: Operation) -> None:
    if isinstance(operation, AddService):
        if operation.service.key in table:
            raise Refused(f"EEXIST: {operation}")
        table[operation.service.key] = ServiceState(service=operation.service)
        return
    key = operation.service.key if isinstance(operation, EditService) else operation.key
    if key not in table:
        raise Refused(f"ESRCH: {operation}")
    state = table[key]
    match operation:
        case EditService(service):
            state.service = service
        case RemoveService():
            del table[key]
        case AddDestination(_, destination):
            if destination.key in state.destinations:
                raise Refused(f"EEXIST: {operation}")
            state.destinations[destination.key] = DestinationState(destination=destination)
        case EditDestination(_, destination):
            if destination.key not in state.destinations:
                raise Refused(f"ENOENT: {operation}")
            state.destinations[destination.key] = DestinationState(destination=destination)
        case RemoveDestination(_, place):
            if place not in state.destinations:
                raise Refused(f"ENOENT: {operation}")
            del state.destinations[place]


# Few values each, so that two tables often meet in a key.

keys = st.one_of(
    st.builds(
        ServiceKey.of,
        st.sampled_from(Protocol),
        st.sampled_from([IPv4Address("10.0.0.1"), IPv4Address("10.0.0.2"), IPv6Address("fd00::1")]),
        st.sampled_from([0, 80]),
    ),
    st.builds(ServiceKey.of_fwmark, st.integers(1, 2), st.sampled_from([AF_INET, AF_INET6])),
)

destinations = st.builds(
    Destination,
    address=st.sampled_from([IPv4Address("10.1.0.1"), IPv4Address("10.1.0.2"), IPv6Address("fd00::a")]),
    port=st.sampled_from([80, 8080]),
    method=st.sampled_from([ForwardingMethod.MASQ, ForwardingMethod.DROUTE, ForwardingMethod.TUNNEL]),
    weight=st.integers(0, 3),
    upper_threshold=st.sampled_from([0, 100]),
)


def services(key: ServiceKey) -> st.SearchStrategy[Service]:
    return st.builds(
        Service,
        key=st.just(key),
        scheduler=st.sampled_from(["rr", "wlc", "mh"]),
        flags=st.sampled_from([ServiceFlags.NONE, ServiceFlags.ONE_PACKET, ServiceFlags.SCHED_1]),
        persistence_timeout_s=st.sampled_from([None, 300]),
        netmask=st.sampled_from([None, 24]),
        pe_name=st.sampled_from([None, "sip"]),
    )


@st.composite
def tables(draw: st.DrawFn) -> DesiredTable:
    """Up to five services with up to six destinations each."""
    return {
        key: DesiredService(
            service=draw(services(key)),
            destinations=tuple(draw(st.lists(destinations, max_size=6, unique_by=lambda d: d.key))),
        )
        for key in draw(st.lists(keys, max_size=5, unique=True))
    }
