"""Many short lives of the relay, each from one seed, each watched at every step.

A life: two or three directors, connections that begin, change and end wherever the
packets go, and misfortunes at random times: loss, delay, reordering, duplication,
one-way cuts, crashes with and without the kernel's table, takeovers, keys being
changed, a slow kernel; and somebody on the network who invents frames, spoils them,
and sends old ones again. Then the changes stop.

Invariants, looked at after every step:

1. A datagram that its sender did not make, or made before, changes no store and
   installs nothing.
2. Every entry in a store is one that a director saw in its kernel.
3. No kernel is given a row of an address that its director holds, unless it lacks it.
4. Nothing grows beyond its bound.

And at the end, while the network still loses up to a fifth: within a second after all
sessions are up and nothing changes any more, all stores hold the same versions, every
kernel holds every connection, and every director knows so (coverage 1).
"""

from dataclasses import dataclass

from lvsha.sim.relay_misfortunes import MISFORTUNES
from lvsha.sim.relay_node import Broken
from lvsha.sim.relay_stage import KEPT, Stage


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayLife:
    """What became of one seed."""

    seed: int
    simulated: int
    """Nanoseconds of virtual time."""
    steps: int
    datagrams: int
    forged: int
    """Datagrams that the attacker sent."""
    entries: int
    """Different ones that directors spoke of."""
    broken: str
    """Empty: all held."""
    end: tuple[str, ...]
    """The last lines before it broke."""

    @property
    def figures(self) -> dict[str, int]:
        """What there is to count of it."""
        return {"datagrams": self.datagrams, "of them false": self.forged, "entries": self.entries}


def live(seed: int, *, misfortunes: int = 40) -> RelayLife:
    """One life, from its seed; the same every time."""
    life = Stage(seed)
    broken = ""
    try:
        life.live(misfortunes, lambda stage: stage.dice.choice(MISFORTUNES)(stage))
    except Broken as error:
        broken = str(error)
    except Exception as error:  # a machine that raises is a finding like any other: with its seed
        broken = f"{type(error).__name__}: {error}"
    return RelayLife(
        seed=seed,
        simulated=life.world.now,
        steps=life.world.steps,
        datagrams=life.datagrams,
        forged=life.forged,
        entries=len(life.spoken),
        broken=broken,
        end=tuple(life.lines[-KEPT:]) if broken else (),
    )
