"""The machine of one check: rows of results become verdicts."""

from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv4Address

import pytest

from lvsha.checker.check import (
    INCONCLUSIVE_LIMIT,
    PATIENCE_LIMIT,
    CancelProbe,
    Check,
    CheckFaltered,
    CheckFell,
    CheckInconclusive,
    CheckRose,
    CheckWarned,
    CheckWeighed,
    StartProbe,
    start_spread,
)
from lvsha.checker.lag import CREDIT_LIMIT
from lvsha.checker.result import ProbeResult, Reason
from lvsha.checker.settings import CheckKind, CheckSettings, Initial
from lvsha.core.instant import MILLISECOND, SECOND, Instant, after
from lvsha.core.machine import Output

START = Instant(1_000 * SECOND)
GOOD = ProbeResult(ok=True)
REFUSED = ProbeResult(ok=False, reason=Reason.REFUSED, detail="connect: refused")
SILENT = ProbeResult(ok=False, reason=Reason.TIMEOUT, detail="no answer")
SETTINGS = CheckSettings(kind=CheckKind.TCP, address=IPv4Address("10.0.0.11"), port=80, jitter_percent=0)


def half() -> float:
    return 0.5


def make(
    settings: CheckSettings = SETTINGS,
    *,
    adopted: bool | None = None,
    random: Callable[[], float] = half,
) -> Check:
    check = Check("web", settings, random=random, adopted=adopted)
    check.start(START)
    return check


def run(check: Check, *results: ProbeResult, takes: int = MILLISECOND) -> list[Output]:
    """Let the check probe at its deadlines, with these results; all outputs but StartProbe."""
    outputs: list[Output] = []
    for result in results:
        assert check.deadline is not None
        now = check.deadline
        assert check.on_deadline(now) == [StartProbe(check_id="web", settings=check.settings)]
        outputs += check.on_result(result, after(now, takes))
    return outputs


def proven_up(settings: CheckSettings = SETTINGS) -> Check:
    check = make(settings)
    run(check, GOOD, GOOD)
    assert check.up
    assert check.proven
    return check


def test_first_good_result_brings_an_unproven_target_up() -> None:
    check = make()
    assert not check.up

    outputs = run(check, GOOD)

    assert outputs == [CheckRose(check_id="web", first=True, successes=1)]
    assert check.up


def test_first_bad_result_proves_a_target_that_begins_down() -> None:
    outputs = run(make(), REFUSED)

    assert [type(output) for output in outputs] == [CheckFell]
    assert isinstance(outputs[0], CheckFell)
    assert outputs[0].first
    assert outputs[0].reason is Reason.REFUSED


def test_target_that_begins_up_stays_so_until_fall_bad_results() -> None:
    check = make(replace(SETTINGS, initial=Initial.UP, fall=3))
    assert check.up

    assert [type(output) for output in run(check, REFUSED, REFUSED)] == [CheckFaltered] * 2
    assert check.up
    assert [type(output) for output in run(check, REFUSED)] == [CheckFell]
    assert not check.up


def test_fall_bad_results_in_a_row_take_a_target_down_and_a_good_one_forgives() -> None:
    check = proven_up(replace(SETTINGS, fall=3))

    outputs = run(check, REFUSED, REFUSED, GOOD, REFUSED, REFUSED)
    assert [type(output) for output in outputs] == [CheckFaltered] * 4
    assert check.up

    outputs = run(check, REFUSED)
    assert outputs == [
        CheckFell(
            check_id="web",
            first=False,
            reason=Reason.REFUSED,
            detail="connect: refused",
            ours=False,
            failures=3,
        )
    ]


def test_rise_good_results_in_a_row_bring_a_target_back() -> None:
    check = proven_up(replace(SETTINGS, rise=2, fall=1))
    run(check, REFUSED)

    assert run(check, GOOD, REFUSED, GOOD) == []
    assert run(check, GOOD) == [CheckRose(check_id="web", first=False, successes=2)]


def test_since_is_the_instant_of_the_last_change() -> None:
    check = proven_up(replace(SETTINGS, fall=1))

    assert check.deadline is not None
    due = check.deadline
    run(check, REFUSED, takes=5 * MILLISECOND)
    assert check.since == due + 5 * MILLISECOND
    since = check.since
    run(check, REFUSED)
    assert check.since == since


def test_interval_runs_from_start_to_start() -> None:
    check = proven_up()
    assert check.deadline is not None
    first = check.deadline

    run(check, GOOD, takes=300 * MILLISECOND)

    assert check.deadline == first + SETTINGS.interval


def test_a_probe_longer_than_the_interval_is_followed_at_once_and_only_once() -> None:
    check = proven_up()
    assert check.deadline is not None
    first = check.deadline

    run(check, GOOD, takes=3 * SECOND + 1)

    assert check.deadline == first + 3 * SECOND + 1


def test_suspicion_is_settled_at_the_fast_interval() -> None:
    check = proven_up(replace(SETTINGS, fall=2))
    assert check.deadline is not None
    first = check.deadline

    run(check, REFUSED)
    assert check.deadline == first + SETTINGS.fast_interval
    run(check, REFUSED)
    assert not check.up
    assert check.deadline == first + SETTINGS.fast_interval + SETTINGS.interval


def test_down_interval_applies_while_down_and_fast_interval_while_rising() -> None:
    check = proven_up(replace(SETTINGS, fall=1, rise=2, down_interval=7 * SECOND))
    run(check, REFUSED)
    assert check.deadline is not None
    first = check.deadline

    run(check, REFUSED)
    assert check.deadline == first + 7 * SECOND
    run(check, GOOD)
    assert check.deadline == first + 7 * SECOND + SETTINGS.fast_interval


def test_verdict_on_a_silent_death_comes_within_the_documented_time() -> None:
    """CheckSettings: interval + (fall - 1) * max(fast_interval, timeout) + timeout."""
    check = proven_up()
    assert check.deadline is not None
    died = check.deadline - SETTINGS.interval + 1
    while check.up:
        run(check, SILENT, takes=SETTINGS.timeout)

    assert check.since is not None
    assert check.since - died <= 4 * SECOND


def test_jitter_stays_within_its_share() -> None:
    for value in (0.0, 0.999999):
        check = make(replace(SETTINGS, jitter_percent=10), random=lambda value=value: value)  # type: ignore[misc]
        run(check, GOOD, GOOD)
        assert check.deadline is not None
        first = check.deadline
        run(check, GOOD)
        assert check.deadline is not None
        assert check.deadline - first == pytest.approx(SECOND * (0.9 if value == 0 else 1.1), rel=1e-5)


def test_targets_asked_together_scatter_over_the_interval_afterwards() -> None:
    """start_spread keeps the first answers close together; the second may lie anywhere."""
    early, late = make(random=lambda: 0.01), make(random=lambda: 0.99)
    run(early, GOOD)
    run(late, GOOD)

    assert early.deadline is not None
    assert late.deadline is not None
    assert late.deadline - early.deadline > 0.9 * SECOND


def test_first_probes_of_many_targets_spread_but_never_beyond_an_interval() -> None:
    assert start_spread(100, SECOND) == 20 * MILLISECOND
    assert start_spread(10_000, SECOND) == SECOND
    check = Check("web", SETTINGS, random=half)
    check.start(START, spread=start_spread(10_000, SECOND))
    assert check.deadline == START + SECOND // 2


LATE = SILENT._replace(lag=CREDIT_LIMIT * SETTINGS.timeout + 1)


def test_result_measured_by_a_late_loop_does_not_fail_a_realserver() -> None:
    check = proven_up(replace(SETTINGS, fall=1))

    outputs = run(check, LATE)

    assert outputs == [CheckInconclusive(check_id="web", reason=Reason.TIMEOUT, lag=LATE.lag)]
    assert check.up
    assert check.failures == 0
    assert run(check, GOOD) == []


def test_time_out_that_was_prolonged_by_all_our_lateness_counts() -> None:
    check = proven_up(replace(SETTINGS, fall=1))

    run(check, SILENT._replace(lag=CREDIT_LIMIT * SETTINGS.timeout))

    assert not check.up


@pytest.mark.parametrize("reason", [Reason.CLOSED, Reason.RESET])
def test_realserver_that_lost_patience_with_a_late_loop_is_not_failed(reason: Reason) -> None:
    check = proven_up(replace(SETTINGS, fall=1))

    run(check, SILENT._replace(reason=reason, lag=SETTINGS.timeout // 4 + 1))

    assert check.up


def test_doubtful_result_is_asked_again_soon() -> None:
    check = proven_up()
    assert check.deadline is not None
    first = check.deadline

    run(check, LATE)

    assert check.deadline is not None
    assert first < check.deadline <= first + SETTINGS.fast_interval


def test_lateness_does_not_excuse_an_answer_that_is_wrong() -> None:
    check = proven_up(replace(SETTINGS, fall=1))

    run(check, REFUSED._replace(lag=10 * SECOND))

    assert not check.up


def test_a_director_late_for_ever_still_takes_the_dead_out() -> None:
    check = proven_up(replace(SETTINGS, fall=2))

    uncounted = run(check, *[LATE] * INCONCLUSIVE_LIMIT)
    counted = run(check, LATE, LATE)

    assert {type(output) for output in uncounted} == {CheckInconclusive}
    assert [type(output) for output in counted] == [CheckFaltered, CheckFell]


def test_check_that_we_could_not_make_is_a_failed_check_of_ours() -> None:
    check = proven_up(replace(SETTINGS, fall=1))

    outputs = run(check, ProbeResult(ok=False, reason=Reason.BIND_FAILED, detail="10.9.9.9", ours=True))

    assert isinstance(outputs[0], CheckFell)
    assert outputs[0].ours
    assert outputs[0].reason is Reason.BIND_FAILED


def test_probe_that_never_comes_back_is_given_up_and_asked_again() -> None:
    check = proven_up(replace(SETTINGS, fall=1))
    assert check.deadline is not None
    check.on_deadline(check.deadline)
    guard = check.deadline
    assert guard is not None

    outputs = check.on_deadline(guard)

    assert outputs == [
        CancelProbe(check_id="web"),
        CheckInconclusive(check_id="web", reason=Reason.INTERNAL, lag=0),
    ]
    assert check.up
    assert check.deadline is not None
    assert check.on_deadline(check.deadline) == [StartProbe(check_id="web", settings=check.settings)]


def test_probes_that_never_come_back_fail_nobody_and_are_asked_for_less_and_less_often() -> None:
    check = proven_up(replace(SETTINGS, fall=1))
    waits = []

    for _ in range(2 * INCONCLUSIVE_LIMIT):
        assert check.deadline is not None
        asked = check.deadline
        check.on_deadline(asked)
        waits.append(check.deadline - asked)
        check.on_deadline(check.deadline)

    assert check.up
    assert waits == [waits[0] * times for times in (1, 2, 4, *[PATIENCE_LIMIT] * 7)]
    run(check, GOOD)
    assert check.deadline is not None
    asked = check.deadline
    check.on_deadline(asked)
    assert check.deadline == asked + waits[0]


def test_a_check_without_a_verdict_has_one_when_its_probe_never_comes_back() -> None:
    check = make()

    for _ in range(2 * (INCONCLUSIVE_LIMIT + 1)):
        assert check.deadline is not None
        check.on_deadline(check.deadline)

    assert check.proven
    assert not check.up


def test_uncounted_results_that_good_ones_part_are_no_row() -> None:
    check = proven_up(replace(SETTINGS, fall=1))

    for _ in range(2 * INCONCLUSIVE_LIMIT):
        run(check, LATE, GOOD, GOOD)

    assert check.up


def test_result_that_nobody_waits_for_is_ignored() -> None:
    check = proven_up(replace(SETTINGS, fall=1))

    assert check.on_result(REFUSED, after(START, SECOND)) == []
    assert check.up


def test_deadline_met_early_starts_nothing() -> None:
    check = proven_up()
    assert check.deadline is not None

    assert check.on_deadline(Instant(check.deadline - 1)) == []


def test_adopted_state_needs_the_whole_row_to_change() -> None:
    down = make(replace(SETTINGS, rise=2), adopted=False)
    assert run(down, GOOD) == []
    assert run(down, GOOD) == [CheckRose(check_id="web", first=False, successes=2)]

    up = make(replace(SETTINGS, fall=2), adopted=True)
    assert [type(output) for output in run(up, REFUSED, REFUSED)] == [CheckFaltered, CheckFell]


def test_on_and_off_are_verdicts_without_a_probe() -> None:
    on = Check("web", replace(SETTINGS, kind=CheckKind.ON), random=half)
    assert [type(output) for output in on.start(START)] == [CheckRose]
    assert on.deadline is None

    off = Check("web", replace(SETTINGS, kind=CheckKind.OFF), random=half)
    assert [type(output) for output in off.start(START)] == [CheckFell]


def test_reconfiguring_keeps_the_verdict_and_asks_a_new_question_at_once() -> None:
    check = proven_up()
    now = after(START, 100 * SECOND)

    assert check.reconfigure(replace(SETTINGS, port=8080), now) == []

    assert check.up
    assert check.deadline == now


def test_reconfiguring_cancels_the_probe_in_flight() -> None:
    check = proven_up()
    assert check.deadline is not None
    check.on_deadline(check.deadline)

    assert check.reconfigure(replace(SETTINGS, port=8080), START) == [CancelProbe(check_id="web")]
    assert check.on_result(REFUSED, START) == []


def test_reconfiguring_with_the_same_settings_does_nothing() -> None:
    check = proven_up()
    deadline = check.deadline

    assert check.reconfigure(replace(SETTINGS), START) == []
    assert check.deadline == deadline


def test_switching_a_check_off_and_on_takes_the_target_out_and_back() -> None:
    check = proven_up()

    assert [type(o) for o in check.reconfigure(replace(SETTINGS, kind=CheckKind.OFF), START)] == [CheckFell]
    assert [type(o) for o in check.reconfigure(replace(SETTINGS, kind=CheckKind.ON), START)] == [CheckRose]


def test_stopped_check_cancels_its_probe_and_rests() -> None:
    check = proven_up()
    check.on_deadline(after(START, 60 * SECOND))

    assert check.stop() == [CancelProbe(check_id="web")]
    assert check.deadline is None
    assert check.stop() == []


def test_weight_from_the_check_is_told_when_it_changes() -> None:
    check = proven_up()
    half_weight = ProbeResult(ok=True, percent=50)

    assert run(check, half_weight) == [CheckWeighed(check_id="web", weight=None, percent=50)]
    assert run(check, half_weight) == []
    assert run(check, GOOD) == [CheckWeighed(check_id="web", weight=None, percent=None)]


def test_warning_is_told_once() -> None:
    check = proven_up()
    warned = ProbeResult(ok=True, warning="the certificate ends in 3 days")

    assert run(check, warned, warned) == [
        CheckWarned(check_id="web", warning="the certificate ends in 3 days")
    ]


def test_plain_connects_lie_between_whole_dialogues_while_it_is_up() -> None:
    check = make(replace(SETTINGS, plain_connects=2, fall=2))
    plain = []
    for result in [GOOD] * 8 + [REFUSED, GOOD, GOOD, GOOD]:
        assert check.deadline is not None
        now = check.deadline
        (start,) = check.on_deadline(now)
        assert isinstance(start, StartProbe)
        plain.append(start.is_plain)
        check.on_result(result, now)

    assert plain[:9] == [False, True, True, False, True, True, False, True, True]
    assert plain[9:] == [False, True, True], "after a bad result the whole question is asked"
