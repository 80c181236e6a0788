"""In a random hour of a cluster every change of a role or an address carries its cause."""

from itertools import count, islice
from random import Random

import pytest

from lvsha.agent.journal import plain, snake
from lvsha.core.instant import SECOND, to_seconds
from lvsha.core.machine import Event, Output
from lvsha.director.cause import CauseKind
from lvsha.director.history import Change, ChangeKind, History
from lvsha.sim.misfortunes import MISFORTUNES
from lvsha.sim.stage import Stage

HOUR = 3600 * SECOND
SLOW = SECOND // 2
"""Adverts at least so far apart: an hour of faster ones is played for minutes."""


class Hour:
    """A stage whose directors are listened to as directord listens to vrrpd: its lines, then its picture."""

    def __init__(self, seed: int) -> None:
        self.dice = Random(seed)
        self.histories: dict[str, History] = {}
        self.begun: set[str] = set()
        """Directors whose process was started since the last picture."""
        self.changes: list[tuple[Change, bool]] = []
        """And whether the process is a new one."""
        self.stage = Stage(self.dice, self._log)
        self.stage.world.after_step = self._look

    def _log(self, name: str, output: Output) -> None:
        if isinstance(output, Event):
            entry = {"event": f"vrrp.{snake(type(output).__name__)}", **plain(output)}
            self._history(name).on_vrrp_event(entry, at=self._at)

    def _history(self, name: str) -> History:
        return self.histories.setdefault(name, History())

    @property
    def _at(self) -> float:
        return to_seconds(self.stage.world.now)

    def _look(self) -> None:
        for director in self.stage.directors:
            if not director.is_running or director.is_frozen:
                self.begun.add(director.name)
                continue
            picture = [
                {
                    "name": name,
                    "state": str(router.state),
                    "holds_addresses": router.holds_addresses,
                    "addresses": [str(each) for each in router.settings.addresses],
                }
                for name, router in director.routers.items()
            ]
            found = self._history(director.name).on_routers(picture, at=self._at)
            self.changes += [(change, director.name in self.begun) for change in found]
            self.begun.discard(director.name)

    def live(self) -> None:
        world = self.stage.world
        for director in self.stage.directors:
            director.start()
        while world.now < HOUR:
            self.dice.choice(MISFORTUNES)(self.stage, self.dice.choice(self.stage.directors))
            world.advance(self.dice.randrange(60 * SECOND))
            if self.dice.random() < 0.3:
                self.stage.calm()


def slow_seeds() -> list[int]:
    return list(islice((seed for seed in count() if Hour(seed).stage.interval >= SLOW), 2))


@pytest.mark.parametrize("seed", slow_seeds())
def test_in_a_random_hour_every_change_of_a_role_or_an_address_has_its_cause(seed: int) -> None:
    hour = Hour(seed)
    hour.live()

    assert sum(change.what is ChangeKind.ROLE for change, _ in hour.changes) > 20
    for change, is_new in hour.changes:
        assert change.causes, change
        assert all(cause.text for cause in change.causes)
        # What happened while nobody was there is called so; nothing else is.
        assert is_new or all(cause.kind is not CauseKind.UNSEEN for cause in change.causes), change
