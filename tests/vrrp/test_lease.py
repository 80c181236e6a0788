"""Addresses on a lease."""

from ipaddress import IPv4Interface
from itertools import pairwise

import pytest

from lvsha.core.instant import SECOND, Instant, after
from lvsha.vrrp.lease import RENEWALS, SLICE, Leases
from lvsha.vrrp.outputs import RenewAddresses
from lvsha.vrrp.settings import Prefix
from tests.vrrp.routers import VIPS

LEASE = 3 * SECOND
START = Instant(10 * SECOND)
MANY: tuple[Prefix, ...] = tuple(IPv4Interface((f"10.1.{n // 250}.{1 + n % 250}", 16)) for n in range(1000))


def renewals(leases: Leases, until: Instant) -> list[tuple[Instant, RenewAddresses]]:
    found = []
    while leases.deadline is not None and leases.deadline <= until:
        now = leases.deadline
        for output in leases.on_deadline(now):
            assert isinstance(output, RenewAddresses)
            found.append((now, output))
    return found


def test_what_is_held_is_renewed_four_times_a_lease() -> None:
    leases = Leases()
    leases.hold("r", VIPS, LEASE, START)

    found = renewals(leases, after(START, LEASE))

    assert [now - START for now, _ in found] == [LEASE // RENEWALS * n for n in range(1, RENEWALS + 1)]
    assert {output for _, output in found} == {RenewAddresses("r", VIPS, LEASE)}


def test_what_is_held_no_more_is_not_renewed() -> None:
    leases = Leases()
    leases.hold("r", VIPS, LEASE, START)

    leases.hold("r", (), LEASE, START)

    assert leases.deadline is None


def test_for_ever_needs_no_renewal() -> None:
    leases = Leases()
    leases.hold("r", VIPS, LEASE, START)

    leases.hold("r", VIPS, 0, START)

    assert leases.deadline is None


def test_holding_again_puts_nothing_off() -> None:
    """Every output of a router says what it holds; adverts every 10 ms must not starve a lease."""
    leases = Leases()
    leases.hold("r", VIPS, LEASE, START)
    before = leases.deadline

    leases.hold("r", VIPS, LEASE, after(START, LEASE // 8))

    assert leases.deadline == before


@pytest.mark.parametrize("count", [1, SLICE, SLICE + 1, 1000])
def test_many_addresses_are_renewed_in_slices_each_of_them_in_time(count: int) -> None:
    leases = Leases()
    leases.hold("r", MANY[:count], LEASE, START)
    last = dict.fromkeys(MANY[:count], START)
    longest = 0

    for now, output in renewals(leases, after(START, 5 * LEASE)):
        assert len(output.addresses) <= SLICE
        for address in output.addresses:
            longest = max(longest, now - last[address])
            last[address] = now

    assert longest <= LEASE // RENEWALS
    assert min(last.values()) > START


def test_a_router_does_not_starve_another() -> None:
    leases = Leases()
    leases.hold("many", MANY, LEASE, START)
    leases.hold("r", VIPS, LEASE, START)

    found = renewals(leases, after(START, LEASE // RENEWALS))

    assert {output.router for _, output in found} == {"many", "r"}


def test_routers_of_few_addresses_are_renewed_in_step_and_none_of_them_later() -> None:
    leases = Leases()
    names = [f"r{number}" for number in range(20)]
    for number, name in enumerate(names):
        leases.hold(name, VIPS, LEASE, after(START, number * LEASE // RENEWALS // 20))

    found = renewals(leases, after(START, 10 * LEASE))

    moments = sorted({now for now, _ in found})
    assert len([now for now in moments if now > after(START, 3 * LEASE)]) <= 5 * 7 * RENEWALS
    for name in names:
        mine = [now for now, order in found if order.router == name]
        assert max(later - sooner for sooner, later in pairwise(mine)) <= LEASE // RENEWALS
