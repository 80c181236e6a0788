"""What changed, and why: every change of a weight, a role, an address, with its chain of causes.

Weights are compared with what they were, not collected from events: a change cannot come
about unseen. The causes are read at the same moment (``director.cause``). What vrrpd does
is told by it: its pictures of the routers are compared in the same way, and the event that
came before a picture is the cause.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from lvsha.checker.pool import PoolView
from lvsha.config.settings import ServiceSettings
from lvsha.core.instant import Instant
from lvsha.core.machine import Event
from lvsha.director.cause import Cause, CauseKind, sorry_causes, weight_causes
from lvsha.director.director import Director
from lvsha.ipvs.drift import (
    DestinationAltered,
    DestinationForeign,
    DestinationMissing,
    DriftNotTold,
    ServiceAltered,
    ServiceMissing,
)

KEEP = 10_000
"""Changes kept; the oldest goes."""

SORRY = "sorry server"


class ChangeKind(StrEnum):
    """What changed. The values are stable."""

    WEIGHT = "weight"
    SERVICE = "service"
    """A service came, went, or was changed as a whole."""
    KERNEL = "kernel"
    """Somebody else changed the kernel's table; it is put back."""
    ROLE = "role"
    ADDRESS = "address"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One change."""

    number: int
    """Counts up without gaps within one life of the process."""
    at: float
    """Seconds since 1970."""
    what: ChangeKind
    subject: str
    """``10.0.0.11:80 in web``, ``eth0-51``."""
    service: str | None = None
    realserver: str | None = None
    before: int | str | None
    after: int | str | None
    """Of a weight None: not in the table."""
    causes: tuple[Cause, ...]
    """The decisive one first."""

    def as_json(self) -> dict[str, Any]:
        return {
            "id": self.number,
            "at": self.at,
            "what": str(self.what),
            "subject": self.subject,
            "service": self.service,
            "realserver": self.realserver,
            "before": self.before,
            "after": self.after,
            "causes": [cause.as_json() for cause in self.causes],
        }


def change_of_json(row: Mapping[str, Any]) -> Change:
    """The inverse of ``Change.as_json``.

    Raises:
        KeyError, TypeError, ValueError: it is none.
    """
    return Change(
        number=int(row["id"]),
        at=float(row["at"]),
        what=ChangeKind(row["what"]),
        subject=str(row["subject"]),
        service=row["service"],
        realserver=row["realserver"],
        before=row["before"],
        after=row["after"],
        causes=tuple(
            Cause(kind=CauseKind(each["kind"]), text=str(each["text"]), evidence=dict(each["evidence"]))
            for each in row["causes"]
        ),
    )


_ROLE_CAUSES: dict[str, tuple[CauseKind, str]] = {
    "owner": (CauseKind.CONFIG, "it owns the addresses: priority 255"),
    "started": (CauseKind.START, "it started"),
    "resumed": (CauseKind.ORDER, "it was told to take part again"),
    "adopted": (CauseKind.ADOPTED, "it was MASTER a moment ago and the addresses were still bound"),
    "master_down": (CauseKind.TAKEOVER, "no advert came for a master-down interval"),
    "master_left": (CauseKind.TAKEOVER, "the MASTER gave the addresses up: it sent priority 0"),
    "preempted": (CauseKind.TAKEOVER, "the MASTER's priority is lower than ours"),
    "better_master": (CauseKind.PEER, "a director of higher priority is MASTER"),
    "overslept": (CauseKind.LEASE, "we ran so late that another has surely taken over"),
    "interface_down": (CauseKind.FAULT, "the interface is down"),
    "interface_up": (CauseKind.FAULT, "the interface came back"),
    "bind_failed": (CauseKind.FAULT, "an address could not be bound"),
    "send_failed": (CauseKind.FAULT, "adverts could not be sent"),
    "retry": (CauseKind.FAULT, "a fault of our own had time to go away"),
    "heard_master": (CauseKind.ORDER, "it was released, and another became MASTER"),
    "deadline": (CauseKind.ORDER, "it was released, and nobody took over in time"),
    "not_master": (CauseKind.ORDER, "it was told to stay out"),
    "shutdown": (CauseKind.ORDER, "it was stopped"),
}
"""By ``vrrp.outputs.Reason``."""

_ROLE_EVENTS = frozenset(
    {"became_master", "became_backup", "entered_fault", "released", "releasing", "adopted_addresses"}
)
_SAID = frozenset({"at", "event", "process", "type", "router", "reason"})


def role_cause(event: Mapping[str, Any]) -> Cause:
    """What an event of vrrpd (a line of its journal) says of a change of role."""
    reason = str(event.get("reason", ""))
    kind, text = _ROLE_CAUSES.get(reason, (CauseKind.TRACK, reason or str(event.get("event", ""))))
    evidence = {"event": event.get("event"), "reason": reason} | {
        key: value for key, value in event.items() if key not in _SAID and value is not None
    }
    detail = event.get("detail")
    return Cause(kind=kind, text=f"{text}: {detail}" if detail else text, evidence=evidence)


class History:
    """The last ``KEEP`` changes. Each input returns the new ones; ``on_weights`` one by one, as there may be
    ten thousand: take them all."""

    def __init__(self, *, keep: int = KEEP) -> None:
        self._changes: deque[Change] = deque(maxlen=keep)
        self._number = 0
        self._views: dict[str, PoolView] | None = None
        self._generation = ""
        self._routers: dict[str, tuple[str, bool, tuple[str, ...]]] = {}
        self._told: dict[str, Cause] = {}
        """By router: what vrrpd said last of its role."""
        self._order: Cause | None = None

    def load(self, changes: Iterable[Change]) -> None:
        """What former lives wrote; oldest first."""
        self._changes.extend(changes)
        self._number = max((change.number for change in self._changes), default=0)

    # Inputs

    def on_weights(
        self, director: Director, now: Instant, *, at: float, adopted: bool = False
    ) -> Iterator[Change]:
        """The weights are to be brought to the kernel now; ``adopted``: at the start, some were there."""
        views, services = director.views(), {each.name: each for each in director.settings.services}
        before, self._views = self._views, views
        reloaded = self._generation != director.generation
        self._generation = director.generation
        if before is None:
            start = (
                Cause(kind=CauseKind.ADOPTED, text="directord started and found the kernel's table in use")
                if adopted
                else Cause(kind=CauseKind.START, text="directord started")
            )
            for service in services.values():
                yield self._service(service, None, "in force", (start, _config(director)), at)
            return
        for name, view in views.items():
            former = before.get(name)
            if view is former:
                continue
            service = services[name]
            if former is None:
                yield self._service(service, None, "in force", (_config(director),), at)
            else:
                causes = (_config(director),) if reloaded else ()
                yield from self._weights(director, service, former, view, now, causes, at)
        for name in before.keys() - views.keys():
            subject = f"service {name}"
            yield self._add(
                ChangeKind.SERVICE, subject, "in force", None, (_config(director),), at, service=name
            )

    def _weights(
        self,
        director: Director,
        service: ServiceSettings,
        before: PoolView,
        after: PoolView,
        now: Instant,
        causes: tuple[Cause, ...],
        at: float,
    ) -> Iterator[Change]:
        realservers = {each.name: each for each in service.realservers}
        for name in dict.fromkeys((*after.weights, *before.weights)):
            old, new = before.weights.get(name), after.weights.get(name)
            if old == new and (name in before.weights) is (name in after.weights):
                continue
            realserver = realservers.get(name)
            why = (
                weight_causes(director, service, realserver, after, now)
                if realserver is not None
                else (Cause(kind=CauseKind.CONFIG, text="is no longer configured"),)
            )
            if name not in before.weights:
                why = (Cause(kind=CauseKind.CONFIG, text="was added to the configuration"), *why)
            subject = f"{name} in {service.name}"
            yield self._add(
                ChangeKind.WEIGHT,
                subject,
                old,
                new,
                (*why, *causes),
                at,
                service=service.name,
                realserver=name,
            )
        if before.sorry_active is not after.sorry_active and service.sorry is not None:
            weight = service.sorry.weight
            subject = f"{SORRY} {service.sorry} of {service.name}"
            old, new = (None, weight) if after.sorry_active else (weight, None)
            why = sorry_causes(after, service)
            yield self._add(
                ChangeKind.WEIGHT, subject, old, new, why, at, service=service.name, realserver=SORRY
            )

    def on_drift(self, events: Sequence[Event], *, at: float) -> list[Change]:
        """Somebody else changed the kernel's table; it is put back at once."""
        changes = []
        for event in events:
            texts = _foreign(event)
            if texts is None:
                continue
            subject, what = texts
            cause = Cause(kind=CauseKind.FOREIGN, text=f"somebody else wrote to the kernel: {what}")
            repair = Cause(kind=CauseKind.REPAIR, text="it is put back")
            changes.append(self._add(ChangeKind.KERNEL, subject, what, "as configured", (cause, repair), at))
        return changes

    def on_order(self, cause: Cause) -> None:
        """An operator ordered something about the role: the next change of role comes of it."""
        self._order = cause

    def on_vrrp_event(self, event: Mapping[str, Any], *, at: float) -> list[Change]:
        """A line of vrrpd's journal."""
        name = str(event.get("event", "")).removeprefix("vrrp.")
        router = event.get("router")
        if not isinstance(router, str):
            return []
        if name in _ROLE_EVENTS:
            self._told[router] = role_cause(event)
        elif name == "addresses_repaired":
            what = f"added {event.get('added')}, removed {event.get('removed')}"
            cause = Cause(kind=CauseKind.FOREIGN, text="somebody else changed our addresses")
            return [self._add(ChangeKind.ADDRESS, router, None, what, (cause,), at)]
        return []

    def on_routers(self, routers: Sequence[Mapping[str, Any]], *, at: float) -> list[Change]:
        """vrrpd's picture of its virtual routers."""
        changes: list[Change] = []
        seen: dict[str, tuple[str, bool, tuple[str, ...]]] = {}
        for router in routers:
            name = str(router["name"])
            addresses = tuple(router.get("addresses", ()))
            seen[name] = state, holds, _ = (str(router["state"]), bool(router["holds_addresses"]), addresses)
            old = self._routers.get(name)
            if old == seen[name]:
                continue
            unseen = Cause(kind=CauseKind.UNSEEN, text="directord was not there; vrrpd's log tells more")
            first = Cause(kind=CauseKind.START, text="first heard of vrrpd")
            told = self._told.get(name) or (first if old is None else unseen)
            causes = (self._order, told) if self._order is not None else (told,)
            if old is None or old[0] != state:
                changes.append(self._add(ChangeKind.ROLE, name, old[0] if old else None, state, causes, at))
            if old is not None and old[1] is not holds:
                shown = ", ".join(addresses)
                gone, came = (None, shown) if holds else (shown, None)
                changes.append(self._add(ChangeKind.ADDRESS, name, gone, came, causes, at))
            elif old is not None and old[2] != addresses:
                config = Cause(kind=CauseKind.CONFIG, text="the addresses were configured anew")
                changes.append(
                    self._add(
                        ChangeKind.ADDRESS, name, ", ".join(old[2]), ", ".join(addresses), (config,), at
                    )
                )
        for name in self._routers.keys() - seen.keys():
            config = Cause(kind=CauseKind.CONFIG, text="is no longer configured")
            changes.append(self._add(ChangeKind.ROLE, name, self._routers[name][0], None, (config,), at))
        self._routers = seen
        if any(change.what is ChangeKind.ROLE for change in changes):
            self._order = None
        return changes

    # What is known

    def changes(
        self,
        *,
        subject: str | None = None,
        service: str | None = None,
        realserver: str | None = None,
        until: float | None = None,
        after: int = 0,
        limit: int = 100,
    ) -> list[Change]:
        """The last ``limit`` that match, oldest first."""
        found: list[Change] = []
        for change in reversed(self._changes):
            if change.number <= after or len(found) >= limit:
                break
            if (
                (subject is None or change.subject == subject)
                and (service is None or change.service == service)
                and (realserver is None or change.realserver == realserver)
                and (until is None or change.at <= until)
            ):
                found.append(change)
        return found[::-1]

    def _service(
        self, service: ServiceSettings, old: str | None, new: str | None, causes: tuple[Cause, ...], at: float
    ) -> Change:
        subject = f"service {service.name}"
        return self._add(ChangeKind.SERVICE, subject, old, new, causes, at, service=service.name)

    def _add(
        self,
        what: ChangeKind,
        subject: str,
        before: int | str | None,
        after: int | str | None,
        causes: tuple[Cause, ...],
        at: float,
        *,
        service: str | None = None,
        realserver: str | None = None,
    ) -> Change:
        assert causes, "a change has a cause"
        self._number += 1
        change = Change(
            number=self._number,
            at=at,
            what=what,
            subject=subject,
            service=service,
            realserver=realserver,
            before=before,
            after=after,
            causes=causes,
        )
        self._changes.append(change)
        return change


def _config(director: Director) -> Cause:
    return Cause(
        kind=CauseKind.CONFIG,
        text=f"configuration {director.generation} is in force",
        evidence={"generation": director.generation},
    )


def _foreign(event: Event) -> tuple[str, str] | None:
    """Subject and what was done."""
    match event:
        case ServiceMissing():
            return f"service {event.service}", f"removed with {event.destinations} destinations"
        case ServiceAltered():
            return f"service {event.service}", "; ".join(event.changes)
        case DestinationMissing():
            return f"{event.destination} in {event.service}", "removed"
        case DestinationAltered():
            return f"{event.destination} in {event.service}", "; ".join(event.changes)
        case DestinationForeign():
            return f"{event.destination} in {event.service}", "added"
        case DriftNotTold():
            return "the kernel's table", f"{event.more} changes more"
        case _:
            return None
