"""A host's monotonic clock: it may run fast or slow.

Crystals are wrong by some ten parts in a million; a virtual machine that is moved or
starved can be wrong by per cents for a while. Whoever's clock is fast waits less than
the others believe.
"""

from lvsha.core.instant import Instant
from lvsha.sim.world import NEVER, World

MILLION = 1_000_000


class Clock:
    def __init__(self, world: World) -> None:
        self.ppm = 0
        """Parts in a million that it is fast; less than 0: slow."""
        self.is_true = True
        """It shows the world's time, and goes on doing so."""
        self._world = world
        self._true = self._shown = Instant(0)
        """When its rate last changed, and what it showed then."""

    def drift(self, ppm: int) -> None:
        """From now on it is so fast; it never jumps."""
        self._shown, self._true = self.now(), self._world.now
        self.ppm = ppm
        self.is_true = not ppm and self._shown == self._true

    def now(self) -> Instant:
        """What it shows."""
        return self._at(self._world.now)

    def when(self, shown: Instant) -> Instant:
        """The world's instant at which it first shows ``shown``, or more."""
        if shown >= NEVER:
            return NEVER
        passed = (shown - self._shown) * MILLION // (MILLION + self.ppm)
        world = Instant(self._true + passed)
        while self._at(world) < shown:
            world = Instant(world + 1)
        return world

    def _at(self, world: Instant) -> Instant:
        passed = world - self._true
        return Instant(self._shown + passed + passed * self.ppm // MILLION)
