"""Many short lives, each from one seed, each watched at every step.

A life: two to five directors with random settings (``sim.stage``), some dozen misfortunes
at random times (``sim.misfortunes``), now and then a quiet spell of minutes or hours, then
the sky clears and things must come right. ``sim.invariants`` says what must hold, and when.

Between two misfortunes lie six adverts, so an hour of that holds more than a quiet year.
Quiet spells are what a year mostly consists of: ``sim.leap`` leaps over the repetitions
in them and counts what it has leapt, so nobody needs to believe that it was played.
"""

from collections import deque
from dataclasses import dataclass
from random import Random

from lvsha.core.instant import SECOND, Instant, to_seconds
from lvsha.core.machine import Output
from lvsha.sim.invariants import Broken, Watch, must_be_right
from lvsha.sim.leap import Leaper, Leaping
from lvsha.sim.lines import line
from lvsha.sim.misfortunes import MISFORTUNES
from lvsha.sim.stage import GARP, Stage
from lvsha.vrrp.outputs import BecameMaster, RenewAddresses, SendAdvertisement
from lvsha.vrrp.preemption import PENANCE
from lvsha.vrrp.steps import RETRY_LAST
from lvsha.vrrp.transitions import State

KEPT = 60
"""Lines of the transcript's end that a failure shows."""
SPELLS = 0.1
"""Of misfortunes are followed by a quiet spell."""
QUIET = 3600 * SECOND
"""Nanoseconds that such a spell lasts, on average."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Life:
    """What became of one seed."""

    seed: int
    simulated: int
    """Nanoseconds of virtual time."""
    leapt: int
    """Of them, leapt over as repetitions."""
    steps: int
    adverts: int
    takeovers: int
    misfortunes: int
    looks: int
    """How often the invariants were looked at: whenever something but an advert or a renewal happened."""
    broken: str
    """Empty: all held."""
    end: tuple[str, ...]
    """The last lines before it broke."""

    @property
    def figures(self) -> dict[str, int]:
        """What there is to count of it."""
        return {
            "misfortunes": self.misfortunes,
            "takeovers": self.takeovers,
            "adverts": self.adverts,
            "looks at the invariants": self.looks,
        }


class Course:
    """One life being lived."""

    def __init__(self, seed: int, misfortunes: int, quiet: int, leaping: Leaping) -> None:
        self.dice = Random(seed)
        self.misfortunes = misfortunes
        self.quiet = quiet
        self.lines: deque[str | tuple[Instant, str, Output]] = deque(maxlen=KEPT)
        self.stage = Stage(self.dice, self._log)
        self.tally = self.stage.tally
        self.watch = Watch(self.stage)
        self.leaper = Leaper(self.stage, lambda: self.watch.is_calm, leaping)

    def transcript(self) -> tuple[str, ...]:
        return tuple(each if isinstance(each, str) else line(*each) for each in self.lines)

    def _log(self, node: str, output: Output) -> None:
        if isinstance(output, SendAdvertisement):
            self.tally.adverts += 1
            if output.priority:
                return
        elif isinstance(output, RenewAddresses):
            return
        elif isinstance(output, BecameMaster):
            self.tally.takeovers += 1
        self.watch.changed = True
        self.tally.lines += 1
        self.lines.append((self.stage.world.now, node, output))

    def _note(self, text: str) -> None:
        self.lines.append(f"{to_seconds(self.stage.world.now):.3f} -- {text}")

    def live(self) -> None:
        world = self.stage.world
        world.after_step = self.watch.look
        interval = self.stage.interval
        for director in self.stage.directors:
            director.start()
            world.advance(self.dice.randrange(2 * interval))
        for _ in range(self.misfortunes):
            self._befall()
            world.advance(round(self.dice.expovariate(1 / (6 * interval))))
            if self.quiet and self.dice.random() < SPELLS:
                self._rest()
        self._clear_up()
        must_be_right(self.stage)

    def _befall(self) -> None:
        self.watch.look()
        misfortune = self.dice.choice(MISFORTUNES)
        self._note(misfortune(self.stage, self.dice.choice(self.stage.directors)))
        self.watch.begin_again()
        self.watch.look()

    def _rest(self) -> None:
        """Nothing happens for long; whoever is dead, released or without a link stays it."""
        length = round(self.dice.expovariate(1 / self.quiet))
        if any(director.clock.ppm for director in self.stage.directors):
            return  # it would have to be played: clocks that differ never repeat what they did
        self._note(f"quiet for {to_seconds(length):.3f}s")
        self.stage.calm()
        self.watch.begin_again()
        self.leaper.run_until(Instant(self.stage.world.now + length))
        self.watch.look()

    def _clear_up(self) -> None:
        """The sky clears, and whatever had to be waited for has been."""
        self._note("clear up")
        stage = self.stage
        stage.calm()
        for director in stage.directors:
            director.set_link(True)
            stage.boot(director)
            director.resume()
        self.watch.begin_again()
        self._wait(2 * GARP.refresh + 10 * stage.down + PENANCE)
        if any(router.state is State.FAULT for each in stage.directors for router in each.routers.values()):
            self._wait(RETRY_LAST + 10 * stage.down)

    def _wait(self, duration: int) -> None:
        self.leaper.run_until(Instant(self.stage.world.now + duration))


def live(seed: int, *, misfortunes: int = 40, quiet: int = QUIET, leaping: Leaping = Leaping.LEAP) -> Life:
    """One life, from its seed; the same every time, however it leaps.

    Args:
        quiet: nanoseconds that a quiet spell lasts on average; 0: there is none.
    """
    life = Course(seed, misfortunes, quiet, leaping)
    broken = ""
    try:
        life.live()
    except Broken as error:
        broken = str(error)
    except Exception as error:  # a machine that raises is a finding like any other: with its seed
        broken = f"{type(error).__name__}: {error}"
    return Life(
        seed=seed,
        simulated=life.stage.world.now,
        leapt=life.leaper.leapt,
        steps=life.stage.world.steps,
        adverts=life.tally.adverts,
        takeovers=life.tally.takeovers,
        misfortunes=misfortunes,
        looks=life.watch.looks,
        broken=broken,
        end=life.transcript() if broken else (),
    )
