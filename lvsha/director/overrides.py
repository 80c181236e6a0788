"""What operators order against the configuration: weights, drains, disabled realservers, maintenance.

An override has a target, an owner, a reason and, where wanted, an end. It is looked up
whenever weights are made, never written into anything, so that taking it back leaves
nothing behind, and a reload that adds a service with a drained realserver finds it drained.

The rule of the weight in force, in one place:

1. The operator's weight, if one names the realserver, stands where the configured one
   stood. Of several the one with the narrowest target counts; of equals the last.
2. Health makes of it what it makes of a configured weight (``checker.pool``): never more.
3. Any drain, disable or maintenance that names the realserver makes it 0.

So the weight in force is min(what health leaves of the base, 0 if ordered out): an order
never brings a dead realserver back, and health never ends an order.

Orders about realservers hold on every director. Each has a stamp, a Lamport count and the
node that took it; for one kind and target the larger stamp wins wherever two meet, and an
order that is over is remembered with a stamp too (``Ended``), so that it does not return from a
director that had not heard. Source: ``proto/lvsha_relay_v1.md`` section 11.
"""

import contextlib
import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from ipaddress import ip_address

from lvsha.checker.pool import MAXIMUM_WEIGHT
from lvsha.config.settings import RealServerSettings, ServiceSettings
from lvsha.core.addr import Address, endpoint_text, parse_endpoint
from lvsha.core.errors import LvshaError
from lvsha.core.instant import Instant, after, earliest, seconds
from lvsha.core.machine import Event, Output

LIMIT = 1000
"""Overrides at once; one more is refused."""
TEXT_LIMIT = 200
"""Characters of an owner or a reason that are kept."""
ENDED_LIMIT = 1000
"""Orders that are over and remembered; those with the smallest stamps are forgotten."""
VERSION_LIMIT = 1 << 53
"""A count is below this: JSON carries it whole."""


class OverrideRefused(LvshaError):
    """It cannot be ordered; nothing has changed."""


class OverrideKind(StrEnum):
    """What an override does."""

    WEIGHT = "weight"
    """Another weight than the configured one."""
    DRAIN = "drain"
    """No new connections; out of the table when the old ones have ended, or at the deadline."""
    DISABLE = "disable"
    """No new connections; the old ones go on without an end."""
    MAINTENANCE = "maintenance"
    """As ``disable``, and nothing about it is a problem. Of a director: it takes no part in VRRP."""
    PAUSE = "pause"
    """Of a director: it takes no part in VRRP until ``resume``."""


Place = tuple[str, str]
"""Service and realserver, by their names."""

OUT = frozenset({OverrideKind.DRAIN, OverrideKind.DISABLE, OverrideKind.MAINTENANCE})
"""The kinds that leave a realserver no new connection."""
OF_DIRECTOR = frozenset({OverrideKind.MAINTENANCE, OverrideKind.PAUSE})
"""The kinds that a whole director can have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A realserver of one service or of all, a whole service, or (neither) this director."""

    service: str | None = None
    """A service's name."""
    realserver: str | None = None
    """A name, an address, or an address with its port."""

    @property
    def is_director(self) -> bool:
        return self.service is None and self.realserver is None

    def __str__(self) -> str:
        if self.is_director:
            return "director"
        if self.realserver is None:
            return f"service {self.service}"
        return self.realserver if self.service is None else f"{self.service}/{self.realserver}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Override:
    """One order."""

    kind: OverrideKind
    target: Target
    weight: int | None = None
    """Of a WEIGHT, 0-65535."""
    owner: str = ""
    reason: str = ""
    node: str = ""
    """The director that took the order."""
    set_at: float = 0.0
    """Seconds since 1970, as the other two."""
    expires_at: float | None = None
    """When it ends by itself; None: never."""
    deadline_at: float | None = None
    """Of a DRAIN: when what is left is cut off; None: never."""
    version: int = 0
    """Lamport count of when it was ordered; 0: before there were any."""

    @property
    def key(self) -> "Key":
        """One of a kind per target; another takes its place."""
        return (self.kind, self.target)

    @property
    def stamp(self) -> "Stamp":
        return (self.version, self.node, False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """An order that is over: taken back, or expired."""

    kind: OverrideKind
    target: Target
    version: int
    node: str
    owner: str = ""
    """Who took it back; empty: it has expired."""
    reason: str = ""

    @property
    def key(self) -> "Key":
        return (self.kind, self.target)

    @property
    def stamp(self) -> "Stamp":
        return (self.version, self.node, True)


Key = tuple[OverrideKind, Target]
Stamp = tuple[int, str, bool]
"""Count, node, whether it is over: with equal counts of one node, the end wins."""


@dataclass(frozen=True, slots=True)
class OverrideSet(Event):
    override: Override


@dataclass(frozen=True, slots=True)
class OverrideRemoved(Event):
    override: Override
    owner: str
    """Who took it back."""
    reason: str


@dataclass(frozen=True, slots=True)
class OverrideExpired(Event):
    override: Override


def realserver_names(realserver: RealServerSettings) -> frozenset[str]:
    """Every way to name it: its name, its address, address and port."""
    destination = realserver.destination
    address = str(destination.address)
    return frozenset((realserver.name, address, endpoint_text(destination.address, destination.port)))


def named_by(texts: Iterable[str]) -> Callable[[RealServerSettings], frozenset[str]]:
    """Tells of a realserver which of ``texts`` name it; to write the address of each of ten thousand down
    for that would hold a director up."""
    wanted = frozenset(texts)
    addresses: set[Address] = set()
    for text in wanted:
        with contextlib.suppress(ValueError):
            addresses.add(parse_endpoint(text)[0])
        with contextlib.suppress(ValueError):
            addresses.add(ip_address(text))

    def names_of(realserver: RealServerSettings) -> frozenset[str]:
        if realserver.name in wanted or (addresses and realserver.destination.address in addresses):
            return wanted & realserver_names(realserver)
        return frozenset()

    return names_of


def service_names(service: ServiceSettings) -> frozenset[str]:
    """Every way to name it: its name, ``TCP 10.0.0.10:80``, ``10.0.0.10:80``."""
    key = service.service.key
    names = {service.name, str(key)}
    if key.address is not None:
        names.add(endpoint_text(key.address, key.port))
    return frozenset(names)


def find_target(text: str, services: Sequence[ServiceSettings]) -> Target:
    """What an operator means by ``text``: ``RS``, ``SERVICE`` or ``SERVICE/RS``.

    Raises:
        OverrideRefused: nothing has this name, or several things have.
    """
    found: dict[Target, None] = {}
    by_itself = named_by([text])
    for service in services:
        names = service_names(service)
        if text in names:
            found[Target(service=service.name)] = None
        within = named_by(text.removeprefix(f"{name}/") for name in names if text.startswith(f"{name}/"))
        for realserver in service.realservers:
            if by_itself(realserver):
                found[Target(realserver=text)] = None
            if within(realserver):
                # By its name: the address of one may be the name of another.
                found[Target(service=service.name, realserver=realserver.name)] = None
    if not found:
        raise OverrideRefused(
            f"there is no service or realserver {text[:TEXT_LIMIT]!r}; `lvsha status` lists them"
        )
    if len(found) > 1:
        names_of = ", ".join(str(target) for target in list(found)[:5])
        raise OverrideRefused(f"{text!r} may be {names_of}: write SERVICE/REALSERVER")
    return next(iter(found))


class Overrides:
    """The orders that stand. ``on_deadline`` ends those whose time is over."""

    def __init__(self, node: str = "") -> None:
        """``node``: who this director is."""
        self._node = node
        self._count = 0
        """The largest that was seen."""
        self._standing: dict[Key, Override] = {}
        self._ended: dict[Key, Ended] = {}
        self._ends: dict[Key, Instant] = {}
        self._cuts: dict[Key, Instant] = {}
        """The deadlines of drains. Instants, so that a wall clock that is set cuts nothing."""

    def __iter__(self) -> Iterator[Override]:
        return iter(tuple(self._standing.values()))

    def __len__(self) -> int:
        return len(self._standing)

    # Inputs

    def load(
        self, overrides: Iterable[Override], now: Instant, *, at: float, ended: Iterable[Ended] = ()
    ) -> list[Output]:
        """What stood when the last process ended; ``at``: the wall clock now."""
        for end in ended:
            self._bury(end)
        for override in list(overrides)[:LIMIT]:
            if not override.version:
                override = replace(override, version=self._next(), node=override.node or self._node)
            self._keep(override, now, at)
        return self.on_deadline(now)

    def set(self, override: Override, now: Instant, *, at: float) -> list[Output]:
        """Order it; one of the same kind and target is replaced.

        Raises:
            OverrideRefused: a weight out of range, a target of another sort, too many overrides.
        """
        if override.key not in self._standing and len(self._standing) >= LIMIT:
            raise OverrideRefused(f"there are {LIMIT} overrides already: take some back first")
        problem = _problem(override)
        if problem:
            raise OverrideRefused(problem)
        override = replace(
            override,
            owner=override.owner[:TEXT_LIMIT],
            reason=override.reason[:TEXT_LIMIT],
            set_at=at,
            version=self._next(),
            node=override.node or self._node,
        )
        self._keep(override, now, at)
        return [OverrideSet(override)]

    def remove(
        self, kinds: Iterable[OverrideKind], target: Target, *, owner: str, reason: str = ""
    ) -> list[Output]:
        """Take orders back; those that do not stand are passed over."""
        outputs: list[Output] = []
        for kind in kinds:
            override = self._standing.pop((kind, target), None)
            self._ends.pop((kind, target), None)
            self._cuts.pop((kind, target), None)
            if override is not None:
                owner, reason = owner[:TEXT_LIMIT], reason[:TEXT_LIMIT]
                self._bury(
                    Ended(
                        kind=kind,
                        target=target,
                        version=self._next(),
                        node=self._node,
                        owner=owner,
                        reason=reason,
                    )
                )
                outputs.append(OverrideRemoved(override, owner, reason))
        return outputs

    def merge(self, records: Iterable[Override | Ended], now: Instant, *, at: float) -> list[Output]:
        """What another director knows: taken where its stamp is larger than ours.

        What is no order of ours to take (of one director, senseless, one too many) is passed over.
        """
        outputs: list[Output] = []
        for record in records:
            mine = self._standing.get(record.key) or self._ended.get(record.key)
            if record.target.is_director or not 0 < record.version < VERSION_LIMIT:
                continue
            self._count = max(self._count, record.version)
            if mine is not None and mine.stamp >= record.stamp:
                continue
            before = self._standing.get(record.key)
            if isinstance(record, Ended):
                self._forget(record.key)
                self._bury(record)
                if before is not None and record.owner:
                    outputs.append(OverrideRemoved(before, record.owner, record.reason))
                elif before is not None:
                    outputs.append(OverrideExpired(before))
            elif not _problem(record) and (before is not None or len(self._standing) < LIMIT):
                self._keep(record, now, at)
                outputs.append(OverrideSet(record))
        return outputs + self.on_deadline(now)

    @property
    def deadline(self) -> Instant | None:
        return earliest(*self._ends.values())

    def on_deadline(self, now: Instant) -> list[Output]:
        over = [key for key, end in self._ends.items() if end <= now]
        outputs: list[Output] = []
        for key in over:
            override = self._standing[key]
            self._forget(key)
            # With the stamp that it had: who orders it anew meanwhile, elsewhere, is newer.
            self._bury(
                Ended(
                    kind=override.kind, target=override.target, version=override.version, node=override.node
                )
            )
            outputs.append(OverrideExpired(override))
        return outputs

    # What other directors have to know

    def shared(self) -> tuple[Override | Ended, ...]:
        """All that holds on every director, and what is over."""
        return (*(each for each in self if not each.target.is_director), *self._ended.values())

    @property
    def ended(self) -> tuple[Ended, ...]:
        return tuple(self._ended.values())

    @property
    def digest(self) -> int:
        """64 bits of all stamps: directors of equal digests have the same orders."""
        lines = sorted(f"{each.kind} {each.target!r} {each.stamp}" for each in self.shared())
        return int.from_bytes(hashlib.blake2b("\n".join(lines).encode(), digest_size=8).digest(), "big")

    # What follows from them

    def resolve(self, services: Sequence[ServiceSettings]) -> dict[Place, tuple[Override, ...]]:
        """Whom they name, and which name it; who is not named is left out."""
        wanted = [each for each in self._standing.values() if not each.target.is_director]
        if not wanted:
            return {}
        by_name: dict[str | None, list[Place]] = {}
        by_service: dict[str, dict[str | None, list[Place]]] = {}
        names_of = named_by(each.target.realserver for each in wanted if each.target.realserver is not None)
        for service in services:
            members = by_service.setdefault(service.name, {None: []})
            for realserver in service.realservers:
                place = (service.name, realserver.name)
                members[None].append(place)
                for name in names_of(realserver):
                    by_name.setdefault(name, []).append(place)
                    members.setdefault(name, []).append(place)
        found: dict[Place, tuple[Override, ...]] = {}
        for override in wanted:
            target = override.target
            members = by_name if target.service is None else by_service.get(target.service, {})
            for place in members.get(target.realserver, ()):
                found[place] = (*found.get(place, ()), override)
        return found

    @property
    def of_director(self) -> tuple[Override, ...]:
        """Those that name this director: while there is one it takes no part in VRRP."""
        return tuple(each for each in self._standing.values() if each.target.is_director)

    def cut_at(self, override: Override) -> Instant | None:
        """When a drain's rest is cut off; None: never."""
        return self._cuts.get(override.key)

    def _next(self) -> int:
        self._count += 1
        return self._count

    def _forget(self, key: Key) -> None:
        self._standing.pop(key, None)
        self._ends.pop(key, None)
        self._cuts.pop(key, None)

    def _bury(self, end: Ended) -> None:
        if end.target.is_director or not end.version:
            return  # nobody else has it
        self._count = max(self._count, end.version)
        self._ended[end.key] = end
        while len(self._ended) > ENDED_LIMIT:
            del self._ended[min(self._ended.values(), key=lambda each: (*each.stamp, str(each.key))).key]

    def _keep(self, override: Override, now: Instant, at: float) -> None:
        self._forget(override.key)
        self._ended.pop(override.key, None)
        self._count = max(self._count, override.version)
        self._standing[override.key] = override
        if override.expires_at is not None:
            self._ends[override.key] = after(now, seconds(max(0.0, override.expires_at - at)))
        if override.deadline_at is not None:
            self._cuts[override.key] = after(now, seconds(max(0.0, override.deadline_at - at)))


def _problem(override: Override) -> str:
    has_weight = override.weight is not None and 0 <= override.weight <= MAXIMUM_WEIGHT
    if override.kind is OverrideKind.WEIGHT and not has_weight:
        return f"a weight is a number from 0 to {MAXIMUM_WEIGHT}"
    if override.target.is_director and override.kind not in OF_DIRECTOR:
        return f"a director has no {override.kind}: name a service or a realserver"
    if not override.target.is_director and override.kind is OverrideKind.PAUSE:
        return "only a director is paused; a realserver is disabled or drained"
    return ""


def is_out(overrides: Iterable[Override]) -> Override | None:
    """The one that leaves its realserver no new connection; the newest of several."""
    return max((each for each in overrides if each.kind in OUT), key=_order_of, default=None)


def base_weight(overrides: Iterable[Override]) -> Override | None:
    """The one whose weight stands in the configured one's place; None: the configured one stands."""
    return max(
        (each for each in overrides if each.kind is OverrideKind.WEIGHT),
        key=lambda each: (
            (each.target.realserver is not None) + (each.target.service is not None),
            each.target.realserver is not None,
            *_order_of(each),
        ),
        default=None,
    )


def _order_of(override: Override) -> tuple[int, str, float]:
    """Which of two orders is the newer, wherever they were given."""
    return (override.version, override.node, override.set_at)
