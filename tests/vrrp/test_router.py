"""What a director's virtual router does beyond the RFCs: the rules at the top of ``vrrp.router``."""

import errno
from ipaddress import IPv4Interface
from typing import Any

import pytest

from lvsha.core.errors import StateError
from lvsha.core.instant import MILLISECOND, SECOND, Instant, after
from lvsha.vrrp.hearing import PATIENCE
from lvsha.vrrp.held import UNBIND_RETRY
from lvsha.vrrp.outputs import (
    ActionFailed,
    AddAddresses,
    AddressesRepaired,
    AdoptedAddresses,
    Announce,
    BecameBackup,
    BecameMaster,
    CatchUp,
    DuplicateMaster,
    EnteredFault,
    MasterChanged,
    PaceChanged,
    PriorityChanged,
    RanLate,
    Reason,
    Released,
    Releasing,
    RemoveAddresses,
    RenewAddresses,
    SendAdvertisement,
    StopAnnouncing,
)
from lvsha.vrrp.preemption import PENANCE
from lvsha.vrrp.router import GRANTS, VirtualRouter
from lvsha.vrrp.settings import GarpSettings
from lvsha.vrrp.steps import BIND_TIME, RETRY_FIRST
from lvsha.vrrp.transitions import Phase, State
from tests.vrrp.routers import (
    ADVERT,
    DOWN,
    HIGHER_PEER,
    LOWER_PEER,
    SKEW,
    US,
    VIPS,
    backup,
    due,
    fire,
    hear,
    idle,
    kinds,
    master,
    settings,
)

EXTRA = IPv4Interface("10.0.0.12/24")


def adopting() -> VirtualRouter:
    router = idle()
    router.start(Instant(0), held=True)
    return router


def releasing() -> VirtualRouter:
    router = master()
    router.release(due(router))
    return router


def faulty() -> VirtualRouter:
    """An address could not be bound."""
    router = master()
    router.on_action_failed(AddAddresses("r", VIPS), errno.EPERM, due(router))
    return router


# Reasons and times


def test_master_says_how_long_the_silence_was() -> None:
    router = backup()
    hear(router, 200, 70 * MILLISECOND)

    outputs = fire(router)

    assert outputs[-1] == BecameMaster("r", Reason.MASTER_DOWN, DOWN)


def test_master_after_a_planned_release_says_so() -> None:
    router = backup()
    hear(router, 200, 70 * MILLISECOND)
    hear(router, 0, 80 * MILLISECOND)

    assert fire(router)[-1] == BecameMaster("r", Reason.MASTER_LEFT, SKEW)


def test_master_that_preempted_says_so() -> None:
    router = backup()
    hear(router, 50, 300 * MILLISECOND)

    assert fire(router)[-1] == BecameMaster("r", Reason.PREEMPTED, DOWN - 300 * MILLISECOND)


def test_state_and_since_change_together() -> None:
    router = backup()
    fire(router)
    at = due(router)

    hear(router, 200, at)

    assert (router.state, router.since) == (State.BACKUP, at)


def test_backup_tells_when_it_follows_another_master() -> None:
    router = backup()

    first = hear(router, 200, 1)
    same = hear(router, 200, 2)
    slower = hear(router, 200, 3, interval_cs=20)

    assert first == [MasterChanged("r", HIGHER_PEER, 200, ADVERT)]
    assert same == []
    assert slower == [MasterChanged("r", HIGHER_PEER, 200, 2 * ADVERT)]
    assert (router.master_address, router.master_priority) == (HIGHER_PEER, 200)


def test_adverts_keep_their_beat_when_the_loop_runs_late() -> None:
    """30 ms late, the next one is due 70 ms later: lateness does not add up."""
    router = master()
    at = due(router)

    fire(router, late=30 * MILLISECOND)

    assert router.deadline == at + ADVERT


def test_adverts_do_not_bunch_after_a_long_delay() -> None:
    router = master()
    at = due(router)

    fire(router, late=250 * MILLISECOND)

    assert router.deadline == at + 250 * MILLISECOND + ADVERT // 2


# Preemption


def test_preempt_delay_counts_from_the_first_worse_advert() -> None:
    """Until it has passed, the worse MASTER is followed."""
    router = backup(preempt_delay=SECOND)
    hear(router, 50, 100 * MILLISECOND)
    hear(router, 50, 1_000 * MILLISECOND)
    assert router.deadline == 1_000 * MILLISECOND + DOWN

    hear(router, 50, 1_100 * MILLISECOND)
    hear(router, 50, 1_200 * MILLISECOND)

    assert router.deadline == 1_000 * MILLISECOND + DOWN
    assert fire(router)[-1] == BecameMaster(
        "r", Reason.PREEMPTED, DOWN + 1_000 * MILLISECOND - 1_200 * MILLISECOND
    )


def test_preempt_delay_starts_again_after_a_better_master() -> None:
    router = backup(preempt_delay=SECOND)
    hear(router, 50, 100 * MILLISECOND)
    hear(router, 200, 900 * MILLISECOND)

    hear(router, 50, 1_200 * MILLISECOND)

    assert router.deadline == 1_200 * MILLISECOND + DOWN


def test_preempt_delay_does_not_delay_the_takeover_from_silence() -> None:
    router = backup(preempt_delay=100 * SECOND)
    hear(router, 50, 100 * MILLISECOND)

    assert fire(router)[-1] == BecameMaster("r", Reason.MASTER_DOWN, DOWN)


# Tracking


def test_a_master_tells_its_new_priority_at_once() -> None:
    router = master()

    outputs = router.set_priority(40, due(router))

    assert outputs == [PriorityChanged("r", 100, 40), SendAdvertisement("r", 40)]
    assert fire(router) == [SendAdvertisement("r", 40)]


def test_a_backup_with_a_new_priority_only_notes_it() -> None:
    router = backup()

    assert router.set_priority(40, Instant(1)) == [PriorityChanged("r", 100, 40)]
    assert router.set_priority(40, Instant(2)) == []
    hear(router, 40, 3)
    assert router.deadline == 3 + 3 * ADVERT + 216 * ADVERT // 256


# Faults


def test_a_lost_interface_is_a_fault_and_its_return_begins_with_listening() -> None:
    router = master()

    lost = router.set_interface(False, None, due(router))
    silent = router.deadline
    back = router.set_interface(True, US, Instant(SECOND))

    assert lost == [
        SendAdvertisement("r", 0),
        StopAnnouncing("r", VIPS),
        RemoveAddresses("r", VIPS),
        EnteredFault("r", Reason.INTERFACE_DOWN, ""),
    ]
    assert silent is None
    assert back == [BecameBackup("r", Reason.INTERFACE_UP, None, None)]
    assert router.deadline == SECOND + DOWN


def test_a_router_does_not_start_on_a_lost_interface() -> None:
    router = idle()
    router.set_interface(False, None, Instant(0))

    outputs = router.start(Instant(0))

    assert outputs == [EnteredFault("r", Reason.INTERFACE_DOWN, "")]


def test_addresses_found_on_a_lost_interface_are_taken_off() -> None:
    router = idle()
    router.set_interface(False, None, Instant(0))

    outputs = router.start(Instant(0), held=True, was_master=True)

    assert outputs[-2:] == [RemoveAddresses("r", VIPS), EnteredFault("r", Reason.INTERFACE_DOWN, "")]


def test_an_owner_is_master_as_soon_as_its_interface_is_back() -> None:
    router = idle(priority=255)
    router.start(Instant(0))
    router.set_interface(False, None, Instant(1))

    outputs = router.set_interface(True, US, Instant(SECOND))

    assert kinds(outputs)[-1] == "BecameMaster"


def test_an_address_that_cannot_be_bound_is_a_fault_that_others_hear_of() -> None:
    """Priority 0: the others need not wait for silence."""
    router = master()
    failed = AddAddresses("r", VIPS)

    outputs = router.on_action_failed(failed, errno.EPERM, due(router))

    assert outputs == [
        ActionFailed("r", "AddAddresses", errno.EPERM, 1),
        SendAdvertisement("r", 0),
        StopAnnouncing("r", VIPS),
        RemoveAddresses("r", VIPS),
        EnteredFault("r", Reason.BIND_FAILED, f"errno {errno.EPERM}"),
    ]
    assert router.state is State.FAULT


def test_after_such_a_fault_it_listens_again_but_preempts_nobody() -> None:
    router = faulty()

    outputs = fire(router)
    now = due(router) - DOWN
    hear(router, 1, now + 5)

    assert outputs == [BecameBackup("r", Reason.RETRY, None, None)]
    assert router.is_modest
    assert router.deadline == now + 5 + DOWN


def test_such_a_fault_is_retried_less_and_less_often() -> None:
    router = faulty()
    waits = []
    for _ in range(6):
        before = due(router)
        fire(router)  # BACKUP
        fire(router)  # MASTER, from silence
        now = due(router)
        router.on_action_failed(AddAddresses("r", VIPS), errno.EPERM, now)
        waits.append((due(router) - now) // SECOND)
        assert before < now

    assert waits == [10, 20, 40, 60, 60, 60]


def test_a_master_that_binds_after_all_is_modest_no_more() -> None:
    router = faulty()
    fire(router)
    fire(router)
    assert router.state is State.MASTER

    fire(router)  # the first advert after a whole interval

    assert not router.is_modest
    now = due(router)
    router.on_action_failed(AddAddresses("r", VIPS), errno.EPERM, now)
    assert router.deadline == now + RETRY_FIRST


def test_a_master_whose_adverts_do_not_leave_yields_to_whoever_is_heard() -> None:
    """The others heard nothing for a down interval: whoever speaks is MASTER, and it stays so."""
    router = master()
    for _ in range(3):
        for action in fire(router):
            router.on_action_failed(action, errno.EPERM, due(router))  # type: ignore[arg-type]

    outputs = hear(router, 50, due(router))

    assert kinds(outputs) == [
        "DuplicateMaster",
        "StopAnnouncing",
        "RemoveAddresses",
        "BecameBackup",
    ]
    assert outputs[0] == DuplicateMaster("r", HIGHER_PEER, 50, True, 1)
    assert router.is_modest


def test_a_master_whose_adverts_leave_again_holds() -> None:
    router = master()
    for failing in (True, True, False, True):
        for action in fire(router):
            if failing:
                router.on_action_failed(action, errno.ENOBUFS, due(router))  # type: ignore[arg-type]

    hear(router, 50, due(router))

    assert router.state is State.MASTER


def test_an_address_that_cannot_be_removed_is_tried_again() -> None:
    """As long as it takes: an address too many is a second holder."""
    router = master()
    now = due(router)
    hear(router, 200, now)
    router.on_action_failed(RemoveAddresses("r", VIPS[:1]), errno.EBUSY, now)

    first = router.on_deadline(Instant(now + UNBIND_RETRY))
    router.on_action_failed(RemoveAddresses("r", VIPS[:1]), errno.EBUSY, Instant(now + UNBIND_RETRY))

    assert first == [RemoveAddresses("r", VIPS[:1])]
    assert due(router) <= now + 2 * UNBIND_RETRY


def test_an_address_that_cannot_be_removed_is_forgotten_once_it_is_ours_again() -> None:
    router = master()
    now = due(router)
    hear(router, 200, now)
    router.on_action_failed(RemoveAddresses("r", VIPS), errno.EBUSY, now)
    fire(router)

    assert router.state is State.MASTER
    assert router.deadline == now + DOWN + ADVERT


def test_failures_are_told_at_the_1st_10th_and_100th() -> None:
    router = backup()
    action = SendAdvertisement("r", 100)

    told = [router.on_action_failed(action, errno.ENOBUFS, Instant(0)) for _ in range(100)]

    counts = [output.count for outputs in told for output in outputs if isinstance(output, ActionFailed)]
    assert counts == [1, 10, 100]


# Adoption


def test_was_master_resumes_at_once_and_writes_nothing() -> None:
    router = idle()

    outputs = router.start(Instant(0), held=True, was_master=True)

    assert outputs == [
        AdoptedAddresses("r", as_master=True),
        RenewAddresses("r", VIPS, 3 * SECOND),
        SendAdvertisement("r", 100),
        Announce("r", VIPS, 0),
        BecameMaster("r", Reason.ADOPTED, 0),
    ]
    assert router.deadline == ADVERT


def test_was_master_without_the_addresses_is_not_believed() -> None:
    router = idle()

    router.start(Instant(0), held=False, was_master=True)

    assert router.phase is Phase.BACKUP


def test_held_addresses_are_kept_until_silence_makes_us_master() -> None:
    router = adopting()
    assert (router.state, router.holds_addresses) == (State.BACKUP, True)

    outputs = fire(router)

    assert kinds(outputs) == ["SendAdvertisement", "Announce", "BecameMaster"]


@pytest.mark.parametrize("priority", [1, 99, 100, 200])
def test_held_addresses_are_given_up_at_the_first_advert_of_a_master(priority: int) -> None:
    router = adopting()

    outputs = hear(router, priority, 5)

    assert RemoveAddresses("r", VIPS) in outputs
    assert router.phase is Phase.BACKUP
    assert not router.holds_addresses


def test_held_addresses_are_kept_while_the_other_master_leaves() -> None:
    router = adopting()

    outputs = hear(router, 0, 5)

    assert outputs == []
    assert router.deadline == 5 + SKEW


def test_an_adopting_router_still_preempts_at_its_first_down_interval() -> None:
    router = adopting()
    hear(router, 50, 300 * MILLISECOND)

    assert router.deadline == DOWN
    assert AddAddresses("r", VIPS) in fire(router)


# Release and resume


def test_release_says_so_and_keeps_the_addresses_until_a_successor_has_had_the_time_to_bind_them() -> None:
    """Its first advert is sent before it binds, and it may be kept from that: rule 4."""
    router = master()

    released = router.release(due(router))
    first = hear(router, 50, due(router) - 5)
    holds_then = router.holds_addresses
    second = hear(router, 50, due(router) - 5)

    assert released == [SendAdvertisement("r", 0), StopAnnouncing("r", VIPS), Releasing("r")]
    assert (kinds(first), holds_then) == (["MasterChanged"], True)
    assert second == [
        StopAnnouncing("r", VIPS),
        RemoveAddresses("r", VIPS),
        Released("r", Reason.HEARD_MASTER, HIGHER_PEER),
    ]
    assert router.deadline is None


def test_release_says_it_again_while_nobody_answers() -> None:
    """One lost datagram would cost the whole down interval. The gap is wider than any skew_time,
    so that a repetition cannot put off a successor."""
    router = master()
    now = due(router)
    router.release(now)

    said = []
    while router.state is State.INIT and router.phase is Phase.RELEASING:
        at = due(router)
        said.append((at - now, kinds(router.on_deadline(at))))

    assert [at // MILLISECOND for at, _ in said] == [150, 300, 450, 600, 750, 900, 1000]
    assert all(outputs == ["SendAdvertisement"] for _, outputs in said[:-1])
    assert said[-1][1][-2:] == ["RemoveAddresses", "Released"]


def test_release_without_a_successor_ends_at_its_deadline() -> None:
    router = master(release_deadline=50 * MILLISECOND)
    now = due(router)
    router.release(now)
    assert due(router) == now + 150 * MILLISECOND
    fire(router)

    outputs = fire(router)

    assert outputs[-2:] == [RemoveAddresses("r", VIPS), Released("r", Reason.DEADLINE, None)]


@pytest.mark.parametrize(("interval_cs", "wait"), [(1, ADVERT // 5), (100, BIND_TIME)])
def test_a_successor_that_falls_silent_is_waited_for_two_of_its_adverts_longer_or_until_it_has_bound(
    interval_cs: int, wait: int
) -> None:
    router = releasing()
    at = due(router) - 5

    hear(router, 50, at, interval_cs=interval_cs)

    assert router.deadline == at + wait
    removed, released = fire(router)[-2:]
    assert removed == RemoveAddresses("r", VIPS)
    assert isinstance(released, Released)
    assert released.reason is Reason.HEARD_MASTER


def test_a_release_deadline_is_never_shorter_than_two_adverts() -> None:
    """Version 2: a successor of priority 1 needs 0.996 s."""
    router = master(version=2, advert_interval=SECOND)
    now = due(router)
    router.release(now)

    assert router.on_deadline(Instant(now + 1_500 * MILLISECOND)) == [SendAdvertisement("r", 0)]
    assert router.deadline == now + 2 * SECOND


def test_priority_0_of_another_does_not_end_a_release() -> None:
    router = releasing()

    assert hear(router, 0, due(router)) == []
    assert router.phase is Phase.RELEASING


def test_releasing_twice_does_not_start_again() -> None:
    router = releasing()
    before = router.deadline

    assert router.release(due(router)) == []
    assert router.deadline == before


@pytest.mark.parametrize("make", [idle, backup])
def test_releasing_what_is_not_held_is_done_at_once(make: Any) -> None:
    router = make()

    assert router.release(Instant(5)) == [Released("r", Reason.NOT_MASTER, None)]
    assert (router.state, router.deadline) == (State.INIT, None)


def test_releasing_while_adopting_takes_the_addresses_off() -> None:
    assert kinds(adopting().release(Instant(5))) == ["StopAnnouncing", "RemoveAddresses", "Released"]


def test_a_released_router_does_not_come_back_by_itself() -> None:
    router = backup()
    router.release(Instant(5))

    assert hear(router, 1, 10) == []
    assert router.set_interface(False, None, Instant(20)) == []
    assert router.set_interface(True, US, Instant(30)) == []
    assert router.state is State.INIT


def test_resume_takes_part_again_from_the_beginning() -> None:
    router = backup()
    router.release(Instant(5))

    outputs = router.resume(Instant(10))

    assert outputs == [BecameBackup("r", Reason.RESUMED, None, None)]
    assert router.deadline == 10 + DOWN


def test_resume_during_a_release_listens_with_the_addresses_still_bound() -> None:
    router = releasing()

    outputs = router.resume(due(router))

    assert outputs == [BecameBackup("r", Reason.RESUMED, None, None)]
    assert router.phase is Phase.ADOPTING
    assert kinds(fire(router)) == ["SendAdvertisement", "Announce", "BecameMaster"]


def test_resume_on_a_lost_interface_is_a_fault() -> None:
    router = backup()
    router.release(Instant(5))
    router.set_interface(False, None, Instant(6))

    assert router.resume(Instant(7)) == [EnteredFault("r", Reason.INTERFACE_DOWN, "")]


def test_resume_of_what_takes_part_does_nothing() -> None:
    assert master().resume(Instant(10**10)) == []


def test_a_release_does_not_wait_on_a_lost_interface() -> None:
    router = releasing()

    outputs = router.set_interface(False, None, due(router))

    assert outputs[-2:] == [RemoveAddresses("r", VIPS), Released("r", Reason.INTERFACE_DOWN, None)]


# Lateness


def test_an_overslept_master_that_hears_of_nobody_goes_on_and_promises_less() -> None:
    """Nobody has taken over: listening for a down interval would make somebody do it."""
    router = master()

    outputs = fire(router, late=DOWN + 1)

    assert outputs == [
        RanLate("r", DOWN + 1),
        PaceChanged("r", 730 * MILLISECOND, DOWN + 1),
        SendAdvertisement("r", 100),
    ]


@pytest.mark.parametrize("priority", [50, 200])
def test_an_overslept_master_reads_what_has_come_before_it_goes_on(priority: int) -> None:
    router = master()
    now = due(router, DOWN + 1)

    assert router.on_deadline(now) == [CatchUp("r")]
    outputs = hear(router, priority, now + 1)

    assert kinds(outputs)[:3] == ["RanLate", "StopAnnouncing", "BecameBackup"]
    assert not router.holds_addresses
    assert router.caught_up(Instant(now + 2)) == []
    assert router.deadline == now + 1 + DOWN


def test_an_overslept_master_that_cannot_read_goes_on_after_an_advert() -> None:
    """Everything is late on this machine: a silence would make the others take over."""
    router = master()
    now = due(router, DOWN + 1)

    assert kinds(router.on_deadline(now)) == ["CatchUp"]
    assert router.deadline == now + ADVERT

    assert kinds(router.on_deadline(due(router))) == ["RanLate", "PaceChanged", "SendAdvertisement"]


def test_an_overslept_master_whose_lease_is_over_steps_down_and_listens() -> None:
    router = master()

    outputs = router.set_bound(frozenset(), due(router, DOWN + 1))

    assert outputs == [
        RanLate("r", DOWN + 1),
        StopAnnouncing("r", VIPS),
        BecameBackup("r", Reason.OVERSLEPT, None, None),
    ]
    assert router.phase is Phase.ADOPTING


def test_an_overslept_master_does_not_argue_with_its_successor() -> None:
    """The successor's advert may be read before the timer: it settles the matter."""
    router = master()

    outputs = hear(router, 50, due(router) + DOWN + 1)

    assert kinds(outputs) == [
        "RanLate",
        "StopAnnouncing",
        "BecameBackup",
        "StopAnnouncing",
        "RemoveAddresses",
        "BecameBackup",
    ]
    assert not router.holds_addresses


def test_an_overslept_master_does_not_take_back_what_its_lease_lost() -> None:
    """The route monitor may be read before the timer and before any advert."""
    router = master()

    outputs = router.set_bound(frozenset(), due(router, DOWN + 1))

    assert kinds(outputs) == ["RanLate", "StopAnnouncing", "BecameBackup"]


def test_an_overslept_master_preempts_nobody_for_a_while() -> None:
    """A machine that stands still now and then must not take the role back each time."""
    router = master(priority=200)
    now = due(router) + DOWN + 1
    hear(router, 100, now)

    kept = [hear(router, 100, now + after * ADVERT) for after in range(1, PENANCE // ADVERT)]
    hear(router, 100, now + PENANCE)

    assert not any(kept[1:])
    assert "BecameMaster" in kinds(fire(router))


def test_an_overslept_master_still_takes_over_from_silence() -> None:
    router = master()
    router.set_bound(frozenset(), due(router, DOWN + 1))

    outputs = fire(router)

    assert kinds(outputs)[-1] == "BecameMaster"


def test_a_late_master_names_a_longer_interval_and_keeps_its_beat() -> None:
    router = master()
    first = due(router)

    outputs = fire(router, late=70 * MILLISECOND)

    assert outputs == [
        PaceChanged("r", 140 * MILLISECOND, 70 * MILLISECOND),
        SendAdvertisement("r", 100),
    ]
    assert router.advertisement(100).max_advertise_interval_cs == 14
    assert router.deadline == first + 70 * MILLISECOND + ADVERT // 2


def test_a_late_master_may_be_away_as_long_as_it_promised() -> None:
    """What its backups wait is what it must not oversleep."""
    router = master()
    fire(router, late=3 * ADVERT)
    assert router.promised_interval == 6 * ADVERT

    assert kinds(fire(router, late=3 * 6 * ADVERT)) == ["PaceChanged", "SendAdvertisement"]


def test_a_version_2_master_cannot_promise_less() -> None:
    router = master(version=2, advert_interval=SECOND)

    assert kinds(fire(router, late=2 * SECOND)) == ["SendAdvertisement"]


def test_a_late_backup_grants_one_more_advert_a_few_times() -> None:
    router = backup()

    outputs = fire(router, late=ADVERT // 2 + 1)

    assert outputs == [RanLate("r", ADVERT // 2 + 1)]
    assert router.deadline == DOWN + ADVERT // 2 + 1 + ADVERT
    assert [kinds(fire(router, late=ADVERT))[-1] for _ in range(GRANTS)] == [
        *["RanLate"] * (GRANTS - 1),
        "BecameMaster",
    ]


def test_an_advert_gives_a_late_backup_its_grants_back() -> None:
    router = backup()
    for _ in range(GRANTS):
        fire(router, late=ADVERT)

    hear(router, 200, due(router) - 1)

    assert kinds(fire(router, late=ADVERT)) == ["RanLate"]


def test_a_late_backup_that_finds_an_advert_stays_backup() -> None:
    router = backup()
    fire(router, late=ADVERT + 1)
    now = due(router) - 1

    hear(router, 200, now)

    assert router.deadline == now + DOWN


def test_a_silence_is_believed_when_all_that_has_come_is_read() -> None:
    router = backup()
    now = due(router)

    assert router.on_deadline(now) == [CatchUp("r")]
    assert router.caught_up(Instant(now + 1)) == []
    assert router.deadline == now + 1
    assert "BecameMaster" in kinds(router.on_deadline(Instant(now + 1)))


def test_an_advert_that_lay_unread_ends_the_silence() -> None:
    router = backup()
    now = due(router)
    router.on_deadline(now)

    hear(router, 200, now + 1)
    router.caught_up(Instant(now + 2))

    assert router.deadline == now + 1 + DOWN
    assert router.on_deadline(due(router)) == [CatchUp("r")], "the next silence is asked for again"


def test_a_kernel_that_was_behind_is_a_reason_to_wait_for_one_more_advert() -> None:
    router = backup()
    router.on_deadline(due(router))
    now = Instant(DOWN + ADVERT // 2 + 1)

    assert router.caught_up(now) == [CatchUp("r")], "more has come meanwhile"
    assert router.caught_up(after(now, 1)) == []

    assert router.deadline == now + 1 + ADVERT
    assert "BecameMaster" in kinds(fire(router))


def test_a_kernel_that_is_always_behind_delays_a_takeover_and_does_not_prevent_it() -> None:
    router = backup()
    now = due(router)
    router.on_deadline(now)

    while router.caught_up(after(now, ADVERT)):
        now = after(now, ADVERT)
        assert now <= DOWN + PATIENCE
    now = due(router)
    while "BecameMaster" not in kinds(router.on_deadline(now)):
        router.caught_up(now)
        now = due(router)

    assert now <= DOWN + PATIENCE + (GRANTS + 1) * ADVERT


def test_a_backup_of_a_master_that_promises_less_is_late_by_its_own_interval() -> None:
    router = backup()
    hear(router, 200, 1, interval_cs=100)

    assert kinds(fire(router, late=ADVERT // 2 + 1)) == ["RanLate"]


def test_whoever_cannot_receive_takes_over_late_but_does() -> None:
    router = backup()
    silent = due(router)

    asked = []
    while not (outputs := router.on_deadline(due(router)))[1:]:
        asked += outputs

    assert asked == [CatchUp("r"), *[CatchUp("r", again=True)] * (PATIENCE // ADVERT - 1)]
    assert "BecameMaster" in kinds(outputs)
    assert router.since == silent + PATIENCE


# The kernel's side, level-triggered


def test_a_master_binds_again_what_somebody_else_unbound() -> None:
    router = master()

    outputs = router.set_bound(frozenset(VIPS[:1]), due(router))

    assert outputs == [
        AddAddresses("r", VIPS[1:]),
        Announce("r", VIPS[1:], 5),
        AddressesRepaired("r", VIPS[1:], ()),
    ]


def test_a_backup_takes_off_what_somebody_else_bound() -> None:
    router = backup()

    outputs = router.set_bound(frozenset({VIPS[0], EXTRA}), Instant(5))

    assert outputs == [RemoveAddresses("r", VIPS[:1]), AddressesRepaired("r", (), VIPS[:1])]


@pytest.mark.parametrize("make", [master, adopting, releasing])
def test_what_is_as_it_should_be_is_left_alone(make: Any) -> None:
    assert make().set_bound(frozenset(VIPS), Instant(DOWN + 1)) == []


def test_before_the_start_nothing_is_touched() -> None:
    """A restart adopts; taking the addresses off first would be an outage."""
    assert idle().set_bound(frozenset(VIPS), Instant(0)) == []


def test_an_adopting_router_that_lost_an_address_binds_it_when_it_is_master() -> None:
    router = adopting()
    router.set_bound(frozenset(VIPS[:1]), Instant(5))

    assert AddAddresses("r", VIPS[1:]) in fire(router)


# Reconfiguring


def test_reconfiguring_to_the_same_does_nothing() -> None:
    router = master()

    assert router.reconfigure(settings(), due(router)) == []


def test_a_master_binds_new_addresses_and_unbinds_old_ones_and_adverts_go_on() -> None:
    router = master()
    before = due(router)

    outputs = router.reconfigure(settings(addresses=(VIPS[0], EXTRA)), Instant(before - 5))

    assert outputs == [
        SendAdvertisement("r", 100),
        StopAnnouncing("r", VIPS[1:]),
        RemoveAddresses("r", VIPS[1:]),
        AddAddresses("r", (EXTRA,)),
        Announce("r", (EXTRA,), 5),
    ]
    assert router.deadline == before - 5 + ADVERT


def test_a_master_with_a_new_interval_says_so_at_once() -> None:
    """The backups time us by the interval that they last heard."""
    router = master()
    now = Instant(due(router) - 5)

    outputs = router.reconfigure(settings(advert_interval=SECOND), now)

    assert outputs == [SendAdvertisement("r", 100)]
    assert router.advertisement(100).max_advertise_interval_cs == 100
    assert router.deadline == now + SECOND


def test_what_is_not_advertised_changes_without_an_advert() -> None:
    router = master()
    before = router.deadline

    assert router.reconfigure(settings(garp=GarpSettings(repeat=9)), Instant(1)) == []
    assert router.deadline == before


def test_a_backup_with_new_addresses_touches_nothing() -> None:
    router = backup()

    assert router.reconfigure(settings(addresses=(EXTRA,)), Instant(5)) == []
    assert AddAddresses("r", (EXTRA,)) in fire(router)


def test_excluded_addresses_are_bound_and_not_advertised() -> None:
    router = backup(excluded_addresses=(EXTRA,))

    assert AddAddresses("r", (*VIPS, EXTRA)) in fire(router)
    assert router.advertisement(100).addresses == tuple(prefix.ip for prefix in VIPS)


def test_a_new_priority_takes_effect_unless_tracking_has_changed_it() -> None:
    plain, tracked = backup(), backup()
    tracked.set_priority(40, Instant(0))

    changed = plain.reconfigure(settings(priority=150), Instant(1))
    kept = tracked.reconfigure(settings(priority=150), Instant(1))

    assert changed == [PriorityChanged("r", 100, 150)]
    assert kept == []
    assert (plain.priority, tracked.priority) == (150, 40)


@pytest.mark.parametrize(
    "changes", [{"name": "s"}, {"interface": "eth1"}, {"vrid": 52}, {"family": 6}], ids=str
)
def test_another_identity_is_another_router(changes: dict[str, object]) -> None:
    with pytest.raises(StateError, match="another router"):
        backup().reconfigure(settings(**changes), Instant(0))


def test_starting_twice_is_the_callers_mistake() -> None:
    with pytest.raises(StateError, match="started already"):
        backup().start(Instant(1))


# Ties


def test_a_tie_with_an_unknown_address_of_our_own_is_yielded() -> None:
    router = idle()
    router.set_interface(True, None, Instant(0))
    router.start(Instant(0))
    fire(router)

    hear(router, 100, due(router), source=LOWER_PEER)

    assert router.state is State.BACKUP


def test_a_configured_source_address_settles_ties() -> None:
    router = idle(source_address=LOWER_PEER)
    router.start(Instant(0))
    fire(router)

    hear(router, 100, due(router), source=US)

    assert router.state is State.BACKUP


# Two masters


def test_who_gives_way_says_so_that_the_winner_announces_again() -> None:
    """Both were MASTER in a split; the winner never heard the loser."""
    winner, loser = master(priority=200), master()
    now = due(winner, 10 * SECOND)
    while due(winner) < now:
        fire(winner)

    last_words = hear(loser, 200, due(loser))
    answer = hear(winner, 100, now)

    assert last_words[0] == SendAdvertisement("r", 100)
    assert kinds(answer) == ["SendAdvertisement", "Announce", "DuplicateMaster"]


def test_the_last_advert_of_whom_we_took_over_from_is_no_second_master() -> None:
    router = master()

    outputs = hear(router, 50, due(router))

    assert kinds(outputs) == ["SendAdvertisement", "Announce"]


def test_a_second_master_is_told_at_the_1st_10th_and_100th_advert_and_again_after_a_quiet_minute() -> None:
    router = master()
    for _ in range(4):
        fire(router)
    now = due(router)
    counts = []
    for _ in range(100):
        now = Instant(now + 10)
        counts += [o.count for o in hear(router, 50, now) if isinstance(o, DuplicateMaster)]
    while router.deadline is not None and router.deadline < now + 61 * SECOND:
        fire(router)
    counts += [o.count for o in hear(router, 50, due(router)) if isinstance(o, DuplicateMaster)]

    assert counts == [1, 10, 100, 1]
