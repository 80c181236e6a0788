"""A sequence diagram as SVG, written by hand: no fonts, no scripts, legible in light and in dark.

A screen reader gets a title, a description with every line of the story, and the diagram as one image.
"""

from collections.abc import Iterator, Sequence
from typing import Final
from xml.sax.saxutils import escape

from lvsha.trace.explain import Explanation, shown
from lvsha.trace.hosts import Host
from lvsha.trace.packet import address_text, mac_text
from lvsha.trace.story import Event, Step, Story, arrow_text, participants, sentence, tell

MAX_CONNECTIONS: Final = 10
"""In one picture; those with findings come first."""

_COLUMN: Final = 250
_LEFT: Final = 90
_RIGHT: Final = 170
_ROW: Final = 26
_HEAD: Final = 84

_STYLE: Final = """\
svg{--ink:#1b1f24;--soft:#5b6570;--line:#b6bec7;--paper:#fff;--ask:#0b57c4;--answer:#1a6e2e;--bad:#b3261e}
@media(prefers-color-scheme:dark){svg{--ink:#e8eaed;--soft:#a9b2bc;--line:#59626c;--paper:#16191d;--ask:#8ab8ff;\
--answer:#7fd694;--bad:#ff9a92}}
.paper{fill:var(--paper)}text{font:13px system-ui,sans-serif;fill:var(--ink)}
.soft{fill:var(--soft);font-size:11px}.name{font-weight:600}.life{stroke:var(--line);stroke-dasharray:3 4}
.ask{stroke:var(--ask);fill:var(--ask)}.answer{stroke:var(--answer);fill:var(--answer)}
.bad{stroke:var(--bad);fill:var(--bad)}.soft-line{stroke:var(--soft);fill:var(--soft)}
path.arrow{fill:none;stroke-width:1.6}text.bad{stroke:none}
.label{paint-order:stroke;stroke:var(--paper);stroke-width:4px;stroke-linejoin:round}
"""


def svg(explanation: Explanation) -> str:
    """One picture of the connections, those with findings first."""
    numbers = sorted(
        range(1, len(explanation.talks) + 1), key=lambda number: (not explanation.of(number), number)
    )[:MAX_CONNECTIONS]
    stories = [tell(explanation, number) for number in numbers]
    columns = [participants(story, explanation.hosts) for story in stories]
    width = _LEFT + _RIGHT + _COLUMN * max((len(each) - 1 for each in columns), default=0)
    body: list[str] = []
    y = 20
    for story, hosts in zip(stories, columns, strict=True):
        lines = [f"{f.id}: {f.what}" for f in explanation.of(story.number)]
        part, y = _one(story, hosts, lines, y, width)
        body += part
    general = [f"{f.id}: {f.what}" for f in explanation.findings if f.connection is None]
    for line in general:
        for piece in _wrap(line, width):
            body.append(f'<text class="bad" x="16" y="{y + 16}">{escape(piece)}</text>')
            y += 18
    height = y + 16
    title = "; ".join(story.headline for story in stories[:3]) or "no connection"
    words = "\n".join(_words(stories, explanation))
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}"'
            f' height="{height}" role="img" aria-labelledby="title desc">',
            f'<title id="title">{escape(title)}</title>',
            f'<desc id="desc">{escape(words)}</desc>',
            f"<style>{_STYLE}</style>",
            f'<rect class="paper" width="{width}" height="{height}"/>',
            *body,
            "</svg>",
            "",
        ]
    )


def _words(stories: Sequence[Story], explanation: Explanation) -> Iterator[str]:
    for story in stories:
        yield f"Connection {story.number}: {story.headline}."
        for event in story.events:
            yield f"{(event.time_ns - story.start_ns) / 1e6:+.3f} ms: {sentence(event)}."
    for finding in explanation.findings:
        yield f"Finding {finding.id}: {finding.what}."


def _one(
    story: Story, hosts: Sequence[Host | None], findings: list[str], y: int, width: int
) -> tuple[list[str], int]:
    out: list[str] = []
    for piece in _wrap(story.headline, width):
        out.append(f'<text class="name" x="16" y="{y + 12}">{escape(piece)}</text>')
        y += 18
    y += 10
    top = y
    at = {id(host): _LEFT + _COLUMN * place for place, host in enumerate(hosts)}
    arrows: list[str] = []
    y += _HEAD
    for event in story.events:
        stamp = f"{(event.time_ns - story.start_ns) / 1e6:+.3f} ms"
        for step in event.steps:
            made = _arrow(event, step, at, y)
            if made:
                if stamp:
                    arrows.append(f'<text class="soft" x="8" y="{y + 4}">{stamp}</text>')
                    stamp = ""
                arrows += made
                y += _ROW
    for host in hosts:
        x = at[id(host)]
        lines = [shown(host)]
        if host is not None:
            virtual = story.talk.virtual.address if story.talk.virtual else b""
            own = sorted(host.addresses, key=lambda each: (each == virtual, each[:1] == b"\xfe"))
            lines += [address_text(own[0])] if own else []
            lines += [mac_text(min(host.macs))]
        for row, line in enumerate(lines):
            style = "name" if row == 0 else "soft"
            out.append(
                f'<text class="{style}" text-anchor="middle" x="{x}" y="{top + 12 + 16 * row}">{escape(line)}'
                "</text>"
            )
        out.append(f'<line class="life" x1="{x}" x2="{x}" y1="{top + 54}" y2="{y}"/>')
    out += arrows
    y += 8
    for line in findings:
        for piece in _wrap(line, width):
            out.append(f'<text class="bad" x="16" y="{y + 12}">{escape(piece)}</text>')
            y += 18
    return out, y + 22


def _arrow(event: Event, step: Step, at: dict[int, int], y: int) -> list[str]:
    start = at.get(id(step.source))
    end = at.get(id(step.target))
    if start is None or start == end:
        return []
    style = "soft-line" if event.kind == "neighbour" else "ask" if event.is_request else "answer"
    if event.kind == "icmp" or "RST" in step.label:
        style = "bad"
    text = arrow_text(step)
    if end is None:
        end = start + 90
        head = f'<circle class="{style}" cx="{end}" cy="{y}" r="3"/>'
    else:
        back = 9 if end > start else -9
        head = f'<path class="{style}" d="M{end} {y}l{-back} -4.5v9z"/>'
    return [
        f'<path class="arrow {style}" d="M{start} {y}H{end}"/>',
        head,
        f'<text class="label" text-anchor="middle" x="{(start + end) // 2}" y="{y - 5}">'
        f"{escape(text)}</text>",
    ]


def _wrap(text: str, width: int) -> Iterator[str]:
    """Into lines that fit, at no more than 8.5 units a letter."""
    import textwrap

    yield from textwrap.wrap(text, max(30, int((width - 32) / 8.5))) or [""]
