"""The table itself: complete, unambiguous, true to its own invariants, and what the docs show."""

import errno
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lvsha.core.instant import MILLISECOND, Instant
from lvsha.core.machine import Action, Output
from lvsha.vrrp.diagram import transition_diagram_mermaid, transition_table_markdown
from lvsha.vrrp.outputs import AddAddresses, BecameBackup, BecameMaster, RemoveAddresses, SendAdvertisement
from lvsha.vrrp.router import VirtualRouter
from lvsha.vrrp.transitions import (
    HOLDING,
    STATE_OF,
    TABLE,
    TRANSITIONS,
    Input,
    Phase,
    State,
    Step,
    Transition,
)
from tests.vrrp.routers import HIGHER_PEER, LOWER_PEER, US, VIPS, advert, pass_time, settings

ROWS = pytest.mark.parametrize("row", TRANSITIONS, ids=lambda row: f"{row.phase}-{row.on.name}")


def test_no_input_has_two_rows() -> None:
    assert len(TABLE) == len(TRANSITIONS)


def test_every_phase_input_and_step_is_used() -> None:
    assert {row.phase for row in TRANSITIONS} == set(Phase)
    assert {row.on for row in TRANSITIONS} == set(Input)
    assert {step for row in TRANSITIONS for step in row.steps} == set(Step)
    assert set(STATE_OF.values()) == set(State)


@ROWS
def test_whoever_stops_holding_unbinds_and_whoever_begins_binds(row: Transition) -> None:
    """Or adopted what is bound already."""
    if row.phase in HOLDING and row.then not in HOLDING:
        assert Step.UNBIND in row.steps
        assert Step.STOP_ANNOUNCING in row.steps
    if row.then is Phase.MASTER and row.phase is not Phase.MASTER:
        assert Step.BIND in row.steps
    if row.phase is Phase.MASTER and row.then is not Phase.MASTER:
        assert Step.STOP_ANNOUNCING in row.steps
        assert Step.ANNOUNCE not in row.steps


@ROWS
def test_steps_come_in_the_order_of_rule_4(row: Transition) -> None:
    steps = row.steps
    order = [
        *(Step.ADVERTISE, Step.BIND, Step.ANNOUNCE, Step.ADVERTISE_ZERO, Step.STOP_ANNOUNCING),
        *(Step.UNBIND, Step.FOLLOW, Step.TELL),
    ]
    known = [step for step in steps if step in order]

    assert known == sorted(known, key=order.index)


@ROWS
def test_every_change_of_phase_is_told(row: Transition) -> None:
    """So that whoever listens to events alone knows who holds what."""
    before, then = row.phase, row.then
    if before is not then:
        assert Step.TELL in row.steps


@ROWS
def test_every_change_of_phase_sets_the_timer(row: Transition) -> None:
    """A timer left over from another phase would fire as the wrong input. Adopting ends by a worse
    advert with the timer running: that preempts (rule 3)."""
    waits = {step for step in Step if step.name.startswith("WAIT_")}
    if row.phase is row.then or row.on is Input.HEARD_WORSE:
        return
    assert len(waits & set(row.steps)) == 1


def outputs_of(router: VirtualRouter, dice: random.Random, now: Instant) -> list[Output]:
    """One arbitrary input."""
    source = dice.choice([HIGHER_PEER, LOWER_PEER])
    chance = dice.random()
    if chance < 0.25:
        return pass_time(router, now)
    if chance < 0.35:
        return router.on_deadline(now)
    if chance < 0.65:
        return router.receive(advert(dice.choice([0, 1, 100, 200, 255])), source, now)
    if chance < 0.72:
        return router.on_action_failed(AddAddresses("r", VIPS), errno.EPERM, now)
    if chance < 0.79:
        return router.on_action_failed(SendAdvertisement("r", 100), errno.ENOBUFS, now)
    if chance < 0.86:
        return router.set_interface(dice.random() < 0.7, US, now)
    if chance < 0.90:
        return router.set_priority(dice.choice([1, 100, 254, 255]), now)
    if chance < 0.93:
        return router.release(now)
    if chance < 0.98:
        return router.resume(now)
    return router.shutdown(now)


def test_random_lives_visit_every_row_and_keep_the_invariants() -> None:
    """Address actions and states agree at every step, and nothing waits without a timer."""
    visited: set[tuple[Phase, Input]] = set()
    happen = VirtualRouter._happen

    def watched(self: VirtualRouter, on: Input, *args: Any, **more: Any) -> list[Output]:
        if (self.phase, on) in TABLE:
            visited.add((self.phase, on))
        return happen(self, on, *args, **more)

    class Watched(VirtualRouter):
        _happen = watched

    for seed in range(400):
        dice = random.Random(seed)
        router = Watched(settings(priority=dice.choice([100, 100, 255])))
        router.set_interface(dice.random() < 0.8, US, Instant(0))
        held = dice.random() < 0.5
        bound = held
        now = Instant(0)
        outputs = router.start(now, held=held, was_master=dice.random() < 0.5)
        for _ in range(60):
            for output in outputs:
                if isinstance(output, AddAddresses):
                    bound = True
                elif isinstance(output, RemoveAddresses):
                    bound = False
                elif isinstance(output, BecameMaster):
                    assert bound, f"seed {seed}: MASTER without its addresses"
            assert bound == router.holds_addresses, f"seed {seed}"
            active = router.phase in (Phase.BACKUP, Phase.ADOPTING, Phase.MASTER, Phase.RELEASING)
            assert not active or router.deadline is not None, f"seed {seed}: {router.phase} waits for nothing"
            states = [type(output) for output in outputs if isinstance(output, BecameMaster | BecameBackup)]
            if states and states[-1] is BecameMaster:
                assert router.state is State.MASTER, f"seed {seed}"
            pause = dice.choice([1, 30, 100, 400, 800, 20_000]) * MILLISECOND
            now = Instant(now + dice.randrange(pause))
            if dice.random() < 0.5 and router.deadline is not None:
                now = max(now, router.deadline)
            outputs = outputs_of(router, dice, now)

    assert sorted(f"{phase} {on}" for phase, on in set(TABLE) - visited) == []


def test_an_action_is_never_an_event_too() -> None:
    """The two tenses, ``core.machine``."""
    assert issubclass(AddAddresses, Action)
    assert not issubclass(BecameMaster, Action)


@pytest.mark.parametrize("make", [transition_table_markdown, transition_diagram_mermaid])
def test_the_documented_machine_is_the_one_that_runs(make: Callable[[], str]) -> None:
    """``docs/reference/vrrp.md``; print what it should hold with ``python -m lvsha.vrrp.diagram``."""
    page = Path(__file__).resolve().parents[2] / "docs" / "reference" / "vrrp.md"

    assert make() in page.read_text(encoding="utf-8")
