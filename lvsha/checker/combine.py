"""What several checks of one realserver mean together.

``all``: up when every check is, down as soon as one is. ``any``: up as soon as one is,
down when none is. A verdict is one only when the checks that are still unproven could
not turn it over. Shares and weights that checks give: the smallest counts, because each
of them says what it can still bear.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple

from lvsha.checker.check import Check
from lvsha.checker.result import bounded_detail


class Needs(StrEnum):
    """How many of a realserver's checks have to pass."""

    ALL = "all"
    ANY = "any"


class Combined(NamedTuple):
    """A verdict of several checks."""

    up: bool
    proven: bool
    reason: str
    """Who says so, at most ``DETAIL_LIMIT`` characters."""
    weight: int | None
    percent: int | None


def combine(checks: Sequence[Check], needs: Needs) -> Combined:
    """The verdict; without checks a realserver is up."""
    if needs is Needs.ALL:
        up = all(check.up for check in checks)
        proven = any(check.proven and not check.up for check in checks)
    else:
        up = not checks or any(check.up for check in checks)
        proven = any(check.proven and check.up for check in checks)
    weights = [check.weighed[0] for check in checks if check.up and check.weighed[0] is not None]
    percents = [check.weighed[1] for check in checks if check.up and check.weighed[1] is not None]
    return Combined(
        up=up,
        proven=proven or all(check.proven for check in checks),
        reason="check passed" if up else _why(checks),
        weight=min(weights, default=None),
        percent=min(percents, default=None),
    )


def _why(checks: Sequence[Check]) -> str:
    said = []
    for check in checks:
        if not check.up and check.last_result is not None:
            said.append(
                f"{check.settings.kind}: {check.last_result.reason} {check.last_result.detail}".rstrip()
            )
    return bounded_detail("; ".join(said))
