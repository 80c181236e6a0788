"""What changes between two settings, and what each change does to running traffic.

Things are told apart as the agent does: a virtual router by its name (a changed
interface or vrid makes it another one), a service by what the kernel knows it
by, a realserver by address and port within its service. What differs is said in
the file's words (``config.show``).
"""

from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeVar

from lvsha.config.schema import SECRET_KEYS
from lvsha.config.settings import ServiceSettings, Settings
from lvsha.config.show import MASK, alert_table, router_table, service_table, single_tables

T = TypeVar("T")
K = TypeVar("K", bound=Hashable)


class Kind(StrEnum):
    """What happened to a thing."""

    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"


class Effect(StrEnum):
    """What applying a change does."""

    LIVE = "live"
    """The reload applies it; no connection notices."""
    CONNECTIONS = "connections"
    """Established connections of what it removes are lost."""
    ROLE = "role"
    """Addresses of a virtual router are given up or taken: its clients notice."""
    SYNC = "sync"
    """The kernel's sync daemons restart: what happens in that moment is not synchronised."""
    RESTART = "restart"
    """Takes effect when the agent is restarted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One difference."""

    kind: Kind
    path: str
    """``service "web" realserver 10.0.0.11:80``."""
    field: str | None = None
    """Of what was changed."""
    before: str | None = None
    after: str | None = None
    effect: Effect = Effect.LIVE
    advice: str | None = None
    """How to have the change without the effect."""

    def __str__(self) -> str:
        sign = {Kind.ADDED: "+", Kind.REMOVED: "-", Kind.CHANGED: "~"}[self.kind]
        text = f"{sign} {self.path}"
        if self.field is not None:
            text += f" {self.field}: {self.before} -> {self.after}"
        if self.effect is not Effect.LIVE:
            text += f" [{self.effect}]"
        return f"{text} ({self.advice})" if self.advice is not None else text


_IDENTITY = frozenset({"interface", "vrid"})
_SINGLE_TABLES = ("sync", "ipvs", "agent", "api")
_LIVE_IN_SYNC = frozenset({"nudge_interval", "reset_grace", "relay"})
_AT_RESTART = frozenset(
    {"run_dir", "state_dir", "record_file", "check_workers", "watchdog", "watchdog_timeout"}
)
_API_AT_RESTART = frozenset({"group", "listen", "certificate", "key", "client_ca", "rate"})
_CHECK_KEYS = ("check", "checks", "checks_needed")
_ABSENT = object()


def diff(old: Settings, new: Settings) -> tuple[Change, ...]:
    """Every change from ``old`` to ``new``, in the order of the file's tables."""
    before, after = single_tables(old), single_tables(new)
    return (
        *_node(old, new),
        *_directors(before["directors"], after["directors"]),
        *_routers(old, new),
        *_services(old, new),
        *(
            change
            for name in _SINGLE_TABLES
            for change in _single(name, before.get(name, {}), after.get(name, {}))
        ),
        *_alerts(old, new),
    )


def text(changes: Iterable[Change]) -> str:
    """One line a change; empty when there are none."""
    return "\n".join(str(change) for change in changes)


def _value(value: object) -> str:
    if value is _ABSENT:
        return "none"
    if isinstance(value, list):
        return "[" + ", ".join(_value(item) for item in value) + "]"
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_value(item)}" for key, item in value.items()) + " }"
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _fields(
    old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = ""
) -> Iterator[tuple[str, str, str]]:
    """Key, old and new text of everything that differs; secrets are masked."""
    for key in (*old, *(key for key in new if key not in old)):
        before, after = old.get(key, _ABSENT), new.get(key, _ABSENT)
        if before == after:
            continue
        if key in SECRET_KEYS:
            is_other = before is not _ABSENT and after is not _ABSENT
            yield (
                prefix + key,
                "none" if before is _ABSENT else MASK,
                f"another {MASK}" if is_other else "none" if after is _ABSENT else MASK,
            )
        elif isinstance(before, dict) and isinstance(after, dict):
            if before.get("type") != after.get("type"):
                # Another type has other keys: that all of them changed says nothing.
                before, after = {"type": before.get("type")}, {"type": after.get("type")}
            yield from _fields(before, after, f"{prefix}{key}.")
        else:
            yield prefix + key, _value(before), _value(after)


def _changed(
    path: str, old: Mapping[str, Any], new: Mapping[str, Any], effects: Mapping[str, Effect] | None = None
) -> Iterator[Change]:
    for key, before, after in _fields(old, new):
        effect = (effects or {}).get(key, Effect.LIVE)
        yield Change(kind=Kind.CHANGED, path=path, field=key, before=before, after=after, effect=effect)


def _node(old: Settings, new: Settings) -> Iterator[Change]:
    if old.node != new.node:
        yield from _changed("node", {"name": old.node}, {"name": new.node}, {"name": Effect.RESTART})


def _paired(old: Mapping[K, T], new: Mapping[K, T]) -> Iterator[tuple[K, T | None, T | None]]:
    """What went, what stayed and what came, in the old order and then the new."""
    for key, value in old.items():
        yield key, value, new.get(key)
    for key, value in new.items():
        if key not in old:
            yield key, None, value


def _directors(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Change]:
    for name, before, after in _paired(old, new):
        if before is None or after is None:
            yield Change(kind=Kind.ADDED if before is None else Kind.REMOVED, path=f"director {name}")
        else:
            yield from _changed(f"director {name}", before, after)


def _single(name: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Change]:
    if name == "ipvs":
        for inner in ("timeouts", "sysctl"):
            yield from _changed(f"ipvs.{inner}", old.get(inner, {}), new.get(inner, {}))
        return
    effects = {
        "sync": dict.fromkeys({*old, *new} - _LIVE_IN_SYNC, Effect.SYNC),
        "agent": dict.fromkeys(_AT_RESTART, Effect.RESTART),
        "api": dict.fromkeys(_API_AT_RESTART, Effect.RESTART),
    }.get(name)
    if name == "sync" and old.get("enabled") != new.get("enabled"):
        old, new = ({"enabled": table["enabled"]} for table in (old, new))
    yield from _changed(name, old, new, effects)


def _alerts(old: Settings, new: Settings) -> Iterator[Change]:
    for name, one, other in _paired(
        {alert.name: alert for alert in old.alerts}, {alert.name: alert for alert in new.alerts}
    ):
        if one is None or other is None:
            yield Change(kind=Kind.ADDED if one is None else Kind.REMOVED, path=f"alert {name}")
            continue
        # Key by key, so that a password within is seen as one.
        before, after = ({"mail": {}} | alert_table(alert, masked=False) for alert in (one, other))
        yield from _changed(f"alert {name}", before, after)


def _routers(old: Settings, new: Settings) -> Iterator[Change]:
    for name, one, other in _paired(
        {router.name: router for router in old.routers}, {router.name: router for router in new.routers}
    ):
        path = f"vrrp {name}"
        if one is None:
            yield Change(kind=Kind.ADDED, path=path)
            continue
        if other is None:
            yield Change(
                kind=Kind.REMOVED,
                path=path,
                effect=Effect.ROLE,
                advice="hand over with lvsha switchover first",
            )
            continue
        loses = not set(one.bound_addresses) <= set(other.bound_addresses)
        was, is_now = (
            {**router_table(router, settings, masked=False), "priority": router.priority}
            for router, settings in ((one, old), (other, new))
        )
        for key, before, after in _fields(was, is_now):
            effect, advice = Effect.LIVE, None
            if key in _IDENTITY:
                effect, advice = Effect.ROLE, "becomes another virtual router; change the backup first"
            elif key in ("addresses", "excluded_addresses") and loses:
                effect = Effect.CONNECTIONS
            elif key in ("version", "password", "authentication"):
                effect, advice = Effect.ROLE, "the other director refuses our adverts until it has it too"
            yield Change(
                kind=Kind.CHANGED,
                path=path,
                field=key,
                before=before,
                after=after,
                effect=effect,
                advice=advice,
            )


def _services(old: Settings, new: Settings) -> Iterator[Change]:
    for key, one, other in _paired(
        {service.service.key: service for service in old.services},
        {service.service.key: service for service in new.services},
    ):
        if one is not None and other is not None:
            yield from _service(one, other)
            continue
        there = one or other
        assert there is not None, "a pair has one side"
        yield Change(
            kind=Kind.ADDED if one is None else Kind.REMOVED,
            path=f"service {there.name} ({key}, {len(there.realservers)} realservers)",
            effect=Effect.LIVE if one is None else Effect.CONNECTIONS,
        )


def _service(old: ServiceSettings, new: ServiceSettings) -> Iterator[Change]:
    if old == new:
        return
    path = f"service {old.name}"
    one, other = service_table(old, masked=False), service_table(new, masked=False)
    shares = any(key in one and key in other for key in ("check", "checks"))
    realservers = []
    for service, table in ((old, one), (new, other)):
        rows = table.pop("realservers")
        if not shares:
            rows = [{**{key: table[key] for key in _CHECK_KEYS if key in table}, **row} for row in rows]
        keys = [realserver.destination.key for realserver in service.realservers]
        realservers.append(dict(zip(keys, rows, strict=True)))
    if not shares:
        for key in _CHECK_KEYS:
            one.pop(key, None)
            other.pop(key, None)
    yield from _changed(path, one, other)
    for _, before, after in _paired(*realservers):
        if before is None:
            assert after is not None, "a pair has one side"
            yield Change(kind=Kind.ADDED, path=f"{path} realserver {after['name']}")
        elif after is None:
            yield Change(
                kind=Kind.REMOVED,
                path=f"{path} realserver {before['name']}",
                effect=Effect.CONNECTIONS,
                advice=f"drain it first: lvsha drain {before['name']}",
            )
        else:
            yield from _changed(f"{path} realserver {before['name']}", before, after)
