"""Random lives. One that breaks prints its seed and the command that plays it again."""

from dataclasses import replace

import pytest

from lvsha.core.errors import LvshaError
from lvsha.core.instant import Instant
from lvsha.sim.director import INBOX
from lvsha.sim.invariants import Broken
from lvsha.sim.kernel import Kernel
from lvsha.sim.leap import Leaping
from lvsha.sim.network import Datagram
from lvsha.sim.swarm import Course, Life, live
from lvsha.sim.world import NEVER
from lvsha.vrrp import transitions
from lvsha.vrrp.announce import Announcer
from lvsha.vrrp.preemption import Preemption
from lvsha.vrrp.transitions import Input, Phase, Step

SEEDS = 100


def told(life: Life) -> str:
    """What a developer needs, in the assertion."""
    again = f"again: lvsha sim swarm --seed {life.seed}"
    return "\n".join([*life.end, f"seed {life.seed}: {life.broken}", again])


def test_random_lives_keep_the_invariants() -> None:
    takeovers = 0
    for seed in range(SEEDS):
        life = live(seed, quiet=0)
        takeovers += life.takeovers
        assert not life.broken, told(life)

    assert takeovers > 3 * SEEDS, "lives without misfortune prove nothing"


def test_a_seed_is_one_life_only() -> None:
    assert live(11) == live(11)
    assert live(11) != live(12)


@pytest.mark.parametrize(
    ("phase", "on", "without"),
    [
        (Phase.MASTER, Input.HEARD_BETTER, Step.UNBIND),
        (Phase.MASTER, Input.RELEASE, Step.STOP_ANNOUNCING),
        (Phase.BACKUP, Input.MASTER_SILENT, Step.BIND),
        (Phase.BACKUP, Input.MASTER_SILENT, Step.ANNOUNCE),
        (Phase.BACKUP, Input.HEARD_BETTER, Step.WAIT_DOWN),
    ],
    ids=lambda value: value.name,
)
def test_a_machine_with_a_step_missing_does_not_survive(
    monkeypatch: pytest.MonkeyPatch, phase: Phase, on: Input, without: Step
) -> None:
    """The invariants can fail: each of these rows, broken, is found within a few lives."""
    row = transitions.TABLE[phase, on]
    steps = tuple(step for step in row.steps if step is not without)
    monkeypatch.setitem(transitions.TABLE, (phase, on), replace(row, steps=steps))

    assert any(live(seed, quiet=0).broken for seed in range(30))


def test_a_master_that_never_yields_does_not_survive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(transitions.TABLE, (Phase.MASTER, Input.HEARD_BETTER))

    broken = next(life for seed in range(30) if (life := live(seed, quiet=0)).broken)

    assert "MASTERs" in broken.broken
    assert broken.end
    assert "sim swarm --seed" in told(broken)


def _keeps(kernel: Kernel, now: Instant) -> bool:
    """A kernel that does not know leases."""
    kernel.due = NEVER
    return False


@pytest.mark.parametrize(
    ("of", "name", "broken", "says", "seeds"),
    [
        (Kernel, "lapse", _keeps, "beyond the lease", 30),
        (Announcer, "stop", lambda *_, **__: None, "announces as", 10),
        (Preemption, "hear_worse", lambda *_, **__: False, "is MASTER with priority", 30),
    ],
    ids=["leases", "announcements", "the-best"],
)
def test_each_invariant_can_fail(
    monkeypatch: pytest.MonkeyPatch, of: object, name: str, broken: object, says: str, seeds: int
) -> None:
    monkeypatch.setattr(of, name, broken)

    assert any(says in live(seed, quiet=0).broken for seed in range(seeds))


def test_a_queue_beyond_its_bound_is_found() -> None:
    course = Course(1, 0, 0, Leaping.PLAY)
    course.watch.look()
    director = course.stage.directors[0]

    director.inbox.extend([Datagram(director.address, director.address, 255, b"")] * (INBOX + 1))
    course.watch.begin_again()

    with pytest.raises(Broken, match="257 datagrams wait"):
        course.watch.look()


def test_a_machine_that_raises_is_a_finding_with_its_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object, **__: object) -> None:
        raise LvshaError("no")

    monkeypatch.setattr("lvsha.vrrp.router.VirtualRouter.release", fails)

    broken = next(life for seed in range(30) if (life := live(seed, quiet=0)).broken)

    assert broken.broken == "LvshaError: no"
