"""One picture of a director for people and programs. Pure: records in, JSON out.

The keys are a contract: ``lvsha status --json`` and the API print this.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lvsha.checker.check import Check
from lvsha.checker.pool import PoolView
from lvsha.checker.result import Timings
from lvsha.config.settings import Director as DirectorRecord
from lvsha.config.settings import RealServerSettings, ServiceSettings
from lvsha.core.instant import Instant, to_seconds
from lvsha.director.desired import NUDGE_KEY
from lvsha.director.director import Director
from lvsha.director.drain import DrainView
from lvsha.director.overrides import Override
from lvsha.ipvs.model import DestinationState, Table

Json = dict[str, Any]


def _age_s(since: Instant | None, now: Instant) -> float | None:
    return None if since is None else round(to_seconds(max(0, now - since)), 3)


def _last_check(check: Check, now: Instant) -> Json | None:
    result = check.last_result
    if result is None:
        return None
    return {
        "ok": result.ok,
        "reason": str(result.reason),
        "detail": result.detail,
        "ours": result.ours,
        "took_ms": round(result.timings.total / 1e6, 3),
        "phases_ms": _phases(result.timings),
        "ago_s": _age_s(check.last_at, now),
    }


def _phases(timings: Timings) -> Json:
    """What was reached, in milliseconds since the probe began."""
    reached = {"connect": timings.connected, "tls": timings.tls, "first_byte": timings.first_byte}
    return {phase: round(at / 1e6, 3) for phase, at in reached.items() if at is not None}


def _health(check: Check | None) -> str:
    if check is None:
        return "unchecked"
    if not check.proven:
        return "unproven"
    return "up" if check.up else "down"


def override_document(override: Override) -> Json:
    """An operator's order, with nothing in it that can be worked out: what is kept on disk."""
    return {
        "kind": str(override.kind),
        "service": override.target.service,
        "realserver": override.target.realserver,
        "weight": override.weight,
        "owner": override.owner,
        "reason": override.reason,
        "node": override.node,
        "set_at": override.set_at,
        "expires_at": override.expires_at,
        "deadline_at": override.deadline_at,
        "version": override.version,
    }


def override_status(override: Override) -> Json:
    """An operator's order, for people and programs."""
    return override_document(override) | {"target": str(override.target)}


def drain_status(view: DrainView | None) -> Json | None:
    """How far a drain is."""
    if view is None:
        return None
    return {
        "phase": str(view.phase),
        "connections": view.connections,
        "eta_s": None if view.eta_s is None else round(view.eta_s, 1),
        "deadline_s": None if view.deadline_s is None else round(view.deadline_s, 1),
    }


def destination_status(
    realserver: RealServerSettings,
    check: Check | None,
    weight: int | None,
    found: DestinationState | None,
    now: Instant,
) -> Json:
    """One realserver of one service.

    ``weight`` is what we want in force, ``kernel_weight`` what the kernel holds:
    they differ for a moment after a change, or when somebody else wrote.
    """
    return {
        "name": realserver.name,
        "address": str(realserver.destination.address),
        "port": realserver.destination.port,
        "method": realserver.destination.method.name.lower(),
        "state": _health(check),
        "since_s": _age_s(check.since, now) if check is not None else None,
        "weight": weight,
        "configured_weight": realserver.destination.weight,
        "kernel_weight": found.destination.weight if found is not None else None,
        "active_connections": found.active if found is not None else 0,
        "inactive_connections": found.inactive if found is not None else 0,
        "persistent_connections": found.persistent if found is not None else 0,
        "connections": found.stats.connections if found is not None else 0,
        "in_packets": found.stats.in_packets if found is not None else 0,
        "out_packets": found.stats.out_packets if found is not None else 0,
        "in_bytes": found.stats.in_bytes if found is not None else 0,
        "out_bytes": found.stats.out_bytes if found is not None else 0,
        "connection_rate": found.stats.connection_rate if found is not None else 0,
        "check_id": check.check_id if check is not None else None,
        "check": check.settings.target() if check is not None else None,
        "last_check": _last_check(check, now) if check is not None else None,
    }


def checks_status(realserver: RealServerSettings, director: Director, now: Instant) -> list[Json]:
    """Each check of a realserver that has several; ``check`` of its row is the one that decides."""
    return [
        {
            "check_id": check.check_id,
            "check": check.settings.target(),
            "state": _health(check),
            "since_s": _age_s(check.since, now),
            "last_check": _last_check(check, now),
        }
        for check in director.checks_of(realserver)
    ]


def peers_status(peers: Sequence[DirectorRecord]) -> list[Json]:
    """The other directors of the configuration."""
    return [{"name": peer.name, "address": str(peer.address) if peer.address else None} for peer in peers]


def destinations_status(
    settings: ServiceSettings, director: Director, view: PoolView, table: Table, now: Instant
) -> Iterator[Json]:
    """The realservers of a service; ``orders`` and ``drain`` say what an operator ordered of each."""
    state = table.get(settings.service.key)
    for realserver in settings.realservers:
        found = state.destinations.get(realserver.destination.key) if state is not None else None
        weight = view.weights.get(realserver.name)
        row = destination_status(realserver, director.check_of(realserver), weight, found, now)
        place = (settings.name, realserver.name)
        row["checks"] = checks_status(realserver, director, now) if realserver.further_checks else []
        row["orders"] = [str(each.kind) for each in director.ordered(place)]
        row["drain"] = drain_status(director.drain(place, now))
        yield row


def service_status(settings: ServiceSettings, view: PoolView, table: Table) -> Json:
    """One virtual service, without its ``destinations``."""
    state = table.get(settings.service.key)
    return {
        "name": settings.name,
        "service": str(settings.service.key),
        "scheduler": settings.service.scheduler,
        "persistence_s": settings.service.persistence_timeout_s,
        "in_kernel": state is not None,
        "quorum_met": view.quorum_met,
        "quorum": settings.pool.quorum,
        "alive_weight": view.alive_weight,
        "alive_servers": view.alive_servers,
        "sorry_active": view.sorry_active,
        "pooled_though_down": list(view.pooled_though_down),
        "connections": state.stats.connections if state is not None else 0,
        "in_packets": state.stats.in_packets if state is not None else 0,
        "out_packets": state.stats.out_packets if state is not None else 0,
        "in_bytes": state.stats.in_bytes if state is not None else 0,
        "out_bytes": state.stats.out_bytes if state is not None else 0,
        "connection_rate": state.stats.connection_rate if state is not None else 0,
    }


def service_problems(service: Json) -> list[str]:
    """What an operator should look at of a service, its realservers aside."""
    found = []
    if not service["in_kernel"]:
        found.append(f"service {service['name']} is not in the kernel")
    if not service["quorum_met"]:
        found.append(f"service {service['name']} has lost its quorum")
    return found


def destination_problem(service: str, destination: Json) -> str | None:
    """What an operator should look at of a realserver."""
    if destination["state"] != "down" or "maintenance" in destination.get("orders", ()):
        return None
    check = destination["last_check"] or {}
    why = f": {check.get('reason')} {check.get('detail', '')}".rstrip() if check else ""
    return f"realserver {destination['name']} of {service} is down{why}"


def vrrp_problems(vrrp: Json) -> list[str]:
    """What an operator should look at of the virtual routers."""
    found: list[str] = []
    if not vrrp["connected"] and vrrp["expected"]:
        found.append("vrrpd does not answer: addresses are not watched; see its log")
    for router in vrrp["routers"]:
        if router["state"] == "FAULT":
            found.append(
                f"virtual router {router['name']} is in FAULT: {router.get('fault') or 'see its log'}"
            )
    return found


def sync_problems(sync: Json) -> list[str]:
    """What an operator should look at of connection synchronisation."""
    found: list[str] = []
    relay = sync.get("relay")
    if relay is not None and not any(peer["connected"] for peer in relay["peers"]):
        found.append(
            f"no other director is connected by the relay: {relay['connections']} connections would be "
            "lost now; look at its log, and at the key file and UDP port of [sync.relay]"
        )
    for trouble in sync.get("troubles", ()):
        found.append(
            f"on the sync interface: {trouble['trouble']} of {trouble['source']}, {trouble['detail']}; "
            "see docs/failures/other-sync.md"
        )
    if sync["expected"] and sync["missing"]:
        found.append(f"sync daemon not running: {', '.join(sync['missing'])}")
    return found


def foreign_services(table: Table, director: Director) -> list[str]:
    """Services in the kernel that the configuration does not name."""
    ours = {settings.service.key for settings in director.settings.services} | {NUDGE_KEY}
    return [str(key) for key in table if key not in ours]


def refused_text(entry: Mapping[str, Any], generation: str) -> str:
    """That the file is not in force. ``entry``: ``agent.last_good_used`` or ``*.reload_refused``."""
    what = "the last good configuration" if entry["event"] == "agent.last_good_used" else "the old one"
    return f"the configuration file is refused, {what} ({generation}) runs: {entry.get('problem')}"


def other_config_text(peer: str, theirs: str, ours: str) -> str:
    """That a peer runs another configuration."""
    return (
        f"{peer} runs configuration {theirs}, this director {ours}: `lvsha config push` brings one to both, "
        "`lvsha reload` loads a file that was changed"
    )


def without_directord(heard: Json, why: str) -> Json:
    """The whole picture while directord is away: vrrpd's status, and nothing known of the rest.

    ``heard``: vrrpd's message; see ``agent.ipc``. ``why``: what came of asking directord.
    """
    process = heard.get("process", {})
    vrrp = {"connected": True, "expected": True, "routers": heard.get("routers", []), **process}
    sync = {"expected": False, "daemons": [], "missing": []}
    lost = f"directord does not answer, checks and the kernel's table are not watched: {why}"
    return {
        "node": heard.get("node"),
        "ok": False,
        "problems": [lost, *vrrp_problems(vrrp)],
        "directord": False,
        "uptime_s": process.get("uptime_s"),
        "peers": heard.get("peers", []),
        "vrrp": vrrp,
        "sync": sync,
        "services": [],
        "foreign_services": [],
        "overrides": [],
        "checks": 0,
        "kernel_writes": None,
        "events": [],
    }
