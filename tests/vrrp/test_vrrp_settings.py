from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface
from typing import Any

import pytest

from lvsha.core.instant import MILLISECOND, SECOND, Instant
from lvsha.vrrp.complaints import QUIET, Complaints
from lvsha.vrrp.settings import problems
from lvsha.vrrp.timers import master_down_interval, skew_time
from tests.vrrp.routers import VIPS, VIPS6, settings

MANY = tuple(IPv4Interface((10 << 24) + number) for number in range(256))


def test_defaults_have_no_problem() -> None:
    assert list(problems(settings())) == []
    assert list(problems(settings(family=6, addresses=VIPS6))) == []


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"vrid": 0}, "vrid"),
        ({"vrid": 256}, "vrid"),
        ({"version": 4}, "version"),
        ({"advert_interval": 5 * MILLISECOND}, "advert_interval"),
        ({"advert_interval": 105 * MILLISECOND}, "advert_interval"),
        ({"advert_interval": 41 * SECOND}, "advert_interval"),
        ({"addresses": ()}, "addresses"),
        ({"addresses": MANY}, "addresses"),
        ({"addresses": (*VIPS, VIPS[0])}, "addresses"),
        ({"excluded_addresses": VIPS[:1]}, "addresses"),
        ({"unicast_peers": (IPv6Address("::1"),)}, "unicast_peers"),
        ({"source_address": IPv6Address("::1")}, "source_address"),
        ({"password": "secret"}, "password"),
        ({"version": 2, "advert_interval": SECOND, "password": "ninebytes"}, "password"),
        ({"min_ttl": 0}, "min_ttl"),
        ({"priority": 255, "preempts": False}, "preempts"),
        ({"vmac_interface": "a" * 16}, "vmac_interface"),
        ({"vmac_interface": settings().interface}, "vmac_interface"),
    ],
    ids=str,
)
def test_what_cannot_work_is_named(changes: dict[str, Any], field: str) -> None:
    assert [problem.field for problem in problems(settings(**changes))] == [field]


@pytest.mark.parametrize(
    "changes",
    [
        {"advert_interval": 10 * MILLISECOND},
        {"advert_interval": 40_950 * MILLISECOND},
        {"addresses": MANY[:255]},
        {"excluded_addresses": (IPv6Interface("fe80::1/64"),)},
        {"unicast_peers": (IPv4Address("10.0.0.1"),)},
        {"priority": 255},
    ],
    ids=lambda changes: ", ".join(changes),
)
def test_what_can_work_is_left_alone(changes: dict[str, Any]) -> None:
    assert list(problems(settings(**changes))) == []


def test_a_password_does_not_show() -> None:
    assert "secret" not in repr(settings(password="secret"))


def test_down_intervals_are_those_that_keepalived_users_know() -> None:
    """3.609 s at priority 100 and 1 s; 361 ms at 100 ms; 36 ms at 10 ms."""

    def of(interval: int, version: int = 3) -> float:
        down = master_down_interval(version=version, priority=100, master_advert_interval=interval)
        return down / SECOND

    assert of(SECOND, version=2) == of(SECOND) == pytest.approx(3.609, abs=1e-3)
    assert of(100 * MILLISECOND) == pytest.approx(0.361, abs=1e-3)
    assert of(10 * MILLISECOND) == pytest.approx(0.036, abs=1e-3)


def test_a_higher_priority_waits_less() -> None:
    waits = [
        skew_time(version=3, priority=priority, master_advert_interval=SECOND) for priority in range(1, 256)
    ]

    assert waits == sorted(waits, reverse=True)
    assert len(set(waits)) == 255


def test_complaints_are_told_at_powers_of_ten_and_again_after_quiet() -> None:
    complaints = Complaints()

    told = [count for now in range(1000) if (count := complaints.count("a", Instant(now)))]
    again = complaints.count("a", Instant(1000 + QUIET))

    assert told == [1, 10, 100, 1000]
    assert again == 1
    assert complaints.totals() == {"a": 1001}


def test_addresses_are_bound_to_the_interface_of_the_virtual_mac() -> None:
    assert settings().bound_interface == settings().interface
    assert settings(vmac_interface="vrrp.51").bound_interface == "vrrp.51"
