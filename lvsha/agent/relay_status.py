"""How the relay looks to people: coverage, peers, and what would be lost."""

from collections.abc import Mapping
from typing import Any

from lvsha.core.addr import endpoint_text
from lvsha.core.instant import Instant
from lvsha.director.coverage import by_service
from lvsha.ipvs.model import ServiceKey
from lvsha.sync.relay import Relay
from lvsha.sync.relay_outputs import PeerView
from lvsha.sync.store import Held
from lvsha.wire.ipvs_sync.message import decode_message
from lvsha.wire.ipvs_sync.names import protocol_name
from lvsha.wire.ipvs_sync.v1 import assemble
from lvsha.wire.relay import Readiness

_LOST_MOST = 1_500
"""Connections that would be lost now: so many are counted by service, 5 ms at the most."""
_LOST_SHOWN = 20

Status = dict[str, Any]


def describe(held: Held | None) -> str:
    """A connection for people: ``TCP 10.0.0.100:40000 -> 10.0.0.10:80 -> 10.0.0.11:80 ESTABLISHED``."""
    if held is None:
        return "a connection that has ended meanwhile"
    (conn,) = decode_message(assemble(0, [held.entry])).entries
    ends = [(conn.client, conn.cport), (conn.virtual, conn.vport), (conn.destination, conn.dport)]
    path = " -> ".join(endpoint_text(address, port) for address, port in ends)
    return f"{protocol_name(conn.protocol)} {path} {conn.state_name}"


def coverage_status(relay: Relay, names: Mapping[ServiceKey, str], now: Instant) -> Status:
    """What the peers hold, and what we would lose; ``names``: of the services."""
    store, views = relay.store, relay.peers(now)
    worst = max(views, key=lambda view: (not view.connected, view.missing), default=None)
    lost = relay.would_lose(worst.peer, _LOST_MOST) if worst is not None else ()
    return {
        "coverage": round(min((view.coverage for view in views), default=0.0), 6),
        "would_lose": max((view.missing for view in views), default=len(store)),
        "would_lose_expected": max((view.missing - view.on_its_way for view in views), default=len(store)),
        "would_lose_by_service": by_service(lost, store, names),
        "would_lose_counted": len(lost),
        "would_lose_connections": [describe(store.get(key)) for key in lost[:_LOST_SHOWN]],
        "peers": [_peer(view) for view in views],
    }


def _peer(view: PeerView) -> Status:
    return {
        "name": view.name,
        "connected": view.connected,
        "ready": _readiness_names(view.readiness),
        "connections": view.live,
        "missing": view.missing,
        "on_its_way": view.on_its_way,
        "missing_here": view.missing_here,
        "coverage": round(view.coverage, 6),
        "resynced": view.resynced,
        "lag_ms": round(view.lag / 1e6, 3),
        "rtt_ms": round(view.rtt / 1e6, 3) if view.rtt is not None else None,
        "sent_bytes": view.sent_bytes,
        "received_bytes": view.received_bytes,
        "resent": view.resent,
    }


def _readiness_names(readiness: Readiness) -> list[str]:
    shown = readiness & ~Readiness.TALKS
    return [flag.name.lower() for flag in Readiness if flag in shown and flag.name]
