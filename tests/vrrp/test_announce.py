"""Announcing many addresses without making one advert late."""

import itertools
from collections import Counter
from ipaddress import IPv4Address, IPv6Address
from typing import Any

import pytest

from lvsha.core.addr import Address
from lvsha.core.instant import MILLISECOND, SECOND, Instant
from lvsha.core.machine import Output
from lvsha.vrrp.announce import BURST, MISSED, Announcer
from lvsha.vrrp.outputs import SendGratuitousArp, SendNeighborAdvertisement
from lvsha.vrrp.settings import GarpSettings
from lvsha.wire.arp import ArpForm

GARP = GarpSettings()


def addresses(count: int) -> tuple[Address, ...]:
    return tuple(IPv4Address((10 << 24) + number) for number in range(count))


def announce(announcer: Announcer, count: int, now: int = 0, **changes: Any) -> None:
    arguments: dict[str, Any] = {
        "router": "r",
        "interface": "eth0",
        "addresses": addresses(count),
        "rounds": 5,
        "garp": GARP,
        "now": Instant(now),
    }
    announcer.announce(**(arguments | changes))


def run(announcer: Announcer, until: int) -> list[tuple[Instant, list[Output]]]:
    """Call it exactly when it asks to be called."""
    bursts = []
    while announcer.deadline is not None and announcer.deadline <= until:
        now = announcer.deadline
        bursts.append((now, announcer.on_deadline(now)))
    return bursts


def test_an_address_is_announced_in_both_forms_at_once() -> None:
    announcer = Announcer()
    announce(announcer, 1)

    assert announcer.deadline == 0
    assert announcer.on_deadline(Instant(0)) == [
        SendGratuitousArp("eth0", IPv4Address("10.0.0.0"), ArpForm.REQUEST),
        SendGratuitousArp("eth0", IPv4Address("10.0.0.0"), ArpForm.REPLY),
    ]


def test_an_ipv6_address_is_announced_by_one_advertisement() -> None:
    announcer = Announcer()
    announce(announcer, 0, addresses=(IPv6Address("fe80::10"),))

    assert announcer.on_deadline(Instant(0)) == [SendNeighborAdvertisement("eth0", IPv6Address("fe80::10"))]


def test_rounds_come_at_the_interval_and_then_at_the_refresh() -> None:
    announcer = Announcer()
    announce(announcer, 1)

    at = [now for now, _ in run(announcer, 130 * SECOND)]

    half = SECOND // 2
    assert at == [0, half, 2 * half, 3 * half, 4 * half, 4 * half + 60 * SECOND, 4 * half + 120 * SECOND]


def test_without_refresh_it_ends_after_the_rounds() -> None:
    announcer = Announcer()
    announce(announcer, 1, garp=GarpSettings(refresh=0))

    assert len(run(announcer, 1000 * SECOND)) == 5
    assert len(announcer) == 0
    assert announcer.deadline is None


def test_500_addresses_are_announced_within_40_ms() -> None:
    announcer = Announcer()
    announce(announcer, 500)

    bursts = run(announcer, 100 * MILLISECOND)

    assert sum(len(outputs) for _, outputs in bursts) == 1000
    assert bursts[-1][0] <= 40 * MILLISECOND


def test_no_burst_is_longer_than_the_pace_and_none_comes_sooner() -> None:
    """So an advert that falls due waits for 64 frames at most, about a millisecond."""
    announcer = Announcer()
    announce(announcer, 5000)

    bursts = run(announcer, 60 * SECOND)

    assert max(len(outputs) for _, outputs in bursts) == GARP.packets_per_millisecond * 2
    starts = [now for now, _ in bursts]
    assert min(later - sooner for sooner, later in itertools.pairwise(starts)) >= BURST


def test_a_late_burst_makes_up_for_a_little_lateness_and_no_more() -> None:
    """A clock that ticks every 10 ms keeps the pace; a driver that was away for 10 s makes no storm."""
    announcer = Announcer()
    announce(announcer, 5000)
    rate = GARP.packets_per_millisecond

    assert len(announcer.on_deadline(Instant(0))) == rate * 2
    assert len(announcer.on_deadline(Instant(5 * MILLISECOND))) == rate * 5
    assert len(announcer.on_deadline(Instant(10 * SECOND))) == rate * (BURST + MISSED) // MILLISECOND
    assert announcer.on_deadline(Instant(10 * SECOND + 1)) == []
    assert announcer.deadline == 10 * SECOND + BURST


def test_every_address_is_told_in_one_form_before_any_in_the_other() -> None:
    announcer = Announcer()
    announce(announcer, 100, rounds=1)

    told = [
        (output.form, output.address)
        for _, outputs in run(announcer, SECOND)
        for output in outputs
        if isinstance(output, SendGratuitousArp)
    ]

    assert told == [(form, address) for form in GARP.forms for address in addresses(100)]


def test_every_address_gets_every_round() -> None:
    announcer = Announcer()
    announce(announcer, 300)

    sent = Counter(
        output.address
        for _, outputs in run(announcer, 10 * SECOND)
        for output in outputs
        if isinstance(output, SendGratuitousArp)
    )

    assert sent == Counter(dict.fromkeys(addresses(300), 10))


def test_a_storm_of_announcements_repeats_no_address_faster_than_the_interval() -> None:
    """A worse MASTER that advertises every 10 ms provokes one with every advert."""
    announcer = Announcer()
    sent: list[Instant] = []
    for step in range(300):
        now = Instant(step * 10 * MILLISECOND)
        announce(announcer, 1, now=now)
        sent += [at for at, _ in run(announcer, now)]

    assert sent == [Instant(number * GARP.interval) for number in range(6)]
    assert len(announcer) == 1


def test_an_announcement_in_the_refresh_phase_is_sent_at_once() -> None:
    announcer = Announcer()
    announce(announcer, 1)
    run(announcer, 10 * SECOND)

    announce(announcer, 1, now=10 * SECOND)

    assert announcer.deadline == 10 * SECOND


def test_adoption_announces_only_at_the_refresh() -> None:
    announcer = Announcer()
    announce(announcer, 2, rounds=0)

    assert announcer.deadline == GARP.refresh


def test_adoption_without_refresh_announces_nothing() -> None:
    announcer = Announcer()
    announce(announcer, 2, rounds=0, garp=GarpSettings(refresh=0))

    assert announcer.deadline is None


def test_what_is_stopped_is_sent_no_more_not_even_what_was_due() -> None:
    announcer = Announcer()
    announce(announcer, 100)
    announce(announcer, 2, router="other", addresses=addresses(102)[100:])
    announcer.on_deadline(Instant(0))

    announcer.stop(router="r", addresses=addresses(100))

    outputs = [output for _, burst in run(announcer, SECOND // 4) for output in burst]
    assert {output.address for output in outputs if isinstance(output, SendGratuitousArp)} == set(
        addresses(102)[100:]
    )


@pytest.mark.parametrize("count", [1, 100])
def test_starting_and_stopping_for_ever_does_not_grow(count: int) -> None:
    announcer = Announcer()
    for step in range(500):
        announce(announcer, count, now=step)
        announcer.stop(router="r", addresses=addresses(count))

    assert len(announcer) == 0
    assert len(announcer._queue) <= 64 + count


def test_two_routers_may_announce_the_same_address() -> None:
    """During a rename in the configuration; one stopping does not silence the other."""
    announcer = Announcer()
    announce(announcer, 1, router="old")
    announce(announcer, 1, router="new")
    announcer.stop(router="old", addresses=addresses(1))

    assert len(announcer) == 1
