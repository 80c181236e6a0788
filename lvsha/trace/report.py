"""An explanation for people, in lines."""

from collections.abc import Callable, Iterator, Mapping

from lvsha.trace.as_json import neighbours
from lvsha.trace.explain import Explanation
from lvsha.trace.ladder import ladder
from lvsha.trace.packet import address_text, mac_text
from lvsha.trace.story import participants, sentence, tell
from lvsha.trace.world import Finding

MAX_TOLD = 20
"""Connections told in full; of the others, one line each."""


def report(explanation: Explanation, *, remedies: Mapping[str, str]) -> Iterator[str]:
    """``remedies``: what to do, by a finding's id."""
    yield from _captures(explanation)
    yield from _hosts(explanation)
    yield from _neighbours(explanation)
    talks = explanation.talks
    told = 0
    for number in range(1, len(talks) + 1):
        is_told = told < MAX_TOLD and (len(talks) <= MAX_TOLD or bool(explanation.of(number)))
        told += is_told
        yield ""
        yield from connection(explanation, number, in_full=is_told)
    yield from _limits(explanation)
    yield ""
    yield from verdict(explanation, remedies)


def connection(explanation: Explanation, number: int, *, in_full: bool = True) -> Iterator[str]:
    """One connection's headline, picture and words."""
    story = tell(explanation, number)
    yield f"connection {number}: {story.headline}"
    if not in_full:
        return
    picture = ladder(story, participants(story, explanation.hosts))
    if picture:
        yield ""
        yield from picture
    yield ""
    for event in story.events:
        yield f"  {(event.time_ns - story.start_ns) / 1e6:+9.3f} ms  {sentence(event)}"
    if story.events_left_out:
        yield f"  and {story.events_left_out} more"
    if story.talk.left_out:
        yield f"  {story.talk.left_out:,} packets from the middle were not kept"


def verdict(explanation: Explanation, remedies: Mapping[str, str]) -> Iterator[str]:
    """What was found, with what to do."""
    for finding in explanation.findings:
        yield from finding_lines(finding, remedies)
    if explanation.findings:
        return
    ill = [number for number, talk in enumerate(explanation.talks, 1) if not talk.is_well]
    if ill:
        numbers = ", ".join(map(str, ill))
        yield f"connections that did not go well, for no reason that these captures show: {numbers}"
    elif explanation.talks:
        count = len(explanation.talks)
        yield "The connection went well." if count == 1 else f"All {count} connections went well."
    else:
        yield "There is no connection in these captures."


def finding_lines(finding: Finding, remedies: Mapping[str, str]) -> Iterator[str]:
    """One finding."""
    where = f" (connection {finding.connection})" if finding.connection is not None else ""
    yield f"{finding.severity}: {finding.id}: {finding.what}{where}"
    yield f"    seen: {finding.evidence}"
    remedy = remedies.get(finding.id)
    if remedy:
        yield f"    do: {remedy}"
    yield f"    more: docs/failures/{finding.id}.md"


def _captures(explanation: Explanation) -> Iterator[str]:
    places = explanation.gathered.places
    width = max((len(place.name) for place in places), default=0)
    for place in places:
        host = next((host.name for host in explanation.hosts.all() if place.index in host.places), "")
        offset = explanation.clocks.get(place.index)
        if offset is None:
            clock = "no packet that the others have: its clock may differ"
        elif place.index == 0:
            clock = "its clock is ours"
        else:
            error = "" if offset.error_ns is None else f" (within {offset.error_ns / 1e6:.3f})"
            clock = f"clock {offset.ns / 1e6:+.3f} ms{error}"
        on = f"on {host}" if host else "host not known"
        yield f"{place.name:<{width}}  {place.frames:>7,} frames  {on}, {clock}"
        if place.problem:
            yield f"{'':<{width}}  {place.problem}"


def _hosts(explanation: Explanation) -> Iterator[str]:
    rows = [
        (host.name, " ".join(mac_text(mac) for mac in sorted(host.macs)), host)
        for host in explanation.hosts.all()
    ]
    if rows:
        yield ""
    names = max((len(name) for name, _, _ in rows), default=0)
    macs = max((len(mac) for _, mac, _ in rows), default=0)
    for name, mac, host in rows:
        addresses = " ".join(address_text(each) for each in host.addresses)
        yield f"{name:<{names}}  {mac:<{macs}}  {addresses}".rstrip()


def _neighbours(explanation: Explanation) -> Iterator[str]:
    rows = neighbours(explanation)
    if rows:
        yield ""
    for row in rows:
        asked = f"asked for by {', '.join(row['asked_by'])}" if row["asked_by"] else "asked for by nobody"
        answers = [f"{each['host']} ({each['mac']})" for each in row["answered_by"]]
        who: Callable[[list[str]], str] = " and ".join
        said = f"answered by {who(answers)}" if answers else "no answer seen"
        yield f"{row['address']}: {asked}, {said}"


def _limits(explanation: Explanation) -> Iterator[str]:
    gathered = explanation.gathered
    if explanation.others:
        yield ""
        yield f"not told: {explanation.others:,} connections to other addresses; --vip chooses"
    if gathered.packets_not_followed:
        yield ""
        yield (
            f"{gathered.connections_not_followed:,} or more connections beyond the first "
            f"{len(gathered.buckets):,} were not followed; --follow CLIENT:PORT or --connections N does"
        )
