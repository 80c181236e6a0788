"""The settings in force, every default written out, in the shape of the file that they came from.

What is printed loads again and gives the same settings (for the same director),
so it also answers "what would I have to write to get this?". Secrets are masked
unless the caller asks for them.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields
from enum import Enum
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface
from typing import Any

from lvsha.checker.settings import PORTLESS_KINDS, CheckKind, CheckSettings, TlsOptions
from lvsha.config.alerts import AlertSettings, masked_url
from lvsha.config.checks import OPTION_KEYS
from lvsha.config.schema import SECRET_KEYS
from lvsha.config.services import FALLBACK, HASH_PORT, METHODS, PROTOCOLS, TUNNEL_FLAGS, TUNNEL_TYPES
from lvsha.config.settings import AgentSettings, ApiSettings, RealServerSettings, ServiceSettings, Settings
from lvsha.config.tables.values import duration_text
from lvsha.core.addr import AF_INET, endpoint_text
from lvsha.core.instant import SECOND
from lvsha.ipvs.model import Destination, ServiceFlags, ServiceKey
from lvsha.sync.relay_settings import RelaySettings
from lvsha.sync.settings import SyncSettings
from lvsha.vrrp.routes import RouteSettings, RuleSettings
from lvsha.vrrp.settings import RouterSettings
from lvsha.vrrp.track import TrackSettings

MASK = "********"
"""Stands for a secret. Eight characters: what VRRPv2 takes for a password."""

_KEY_OF_FIELD = {name: key for key, name in OPTION_KEYS.items()}
_ELSEWHERE = ("kind", "address", "port", "options", "through_path", "bind_port_count")
"""Fields of a check that the file says in other words, or not at all."""
_OF_PATHS = (*_ELSEWHERE, "fwmark", "bind_port", "close_with_reset")
"""And what ``through = "path"`` chooses by itself."""
_DURATIONS = frozenset({"interval", "fast_interval", "timeout", "down_interval", "expiry_warning"})


def document(settings: Settings, *, masked: bool = True) -> dict[str, Any]:
    """The settings as a file would say them, as plain tables, lists and values."""
    tables = single_tables(settings)
    if settings.routers:
        tables["vrrp"] = [router_table(router, settings, masked=masked) for router in settings.routers]
    if settings.services:
        tables["service"] = [service_table(service, masked=masked) for service in settings.services]
    if settings.alerts:
        tables["alert"] = [alert_table(alert, masked=masked) for alert in settings.alerts]
    return tables


def single_tables(settings: Settings) -> dict[str, Any]:
    """What there is once, without ``[[vrrp]]``, ``[[service]]`` and ``[[alert]]``. It holds no secrets."""
    tables: dict[str, Any] = {
        "directors": {
            director.name: _without_none(
                {
                    "address": str(director.address) if director.address is not None else None,
                    "priority": director.priority,
                }
            )
            for director in settings.directors
        },
        "agent": {
            "log_format": str(settings.agent.log_format),
            "log_level": str(settings.agent.log_level),
            "run_dir": settings.agent.run_dir,
            "state_dir": settings.agent.state_dir,
            "on_stop": str(settings.agent.on_stop),
            **({"record_file": settings.agent.record_file} if settings.agent.record_file else {}),
            **_watchdog(settings.agent),
            **({"maintenance_dir": settings.agent.maintenance_dir} if settings.agent.maintenance_dir else {}),
            "exclusive": settings.agent.exclusive,
            "check_workers": settings.agent.check_workers,
            "drift_interval": duration_text(settings.agent.drift_interval),
        },
        "api": _api(settings.api),
        "sync": {"enabled": False} if settings.sync is None else _sync(settings.sync, settings),
    }
    ipvs: dict[str, Any] = {}
    if settings.sysctls:
        ipvs["sysctl"] = dict(settings.sysctls)
    if settings.timeouts is not None:
        seconds = {
            "tcp": settings.timeouts.tcp_s,
            "tcp_fin": settings.timeouts.tcp_fin_s,
            "udp": settings.timeouts.udp_s,
        }
        ipvs["timeouts"] = {key: duration_text(value * SECOND) for key, value in seconds.items() if value}
    if ipvs:
        tables["ipvs"] = ipvs
    return tables


def _api(api: ApiSettings) -> dict[str, Any]:
    return _without_none(
        {
            "group": api.group,
            "listen": [f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in api.listen],
            "certificate": api.certificate,
            "key": api.key,
            "token_file": api.token_file,
            "client_ca": api.client_ca,
            "rate": api.rate,
            "peer_role": api.peer_role,
        }
    )


def alert_table(alert: AlertSettings, *, masked: bool) -> dict[str, Any]:
    """One ``[[alert]]``; of its webhook the host is no secret."""

    def secret(value: str | None) -> str | None:
        return MASK if value and masked else value

    mail = alert.mail
    return _without_none(
        {
            "name": alert.name,
            "on": list(alert.on),
            "webhook": masked_url(alert.webhook) if alert.webhook and masked else alert.webhook,
            "token": secret(alert.token),
            "mail": None
            if mail is None
            else _without_none(
                {
                    "server": f"[{mail.server}]:{mail.port}"
                    if ":" in mail.server
                    else f"{mail.server}:{mail.port}",
                    "to": list(mail.to),
                    "sender": mail.sender,
                    "security": str(mail.security),
                    "user": mail.user,
                    "password": secret(mail.password),
                }
            ),
            "exec": list(alert.exec),
            "ca_file": alert.ca_file,
            "timeout": duration_text(alert.timeout),
            "retry_for": duration_text(alert.retry_for),
            "repeat": duration_text(alert.repeat),
            "rate": alert.rate,
        }
    )


def _watchdog(agent: AgentSettings) -> dict[str, Any]:
    if agent.watchdog is None:
        return {}
    return {"watchdog": agent.watchdog, "watchdog_timeout": duration_text(agent.watchdog_timeout)}


def _without_none(table: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in table.items() if value is not None}


def _of_node(settings: Settings, value: object) -> object:
    """A value that is only known for this director, so that it is not taken for the others'."""
    if value is None:
        return None
    plain = value if isinstance(value, int) else str(value)
    return {settings.node: plain} if settings.peers else plain


def _sync(sync: SyncSettings, settings: Settings) -> dict[str, Any]:
    return _without_none(
        {
            "enabled": True,
            "interface": sync.interface,
            "syncid": sync.syncid,
            "group": str(sync.group) if sync.group is not None else None,
            "port": sync.port,
            "ttl": sync.ttl,
            "maxlen": sync.maxlen if sync.maxlen is not None else "kernel",
            "nudge_interval": duration_text(sync.nudge_interval),
            "reset_grace": duration_text(sync.reset_grace),
            "transport": str(sync.transport),
            "relay": None if sync.relay is None else _relay(sync.relay, settings),
        }
    )


def _relay(relay: RelaySettings, settings: Settings) -> dict[str, Any]:
    return _without_none(
        {
            "key_file": relay.key_file,
            "address": _of_node(settings, relay.address),
            "port": relay.port,
            "datagram": relay.datagram,
            "linger": duration_text(relay.linger),
            "limit": relay.limit,
            "coverage_target": relay.coverage_target,
            "gate_deadline": duration_text(relay.gate_deadline),
            "switchover_deadline": duration_text(relay.switchover_deadline),
        }
    )


def router_table(router: RouterSettings, settings: Settings, *, masked: bool) -> dict[str, Any]:
    """One ``[[vrrp]]``."""
    password = router.password
    # With our own, so that the list serves the others as well; we leave ours out again.
    own = next((each.address for each in settings.directors if each.name == settings.node), None)
    own = own or router.source_address
    everyone = (*router.unicast_peers, own) if own is not None else router.unicast_peers
    return _without_none(
        {
            "name": router.name,
            "interface": router.interface,
            "vrid": router.vrid,
            "version": router.version,
            "priority": _of_node(settings, router.priority),
            "advert_interval": duration_text(router.advert_interval),
            "addresses": [str(address) for address in router.addresses],
            "excluded_addresses": [str(address) for address in router.excluded_addresses],
            "preempt": router.preempts,
            "preempt_delay": duration_text(router.preempt_delay),
            "unicast_peers": [str(peer) for peer in everyone] if router.unicast_peers else None,
            "min_ttl": router.min_ttl,
            "source_address": _of_node(settings, router.source_address),
            "password": MASK if masked and password is not None else password,
            "authentication": str(router.authentication),
            "key_file": router.key_file,
            "checksum": str(router.checksum),
            "strict_addresses": router.strict_addresses,
            "no_address_detection": router.no_address_detection,
            "release_deadline": duration_text(router.release_deadline),
            "lease": duration_text(router.lease),
            "startup_delay": duration_text(router.startup_delay),
            "boot_delay": duration_text(router.boot_delay),
            "vmac": router.vmac_interface is not None,
            "vmac_interface": router.vmac_interface,
            "accept": router.accept,
            "hook": list(router.hook),
            "hook_timeout": duration_text(router.hook_timeout),
            "hook_repeat": duration_text(router.hook_repeat),
            "pre_hook": list(router.pre_hook),
            "pre_hook_timeout": duration_text(router.pre_hook_timeout),
            "link_up_delay": duration_text(router.link_up_delay),
            "link_down_delay": duration_text(router.link_down_delay),
            "paths": [
                {"interface": each.interface, "peers": [str(peer) for peer in each.peers]}
                for each in router.paths
            ],
            "routes": [_route(route) for route in router.routes],
            "rules": [_rule(rule) for rule in router.rules],
            "prove_to": None if router.prove_to is None else [str(each) for each in router.prove_to],
            "group": router.group,
            "track": [_track(track) for track in router.track],
            "garp": {
                "repeat": router.garp.repeat,
                "interval": duration_text(router.garp.interval),
                "refresh": duration_text(router.garp.refresh),
                "packets_per_millisecond": router.garp.packets_per_millisecond,
                "forms": [str(form) for form in router.garp.forms],
            },
        }
    )


def _route(route: RouteSettings) -> dict[str, Any]:
    return _without_none(
        {
            "to": str(route.to),
            "via": _text(route.via),
            "interface": route.interface,
            "source": _text(route.source),
            "table": route.table,
            "metric": route.metric,
        }
    )


def _rule(rule: RuleSettings) -> dict[str, Any]:
    return _without_none(
        {
            "source": _text(rule.source),
            "to": _text(rule.to),
            "fwmark": rule.fwmark,
            "table": rule.table,
            "priority": rule.priority,
        }
    )


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _track(track: TrackSettings) -> dict[str, Any]:
    return _without_none(
        {
            str(track.kind): list(track.command) or track.target,
            "weight": track.weight,
            "interval": duration_text(track.interval),
            "timeout": duration_text(track.timeout),
            "rise": track.rise,
            "fall": track.fall,
        }
    )


def _word(words: Mapping[str, Any], value: object) -> str:
    return next(word for word, meaning in words.items() if meaning == value)


def service_table(service: ServiceSettings, *, masked: bool) -> dict[str, Any]:
    """One ``[[service]]``. A check that all its realservers share stands at the service."""
    kernel, pool = service.service, service.pool
    key = kernel.key
    table: dict[str, Any] = {"name": service.name}
    if key.address is None:
        table |= {"fwmark": key.fwmark, "family": 4 if key.family == AF_INET else 6}
    else:
        table |= {
            "address": endpoint_text(key.address, key.port),
            "protocol": _word(PROTOCOLS, key.protocol),
        }
    owner = kernel.scheduler
    if kernel.persistence_timeout_s is not None:
        table["persistence_timeout"] = duration_text(kernel.persistence_timeout_s * SECOND)
    if kernel.netmask is not None:
        is_ipv4 = key.family == AF_INET
        table["persistence_netmask"] = str(IPv4Address(kernel.netmask)) if is_ipv4 else kernel.netmask
    if kernel.pe_name is not None:
        table["persistence_engine"] = kernel.pe_name
    table |= {
        "scheduler": kernel.scheduler,
        "scheduler_flags": [
            f"{owner}-{name}"
            for flag, name in ((FALLBACK, "fallback"), (HASH_PORT, "port"))
            if flag in kernel.flags
        ],
        "one_packet": ServiceFlags.ONE_PACKET in kernel.flags,
        "quorum": pool.quorum,
        "hysteresis": pool.hysteresis,
        "quorum_unit": str(pool.quorum_unit),
        "on_failure": str(pool.on_failure),
        "minimum_pooled_percent": pool.minimum_pooled_percent,
        "slow_start": duration_text(pool.slow_start),
    }
    if service.sorry is not None:
        table["sorry"] = _destination(service.sorry, key)
    checks = [_checks(realserver, key, masked=masked) for realserver in service.realservers]
    is_shared = all(check == checks[0] for check in checks)
    if checks and is_shared:
        table |= checks[0]
    table["realservers"] = [
        {
            "name": realserver.name,
            **_destination(realserver.destination, key),
            "upper_threshold": realserver.destination.upper_threshold,
            "lower_threshold": realserver.destination.lower_threshold,
            **({} if member.on_failure is None else {"on_failure": str(member.on_failure)}),
            **({} if is_shared else check),
        }
        for realserver, member, check in zip(service.realservers, pool.members, checks, strict=True)
    ]
    return table


def _destination(destination: Destination, key: ServiceKey) -> dict[str, Any]:
    table: dict[str, Any] = {
        "address": endpoint_text(destination.address, destination.port)
        if destination.port
        else str(destination.address),
        "weight": destination.weight,
        "method": _word(METHODS, destination.method),
    }
    if table["method"] == "tun":
        table["tunnel"] = {
            "type": _word(TUNNEL_TYPES, destination.tun_type),
            "port": destination.tun_port,
            "checksum": _word(TUNNEL_FLAGS, destination.tun_flags),
        }
    return table


def _checks(realserver: RealServerSettings, key: ServiceKey, *, masked: bool) -> dict[str, Any]:
    """``check``, or ``checks`` where it has several."""
    destination = realserver.destination
    tables = [_check(check, destination, key, masked=masked) for check in realserver.checks]
    if len(tables) > 1:
        return {"checks": tables, "checks_needed": str(realserver.needs)}
    return {"check": tables[0] if tables else {"type": "on"}}


def _check(
    check: CheckSettings, destination: Destination, key: ServiceKey, *, masked: bool
) -> dict[str, Any]:
    """A check without what it takes from its realserver."""
    table: dict[str, Any] = {"type": str(check.kind)}
    address, port = destination.address, destination.port or key.port
    if check.through_path:
        table["through"] = "path"
        address, port = key.address or destination.address, key.port
    if check.address != address:
        table["address"] = str(check.address)
    if check.kind not in PORTLESS_KINDS and check.port != port:
        table["port"] = check.port
    table |= _values(check, masked=masked, leave_out=_OF_PATHS if check.through_path else _ELSEWHERE)
    if check.options is not None:
        other = {CheckKind.HTTP: ("tls",), CheckKind.HTTP_PROXY: ("tls", "redirects")}
        table |= _values(check.options, masked=masked, leave_out=other.get(check.kind, ()))
    return table


def _values(record: Any, *, masked: bool, leave_out: Sequence[str] = ()) -> dict[str, Any]:
    table = {}
    for field in fields(record):
        value = getattr(record, field.name)
        key = _KEY_OF_FIELD.get(field.name, field.name)
        if field.name in leave_out or value is None or value == ():
            continue
        if isinstance(record, CheckSettings | TlsOptions) and field.name in _DURATIONS:
            value = duration_text(value)
        elif isinstance(value, TlsOptions):
            value = _values(value, masked=masked)
        elif key == "headers":
            value = {name: MASK if masked else text for name, text in value}
        elif masked and key in SECRET_KEYS and value:
            value = MASK
        elif key == "status":
            value = [low if low == high else f"{low}-{high}" for low, high in value]
        table[key] = _plain(value)
    return table


def _plain(value: Any) -> Any:
    if isinstance(value, bool | int) and not isinstance(value, Enum):
        return value
    if isinstance(value, bytes):
        text = value.decode("ascii", "replace")
        is_text = value.isascii() and not text.startswith("hex:")
        return text if is_text else f"hex:{value.hex()}"
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, IPv4Address | IPv6Address | IPv4Interface | IPv6Interface | str):
        return str(value)
    raise AssertionError(f"a setting of type {type(value).__name__} has no text")


# --- text ---------------------------------------------------------------------------------------------


def to_json(tables: Mapping[str, Any]) -> str:
    """For programs."""
    return json.dumps(tables, indent=2, ensure_ascii=False)


def to_toml(tables: Mapping[str, Any]) -> str:
    """For people: tables one after the other, realservers one a line."""
    blocks = []
    for name, value in tables.items():
        if isinstance(value, dict):
            blocks.append(block_text(f"[{_key(name)}]", value))
        else:
            blocks += [block_text(f"[[{_key(name)}]]", table) for table in value]
    return "\n".join(blocks)


def block_text(header: str, table: Mapping[str, Any]) -> str:
    """One table under its header; lists of tables one a line."""
    lines = [header]
    for key, value in table.items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            lines += [f"{_key(key)} = [", *(f"    {_inline(item)}," for item in value), "]"]
        else:
            lines.append(f"{_key(key)} = {_inline(value)}")
    return "\n".join(lines) + "\n"


def _key(key: str) -> str:
    is_bare = key.isascii() and key.replace("-", "").replace("_", "").isalnum()
    return key if is_bare else _quoted(key)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _inline(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, list):
        return "[" + ", ".join(_inline(item) for item in value) + "]"
    assert isinstance(value, dict), f"TOML has no {type(value).__name__}"
    if not value:
        return "{}"
    return "{ " + ", ".join(f"{_key(key)} = {_inline(item)}" for key, item in value.items()) + " }"
