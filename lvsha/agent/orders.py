"""Operators' orders on disk: what stands, across a restart and a reboot.

One small file under the state directory, replaced as a whole: it is the old one or the
new one, never half of either.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lvsha.director.drain import Phase
from lvsha.director.overrides import ENDED_LIMIT, LIMIT, Ended, Override, OverrideKind, Place, Target
from lvsha.director.status import override_document


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What the file says."""

    overrides: tuple[Override, ...] = ()
    ended: Mapping[Place, Phase] = field(default_factory=dict)
    """Drains that have ended."""
    over: tuple[Ended, ...] = ()
    """Orders that are over, so that they do not return from another director."""
    switchover_at: float | None = None
    """A planned switchover, seconds since 1970."""
    switchover_owner: str = ""


class OrdersFile:
    """See above. ``complaint`` says why what was there could not be used; it is then kept beside."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.complaint = ""

    def load(self) -> Standing:
        """What stood; nothing when there is no file."""
        try:
            return _standing(json.loads(self._path.read_text()))
        except FileNotFoundError:
            return Standing()
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            self.complaint = f"{self._path} cannot be used ({error}); it is kept as {self._path.name}.bad"
            try:
                os.replace(self._path, self._path.with_name(self._path.name + ".bad"))
            except OSError:
                self.complaint = f"{self._path} cannot be used: {error}"
            return Standing()

    def save(self, standing: Standing) -> None:
        """Raises: OSError; then the old one stands."""
        if standing == Standing() and not self._path.exists():
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self._path.with_name(self._path.name + ".new")
        with temporary.open("w") as file:
            json.dump(_document(standing), file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, self._path)


def override_of(row: Mapping[str, Any]) -> Override:
    """The inverse.

    Raises:
        ValueError, TypeError, KeyError: it is none.
    """

    def text(name: str) -> str | None:
        value = row[name]
        if value is not None and not isinstance(value, str):
            raise TypeError(f"{name} is not text")
        return value

    def number(name: str) -> float | None:
        return None if row[name] is None else float(row[name])

    return Override(
        kind=OverrideKind(row["kind"]),
        target=Target(service=text("service"), realserver=text("realserver")),
        weight=None if row["weight"] is None else int(row["weight"]),
        owner=text("owner") or "",
        reason=text("reason") or "",
        node=text("node") or "",
        set_at=number("set_at") or 0.0,
        expires_at=number("expires_at"),
        deadline_at=number("deadline_at"),
        version=int(row.get("version", 0)),
    )


def _ended_of(row: Mapping[str, Any]) -> Ended:
    return Ended(
        kind=OverrideKind(row["kind"]),
        target=Target(service=row["service"], realserver=row["realserver"]),
        version=int(row["version"]),
        node=str(row["node"]),
        owner=str(row["owner"]),
        reason=str(row["reason"]),
    )


def _document(standing: Standing) -> dict[str, Any]:
    return {
        "version": 1,
        "overrides": [override_document(override) for override in standing.overrides],
        "ended": [[*place, str(phase)] for place, phase in standing.ended.items()],
        "over": [
            {
                "kind": str(each.kind),
                "service": each.target.service,
                "realserver": each.target.realserver,
                "version": each.version,
                "node": each.node,
                "owner": each.owner,
                "reason": each.reason,
            }
            for each in standing.over
        ],
        "switchover_at": standing.switchover_at,
        "switchover_owner": standing.switchover_owner,
    }


def _standing(document: Mapping[str, Any]) -> Standing:
    if document["version"] != 1:
        raise ValueError(f"version {document['version']}")
    at = document["switchover_at"]
    return Standing(
        overrides=tuple(override_of(row) for row in document["overrides"][:LIMIT]),
        ended={(str(one), str(two)): Phase(phase) for one, two, phase in document["ended"]},
        over=tuple(_ended_of(row) for row in document.get("over", ())[:ENDED_LIMIT]),
        switchover_at=None if at is None else float(at),
        switchover_owner=str(document["switchover_owner"]),
    )
