"""What a virtual router looks at beside its peers: whether this director is fit to lead.

Each thing looked at is up or down. Down, one with a ``weight`` changes the priority, and
one without makes the router unfit: FAULT, as when its interface is gone. A negative
weight counts while it is down, a positive one while it is up. What nobody has told us
anything about counts as up: a director must not give up its role because the process
that looks has just been restarted.

Who looks is not decided here: vrrpd sees interfaces, directord the rest.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from lvsha.core.instant import SECOND, Instant, after


class TrackKind(StrEnum):
    """The words of the configuration."""

    INTERFACE = "interface"
    """Up: it is there, set up, and has a carrier."""
    SCRIPT = "script"
    """Up: it ends with status 0 in time."""
    FILE = "file"
    """Up: it is there and does not hold the number 0."""
    PROCESS = "process"
    """Up: one of that name runs."""
    SERVICE = "service"
    """Up: a ``[[service]]`` of ours has its quorum."""
    ROUTE = "route"
    """Up: the kernel has a route to exactly that network."""
    GATEWAY = "gateway"
    """Up: it answers an echo request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackSettings:
    """One thing that is looked at."""

    kind: TrackKind
    target: str
    """A name, a path, a network or an address."""
    command: tuple[str, ...] = ()
    """Of a script: it and its arguments."""
    weight: int | None = None
    """None: down is a fault."""
    interval: int = 1 * SECOND
    timeout: int = 1 * SECOND
    rise: int = 2
    """Good looks in a row until it is up again: what flaps must not take the role with it."""
    fall: int = 2

    @property
    def key(self) -> str:
        """What verdicts are filed under: two routers that look at one thing look once."""
        return f"{self.kind}:{' '.join(self.command) or self.target}"


@dataclass(frozen=True, slots=True)
class Judgement:
    """What all that is tracked comes to."""

    offset: int
    """Added to the priority."""
    fault: str
    """What makes the router unfit, and that it is tracked; empty: nothing."""


def judge(tracks: Iterable[TrackSettings], verdicts: Mapping[str, bool]) -> Judgement:
    """``verdicts``: up or not, by key."""
    offset = 0
    down = []
    for track in tracks:
        up = verdicts.get(track.key, True)
        if track.weight is None:
            if not up:
                down.append(f"{track.kind} {track.target}")
        elif up == (track.weight > 0):
            offset += track.weight
    return Judgement(offset, f"tracked {' and '.join(down)} down" if down else "")


class SteadyLink:
    """An interface as far as it is believed: up ``up_delay`` after it came, down ``down_delay`` after it
    went. The first look counts at once."""

    def __init__(self, *, up_delay: int, down_delay: int) -> None:
        self.up: bool | None = None
        self.deadline: Instant | None = None
        """When to look again."""
        self._up_delay = up_delay
        self._down_delay = down_delay

    def look(self, up: bool, now: Instant) -> bool:
        """The verdict: ``up`` is how it is at this moment."""
        if self.up is None or up == self.up:
            self.up, self.deadline = up, None
        elif self.deadline is None:
            delay = self._up_delay if up else self._down_delay
            self.deadline = after(now, delay) if delay else None
            self.up = self.up if delay else up
        elif now >= self.deadline:
            self.up, self.deadline = up, None
        return self.up


class Debounce:
    """``rise`` good looks in a row make it up, ``fall`` bad ones down; the first look counts at once."""

    def __init__(self, *, rise: int, fall: int) -> None:
        self.up: bool | None = None
        self._rise = rise
        self._fall = fall
        self._against = 0

    def look(self, good: bool) -> bool:
        """The verdict after one look more."""
        if self.up is None:
            self.up = good
        elif good == self.up:
            self._against = 0
        else:
            self._against += 1
            if self._against >= (self._rise if good else self._fall):
                self.up, self._against = good, 0
        return self.up
