"""Random lives of the relay. One that breaks prints its seed and the command that plays it again."""

from collections.abc import Callable
from typing import Any

import pytest

from lvsha.core.errors import DropReason
from lvsha.sim.relay_swarm import RelayLife, live
from lvsha.sync.relay_peer import PeerSession
from lvsha.sync.relay_resync import Resync
from lvsha.sync.relay_window import SendWindow
from lvsha.sync.store import Store

SEEDS = 6
MISFORTUNES = 12


def told(life: RelayLife) -> str:
    again = f"again: lvsha sim relay --seed {life.seed} --misfortunes {MISFORTUNES}"
    return "\n".join([*life.end, f"seed {life.seed}: {life.broken}", again])


def test_random_lives_keep_the_invariants() -> None:
    forged = 0
    for seed in range(SEEDS):
        life = live(seed, misfortunes=MISFORTUNES)
        forged += life.forged
        assert not life.broken, told(life)

    assert forged > SEEDS, "lives without an attacker prove nothing"


def test_a_seed_is_one_life_only() -> None:
    assert live(3, misfortunes=4) == live(3, misfortunes=4)
    assert live(3, misfortunes=4) != live(4, misfortunes=4)


def _nothing(*_: object, **__: object) -> Any:
    return []


@pytest.mark.parametrize(
    ("owner", "name", "broken"),
    [
        (SendWindow, "lose", _nothing),
        (Resync, "_serve", _nothing),
        (PeerSession, "_hello", _nothing),
        (Store, "_reassert", _nothing),
    ],
    ids=["lost-is-not-resent", "nobody-is-served", "nobody-is-greeted", "no-word-of-ours-counts"],
)
def test_a_relay_with_a_part_missing_does_not_survive(
    monkeypatch: pytest.MonkeyPatch, owner: type, name: str, broken: Callable[..., Any]
) -> None:
    """The invariants can fail: each part, taken out, is found within a few lives."""
    monkeypatch.setattr(owner, name, broken)

    assert any(live(seed, misfortunes=8).broken for seed in range(20))


def test_a_machine_that_raises_is_a_finding_with_its_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object, **__: object) -> None:
        raise RuntimeError(DropReason.REPLAYED)

    monkeypatch.setattr(Store, "accept", fails)

    life = live(1, misfortunes=2)

    assert "RuntimeError" in life.broken
    assert "sim relay --seed 1" in told(life)
