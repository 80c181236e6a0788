"""Who gets the traffic: services and realservers by rate, with the last minutes as a line of bars.

Rates come from two readings of the counters, not from the kernel's estimator, which
is seconds late and can be switched off.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from lvsha.core.instant import SECOND, Instant
from lvsha.ipvs.model import Stats, Table

BARS = "▁▂▃▄▅▆▇█"
KEPT = 32
"""Readings that are remembered of each line."""
SORTS = ("packets", "bytes", "connections", "active")

Name = tuple[str, str | None]
"""A service; a service and one of its realservers."""


@dataclass(slots=True, kw_only=True)
class Line:
    """One service or realserver now."""

    service: str
    server: str | None
    active: int
    inactive: int
    weight: int | None
    connections: float = 0.0
    """New ones per second, as the following."""
    packets: float = 0.0
    """In and out."""
    bytes: float = 0.0
    history: tuple[float, ...] = ()
    """Packets per second, the oldest first."""

    def as_json(self) -> dict[str, Any]:
        return {
            "service": self.service,
            "realserver": self.server,
            "active": self.active,
            "inactive": self.inactive,
            "weight": self.weight,
            "connections_s": round(self.connections, 1),
            "packets_s": round(self.packets, 1),
            "bytes_s": round(self.bytes, 1),
        }


def bars(values: Iterable[float]) -> str:
    """A line of bars; the highest is the largest of them, an empty one is 0."""
    numbers = list(values)
    largest = max(numbers, default=0.0)
    if largest <= 0:
        return BARS[0] * len(numbers)
    return "".join(
        BARS[min(len(BARS) - 1, int(value / largest * (len(BARS) - 1) + 0.5))] for value in numbers
    )


@dataclass(slots=True, kw_only=True)
class Top:
    """Remembers the last reading, and the rates of the last ``KEPT``. What is gone is forgotten."""

    _stats: dict[Name, Stats] = field(default_factory=dict)
    _rates: dict[Name, deque[float]] = field(default_factory=dict)
    _at: Instant | None = None

    def read(self, table: Table, now: Instant, *, sort: str = "packets") -> list[Line]:
        """The lines of this moment: services by rate, the busiest first, each with its realservers."""
        seconds = 0.0 if self._at is None else (now - self._at) / SECOND
        seen: dict[Name, Stats] = {}
        groups: list[list[Line]] = []
        for key, state in table.items():
            service = str(key)
            servers = []
            for each in state.destinations.values():
                line = Line(
                    service=service,
                    server=str(each.destination),
                    active=each.active,
                    inactive=each.inactive,
                    weight=each.destination.weight,
                )
                self._rate(line, each.stats, seconds, seen)
                servers.append(line)
            head = Line(
                service=service,
                server=None,
                active=sum(line.active for line in servers),
                inactive=sum(line.inactive for line in servers),
                weight=None,
            )
            self._rate(head, state.stats, seconds, seen)
            servers.sort(key=lambda line: (-getattr(line, sort), line.server or ""))
            groups.append([head, *servers])
        self._stats, self._at = seen, now
        self._rates = {name: rates for name, rates in self._rates.items() if name in seen}
        groups.sort(key=lambda group: (-getattr(group[0], sort), group[0].service))
        return [line for group in groups for line in group]

    def _rate(self, line: Line, stats: Stats, seconds: float, seen: dict[Name, Stats]) -> None:
        name = (line.service, line.server)
        seen[name] = stats
        before = self._stats.get(name)
        # Zeroed meanwhile, or new: its rate is not known yet.
        if before is not None and seconds > 0 and stats.in_packets >= before.in_packets:
            line.connections = max(0, stats.connections - before.connections) / seconds
            packets = stats.in_packets + stats.out_packets - before.in_packets - before.out_packets
            volume = stats.in_bytes + stats.out_bytes - before.in_bytes - before.out_bytes
            line.packets, line.bytes = max(0, packets) / seconds, max(0, volume) / seconds
        rates = self._rates.setdefault(name, deque(maxlen=KEPT))
        rates.append(line.packets)
        line.history = tuple(rates)


def short(value: float) -> str:
    """``950``, ``12.3k``, ``4.5M``: at most six columns."""
    for unit, size in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= size:
            return f"{value / size:.1f}{unit}"
    return f"{value:.0f}"


def screen(lines: Iterable[Line], *, height: int | None = None, width: int = 120) -> list[str]:
    """As text; ``height`` and ``width`` cut it to a terminal."""
    heading = f"{'service / realserver':<40} {'active':>7} {'inact':>7} {'weight':>6} {'conn/s':>7}"
    heading += f" {'pkt/s':>7} {'B/s':>7}  last readings"
    text = [heading]
    for line in lines:
        name = line.service if line.server is None else f"  {line.server}"
        weight = "" if line.weight is None else str(line.weight)
        numbers = (
            f"{short(line.active):>7} {short(line.inactive):>7} {weight:>6} {short(line.connections):>7}"
        )
        numbers += f" {short(line.packets):>7} {short(line.bytes):>7}"
        text.append(f"{name:<40} {numbers}  {bars(line.history)}"[:width])
    if height is not None and len(text) > height:
        more = len(text) - height + 1
        text = [*text[: height - 1], f"... and {more} more lines"]
    return text
