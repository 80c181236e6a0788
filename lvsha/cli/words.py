"""What operators write for durations and times."""

import argparse
import re
import time

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,9})?) ?(ms|s|m|h|d)?")
_CLOCKS = ("%H:%M", "%H:%M:%S")
_DATES = ("%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M", "%Y-%m-%d")
_DAY_S = 86400.0


def duration(text: str) -> float:
    """Seconds of ``90``, ``90s``, ``10m``, ``2h``, ``1d``, ``500ms``."""
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a duration: write 90s, 10m, 2h or 1d")
    return float(match[1]) * _UNITS[match[2] or "s"]


def _moment(text: str, now: float, *, forward: bool) -> float:
    text = text.strip()
    match = _DURATION.fullmatch(text.removeprefix("+").removeprefix("-").removesuffix(" ago"))
    if match is not None and (match[2] or text[:1] in "+-"):
        distance = float(match[1]) * _UNITS[match[2] or "s"]
        return now + (distance if forward else -distance)
    if re.fullmatch(r"[0-9]{9,11}(\.[0-9]+)?", text):
        return float(text)
    for form in _DATES:
        try:
            return time.mktime(time.strptime(text, form))
        except ValueError:
            continue
    for form in _CLOCKS:
        try:
            clock = time.strptime(text, form)
        except ValueError:
            continue
        today = time.localtime(now)
        day = (today.tm_year, today.tm_mon, today.tm_mday)
        found = time.mktime((*day, clock.tm_hour, clock.tm_min, clock.tm_sec, 0, 0, -1))
        if forward and found < now:
            return found + _DAY_S
        return found - _DAY_S if not forward and found > now else found
    raise argparse.ArgumentTypeError(
        f"{text!r} is not a time: write 14:30, 2026-03-01T14:30, 10m, or seconds since 1970"
    )


def future(text: str) -> float:
    """Seconds since 1970 of ``14:30`` (the next), ``2026-03-01T14:30``, ``10m`` (from now)."""
    return _moment(text, time.time(), forward=True)


def past(text: str) -> float:
    """Seconds since 1970 of ``14:30`` (the last), ``2026-03-01T14:30``, ``10m`` (ago)."""
    return _moment(text, time.time(), forward=False)


def clock(at: float | None) -> str:
    """``14:30:05`` of today, else with the date; a dash for never."""
    if at is None:
        return "-"
    then = time.localtime(at)
    same_day = then[:3] == time.localtime()[:3]
    return time.strftime("%H:%M:%S" if same_day else "%Y-%m-%d %H:%M:%S", then)


def span(seconds: float | None, unknown: str = "?") -> str:
    """``45 s``, ``12 min``, ``3 h``, ``2 d``; ``unknown`` when it is not known."""
    if seconds is None:
        return unknown
    for limit, divisor, unit in ((120, 1, "s"), (7200, 60, "min"), (172800, 3600, "h")):
        if seconds < limit:
            return f"{seconds / divisor:.0f} {unit}"
    return f"{seconds / 86400:.0f} d"
