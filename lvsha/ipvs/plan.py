"""From what the kernel holds to what it should hold, by the fewest operations.

Level-triggered: ``plan`` looks at two tables and remembers nothing, so it repairs
what somebody else changed, adopts a running table at a restart, and carries out a
reload, all by the same call. On its own result it is empty.

Order, so that clients notice as little as possible:

1. Services that exist are edited in place, never removed and made again: their
   counters, destinations and persistence templates stay.
2. Within a service destinations are added first, then edited (those whose weight
   grows before those whose weight shrinks), then removed: a service never has
   less capacity on the way than the smaller of its old and new, and none is empty
   in between unless it was or will be.
3. A new service is followed at once by its destinations.
4. Services are removed last: if an address moves to another key (a port of 0, a
   firewall mark), the new one serves before the old one goes.

What an operator made by hand is left alone unless the table is ours alone
(``exclusive``); destinations of our services are always ours.
"""

from collections.abc import Iterator
from itertools import chain

from lvsha.ipvs.model import (
    AddDestination,
    AddService,
    DesiredService,
    DesiredTable,
    Destination,
    DestinationKey,
    EditDestination,
    EditService,
    Operation,
    RemoveDestination,
    RemoveService,
    ServiceKey,
    ServiceState,
    Table,
)


def plan(
    desired: DesiredTable, actual: Table, *, exclusive: bool, owned: frozenset[ServiceKey]
) -> tuple[Operation, ...]:
    """The operations that make ``actual`` hold ``desired``, in order.

    Args:
        desired: what should be there of ours.
        actual: a dump.
        exclusive: remove every service that is not desired, whoever made it.
        owned: services that we made, so that those no longer desired are removed.
            Without it a service that is not desired is somebody else's.
    """
    return tuple(chain.from_iterable(plan_in_parts(desired, actual, exclusive=exclusive, owned=owned)))


def plan_in_parts(
    desired: DesiredTable, actual: Table, *, exclusive: bool, owned: frozenset[ServiceKey]
) -> Iterator[list[Operation]]:
    """As ``plan``, service by service, for who has something else to do between."""
    for key, wanted in desired.items():
        assert wanted.service.key == key, "a service is filed under its own key"
        found = actual.get(key)
        if found is None:
            made: list[Operation] = [AddService(wanted.service)]
            made += [AddDestination(key, destination) for destination in _by_key(wanted).values()]
            yield made
        else:
            yield list(_change(wanted, found))
    doomed = actual.keys() - desired.keys()
    yield [RemoveService(key) for key in actual if key in doomed and (exclusive or key in owned)]


def _by_key(wanted: DesiredService) -> dict[DestinationKey, Destination]:
    destinations = {destination.key: destination for destination in wanted.destinations}
    assert len(destinations) == len(wanted.destinations), "a service has one destination of a key"
    return destinations


def _change(wanted: DesiredService, found: ServiceState) -> Iterator[Operation]:
    """From an existing service to the wanted one."""
    key = wanted.service.key
    if wanted.service != found.service:
        yield EditService(wanted.service)
    destinations = _by_key(wanted)
    growing: list[Destination] = []
    shrinking: list[Destination] = []
    for name, destination in destinations.items():
        state = found.destinations.get(name)
        if state is None:
            yield AddDestination(key, destination)
        elif state.destination != destination:
            grows = destination.weight > state.destination.weight
            (growing if grows else shrinking).append(destination)
    for destination in growing + shrinking:
        yield EditDestination(key, destination)
    for name in found.destinations:
        if name not in destinations:
            yield RemoveDestination(key, name)
