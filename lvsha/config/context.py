"""What every part of the resolution needs: the document, who the directors are, where errors go."""

from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pydantic import BaseModel

from lvsha.config import schema
from lvsha.config.findings import Findings, did_you_mean
from lvsha.config.lines import Path
from lvsha.config.settings import (
    Director,
)
from lvsha.config.tables.values import duration_text
from lvsha.core.addr import Address
from lvsha.core.instant import SECOND

T = TypeVar("T")
LONGEST_IPVS_S = 31 * 86400
"""Of a persistence or idle time-out; the kernel's timers overflow not far above."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """Where the tables of a document stand in the file, and which are not all there."""

    vrrp: tuple[int, ...]
    """``document.vrrp[k]`` is ``vrrp[self.vrrp[k]]`` of the file."""
    service: tuple[int, ...]
    realservers: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    """By the service's place in the file; absent: all are there."""
    vrrp_complete: bool = True


def pick(own: BaseModel, defaults: BaseModel, key: str) -> Any:
    """A value from the table itself, else from its ``[defaults]``, else the schema's."""
    return getattr(own if key in own.model_fields_set else defaults, key)


class Context:
    """One document on its way to settings; what is wrong goes to ``findings``."""

    def __init__(self, document: schema.Document, parts: Parts, findings: Findings) -> None:
        self.document = document
        self.parts = parts
        self.findings = findings
        self.directors = tuple(
            Director(name=name, address=director.address, priority=director.priority)
            for name, director in document.directors.items()
        )
        self.director_addresses: dict[Address, str] = {
            director.address: director.name for director in self.directors if director.address is not None
        }
        self.virtual_addresses: set[Address] = {
            prefix.ip for vrrp in document.vrrp for prefix in (*vrrp.addresses, *vrrp.excluded_addresses)
        }

    def telling(self, findings: Findings) -> "Context":
        """The same, with what is wrong told to somebody else."""
        other = copy(self)
        other.findings = findings
        return other

    def each(
        self,
        path: Path,
        value: T | dict[str, T],
        node: str,
        default: T | None = None,
        *,
        is_needed: bool = True,
    ) -> T | None:
        """The value for ``node``, else ``default``; a name that is no director is an error, and
        so is a director without either where a value ``is_needed``."""
        if not isinstance(value, dict):
            return value
        names = list(self.document.directors)
        for name in value:
            if name not in names:
                self.findings.error(
                    (*path, name),
                    f'no director is called "{name}"',
                    did_you_mean(name, names) or f"known: {', '.join(names) or 'none, add [directors]'}",
                )
        if node in value:
            return value[node]
        if default is None and is_needed:
            self.findings.error(path, f'has no value for director "{node}"', f"add {node} = ...")
        return default


def seconds(findings: Findings, path: Path, duration: int | None) -> int | None:
    """A duration as the kernel's IPVS counts it."""
    if duration is None:
        return None
    if duration % SECOND or not SECOND <= duration <= LONGEST_IPVS_S * SECOND:
        findings.error(
            path, f"{duration_text(duration)} is not a number of whole seconds from 1 s to 31 days"
        )
    return duration // SECOND
