"""The tables as JSON has them. The keys are a contract: ``docs/reference/ipvs.md``."""

from typing import Any

from lvsha.core.addr import AF_INET6
from lvsha.ipvs.model import (
    Daemon,
    DestinationState,
    ForwardingMethod,
    Info,
    Protocol,
    Service,
    ServiceFlags,
    ServiceKey,
    ServiceState,
    Stats,
    Table,
    Timeouts,
)

METHODS = {ForwardingMethod.MASQ: "nat", ForwardingMethod.TUNNEL: "tun", ForwardingMethod.DROUTE: "dr"}
_SUMS = ("none", "csum", "remcsum")


def key_json(key: ServiceKey) -> dict[str, Any]:
    return {
        "family": 6 if key.family == AF_INET6 else 4,
        "protocol": None if key.address is None else Protocol(key.protocol).name.lower(),
        "address": None if key.address is None else str(key.address),
        "port": None if key.address is None else key.port,
        "fwmark": key.fwmark or None,
    }


def _netmask(service: Service) -> str | int | None:
    if service.netmask is None or service.key.family == AF_INET6:
        return service.netmask
    return ".".join(map(str, service.netmask.to_bytes(4, "big")))


def _counters(stats: Stats) -> dict[str, Any]:
    return {
        "stats": dict(zip(Stats._fields[:5], stats[:5], strict=True)),
        "rates": dict(
            zip(("connections", *Stats._fields[1:5]), stats[5:], strict=True),
        ),
    }


def destination_json(state: DestinationState) -> dict[str, Any]:
    destination = state.destination
    tunnel = None
    if destination.method is ForwardingMethod.TUNNEL:
        tunnel = {
            "type": destination.tun_type.name.lower(),
            "port": destination.tun_port or None,
            "checksum": _SUMS[destination.tun_flags.value],
        }
    return {
        "address": str(destination.address),
        "port": destination.port,
        "method": METHODS.get(destination.method, destination.method.name.lower()),
        "weight": destination.weight,
        "upper_threshold": destination.upper_threshold,
        "lower_threshold": destination.lower_threshold,
        "tunnel": tunnel,
        "active": state.active,
        "inactive": state.inactive,
        "persistent": state.persistent,
        **_counters(state.stats),
    }


def service_json(state: ServiceState) -> dict[str, Any]:
    service = state.service
    flags = (ServiceFlags.SCHED_1, ServiceFlags.SCHED_2, ServiceFlags.SCHED_3)
    return {
        **key_json(service.key),
        "scheduler": service.scheduler,
        "scheduler_flags": [number for number, flag in enumerate(flags, start=1) if service.flags & flag],
        "one_packet": bool(service.flags & ServiceFlags.ONE_PACKET),
        "persistence_s": service.persistence_timeout_s,
        "netmask": _netmask(service),
        "persistence_engine": service.pe_name,
        **_counters(state.stats),
        "destinations": [destination_json(each) for each in state.destinations.values()],
    }


def table_json(table: Table, info: Info) -> dict[str, Any]:
    return {
        "version": ".".join(map(str, info.version)),
        "table_size": info.table_size,
        "services": [service_json(state) for state in table.values()],
    }


def daemons_json(daemons: list[Daemon]) -> dict[str, Any]:
    return {
        "daemons": [
            {
                "role": str(daemon.role),
                "interface": daemon.interface,
                "syncid": daemon.syncid,
                "maxlen": daemon.maxlen,
                "group": str(daemon.group) if daemon.group is not None else None,
                "port": daemon.port,
                "ttl": daemon.ttl,
            }
            for daemon in daemons
        ]
    }


def timeouts_json(timeouts: Timeouts) -> dict[str, Any]:
    return {"tcp_s": timeouts.tcp_s, "tcp_fin_s": timeouts.tcp_fin_s, "udp_s": timeouts.udp_s}
