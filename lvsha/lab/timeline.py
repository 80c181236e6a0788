"""What the witness saw, and the answers to be had from it. Pure: events in, spans out."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

MILLISECOND = 1_000_000


@dataclass(frozen=True, slots=True)
class Span:
    """From one instant to another, in nanoseconds; ``end`` is None while it lasts."""

    start: int
    end: int | None


@dataclass(slots=True)
class Timeline:
    """The events of a run in the order of their instants, and the state that they add up to."""

    events: list[dict[str, Any]] = field(default_factory=list)
    holders: dict[str, set[str]] = field(default_factory=dict)
    """Address -> directors that hold it now."""
    weights: dict[str, dict[str, int]] = field(default_factory=dict)
    """Director -> destination -> weight now."""
    adverts: dict[str, int] = field(default_factory=dict)
    """Source -> instant of its last advert."""

    def add(self, event: dict[str, Any]) -> None:
        if event["event"] == "bound" and event["director"] in self.holders.get(event["address"], ()):
            return  # a lease was renewed
        self.events.append(event)
        match event["event"]:
            case "bound":
                self.holders.setdefault(event["address"], set()).add(event["director"])
            case "unbound":
                self.holders.setdefault(event["address"], set()).discard(event["director"])
            case "weights":
                self.weights[event["director"]] = event["weights"]
            case "advert":
                self.adverts[event["source"]] = event["at"]

    def holding(self, address: str, until: int) -> dict[str, list[Span]]:
        """When each director held an address; spans that last end at ``until``."""
        spans: dict[str, list[Span]] = {}
        for event in self.events:
            if event["event"] not in ("bound", "unbound") or event["address"] != address:
                continue
            mine = spans.setdefault(event["director"], [])
            is_open = bool(mine) and mine[-1].end is None
            if event["event"] == "bound" and not is_open:
                mine.append(Span(event["at"], None))
            elif event["event"] == "unbound" and is_open:
                mine[-1] = Span(mine[-1].start, event["at"])
        return {
            director: [Span(span.start, until if span.end is None else span.end) for span in mine]
            for director, mine in spans.items()
        }

    def double_holding(self, address: str, until: int) -> list[Span]:
        """When more than one director held an address."""
        edges: list[tuple[int, int]] = []
        for spans in self.holding(address, until).values():
            for span in spans:
                assert span.end is not None
                edges += [(span.start, 1), (span.end, -1)]
        found: list[Span] = []
        count = 0
        start = 0
        for at, step in sorted(edges):
            if count < 2 <= count + step:
                start = at
            if count >= 2 > count + step:
                found.append(Span(start, at))
            count += step
        return found

    def first(self, kind: str, after: int, **wanted: Any) -> int | None:
        """The instant of the first event of this kind after ``after`` whose fields are as wanted."""
        for event in self.events:
            matches = all(event.get(key) == value for key, value in wanted.items())
            if event["event"] == kind and event["at"] >= after and matches:
                return int(event["at"])
        return None

    def writes(self, director: str, after: int) -> dict[str, int] | None:
        """Requests since ``after`` that write to the IPVS, and changes of its watched addresses.

        A renewed address has not changed. None: requests were not counted.
        """
        if not any(event.get("counts_writes") for event in self.events):
            return None
        changes = [
            event
            for event in self.events
            if event["event"] in ("bound", "unbound")
            and event["director"] == director
            and event["at"] > after
        ]
        then = now = 0
        for event in self.events:
            if event["event"] == "writes" and event["director"] == director:
                now = event["ipvs"]
                if event["at"] <= after:
                    then = now
        return {"ipvs": now - then, "addresses": len(changes)}

    def weights_of(self, director: str, destination: str) -> list[tuple[int, int | None]]:
        """(instant, weight) at every change of the greatest weight a destination has; None: not there."""
        found: list[tuple[int, int | None]] = []
        for event in self.events:
            if event["event"] != "weights" or event["director"] != director:
                continue
            values = [w for key, w in event["weights"].items() if key.endswith(f">{destination}")]
            weight = max(values) if values else None
            if not found or found[-1][1] != weight:
                found.append((event["at"], weight))
        return found


def silences(echoes: Iterable[int], start: int, end: int) -> list[Span]:
    """The times between echoes in a window, longest first. The window's edges count as no echo."""
    before = [at for at in echoes if at <= end]
    first = max((at for at in before if at <= start), default=start)
    instants = [first, *(at for at in before if at > start), end]
    spans = [Span(a, b) for a, b in pairwise(instants)]
    return sorted(spans, key=lambda span: span.start - (span.end or span.start))


def milliseconds(duration: int) -> float:
    """For people and JSON; one decimal, since the lab's clock ticks no finer."""
    return round(duration / MILLISECOND, 1)
