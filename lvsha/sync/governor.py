"""Tunes the kernel's sync daemons to what is measured, within bounds, and says why.

Three things cost, and each has its remedy:

* **Many new connections.** With one entry a message (``maxlen`` 44) a connection is
  announced at once, but each is a packet to read. At some thousands a second eight
  fill one in a millisecond: then a message holds eight, and costs an eighth. Not more: the
  eight entries of a nudge (``sync.nudge``) must always push a part-filled message out.
* **Many busy connections.** Each is announced every ``sync_refresh_period``, and says
  nothing new: that period grows, up to a minute.
* **A socket that drops.** The backup daemon's buffer doubles, up to 64 MiB.

What is changed comes back when it was calm for a long time, one step after another:
changing ``maxlen`` or the buffer restarts a daemon, and what the kernel would have
announced in that moment has to be read from its table.

Not governed, because there is one right value: ``sync_threshold`` ("0 0": every packet
may announce; a threshold can only lose connections) and ``sync_ports`` (1: one thread
sends far more than Python reads, the nudge needs to know which one, and the peers' daemons
must have as many).

Source: figures of ``docs/decisions/0074-what-is-tuned-while-it-runs.md``.
"""

from dataclasses import dataclass
from typing import Final

from lvsha.core.instant import SECOND, Instant, after, to_seconds
from lvsha.core.machine import Action, Event, Output

ONE_ENTRY: Final = 44
EIGHT_ENTRIES: Final = 8 + 8 * 36
REFRESH_LEAST: Final = 10
REFRESH_MOST: Final = 60
BUFFER_LEAST: Final = 8 << 20
BUFFER_MOST: Final = 64 << 20

MANY_NEWS: Final = 4_000.0
FEW_NEWS: Final = 1_000.0
"""Entries with something new, a second."""
MUCH_ECHO: Final = 3_000.0
LITTLE_ECHO: Final = 500.0
"""Entries without anything new, a second."""
SURE_AFTER: Final = 3 * SECOND
"""So long it must be too much."""
CALM_AFTER: Final = 120 * SECOND
"""So long it must be little before a step back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuning:
    """What is in force."""

    maxlen: int = ONE_ENTRY
    refresh_s: int = REFRESH_LEAST
    buffer: int = BUFFER_LEAST


@dataclass(frozen=True, slots=True, kw_only=True)
class Counters:
    """As they stand; what counts is how they grow."""

    heard: int
    """Entries that our kernel has announced."""
    passed_on: int
    """Those with something new."""
    drops: int
    """Datagrams that the backup daemon's socket had no room for."""


@dataclass(frozen=True, slots=True)
class ApplyTuning(Action):
    """Bring the kernel to this."""

    tuning: Tuning


@dataclass(frozen=True, slots=True)
class SyncTuned(Event):
    """Something was changed; ``reason`` says what was measured."""

    setting: str
    old: int
    new: int
    reason: str


class _Watch:
    """How long a figure has been high, or low."""

    def __init__(self) -> None:
        self._high_since: Instant | None = None
        self._low_since: Instant | None = None

    def look(self, value: float, *, high: float, low: float, now: Instant) -> int:
        """+1: high for long enough, -1: low for long enough, else 0; after an answer it begins anew."""
        self._high_since = (self._high_since or now) if value > high else None
        self._low_since = (self._low_since or now) if value < low else None
        if self._high_since is not None and now >= after(self._high_since, SURE_AFTER):
            self._high_since = None
            return 1
        if self._low_since is not None and now >= after(self._low_since, CALM_AFTER):
            self._low_since = None
            return -1
        return 0


class Governor:
    """Show it the counters about once a second.

    Args:
        governs: of ``maxlen``, ``refresh`` and ``buffer``, those that the operator has not set.
    """

    def __init__(self, tuning: Tuning, *, governs: frozenset[str]) -> None:
        self.tuning = tuning
        self.reason = ""
        """Of the last change, for ``lvsha status``."""
        self.news_per_s = self.echoes_per_s = 0.0
        self._governs = governs
        self._last: tuple[Counters, Instant] | None = None
        self._news = _Watch()
        self._echo = _Watch()

    def on_counters(self, counters: Counters, now: Instant) -> list[Output]:
        """What follows: at most one ``ApplyTuning``, after the events that say why."""
        last, self._last = self._last, (counters, now)
        if last is None or now <= last[1]:
            return []
        before, elapsed = last[0], to_seconds(now - last[1])
        news = max(0, counters.passed_on - before.passed_on)
        self.news_per_s = news / elapsed
        self.echoes_per_s = max(0, counters.heard - before.heard - news) / elapsed
        drops = counters.drops - before.drops
        events = [*self._on_news(now), *self._on_echo(now), *self._on_drops(drops)]
        if not events:
            return []
        self.reason = events[-1].reason
        return [*events, ApplyTuning(self.tuning)]

    def _on_news(self, now: Instant) -> list[SyncTuned]:
        if "maxlen" not in self._governs:
            return []
        verdict = self._news.look(self.news_per_s, high=MANY_NEWS, low=FEW_NEWS, now=now)
        wanted = {1: EIGHT_ENTRIES, -1: ONE_ENTRY}.get(verdict, self.tuning.maxlen)
        return self._change(maxlen=wanted, reason=f"{self.news_per_s:.0f} changes a second")

    def _on_echo(self, now: Instant) -> list[SyncTuned]:
        if "refresh" not in self._governs:
            return []
        verdict = self._echo.look(self.echoes_per_s, high=MUCH_ECHO, low=LITTLE_ECHO, now=now)
        refresh = self.tuning.refresh_s
        wanted = {1: min(REFRESH_MOST, refresh * 2), -1: max(REFRESH_LEAST, refresh // 2)}.get(
            verdict, refresh
        )
        return self._change(
            refresh_s=wanted, reason=f"{self.echoes_per_s:.0f} announcements a second say nothing new"
        )

    def _on_drops(self, drops: int) -> list[SyncTuned]:
        if drops <= 0 or "buffer" not in self._governs:
            return []
        wanted = min(BUFFER_MOST, self.tuning.buffer * 2)
        return self._change(buffer=wanted, reason=f"the backup daemon's socket has dropped {drops} datagrams")

    def _change(self, *, reason: str, **wanted: int) -> list[SyncTuned]:
        ((name, new),) = wanted.items()
        old = getattr(self.tuning, name)
        if new == old:
            return []
        values = {"maxlen": self.tuning.maxlen, "refresh_s": self.tuning.refresh_s}
        self.tuning = Tuning(**(values | {"buffer": self.tuning.buffer} | wanted))
        return [SyncTuned(name, old, new, reason)]
