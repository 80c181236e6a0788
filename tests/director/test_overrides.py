"""What an operator orders stands against health and configuration, by one rule."""

from dataclasses import replace
from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvsha.checker.pool import OnFailure
from lvsha.core.instant import SECOND
from lvsha.director.overrides import (
    LIMIT,
    Override,
    OverrideExpired,
    OverrideKind,
    OverrideRefused,
    Overrides,
    Target,
    find_target,
)
from tests.director.operated import WALL, Bench, realserver, service, settings

TWO = settings(service("web", realserver(11), realserver(12)), service("api", realserver(11), port=81))


def running(wanted: object = TWO) -> Bench:
    bench = Bench(wanted)  # type: ignore[arg-type]
    bench.advance(3 * SECOND)
    return bench


def test_a_weight_that_is_ordered_stands_where_the_configured_one_stood() -> None:
    bench = running()

    bench.order("weight", "web/rs11", weight=30)

    assert bench.weights() == {"rs11": 30, "rs12": 10}
    assert bench.weights("api") == {"rs11": 10}


def test_a_realserver_that_is_named_alone_is_meant_in_every_service() -> None:
    bench = running()

    bench.order("disable", "10.0.0.11")

    assert bench.weights() == {"rs11": 0, "rs12": 10}
    assert bench.weights("api") == {"rs11": 0}


def test_a_whole_service_can_be_drained() -> None:
    bench = running()

    bench.order("drain", "web")

    assert bench.weights() == {"rs11": 0, "rs12": 0}
    assert bench.weights("api") == {"rs11": 10}


def test_the_narrowest_weight_counts() -> None:
    bench = running()

    bench.order("weight", "web/rs11", weight=30)
    bench.order("weight", "rs11", weight=20)
    bench.order("weight", "web", weight=5)

    assert bench.weights() == {"rs11": 30, "rs12": 5}
    assert bench.weights("api") == {"rs11": 20}


def test_taking_it_back_leaves_nothing_behind() -> None:
    bench = running()
    before = {name: bench.weights(name) for name in ("web", "api")}

    bench.order("weight", "web/rs11", weight=30)
    bench.order("disable", "rs11")
    bench.take_back("disable", "rs11")
    bench.take_back("weight", "web/rs11")

    assert {name: bench.weights(name) for name in ("web", "api")} == before
    assert len(bench.director.overrides) == 0


def test_a_realserver_that_a_reload_adds_is_found_drained() -> None:
    bench = running()
    bench.order("disable", "10.0.0.12")

    more = settings(*TWO.services[:1], service("api", realserver(11), realserver(12), port=81))
    bench.take(bench.director.reconfigure(more, bench.now))
    bench.advance(3 * SECOND)

    assert bench.weights("api") == {"rs11": 10, "rs12": 0}


def test_an_order_that_is_over_ends_by_itself() -> None:
    bench = running()
    bench.order("disable", "rs12", expires_at=bench.at + 10)

    bench.advance(9 * SECOND)
    assert bench.weights()["rs12"] == 0

    bench.advance(2 * SECOND)
    assert bench.weights()["rs12"] == 10
    assert any(isinstance(event, OverrideExpired) for event in bench.events)


def test_the_next_process_begins_with_what_stood() -> None:
    standing = Override(kind=OverrideKind.DISABLE, target=Target(realserver="rs12"), owner="root")
    bench = Bench(TWO)

    bench.director = type(bench.director)(TWO, random=lambda: 0.5, actual={})
    bench.take(bench.director.start(bench.now, at=WALL, overrides=[standing]))
    bench.advance(3 * SECOND)

    assert bench.weights() == {"rs11": 10, "rs12": 0}


def test_out_stays_in_the_table_where_a_failure_would_remove() -> None:
    """A drain never cuts the connections that it waits for."""
    bench = running(settings(service("web", realserver(11), realserver(12), on_failure=OnFailure.REMOVE)))
    bench.order("drain", "rs12", deadline_at=bench.at + 1000)
    bench.connections["10.0.0.12"] = 5
    bench.dead.add(IPv4Address("10.0.0.12"))

    bench.advance(5 * SECOND)

    assert bench.weights() == {"rs11": 10, "rs12": 0}


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("web", Target(service="web")),
        ("10.0.0.100:81", Target(service="api")),
        ("TCP 10.0.0.100:80", Target(service="web")),
        ("rs11", Target(realserver="rs11")),
        ("10.0.0.11:80", Target(realserver="10.0.0.11:80")),
        ("web/10.0.0.11", Target(service="web", realserver="rs11")),
        ("10.0.0.100:81/rs11", Target(service="api", realserver="rs11")),
    ],
)
def test_what_a_target_may_be_called(text: str, target: Target) -> None:
    assert find_target(text, TWO.services) == target


def test_a_target_that_is_not_there_or_is_several_is_refused() -> None:
    named_alike = settings(service("rs11", realserver(11)), service("web", realserver(11), port=81))

    with pytest.raises(OverrideRefused, match="there is no service or realserver"):
        find_target("rs99", TWO.services)
    with pytest.raises(OverrideRefused, match="SERVICE/REALSERVER"):
        find_target("rs11", named_alike.services)


@pytest.mark.parametrize(
    "override",
    [
        Override(kind=OverrideKind.WEIGHT, target=Target(service="web")),
        Override(kind=OverrideKind.WEIGHT, target=Target(service="web"), weight=65536),
        Override(kind=OverrideKind.WEIGHT, target=Target(service="web"), weight=-1),
        Override(kind=OverrideKind.DRAIN, target=Target()),
        Override(kind=OverrideKind.PAUSE, target=Target(service="web")),
    ],
)
def test_what_makes_no_sense_is_refused(override: Override) -> None:
    bench = running()

    with pytest.raises(OverrideRefused):
        bench.director.order(override, bench.now, at=bench.at)

    assert len(bench.director.overrides) == 0


def test_their_number_is_bounded() -> None:
    overrides, now = Overrides(), Bench(TWO).now
    override = Override(kind=OverrideKind.DISABLE, target=Target(realserver="x"), owner="o" * 9999)
    for number in range(LIMIT):
        overrides.set(replace(override, target=Target(realserver=str(number))), now, at=WALL)

    with pytest.raises(OverrideRefused, match="take some back"):
        overrides.set(override, now, at=WALL)

    assert len(overrides) == LIMIT
    assert all(len(each.owner) <= 200 for each in overrides)


orders = st.lists(
    st.tuples(
        st.sampled_from(["weight", "drain", "disable", "maintenance"]),
        st.sampled_from(["web", "rs11", "web/rs11", "web/rs12", "api"]),
        st.integers(0, 50),
    ),
    max_size=5,
)


@given(orders=orders, dead=st.sets(st.sampled_from([11, 12])))
def test_the_weight_in_force_is_the_least_of_what_order_and_health_allow(
    orders: list[tuple[str, str, int]], dead: set[int]
) -> None:
    """Ordered out or down: 0. Else the base, which is the operator's or the configured one."""
    bench = running()
    bench.connections = {"10.0.0.11": 1, "10.0.0.12": 1}
    bench.dead = {IPv4Address(f"10.0.0.{number}") for number in dead}
    for kind, target, weight in orders:
        bench.order(kind, target, weight=weight if kind == "weight" else None)
    bench.advance(4 * SECOND)

    names = {"web", "rs11", "rs12", "web/rs11", "web/rs12", "api"}
    for name, members in (("web", (11, 12)), ("api", (11,))):
        for number in members:
            mine = {name, f"rs{number}", f"{name}/rs{number}"} & names
            out = any(kind != "weight" and target in mine for kind, target, _ in orders)
            bases = [weight for kind, target, weight in orders if kind == "weight" and target in mine]
            allowed = [0] if out or number in dead else bases or [10]
            assert bench.weights(name)[f"rs{number}"] in allowed
