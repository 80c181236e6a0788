"""What a run comes to: silence, who held the VIP, weights over time. In milliseconds from the fault."""

from collections.abc import Iterable
from typing import Any

from lvsha.lab.timeline import Span, Timeline, milliseconds, silences

_BEFORE_THE_FAULT = 100_000_000
"""Nanoseconds before the fault from which a heartbeat without an echo counts as lost: it was under way."""


def silence(beats: dict[str, Any], fault_at: int, end: int | None = None) -> dict[str, Any]:
    """The longest from the fault to the end, and when it began; ``beats``: the heartbeat's report.

    ``end``: of what is looked at; None: of the heartbeat.
    """
    end = int(beats["at"]) if end is None else end
    found: dict[str, Any] = {"longest_silence_ms": 0.0, "silence_began_ms": None}
    for index, flow in enumerate(beats["flows"]):
        longest = silences(flow["echoes"], fault_at, end)[0]
        if index == 0:
            quiet = silences(flow["echoes"], min(flow["echoes"][0], fault_at), fault_at)
            found["longest_silence_ms"] = milliseconds(_length(longest))
            found["silence_began_ms"] = milliseconds(longest.start - fault_at)
            found["longest_silence_before_ms"] = milliseconds(_length(quiet[0]))
            first = fault_at - _BEFORE_THE_FAULT
            found["heartbeats_lost"] = len([at for at in flow["lost"] if first <= at <= end])
        else:
            found["last_vip_silence_ms"] = milliseconds(_length(longest))
    return found


def holders(timeline: Timeline, vip: str, *, fault_at: int | None, end: int) -> dict[str, Any]:
    """Who held the VIP when, and how long two of them did."""
    zero = fault_at if fault_at is not None else end
    spans = timeline.holding(vip, end)
    double = timeline.double_holding(vip, end)
    return {
        "holders": {
            node: [[milliseconds(span.start - zero), milliseconds((span.end or end) - zero)] for span in mine]
            for node, mine in sorted(spans.items())
        },
        "double_holder_ms": milliseconds(max((_length(span) for span in double), default=0)),
    }


def weights(
    timeline: Timeline, directors: Iterable[str], destinations: dict[str, str], *, fault_at: int | None
) -> dict[str, Any]:
    """Weight over time by director and realserver; ``destinations``: of each realserver, in the kernel."""
    zero = fault_at or 0
    return {
        node: {
            name: [[milliseconds(at - zero), weight] for at, weight in timeline.weights_of(node, destination)]
            for name, destination in destinations.items()
        }
        for node in directors
    }


def _length(span: Span) -> int:
    assert span.end is not None
    return span.end - span.start
