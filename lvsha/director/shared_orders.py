"""Orders as they travel to another director: compressed JSON, times as distances.

No clock of one director is compared with another's: what expires at ten here expires
there after as many seconds as are left here.

Source: ``proto/lvsha_relay_v1.md`` section 11.
"""

import json
import zlib
from collections.abc import Iterable, Mapping
from typing import Any, Final

from lvsha.director.overrides import TEXT_LIMIT, Ended, Override, OverrideKind, Target

UNPACKED_MOST: Final = 16 << 20
_NAME_LIMIT = 500
_DISTANT_S: Final = 100 * 365 * 86400.0

Record = Override | Ended


def pack(records: Iterable[Record], *, at: float) -> bytes:
    """``at``: the wall clock, seconds since 1970."""
    rows = [_row(record, at) for record in records]
    return zlib.compress(json.dumps(rows, separators=(",", ":")).encode())


def unpack(data: bytes, *, at: float) -> tuple[list[Record], int]:
    """The orders, and how many rows were none.

    Raises:
        ValueError: it is no list of orders at all.
    """
    rows = json.loads(inflate(data))
    if not isinstance(rows, list):
        raise ValueError("not a list")
    records: list[Record] = []
    bad = 0
    for row in rows:
        try:
            records.append(_record(row, at))
        except (KeyError, TypeError, ValueError):
            bad += 1
    return records, bad


def inflate(data: bytes) -> bytes:
    """Unpack what a peer has packed, 16 MiB at the most.

    Raises:
        ValueError: it is not packed, not whole, or more.
    """
    unpacker = zlib.decompressobj()
    try:
        text = unpacker.decompress(data, UNPACKED_MOST)
    except zlib.error as error:
        raise ValueError(str(error)) from None
    if not unpacker.eof:
        raise ValueError(f"cut, or more than {UNPACKED_MOST} bytes")
    return text


def _row(record: Record, at: float) -> dict[str, Any]:
    def away(moment: float | None) -> float | None:
        return None if moment is None else round(moment - at, 3)

    row: dict[str, Any] = {
        "kind": str(record.kind),
        "service": record.target.service,
        "realserver": record.target.realserver,
        "version": record.version,
        "node": record.node,
        "owner": record.owner,
        "reason": record.reason,
    }
    if isinstance(record, Ended):
        return row | {"over": True}
    return row | {
        "weight": record.weight,
        "set_ago_s": round(at - record.set_at, 3),
        "expires_in_s": away(record.expires_at),
        "deadline_in_s": away(record.deadline_at),
    }


def _record(row: Mapping[str, Any], at: float) -> Record:
    kind, version = OverrideKind(row["kind"]), row["version"]
    target = Target(service=_name(row["service"]), realserver=_name(row["realserver"]))
    if type(version) is not int:
        raise TypeError("a version is a number")
    node, owner, reason = (_text(row[key]) for key in ("node", "owner", "reason"))
    if row.get("over"):
        return Ended(kind=kind, target=target, version=version, node=node, owner=owner, reason=reason)
    weight = row["weight"]
    if weight is not None and type(weight) is not int:
        raise TypeError("a weight is a number")
    ago = _distance(row["set_ago_s"])
    expires, deadline = _distance(row["expires_in_s"]), _distance(row["deadline_in_s"])
    return Override(
        kind=kind,
        target=target,
        weight=weight,
        owner=owner,
        reason=reason,
        node=node,
        set_at=round(at - (ago or 0.0), 3),
        expires_at=None if expires is None else round(at + expires, 3),
        deadline_at=None if deadline is None else round(at + deadline, 3),
        version=version,
    )


def _name(value: object) -> str | None:
    if value is None or (isinstance(value, str) and len(value) <= _NAME_LIMIT):
        return value
    raise TypeError("a target is text")


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("not text")
    return value[:TEXT_LIMIT]


def _distance(value: object) -> float | None:
    if value is None:
        return None
    if not isinstance(value, (int, float)) or not abs(value) <= _DISTANT_S:
        raise ValueError("not a number of seconds")
    return float(value)
