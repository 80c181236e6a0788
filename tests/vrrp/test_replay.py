"""No advert is taken twice, and no wrong clock keeps directors apart for long."""

from ipaddress import IPv4Address

import pytest

from lvsha.core.errors import DecodeError, DropReason
from lvsha.core.instant import SECOND, Instant
from lvsha.vrrp.replay import FRESH_S, SENDERS, ReplayGuard

YEAR_2027 = 1_800_000_000_000_000
A, B = IPv4Address("10.0.0.1"), IPv4Address("10.0.0.2")


def guard(wall: int = YEAR_2027, *, now: int = 0, last: int = 0) -> ReplayGuard:
    return ReplayGuard(wall=wall, now=Instant(now), last=last)


def hear(by: ReplayGuard, number: int, *, now: int = 0, source: IPv4Address = A, key: bytes = b"k") -> None:
    by.check(interface="eth0", vrid=51, source=source, key_id=key, number=number, now=Instant(now))


def refused(by: ReplayGuard, number: int, *, now: int = 0) -> DropReason:
    with pytest.raises(DecodeError) as caught:
        hear(by, number, now=now)
    return caught.value.reason


def test_a_number_is_taken_once_and_no_smaller_one_after_it() -> None:
    one = guard()
    hear(one, YEAR_2027 + 5)

    assert refused(one, YEAR_2027 + 5) is DropReason.REPLAYED
    assert refused(one, YEAR_2027 + 4) is DropReason.REPLAYED
    hear(one, YEAR_2027 + 6)


def test_each_sender_key_and_router_has_its_own_numbers() -> None:
    one = guard()
    hear(one, YEAR_2027 + 5)

    hear(one, YEAR_2027 + 5, source=B)
    hear(one, YEAR_2027 + 5, key=b"other")


def test_who_has_just_started_takes_nothing_that_is_a_minute_old() -> None:
    one = guard()

    assert refused(one, YEAR_2027 - FRESH_S * 1_000_000) is DropReason.STALE
    hear(one, YEAR_2027 - FRESH_S * 1_000_000 + 1)


def test_a_known_sender_may_be_as_late_as_it_likes() -> None:
    """Our own machine stood still, or its clock runs faster: that must not make two MASTERs."""
    one = guard()
    hear(one, YEAR_2027)

    hear(one, YEAR_2027 + 1, now=3600 * SECOND)


def test_numbers_grow_with_time_and_within_an_instant() -> None:
    one = guard()

    numbers = [one.next(Instant(now)) for now in (0, 0, 1000, 1000 * SECOND)]

    assert numbers == [YEAR_2027, YEAR_2027 + 1, YEAR_2027 + 2, YEAR_2027 + 1_000_000_000]


def test_a_new_life_begins_past_the_old_one_even_if_the_clock_was_set_back() -> None:
    one = guard(wall=5, last=YEAR_2027)

    assert one.next(Instant(0)) > YEAR_2027


def test_a_restart_does_not_open_a_window_for_what_was_heard_before() -> None:
    before = guard()
    hear(before, YEAR_2027 + 5_000_000)

    after = guard(last=before.last)

    assert refused(after, YEAR_2027 + 5_000_000) is DropReason.STALE
    hear(after, YEAR_2027 + 5_000_001)


def test_a_lost_clock_catches_up_with_the_first_advert_heard() -> None:
    """Rebooted without a clock: the others remember its old numbers and would take none of 1970's."""
    lost, other = guard(wall=0), guard()
    hear(other, lost_before := YEAR_2027 - 1, source=B)

    hear(lost, other.next(Instant(0)))

    assert lost.next(Instant(0)) > lost_before


def test_a_clock_that_runs_ahead_is_caught_up_with() -> None:
    ahead, other = guard(wall=YEAR_2027 + 3600_000_000), guard()
    assert refused(ahead, other.next(Instant(0))) is DropReason.STALE

    hear(other, ahead.next(Instant(0)), source=B)

    hear(ahead, other.next(Instant(0)))


def test_a_refused_number_changes_nothing() -> None:
    one = guard()

    assert refused(one, (1 << 63)) is DropReason.STALE

    assert one.next(Instant(0)) == YEAR_2027


def test_what_is_remembered_is_bounded() -> None:
    one = guard()
    for number in range(SENDERS + 1):
        hear(one, YEAR_2027 + 5, source=IPv4Address(number + 1))

    hear(one, YEAR_2027 + 5, source=IPv4Address(1))  # forgotten, and fresh
    with pytest.raises(DecodeError):
        hear(one, YEAR_2027 + 5, source=IPv4Address(3))
