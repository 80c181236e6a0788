"""Leaping is exact: the same lives with and without it, and every rule of it, taken out, is found out."""

from collections.abc import Callable
from ipaddress import IPv4Address, IPv4Interface
from random import Random
from typing import Any

import pytest

from lvsha.core.instant import MILLISECOND, SECOND, Instant
from lvsha.core.machine import Output
from lvsha.sim import leap
from lvsha.sim.director import Director
from lvsha.sim.leap import Leaper, Leaping
from lvsha.sim.stage import Stage
from lvsha.sim.swarm import Course, Life, live
from lvsha.sim.world import NEVER
from lvsha.vrrp.outputs import AdvertisementDropped
from lvsha.vrrp.router import VirtualRouter
from lvsha.vrrp.settings import GarpSettings, RouterSettings

MISFORTUNES = 20
QUIET = 20 * SECOND


def lived(seed: int, leaping: Leaping) -> tuple[list[Any], tuple[str, ...], int]:
    """Everything there is at the end, the transcript, and how long it leapt."""
    course = Course(seed, MISFORTUNES, QUIET, leaping)
    course.live()
    return course.leaper.look().values, course.transcript(), course.leaper.leapt


def proved(seed: int) -> Life:
    return live(seed, misfortunes=MISFORTUNES, quiet=QUIET, leaping=Leaping.PROVE)


def test_a_life_that_leaps_is_the_life_that_is_played() -> None:
    """Machines, kernels, network, counts of steps and adverts, and all that was told."""
    leapt = 0
    for seed in (0, 1, 2, 3, 4, 30):
        everything, transcript, over = lived(seed, Leaping.LEAP)
        leapt += over
        played = lived(seed, Leaping.PLAY)

        assert (everything, transcript) == played[:2], f"seed {seed}"
        assert not played[2]

    assert leapt > 50 * SECOND, "lives that do not leap prove nothing"


def test_every_leap_lands_where_playing_ends() -> None:
    for seed in range(6, 10):
        life = proved(seed)

        assert not life.broken, f"lvsha sim swarm --seed {seed} --misfortunes 20 --quiet 20s --prove"


def test_a_leap_that_passes_what_stands_still_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leap, "_until", lambda *_: NEVER)

    assert any("a leap " in proved(seed).broken for seed in range(20))


class Pair(Stage):
    """Two directors as a test wants them; no announcements are repeated, nothing is on a lease."""

    def __init__(self, *, a: dict[str, Any], b: dict[str, Any]) -> None:
        self._wanted = {"a": a, "b": b}
        self.told: list[Output] = []
        super().__init__(Random(0), lambda _, output: self.told.append(output))

    def _make(self, log: Callable[[str, Output], None]) -> list[Director]:
        common: dict[str, Any] = {
            "name": "r",
            "interface": "eth0",
            "vrid": 1,
            "advert_interval": 10 * MILLISECOND,
            "addresses": (IPv4Interface("10.0.0.9/24"),),
            "lease": 0,
            "garp": GarpSettings(refresh=0),
        }
        return [
            Director(
                name=name,
                address=IPv4Address(f"10.0.0.{number}"),
                routers=(RouterSettings(**(common | wanted)),),
                world=self.world,
                network=self.network,
                log=log,
            )
            for number, (name, wanted) in enumerate(self._wanted.items(), start=1)
        ]


def heard_worse() -> Pair:
    """b is MASTER; a hears it and waits 2.003 s before it preempts."""
    pair = Pair(a={"priority": 200, "preempt_delay": 2003 * MILLISECOND}, b={"priority": 100})
    pair.directors[1].start()
    pair.world.advance(SECOND)
    pair.directors[0].start()
    pair.world.advance(100 * MILLISECOND)
    return pair


def leaper(pair: Pair) -> Leaper:
    return Leaper(pair, lambda: True, Leaping.LEAP)


@pytest.mark.parametrize("rule", [None, "_thresholds"])
def test_a_leap_ends_before_a_delay_does(monkeypatch: pytest.MonkeyPatch, rule: str | None) -> None:
    if rule is not None:
        monkeypatch.setattr(leap, rule, lambda *_: ())
    pair = heard_worse()

    leaps = leaper(pair)
    leaps.run_until(Instant(pair.world.now + 10 * SECOND))

    assert leaps.leapt
    assert pair.directors[0].is_master("r") is (rule is None)


@pytest.mark.parametrize("rule", [None, "_is_passed"])
def test_a_period_in_which_a_delay_ends_is_no_model(
    monkeypatch: pytest.MonkeyPatch, rule: str | None
) -> None:
    if rule is not None:
        monkeypatch.setattr(leap, rule, lambda *_: False)
    pair = heard_worse()
    (over,) = leap._thresholds(pair.directors[0].routers["r"])
    pair.world.run_until(Instant(over - 5 * MILLISECOND))

    leaper(pair).run_until(Instant(pair.world.now + 10 * SECOND))

    assert pair.directors[0].is_master("r") is (rule is None)


@pytest.mark.parametrize("rule", [None, "_silent"])
def test_a_count_is_told_when_it_is_due(monkeypatch: pytest.MonkeyPatch, rule: str | None) -> None:
    """They speak different versions: each drops what the other says, and tells of the first, the tenth, …"""
    if rule is not None:
        monkeypatch.setattr(leap, rule, lambda *_: NEVER)
    second: dict[str, Any] = {"advert_interval": SECOND}
    pair = Pair(a={"version": 2, **second}, b={"version": 3, **second})
    for director in pair.directors:
        director.start()

    leaps = leaper(pair)
    leaps.run_until(Instant(20_000 * SECOND))

    counts = [each.count for each in pair.told if isinstance(each, AdvertisementDropped)]
    assert leaps.leapt > 10_000 * SECOND
    assert (sorted(set(counts)) == [1, 10, 100, 1000, 10_000]) is (rule is None)


def test_what_is_not_known_is_not_leapt_over(monkeypatch: pytest.MonkeyPatch) -> None:
    make = VirtualRouter.__init__

    def with_something_new(router: VirtualRouter, settings: Any) -> None:
        make(router, settings)
        router.something_new = 7  # type: ignore[attr-defined]

    monkeypatch.setattr(VirtualRouter, "__init__", with_something_new)

    assert not live(1, misfortunes=MISFORTUNES, quiet=QUIET).leapt
