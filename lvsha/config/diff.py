"""What changes between two settings, and what each change does to running traffic.

Everything is compared as the agent sees it: a virtual router by its name (a
changed interface, vrid or family makes it another router), a service by what
the kernel knows it by, a realserver by address and port within its service.
"""

from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any, TypeVar

from lvsha.config.settings import RealServerSettings, ServiceSettings, Settings
from lvsha.config.show import MASK
from lvsha.vrrp.settings import RouterSettings

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


_IDENTITY = frozenset({"interface", "vrid", "family"})
_SECRETS = frozenset({"password"})
_RESTART_FIELDS = frozenset({"run_dir", "state_dir"})


def diff(old: Settings, new: Settings) -> tuple[Change, ...]:
    """Every change from ``old`` to ``new``, in the order of the file's tables."""
    return (
        *_node(old, new),
        *_directors(old, new),
        *_routers(old, new),
        *_services(old, new),
        *_record("sync", old.sync, new.sync, Effect.SYNC, live=("nudge_interval", "sysctls")),
        *_record("timeouts", old.timeouts, new.timeouts, Effect.LIVE),
        *_record("agent", old.agent, new.agent, Effect.LIVE, restart=_RESTART_FIELDS),
    )


def text(changes: Iterable[Change]) -> str:
    """One line a change; empty when there are none."""
    return "\n".join(str(change) for change in changes)


def _value(value: object) -> str:
    if isinstance(value, tuple):
        return "[" + ", ".join(_value(item) for item in value) + "]"
    if isinstance(value, bool):
        return "true" if value else "false"
    return "none" if value is None else str(value)


def _node(old: Settings, new: Settings) -> Iterator[Change]:
    if old.node != new.node:
        yield Change(
            kind=Kind.CHANGED,
            path="node",
            field="name",
            before=old.node,
            after=new.node,
            effect=Effect.RESTART,
        )


def _paired(old: Mapping[K, T], new: Mapping[K, T]) -> Iterator[tuple[T | None, T | None]]:
    """What went, what stayed and what came, in the old order and then the new."""
    for key, value in old.items():
        yield value, new.get(key)
    for key, value in new.items():
        if key not in old:
            yield None, value


def _directors(old: Settings, new: Settings) -> Iterator[Change]:
    before = {director.name: director for director in old.directors}
    after = {director.name: director for director in new.directors}
    for one, other in _paired(before, after):
        there = one or other
        assert there is not None, "a pair has one side"
        yield from _record(f"director {there.name}", one, other, Effect.LIVE)


def _record(
    path: str,
    old: object,
    new: object,
    effect: Effect,
    *,
    live: Iterable[str] = (),
    restart: Iterable[str] = (),
) -> Iterator[Change]:
    """Two dataclasses of one type, field by field; None: it was or is not there."""
    if old == new:
        return
    if old is None or new is None:
        yield Change(kind=Kind.ADDED if old is None else Kind.REMOVED, path=path, effect=effect)
        return
    for name, before, after in _fields(old, new):
        yield Change(
            kind=Kind.CHANGED,
            path=path,
            field=name,
            before=before,
            after=after,
            effect=Effect.RESTART if name in restart else Effect.LIVE if name in live else effect,
        )


def _fields(old: Any, new: Any, *, prefix: str = "") -> Iterator[tuple[str, str, str]]:
    """Fields that differ, nested records by their own fields, secrets masked."""
    for field in fields(old):
        before, after = getattr(old, field.name), getattr(new, field.name)
        if before == after:
            continue
        name = prefix + field.name
        if not field.repr or field.name in _SECRETS:
            yield (
                name,
                "none" if before is None else MASK,
                "none" if after is None else f"another {MASK}" if before is not None else MASK,
            )
        elif hasattr(before, "__dataclass_fields__") and type(before) is type(after):
            yield from _fields(before, after, prefix=f"{name}.")
        else:
            yield name, _value(before), _value(after)


def _routers(old: Settings, new: Settings) -> Iterator[Change]:
    def by_name(routers: Iterable[RouterSettings]) -> dict[str, RouterSettings]:
        return {router.name: router for router in routers}

    for one, other in _paired(by_name(old.routers), by_name(new.routers)):
        if one is None or other is None:
            there = one or other
            assert there is not None, "a pair has one side"
            yield Change(
                kind=Kind.ADDED if one is None else Kind.REMOVED,
                path=f"vrrp {there.name}",
                effect=Effect.LIVE if one is None else Effect.ROLE,
                advice=None if one is None else "hand over with lvsha switchover first",
            )
            continue
        path = f"vrrp {one.name}"
        for name, before, after in _fields(one, other):
            effect, advice = Effect.LIVE, None
            if name in _IDENTITY:
                effect, advice = Effect.ROLE, "becomes another virtual router; change the backup first"
            elif name in ("addresses", "excluded_addresses") and not set(one.bound_addresses) <= set(
                other.bound_addresses
            ):
                effect = Effect.CONNECTIONS
            elif name in ("version", "password"):
                effect, advice = Effect.ROLE, "the other director refuses our adverts until it has it too"
            yield Change(
                kind=Kind.CHANGED,
                path=path,
                field=name,
                before=before,
                after=after,
                effect=effect,
                advice=advice,
            )


def _services(old: Settings, new: Settings) -> Iterator[Change]:
    before = {service.service.key: service for service in old.services}
    after = {service.service.key: service for service in new.services}
    for one, other in _paired(before, after):
        if one is None or other is None:
            there = one or other
            assert there is not None, "a pair has one side"
            yield Change(
                kind=Kind.ADDED if one is None else Kind.REMOVED,
                path=f"service {there.name} ({there.service.key}, {len(there.realservers)} realservers)",
                effect=Effect.LIVE if one is None else Effect.CONNECTIONS,
            )
            continue
        yield from _service(one, other)


def _service(old: ServiceSettings, new: ServiceSettings) -> Iterator[Change]:
    path = f"service {old.name}"

    def changed(name: str, before: str, after: str) -> Change:
        return Change(kind=Kind.CHANGED, path=path, field=name, before=before, after=after)

    if old.name != new.name:
        yield changed("name", old.name, new.name)
    for name, before, after in _fields(old.service, new.service):
        yield changed(name, before, after)
    for name, before, after in _fields(old.pool, new.pool):
        if name not in ("members", "name", "has_sorry"):
            yield changed(name, before, after)
    if old.sorry is None or new.sorry is None:
        if old.sorry != new.sorry:
            yield changed("sorry", _value(old.sorry), _value(new.sorry))
    else:
        for name, before, after in _fields(old.sorry, new.sorry, prefix="sorry."):
            yield changed(name, before, after)
    yield from _realservers(path, old, new)


def _realservers(path: str, old: ServiceSettings, new: ServiceSettings) -> Iterator[Change]:
    failure = {
        (which, member.name): member.on_failure
        for which, service in (("old", old), ("new", new))
        for member in service.pool.members
    }
    before = {realserver.destination.key: realserver for realserver in old.realservers}
    after = {realserver.destination.key: realserver for realserver in new.realservers}
    for one, other in _paired(before, after):
        if one is None or other is None:
            there = one or other
            assert there is not None, "a pair has one side"
            yield Change(
                kind=Kind.ADDED if one is None else Kind.REMOVED,
                path=f"{path} realserver {there.name}",
                effect=Effect.LIVE if one is None else Effect.CONNECTIONS,
                advice=None if one is None else f"drain it first: lvsha drain {there.name}",
            )
            continue
        here = f"{path} realserver {one.name}"
        for name, was, is_now in _realserver(one, other):
            yield Change(kind=Kind.CHANGED, path=here, field=name, before=was, after=is_now)
        was_failure, now_failure = failure["old", one.name], failure["new", other.name]
        if was_failure != now_failure:
            yield Change(
                kind=Kind.CHANGED,
                path=here,
                field="on_failure",
                before=_value(was_failure),
                after=_value(now_failure),
            )


def _realserver(old: RealServerSettings, new: RealServerSettings) -> Iterator[tuple[str, str, str]]:
    if old.name != new.name:
        yield "name", old.name, new.name
    yield from _fields(old.destination, new.destination)
    if old.check is None or new.check is None:
        if old.check != new.check:
            yield (
                "check",
                old.check.target() if old.check is not None else "on",
                new.check.target() if new.check is not None else "on",
            )
        return
    yield from _fields(old.check, new.check, prefix="check.")
