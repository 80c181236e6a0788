"""Reads ``proto/vectors/ipvs_sync_*.json``: what the codec's tests and the kernel's are fed with."""

import json
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from lvsha.core.errors import DropReason
from lvsha.wire.ipvs_sync.receiver import Receiver
from lvsha.wire.ipvs_sync.records import Loses, Problem, SyncConn

FOLDER = Path(__file__).resolve().parents[2] / "proto" / "vectors"


@dataclass(frozen=True, slots=True, kw_only=True)
class Vector:
    name: str
    data: bytes
    receiver: Receiver
    error: DropReason | None
    version: int
    syncid: int
    entries: tuple[SyncConn, ...]
    problems: tuple[Problem, ...]
    canonical: bool


def load_vectors() -> list[Vector]:
    found = []
    for path in sorted(FOLDER.glob("ipvs_sync_v*.json")):
        document = json.loads(path.read_text(encoding="utf-8"))
        prefix = document["format"].removeprefix("ipvs_sync_")
        found += [_vector(prefix, raw) for raw in document["vectors"]]
    assert len(found) > 100, "the vectors have been lost"
    return found


def _vector(prefix: str, raw: dict[str, Any]) -> Vector:
    message = raw.get("message", {"version": 0, "syncid": 0, "entries": [], "problems": []})
    options = dict(raw.get("receiver", {}))
    if "engines" in options:
        options["engines"] = frozenset(name.encode() for name in options["engines"])
    return Vector(
        name=f"{prefix}.{raw['name']}",
        data=bytes.fromhex(raw["hex"]),
        receiver=Receiver(**options),
        error=DropReason(raw["error"]["reason"]) if "error" in raw else None,
        version=message["version"],
        syncid=message["syncid"],
        entries=tuple(map(_conn, message["entries"])),
        problems=tuple(
            Problem(
                reason=DropReason(problem["reason"]),
                loses=Loses(problem["loses"]),
                offset=problem["offset"],
                entry=problem["entry"],
                conn=_conn(problem["conn"]) if problem["conn"] else None,
            )
            for problem in message["problems"]
        ),
        canonical=raw["canonical"],
    )


def _conn(raw: dict[str, Any]) -> SyncConn:
    """The fields; ``seq``, ``pe_name`` and ``pe_data`` must say what ``options`` holds."""
    conn = SyncConn(
        **{
            name: raw[name] for name in SyncConn._fields if name not in ("caddr", "vaddr", "daddr", "options")
        },
        caddr=ip_address(raw["caddr"]).packed,
        vaddr=ip_address(raw["vaddr"]).packed,
        daddr=ip_address(raw["daddr"]).packed,
        options=bytes.fromhex(raw["options"]),
    )
    sequence = conn.sequence
    seq = None
    if sequence is not None:
        seq = {"in": sequence.in_seq._asdict(), "out": sequence.out_seq._asdict()}
    assert seq == raw["seq"]
    assert (conn.pe_name.decode() or None) == raw["pe_name"]
    assert (conn.pe_data.decode() or None) == raw["pe_data"]
    return conn
