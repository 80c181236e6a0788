"""What is tracked, and routers that go together."""

from typing import Any

import pytest

from lvsha.core.instant import SECOND, Instant, after
from lvsha.vrrp.group import fault, may_take_over
from lvsha.vrrp.router import VirtualRouter
from lvsha.vrrp.track import Debounce, Judgement, SteadyLink, TrackKind, TrackSettings, judge
from lvsha.vrrp.transitions import State
from tests.vrrp.routers import ADVERT, DOWN, backup, due, fire, hear, kinds, pass_time


def track(target: str = "eth1", **changes: Any) -> TrackSettings:
    return TrackSettings(**({"kind": TrackKind.INTERFACE, "target": target} | changes))


@pytest.mark.parametrize(
    ("weight", "up", "offset"),
    [(-50, True, 0), (-50, False, -50), (50, True, 50), (50, False, 0)],
)
def test_a_weight_counts_while_its_sign_says_so(weight: int, up: bool, offset: int) -> None:
    one = track(weight=weight)

    assert judge([one], {one.key: up}) == Judgement(offset, "")


def test_weights_add_up() -> None:
    tracks = [track("eth1", weight=-50), track("eth2", weight=-20), track("eth3", weight=10)]

    assert judge(tracks, {each.key: False for each in tracks}).offset == -70


def test_without_a_weight_down_is_a_fault_that_says_what() -> None:
    tracks = [track("eth1"), track("web", kind=TrackKind.SERVICE), track("eth2")]

    assert judge(tracks, {tracks[1].key: False}) == Judgement(0, "tracked service web down")


def test_what_nobody_has_looked_at_is_up() -> None:
    """directord has just been restarted: no reason to give the role up."""
    assert judge([track(), track("eth2", weight=-50), track("eth3", weight=50)], {}) == Judgement(50, "")


def test_scripts_are_told_apart_by_their_arguments() -> None:
    one = track("/bin/ok", kind=TrackKind.SCRIPT, command=("/bin/ok", "a"))
    other = track("/bin/ok", kind=TrackKind.SCRIPT, command=("/bin/ok", "b"))

    assert one.key != other.key


def test_the_first_look_counts_at_once_and_later_ones_in_a_row() -> None:
    debounce = Debounce(rise=3, fall=2)

    looks = [True, False, True, False, False, True, True, False, True, True, True]

    assert [debounce.look(good) for good in looks] == [
        *[True, True, True, True, False],
        *[False, False, False, False, False, True],
    ]


# Groups


def pair() -> tuple[VirtualRouter, VirtualRouter]:
    one, other = backup(), backup()
    one.group, other.group = (other,), (one,)
    return one, other


def test_a_member_does_not_take_over_while_another_hears_a_master() -> None:
    """One network is cut, the other is not: the group stays where it is."""
    one, other = pair()
    now = Instant(0)
    while now < 10 * DOWN:
        now = after(now, ADVERT)
        hear(other, 200, now)
        if one.deadline is not None and one.deadline <= now:
            assert not pass_time(one, now)

    assert one.state is State.BACKUP


def test_members_take_over_together_when_none_hears_a_master() -> None:
    one, other = pair()
    hear(other, 200, Instant(ADVERT // 2))

    assert not fire(one)
    assert kinds(fire(other))[-1] == "BecameMaster"
    assert kinds(fire(one))[-1] == "BecameMaster"
    assert due(one) - due(other) <= ADVERT


def test_an_advert_takes_a_members_claim_back() -> None:
    one, other = pair()
    fire(one)
    hear(one, 200, Instant(DOWN + 1))

    assert not fire(other)
    assert other.state is State.BACKUP


def test_a_member_that_cannot_work_is_not_waited_for() -> None:
    one, other = pair()
    other.set_interface(False, None, Instant(1))

    assert may_take_over(one.group)


def test_a_fault_of_one_member_is_a_fault_of_all() -> None:
    members = ["inside", "outside"]
    faults = {"inside": "eth1 is down", "outside": ""}

    assert fault("outside", members, faults) == "inside of its group cannot work: eth1 is down"
    assert not fault("inside", members, faults)


def test_a_link_counts_as_it_is_at_the_first_look() -> None:
    assert not SteadyLink(up_delay=SECOND, down_delay=SECOND).look(False, Instant(0))


def test_a_link_that_flaps_stays_down_until_it_has_stayed_up() -> None:
    link = SteadyLink(up_delay=2 * SECOND, down_delay=0)
    link.look(True, Instant(0))

    seen = [
        link.look(up, Instant(at * SECOND)) for at, up in enumerate([False, True, False, True, True, True], 1)
    ]

    assert seen == [False, False, False, False, False, True]
    assert link.deadline is None


def test_a_link_that_goes_for_a_moment_was_never_gone() -> None:
    link = SteadyLink(up_delay=0, down_delay=SECOND)
    link.look(True, Instant(0))

    seen = [
        (link.look(up, Instant(now)), link.deadline)
        for up, now in [(False, 1), (True, 2), (False, 3), (False, SECOND + 3)]
    ]

    assert seen == [(True, SECOND + 1), (True, None), (True, SECOND + 3), (False, None)]
