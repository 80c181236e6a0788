"""Facts of all machines in, findings out: worst first, each once."""

from collections.abc import Sequence
from typing import Final

from lvsha.doctor.catalogue import ALL, Severity
from lvsha.doctor.checks import forwarding, realserver, sync, table, vrrp
from lvsha.doctor.facts import Facts
from lvsha.doctor.scene import Finding, Scene

_CHECKS: Final = (table.check, forwarding.check, realserver.check, vrrp.check, sync.check)
MAX_EVIDENCE: Final = 5
"""Pieces of evidence of one finding that are told; more are counted."""


def diagnose(hosts: Sequence[Facts]) -> list[Finding]:
    """All findings; of one kind on one machine there is one, with all its evidence."""
    scene = Scene(tuple(hosts))
    found: dict[tuple[str, str], dict[str, None]] = {}
    for check in _CHECKS:
        for finding in check(scene):
            found.setdefault((finding.kind.id, finding.host), {})[finding.evidence] = None
    order = sorted(ALL, key=lambda kind: list(Severity).index(kind.severity))
    return [
        Finding(kind=kind, host=host, evidence=_joined(list(evidence)))
        for kind in order
        for (name, host), evidence in found.items()
        if name == kind.id
    ]


def _joined(pieces: list[str]) -> str:
    more = len(pieces) - MAX_EVIDENCE
    return "; ".join(pieces[:MAX_EVIDENCE]) + (f"; and {more} more" if more > 0 else "")
