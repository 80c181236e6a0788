"""Every family of metrics, declared once: its help, its labels, where its values come from.

``docs/reference/metrics.md`` is made of the same table. Labels are names of the configuration
and words of ours, so their number is bounded by the configuration.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from operator import itemgetter

from lvsha import __version__
from lvsha.api.port import Json

Sample = tuple[tuple[str, ...], float]
"""Label values in the order of ``labels``, and the value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """One metric."""

    name: str
    kind: str
    """``gauge`` or ``counter``."""
    help: str
    labels: tuple[str, ...] = ()
    samples: Callable[[Json], Iterable[Sample]] = lambda status: ()
    of_row: Callable[[Json], float | None] | None = None
    """Instead of ``samples``: its value of each realserver, labelled by service and realserver. There are
    too many of these to make their labels anew for each family."""


def _one(value: object) -> Iterator[Sample]:
    if isinstance(value, (bool, int, float)):
        yield (), float(value)


def _gauge(name: str, help_text: str, key: str) -> Family:
    return Family(name=name, kind="gauge", help=help_text, samples=lambda status: _one(status.get(key)))


def _routers(
    name: str, help_text: str, value: Callable[[Json], float | None], *, kind: str = "gauge"
) -> Family:
    def samples(status: Json) -> Iterator[Sample]:
        for router in status["vrrp"]["routers"]:
            found = value(router)
            if found is not None:
                yield (router["name"],), float(found)

    return Family(name=name, kind=kind, help=help_text, labels=("router",), samples=samples)


def _states(status: Json) -> Iterator[Sample]:
    for router in status["vrrp"]["routers"]:
        for state in ("INIT", "BACKUP", "MASTER", "FAULT"):
            yield (router["name"], state), float(router["state"] == state)


def _services(name: str, help_text: str, key: str, *, kind: str = "gauge") -> Family:
    def samples(status: Json) -> Iterator[Sample]:
        for service in status["services"]:
            yield (service["name"],), float(service[key])

    return Family(name=name, kind=kind, help=help_text, labels=("service",), samples=samples)


def _destinations(
    name: str, help_text: str, value: str | Callable[[Json], float | None], *, kind: str = "gauge"
) -> Family:
    """``value``: a key of the row, or what to make of it."""
    of_row = itemgetter(value) if isinstance(value, str) else value
    return Family(name=name, kind=kind, help=help_text, labels=("service", "realserver"), of_row=of_row)


def _peers(
    name: str, help_text: str, value: Callable[[Json], float | None], *, kind: str = "gauge"
) -> Family:
    def samples(status: Json) -> Iterator[Sample]:
        for peer in status["sync"].get("relay", {}).get("peers", ()):
            found = value(peer)
            if found is not None:
                yield (peer["name"],), float(found)

    return Family(name=name, kind=kind, help=help_text, labels=("peer",), samples=samples)


def _took_s(row: Json) -> float | None:
    check = row["last_check"]
    return None if check is None else check["took_ms"] / 1000


def _health(row: Json) -> float | None:
    return float(row["state"] in ("up", "unchecked"))


def _drain_eta(row: Json) -> float | None:
    drain = row["drain"]
    return None if drain is None else drain["eta_s"]


def _drops(status: Json) -> Iterator[Sample]:
    for reason, count in status["vrrp"].get("drops", {}).items():
        yield (str(reason),), float(count)


def _overrides(status: Json) -> Iterator[Sample]:
    kinds = [override["kind"] for override in status["overrides"]]
    for kind in ("weight", "drain", "disable", "maintenance", "pause"):
        yield (kind,), float(kinds.count(kind))


def _daemons(status: Json) -> Iterator[Sample]:
    running = {str(daemon["role"]) for daemon in status["sync"].get("daemons", ())}
    if status["sync"].get("expected"):
        for role in ("master", "backup"):
            yield (role,), float(role in running)


def _relay(name: str, help_text: str, key: str, *, kind: str = "gauge") -> Family:
    return Family(
        name=name,
        kind=kind,
        help=help_text,
        samples=lambda status: _one(status["sync"].get("relay", {}).get(key)),
    )


def _agreement(status: Json, key: str) -> Iterator[Sample]:
    for peer in status.get("peers", ()):
        if peer.get(key) is not None:
            yield (peer["name"],), float(peer[key])


def _information(status: Json) -> Iterator[Sample]:
    generation = str(status.get("config", {}).get("generation", ""))
    yield (__version__, str(status["node"]), generation), 1.0


FAMILIES: tuple[Family, ...] = (
    Family(
        name="lvsha_info",
        kind="gauge",
        help="1; the labels say which version, director and configuration this is.",
        labels=("version", "node", "generation"),
        samples=_information,
    ),
    _gauge("lvsha_ok", "1 when lvsha status says that all is well.", "ok"),
    Family(
        name="lvsha_problems",
        kind="gauge",
        help="Things that an operator should look at, as lvsha status lists them.",
        samples=lambda status: _one(len(status["problems"])),
    ),
    _gauge("lvsha_uptime_seconds", "Since directord started.", "uptime_s"),
    _gauge("lvsha_checks", "Distinct health checks that run.", "checks"),
    _gauge("lvsha_kernel_table_age_seconds", "Since the kernel's IPVS table was last read.", "table_age_s"),
    Family(
        name="lvsha_kernel_writes_total",
        kind="counter",
        help="Operations on the kernel's IPVS table since the start.",
        samples=lambda status: _one(status["kernel_writes"]),
    ),
    Family(
        name="lvsha_overrides",
        kind="gauge",
        help="Orders of operators that stand against the configuration.",
        labels=("kind",),
        samples=_overrides,
    ),
    Family(
        name="lvsha_peer_same_config",
        kind="gauge",
        help="1 when the other director runs the same configuration; absent while it has not said.",
        labels=("peer",),
        samples=lambda status: _agreement(status, "same_config"),
    ),
    Family(
        name="lvsha_peer_same_orders",
        kind="gauge",
        help="1 when the other director has the same orders of operators; absent while it has not said.",
        labels=("peer",),
        samples=lambda status: _agreement(status, "same_orders"),
    ),
    Family(
        name="lvsha_vrrpd_up",
        kind="gauge",
        help="1 when vrrpd answers directord.",
        samples=lambda status: _one(status["vrrp"]["connected"]),
    ),
    Family(
        name="lvsha_vrrp_state",
        kind="gauge",
        help="1 for the state that a virtual router is in, 0 for the others.",
        labels=("router", "state"),
        samples=_states,
    ),
    _routers("lvsha_vrrp_priority", "Effective priority, after tracking.", lambda row: row["priority"]),
    _routers(
        "lvsha_vrrp_addresses_held",
        "1 when the virtual router's addresses are bound here.",
        lambda row: row.get("holds_addresses"),
    ),
    _routers(
        "lvsha_vrrp_state_age_seconds",
        "Since the virtual router entered its state.",
        lambda row: row["since_s"],
    ),
    Family(
        name="lvsha_vrrp_lateness_max_seconds",
        kind="gauge",
        help="The longest that vrrpd was late for a deadline since it started.",
        samples=lambda status: _one(
            status["vrrp"]["worst_lateness_ms"] / 1000 if "worst_lateness_ms" in status["vrrp"] else None
        ),
    ),
    Family(
        name="lvsha_vrrp_advertisements_dropped_total",
        kind="counter",
        help="Adverts that were refused, by reason.",
        labels=("reason",),
        samples=_drops,
    ),
    _services("lvsha_service_in_kernel", "1 when the kernel has the service.", "in_kernel"),
    _services("lvsha_service_quorum_met", "1 when enough realservers are alive.", "quorum_met"),
    _services("lvsha_service_alive_weight", "Weight of the realservers that are alive.", "alive_weight"),
    _services("lvsha_service_alive_realservers", "Realservers that are alive.", "alive_servers"),
    _services("lvsha_service_sorry_active", "1 when the sorry server gets everything.", "sorry_active"),
    _services("lvsha_service_connections_total", "Connections scheduled.", "connections", kind="counter"),
    _services("lvsha_service_received_packets_total", "Packets from clients.", "in_packets", kind="counter"),
    _services("lvsha_service_sent_packets_total", "Packets to clients (NAT).", "out_packets", kind="counter"),
    _services("lvsha_service_received_bytes_total", "Bytes from clients.", "in_bytes", kind="counter"),
    _services("lvsha_service_sent_bytes_total", "Bytes to clients (NAT).", "out_bytes", kind="counter"),
    _destinations("lvsha_realserver_up", "1 when its check passes, or it has none.", _health),
    _destinations(
        "lvsha_realserver_weight",
        "The weight in the kernel; absent where the kernel does not have it.",
        "kernel_weight",
    ),
    _destinations(
        "lvsha_realserver_configured_weight",
        "The weight in the configuration.",
        "configured_weight",
    ),
    _destinations(
        "lvsha_realserver_ordered_out",
        "1 when an operator drains or disables it, or has it in maintenance.",
        lambda row: float(any(kind != "weight" for kind in row["orders"])),
    ),
    _destinations("lvsha_realserver_drain_eta_seconds", "Until a drain reaches zero.", _drain_eta),
    _destinations("lvsha_realserver_active_connections", "Established.", "active_connections"),
    _destinations(
        "lvsha_realserver_inactive_connections",
        "Opening, closing or lingering.",
        "inactive_connections",
    ),
    _destinations(
        "lvsha_realserver_persistence_templates",
        "Clients that persistence ties to it.",
        "persistent_connections",
    ),
    _destinations(
        "lvsha_realserver_connections_total",
        "Connections scheduled.",
        "connections",
        kind="counter",
    ),
    _destinations(
        "lvsha_realserver_received_bytes_total",
        "Bytes from clients.",
        "in_bytes",
        kind="counter",
    ),
    _destinations(
        "lvsha_realserver_sent_bytes_total",
        "Bytes to clients (NAT).",
        "out_bytes",
        kind="counter",
    ),
    _destinations("lvsha_check_duration_seconds", "What the last check took.", _took_s),
    Family(
        name="lvsha_sync_daemon_running",
        kind="gauge",
        help="1 when the kernel's sync daemon of this role runs.",
        labels=("role",),
        samples=_daemons,
    ),
    _relay("lvsha_sync_connections", "Connections that this director knows.", "connections"),
    _relay(
        "lvsha_sync_would_lose_connections",
        "Connections that would be lost if this director died now.",
        "would_lose",
    ),
    _relay("lvsha_sync_installed_total", "Connections put into our kernel.", "installed", kind="counter"),
    _relay("lvsha_sync_dropped_total", "Connections that our kernel refused.", "dropped", kind="counter"),
    _peers(
        "lvsha_sync_coverage_ratio",
        "The share of our connections that the peer has in its kernel.",
        lambda peer: peer["coverage"],
    ),
    _peers("lvsha_sync_peer_connected", "1 when the relay has the peer.", lambda peer: peer["connected"]),
    _peers("lvsha_sync_missing_connections", "Of ours, not at the peer.", lambda peer: peer["missing"]),
    _peers(
        "lvsha_sync_lag_seconds",
        "From here to the peer's kernel.",
        lambda peer: peer["lag_ms"] / 1000 if peer["lag_ms"] is not None else None,
    ),
    _peers("lvsha_sync_sent_bytes_total", "To the peer.", lambda peer: peer["sent_bytes"], kind="counter"),
    _peers(
        "lvsha_sync_received_bytes_total",
        "From the peer.",
        lambda peer: peer["received_bytes"],
        kind="counter",
    ),
    _gauge("lvsha_event_listeners", "Open event streams.", "event_listeners"),
    Family(
        name="lvsha_event_listeners_dropped_total",
        kind="counter",
        help="Event streams that were closed because nobody read them.",
        samples=lambda status: _one(status.get("event_listeners_dropped")),
    ),
    Family(
        name="process_resident_memory_bytes",
        kind="gauge",
        help="Resident memory of directord.",
        samples=lambda status: _one(status.get("resident_bytes")),
    ),
    Family(
        name="process_cpu_seconds_total",
        kind="counter",
        help="Processor time of directord.",
        samples=lambda status: _one(status.get("cpu_s")),
    ),
)

ROW_FAMILIES: tuple[Family, ...] = tuple(family for family in FAMILIES if family.of_row is not None)
_ROW_VALUES = tuple(family.of_row for family in ROW_FAMILIES if family.of_row is not None)


def row_values(row: Json) -> tuple[float | None, ...]:
    """What the families of realservers say of one, in their order."""
    return tuple([value(row) for value in _ROW_VALUES])
