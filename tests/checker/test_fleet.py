"""All checks as one machine."""

from dataclasses import replace
from ipaddress import IPv4Address
from random import Random

from lvsha.checker.check import CancelProbe, CheckFell, CheckInconclusive, CheckRose, StartProbe
from lvsha.checker.fleet import GRID, PROBES_AT_ONCE, PROGRAMS_AT_ONCE, Fleet
from lvsha.checker.result import ProbeResult, Reason
from lvsha.checker.settings import CheckKind, CheckSettings, ExecOptions
from lvsha.core.instant import SECOND, Instant
from lvsha.core.machine import Output

START = Instant(1_000 * SECOND + 3)
SETTINGS = CheckSettings(kind=CheckKind.TCP, address=IPv4Address("10.0.0.11"), port=80)
GOOD = ProbeResult(ok=True)
BAD = ProbeResult(ok=False, reason=Reason.REFUSED)


def many(count: int) -> dict[str, CheckSettings]:
    return {str(i): replace(SETTINGS, port=i + 1) for i in range(count)}


def run(fleet: Fleet, until: Instant, result: ProbeResult = GOOD) -> list[tuple[Instant, Output]]:
    """Let the fleet run in virtual time; every probe answers at once."""
    log: list[tuple[Instant, Output]] = []
    while (deadline := fleet.deadline) is not None and deadline <= until:
        for output in fleet.on_deadline(deadline):
            log.append((deadline, output))
            if isinstance(output, StartProbe):
                log += [(deadline, o) for o in fleet.on_result(output.check_id, result, deadline)]
    return log


def test_every_target_has_its_first_verdict_within_an_interval() -> None:
    fleet = Fleet(random=Random(1).random)
    fleet.reconfigure(many(10_000), START)

    log = run(fleet, Instant(START + SECOND + GRID))

    assert len({o.check_id for _, o in log if isinstance(o, CheckRose)}) == 10_000


def test_targets_are_no_herd_at_the_start_nor_later() -> None:
    fleet = Fleet(random=Random(1).random)
    fleet.reconfigure(many(2_000), START)

    log = run(fleet, Instant(START + 10 * SECOND))

    per_wake: dict[Instant, int] = {}
    for instant, output in log:
        if isinstance(output, StartProbe):
            per_wake[instant] = per_wake.get(instant, 0) + 1
    assert max(per_wake.values()) < 100, "5,000 a second at the start are 50 in a step of 10 ms"
    steady = [n for instant, n in per_wake.items() if instant > START + 3 * SECOND]
    assert max(steady) < 60, "2,000 a second are 20 in a step of 10 ms, give or take chance"


def test_deadline_lies_on_the_grid_and_never_before_a_check_is_due() -> None:
    fleet = Fleet(random=lambda: 0.5)
    fleet.reconfigure(many(100), START)

    assert fleet.deadline is not None
    assert fleet.deadline % GRID == 0
    due = min(check.deadline for check in fleet if check.deadline is not None)
    assert 0 <= fleet.deadline - due < GRID


def test_each_target_is_asked_once_an_interval() -> None:
    fleet = Fleet(random=Random(1).random)
    fleet.reconfigure(many(50), START)

    log = run(fleet, Instant(START + 100 * SECOND))

    probes = sum(isinstance(output, StartProbe) for _, output in log)
    assert 50 * 98 <= probes <= 50 * 103


def test_reconfiguring_adds_removes_and_keeps() -> None:
    fleet = Fleet(random=Random(1).random)
    fleet.reconfigure(many(3), START)
    run(fleet, Instant(START + 5 * SECOND))
    now = Instant(START + 5 * SECOND)

    wanted = many(4)
    del wanted["0"]
    fleet.reconfigure(wanted, now)

    assert len(fleet) == 3
    assert fleet.get("0") is None
    kept, new = fleet.get("1"), fleet.get("3")
    assert kept is not None
    assert kept.up
    assert new is not None
    assert not new.proven
    assert fleet.on_result("0", BAD, now) == []


def test_removed_check_cancels_its_probe() -> None:
    fleet = Fleet(random=lambda: 0.0)
    fleet.reconfigure(many(1), START)
    assert fleet.deadline is not None
    fleet.on_deadline(fleet.deadline)

    assert fleet.reconfigure({}, START) == [CancelProbe(check_id="0")]
    assert fleet.deadline is None


def test_adopted_checks_keep_the_kernel_s_word() -> None:
    fleet = Fleet(random=lambda: 0.0)
    fleet.reconfigure(many(2), START, adopted={"0": True, "1": False})

    assert [check.up for check in fleet] == [True, False]
    assert all(check.proven for check in fleet)


def test_operator_may_ask_now() -> None:
    fleet = Fleet(random=lambda: 0.99)
    fleet.reconfigure({"web": replace(SETTINGS, interval=3600 * SECOND)}, START)
    run(fleet, Instant(START + SECOND))
    now = Instant(START + 2 * SECOND)

    fleet.probe_now("web", now)

    assert fleet.deadline is not None
    assert fleet.deadline - now < GRID
    assert fleet.probe_now("nobody", now) == []


def test_fallen_target_is_told() -> None:
    fleet = Fleet(random=lambda: 0.5)
    fleet.reconfigure(many(1), START)
    run(fleet, Instant(START + 2 * SECOND))

    log = run(fleet, Instant(START + 8 * SECOND), BAD)

    assert sum(isinstance(output, CheckFell) for _, output in log) == 1


def test_asking_again_and_again_does_not_grow_the_wheel() -> None:
    fleet = Fleet(random=lambda: 0.5)
    fleet.reconfigure(many(10), START)
    run(fleet, Instant(START + 2 * SECOND))
    for i in range(10_000):
        fleet.probe_now("5", Instant(START + 3 * SECOND + i))

    assert sum(map(len, fleet._wheel.values())) <= 10 + 1


def test_probe_that_never_comes_back_is_swept_up() -> None:
    fleet = Fleet(random=lambda: 0.5)
    fleet.reconfigure(many(3), START)
    log = []
    while fleet.deadline is not None and fleet.deadline < START + 10 * SECOND:
        log += fleet.on_deadline(fleet.deadline)

    kinds = [type(output) for output in log]
    assert kinds.count(CancelProbe) == kinds.count(CheckInconclusive) >= 3
    assert kinds.count(StartProbe) > 3, "asked again"
    assert fleet.on_result("0", GOOD, Instant(START + 10 * SECOND)) != []


def test_check_that_moved_to_another_step_is_asked_once() -> None:
    fleet = Fleet(random=lambda: 0.5)
    fleet.reconfigure(many(1), START)
    fleet.probe_now("0", Instant(START - 500 * GRID))
    fleet.probe_now("0", START)

    log = run(fleet, Instant(START + GRID))

    assert sum(isinstance(output, StartProbe) for _, output in log) == 1


def test_a_reload_that_changes_every_check_is_no_herd() -> None:
    fleet = Fleet(random=Random(1).random)
    fleet.reconfigure(many(2_000), START)
    run(fleet, Instant(START + 5 * SECOND))
    now = Instant(START + 5 * SECOND)

    fleet.reconfigure({name: replace(check, port=9) for name, check in many(2_000).items()}, now)
    log = run(fleet, Instant(now + SECOND))

    per_wake: dict[Instant, int] = {}
    for instant, output in log:
        if isinstance(output, StartProbe):
            per_wake[instant] = per_wake.get(instant, 0) + 1
    assert max(per_wake.values()) < 100


def test_programs_wait_in_line_for_each_other() -> None:
    settings = replace(SETTINGS, kind=CheckKind.EXEC, port=0, options=ExecOptions(argv=("/bin/true",)))
    fleet = Fleet(random=lambda: 0.0)
    fleet.reconfigure(
        {str(i): replace(settings, fall=i + 1) for i in range(PROGRAMS_AT_ONCE + 3)}
        | {f"tcp{i}": replace(SETTINGS, port=i + 1) for i in range(5)},
        START,
    )

    begun = [o.check_id for o in fleet.on_deadline(Instant(START + GRID)) if isinstance(o, StartProbe)]
    after_one = fleet.on_result("7", GOOD, Instant(START + 2 * GRID))

    assert len([check_id for check_id in begun if check_id.isdigit()]) == PROGRAMS_AT_ONCE
    assert len(begun) == PROGRAMS_AT_ONCE + 5, "others do not wait for programs"
    assert [o.check_id for o in after_one if isinstance(o, StartProbe)] == [str(PROGRAMS_AT_ONCE)]


def test_probes_in_flight_are_bounded_and_nobody_is_forgotten() -> None:
    fleet = Fleet(random=lambda: 0.0)
    fleet.reconfigure({str(i): replace(SETTINGS, port=i + 1) for i in range(PROBES_AT_ONCE + 3)}, START)

    begun = [o for o in fleet.on_deadline(Instant(START + GRID)) if isinstance(o, StartProbe)]
    next_one = fleet.on_result("0", GOOD, Instant(START + 2 * GRID))
    fleet.reconfigure({str(PROBES_AT_ONCE + 2): replace(SETTINGS, port=PROBES_AT_ONCE + 3)}, START)
    last = fleet.on_deadline(Instant(START + 3 * GRID))

    assert len(begun) == PROBES_AT_ONCE
    assert [o.check_id for o in next_one if isinstance(o, StartProbe)] == [str(PROBES_AT_ONCE)]
    assert [o.check_id for o in last if isinstance(o, StartProbe)] == [str(PROBES_AT_ONCE + 2)]
