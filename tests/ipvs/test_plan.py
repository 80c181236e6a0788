"""``plan``: reaches the desired table from any, by the fewest operations, in a harmless order."""

from dataclasses import replace
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvsha.ipvs.model import (
    AddDestination,
    AddService,
    DesiredService,
    DesiredTable,
    Destination,
    EditDestination,
    EditService,
    Operation,
    Protocol,
    RemoveDestination,
    RemoveService,
    Service,
    ServiceKey,
    Table,
)
from lvsha.ipvs.plan import plan
from tests.ipvs.table_model import carry_out, copy_of, keys, table_of, tables, written

NOTHING: frozenset[ServiceKey] = frozenset()
WEB = ServiceKey.of(Protocol.TCP, ip_address("10.0.0.1"), 80)


def rs(number: int, weight: int = 1) -> Destination:
    return Destination(address=ip_address(f"10.1.0.{number}"), port=80, weight=weight)


def web(*destinations: Destination, scheduler: str = "wlc") -> DesiredTable:
    return {WEB: DesiredService(service=Service(key=WEB, scheduler=scheduler), destinations=destinations)}


def ours(desired: DesiredTable, actual: Table) -> tuple[Operation, ...]:
    return plan(desired, actual, exclusive=False, owned=NOTHING)


@given(desired=tables(), actual=tables(), exclusive=st.booleans(), owned=st.frozensets(keys))
def test_any_table_becomes_the_desired_one(
    desired: DesiredTable, actual: DesiredTable, exclusive: bool, owned: frozenset[ServiceKey]
) -> None:
    """No operation is refused on the way; foreign services end as they were; the second plan is empty."""
    table = table_of(actual)

    carry_out(table, plan(desired, table, exclusive=exclusive, owned=owned))

    foreign = {
        key: value
        for key, value in written(table_of(actual)).items()
        if key not in desired and key not in owned and not exclusive
    }
    assert written(table) == written(table_of(desired)) | foreign
    assert plan(desired, table, exclusive=exclusive, owned=owned) == ()


@given(desired=tables(), actual=tables(), data=st.data())
def test_a_plan_cut_short_is_finished_by_the_next(
    desired: DesiredTable, actual: DesiredTable, data: st.DataObject
) -> None:
    table = table_of(actual)
    operations = plan(desired, table, exclusive=True, owned=NOTHING)
    cut = data.draw(st.integers(0, len(operations)))

    carry_out(table, operations[:cut])
    rest = plan(desired, table, exclusive=True, owned=NOTHING)
    carry_out(table, rest)

    assert written(table) == written(table_of(desired))
    assert len(rest) == len(operations) - cut


@given(desired=tables(), actual=tables())
def test_every_operation_is_needed(desired: DesiredTable, actual: DesiredTable) -> None:
    """One per thing that differs, and at most one per thing."""
    table = table_of(actual)

    operations = plan(desired, table, exclusive=True, owned=NOTHING)

    differing = 0
    for key in desired.keys() | table.keys():
        if key not in table:
            differing += 1 + len(desired[key].destinations)
        elif key not in desired:
            differing += 1  # its destinations go with it
        else:
            before = {d.destination.key: d.destination for d in table[key].destinations.values()}
            after = {d.key: d for d in desired[key].destinations}
            differing += desired[key].service != table[key].service
            differing += sum(before.get(place) != after.get(place) for place in before.keys() | after.keys())
    assert len(operations) == differing


@given(desired=tables(), actual=tables())
def test_no_service_passes_through_less_capacity_than_before_or_after(
    desired: DesiredTable, actual: DesiredTable
) -> None:
    table = table_of(actual)
    capacity = {key: sum(d.weight for d in wanted.destinations) for key, wanted in actual.items()}
    least = {
        key: min(capacity[key], sum(d.weight for d in wanted.destinations))
        for key, wanted in desired.items()
        if key in actual
    }

    def enough(now: Table) -> None:
        for key, floor in least.items():
            assert sum(d.destination.weight for d in now[key].destinations.values()) >= floor

    carry_out(table, plan(desired, table, exclusive=True, owned=NOTHING), enough)


@given(actual=tables(), desired=tables())
def test_plan_changes_neither_table(actual: DesiredTable, desired: DesiredTable) -> None:
    table = table_of(actual)
    before = copy_of(table)

    plan(desired, table, exclusive=True, owned=NOTHING)

    assert table == before


def test_a_weight_alone_is_one_edit() -> None:
    actual = table_of(web(rs(1), rs(2)))

    assert ours(web(rs(1), rs(2, weight=0)), actual) == (EditDestination(WEB, rs(2, weight=0)),)


def test_a_scheduler_alone_is_one_edit_of_the_service() -> None:
    actual = table_of(web(rs(1)))
    wanted = web(rs(1), scheduler="mh")

    assert ours(wanted, actual) == (EditService(wanted[WEB].service),)


def test_a_replaced_destination_comes_before_the_old_one_goes() -> None:
    assert ours(web(rs(2)), table_of(web(rs(1)))) == (
        AddDestination(WEB, rs(2)),
        RemoveDestination(WEB, rs(1).key),
    )


def test_weights_grow_before_they_shrink() -> None:
    operations = ours(web(rs(1, 0), rs(2, 1)), table_of(web(rs(1, 1), rs(2, 0))))

    assert operations == (EditDestination(WEB, rs(2, 1)), EditDestination(WEB, rs(1, 0)))


def test_a_service_that_changes_its_key_serves_anew_before_the_old_one_goes() -> None:
    moved_key = replace(WEB, port=8080)
    moved = {moved_key: DesiredService(service=Service(key=moved_key), destinations=(rs(1),))}

    operations = plan(moved, table_of(web(rs(1))), exclusive=False, owned=frozenset({WEB}))

    assert operations == (
        AddService(Service(key=moved_key)),
        AddDestination(moved_key, rs(1)),
        RemoveService(WEB),
    )


def test_foreign_services_stay_unless_the_table_is_ours_alone() -> None:
    actual = table_of(web(rs(1)))

    assert plan({}, actual, exclusive=False, owned=NOTHING) == ()
    assert plan({}, actual, exclusive=True, owned=NOTHING) == (RemoveService(WEB),)


def test_a_service_that_was_there_before_us_is_taken_over_by_edits() -> None:
    """A restart adopts what it finds: nothing is removed and made again."""
    assert ours(web(rs(1)), table_of(web(rs(1), rs(9)))) == (RemoveDestination(WEB, rs(9).key),)


def test_two_destinations_of_one_key_are_a_bug_of_the_caller() -> None:
    with pytest.raises(AssertionError, match="one destination of a key"):
        ours(web(rs(1), rs(1, weight=5)), {})
