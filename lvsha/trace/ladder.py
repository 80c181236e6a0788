"""A sequence diagram in characters."""

from collections.abc import Sequence
from typing import Final

from lvsha.trace.explain import shown
from lvsha.trace.hosts import Host
from lvsha.trace.packet import address_text, mac_text
from lvsha.trace.story import Story, arrow_text

_MARGIN: Final = 12
_LEAST: Final = 26
_MOST: Final = 44


def ladder(story: Story, columns: Sequence[Host | None]) -> list[str]:
    """Lines: names, hardware addresses, and an arrow for each hop."""
    if len(columns) < 2:
        return []
    at = {id(host): place for place, host in enumerate(columns)}
    width = _width(story, at)
    lines = [
        _heads([shown(host) for host in columns], width),
        _heads([_address(host, story) for host in columns], width),
        _heads([mac_text(min(host.macs)) if host and host.macs else "" for host in columns], width),
    ]
    for event in story.events:
        stamp = f"{(event.time_ns - story.start_ns) / 1e6:+9.3f}"
        for step in event.steps:
            source, target = at.get(id(step.source)), at.get(id(step.target))
            if source is None or source == target:
                continue
            lines.append(_arrow(stamp, arrow_text(step), source, target, len(columns), width))
            stamp = ""
    return [line.rstrip() for line in lines]


def _width(story: Story, at: dict[int, int]) -> int:
    longest = 0
    for event in story.events:
        for step in event.steps:
            source, target = at.get(id(step.source)), at.get(id(step.target))
            span = abs(source - target) if source is not None and target is not None else 1
            longest = max(longest, (len(arrow_text(step)) + 6) // max(span, 1))
    return max(_LEAST, min(_MOST, longest + 1))


def _address(host: Host | None, story: Story) -> str:
    if host is None or not host.addresses:
        return ""
    virtual = story.talk.virtual.address if story.talk.virtual else b""
    return " ".join(address_text(each) for each in _own_first(host, virtual)[:1])


def _own_first(host: Host, virtual: bytes) -> list[bytes]:
    """An address of its own before one that moves."""
    return sorted(host.addresses, key=lambda each: (each == virtual, each[:1] == b"\xfe"))


def _heads(texts: list[str], width: int) -> str:
    line = " " * _MARGIN
    for text in texts:
        line += text[: width - 1].ljust(width)
    return line


def _arrow(stamp: str, label: str, source: int, target: int | None, columns: int, width: int) -> str:
    cells = list(" " * (_MARGIN + width * columns))
    for column in range(columns):
        cells[_MARGIN + column * width] = "|"
    cells[: len(stamp)] = stamp
    start = _MARGIN + source * width
    if target is None:  # to all, or to nobody knows whom
        cells[start + 1 : start + 1 + len(label) + 8] = f"--- {label} --*"
        return "".join(cells)
    end = _MARGIN + target * width
    low, high = min(start, end), max(start, end)
    room = high - low - 3
    text = f" {label[: room - 4]} "
    body = text.center(room, "-")
    body = f"-{body}>" if end > start else f"<{body}-"
    cells[low + 1 : high] = body
    return "".join(cells)
