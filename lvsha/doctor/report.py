"""Findings as text and as JSON. The JSON keys are a contract."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from lvsha.doctor.catalogue import ALL, Kind
from lvsha.doctor.facts import Facts
from lvsha.doctor.scene import Finding, Scene


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreachable:
    """A machine that was asked and gave no facts."""

    host: str
    why: str


def as_json(
    findings: Iterable[Finding], hosts: Sequence[Facts], unreachable: Sequence[Unreachable]
) -> dict[str, Any]:
    """``ok``, ``findings``, ``hosts``, ``blind_spots``."""
    found = [finding_json(finding) for finding in findings]
    scene = Scene(tuple(hosts))
    return {
        "ok": not found and not unreachable,
        "findings": found,
        "hosts": [{"host": host.host, "role": role_of(scene, host)} for host in hosts],
        "blind_spots": [
            *(
                {"host": host.host, "what": what, "why": why}
                for host in hosts
                for what, why in host.blind_spots
            ),
            *({"host": each.host, "what": "host", "why": each.why} for each in unreachable),
        ],
    }


def finding_json(finding: Finding) -> dict[str, Any]:
    return {
        "id": finding.kind.id,
        "severity": finding.kind.severity.value,
        "host": finding.host,
        "title": finding.kind.title,
        "evidence": finding.evidence,
        "remedy": finding.kind.remedy,
        "page": finding.kind.page,
    }


def role_of(scene: Scene, host: Facts) -> str:
    if host in scene.directors:
        return "director"
    return "realserver" if host in scene.realservers else "client"


def as_text(findings: Sequence[Finding], hosts: Sequence[Facts]) -> Iterator[str]:
    """Lines for people: findings, then what could not be seen, then the sum."""
    scene = Scene(tuple(hosts))
    for finding in findings:
        kind = finding.kind
        yield f"{kind.severity.value.upper()} {finding.host}: {kind.title}  [{kind.id}]"
        yield f"  seen:   {finding.evidence}"
        yield f"  do:     {kind.remedy}"
        yield f"  page:   {kind.page}"
        yield ""
    for host in hosts:
        for what, why in host.blind_spots:
            yield f"could not look at {what} of {host.host}: {why}"
    looked = ", ".join(f"{host.host} ({role_of(scene, host)})" for host in hosts)
    yield f"{len(findings)} findings on {looked}" if findings else f"nothing found on {looked}"


def listing() -> Iterator[str]:
    """All findings there are."""
    width = max(len(kind.id) for kind in ALL)
    for kind in ALL:
        yield f"{kind.id:<{width}}  {kind.severity.value:<7}  {kind.title}"


def explanation(kind: Kind) -> Iterator[str]:
    yield f"{kind.id} ({kind.severity.value}): {kind.title}"
    yield f"  why:   {kind.why}"
    yield f"  do:    {kind.remedy}"
    yield f"  page:  {kind.page}"
