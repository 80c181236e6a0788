"""``lvsha explain``: why a weight, a service or a role is as it is, now or at a time."""

from collections.abc import Mapping, Sequence
from typing import Any

from lvsha.config.settings import RealServerSettings, ServiceSettings
from lvsha.core.instant import Instant
from lvsha.director.cause import Cause, sorry_causes, weight_causes
from lvsha.director.director import Director
from lvsha.director.history import SORRY, Change, History
from lvsha.director.overrides import Target, find_target, named_by

Json = dict[str, Any]

_RECENT = 5
_ANSWERS_MAX = 50


def explain(
    text: str,
    *,
    director: Director,
    history: History,
    routers: Sequence[Mapping[str, Any]],
    now: Instant,
    at: float | None,
) -> Json:
    """``answers``: subject, value, since, causes, and a sentence of each.

    Raises:
        OverrideRefused: nothing has this name.
    """
    answers = [
        _router(router, history, at)
        for router in routers
        if text == router["name"]
        or text in [shown for each in router["addresses"] for shown in (each, each.partition("/")[0])]
    ]
    more = 0
    if not answers:
        target = find_target(text, director.settings.services)
        places = _places(target, director.settings.services)
        more = max(0, len(places) - _ANSWERS_MAX)
        if target.realserver is None:
            answers += [_service(each, director, history, at) for each in _services(target, director)]
        answers += [_weight(*place, director, history, now, at) for place in places[:_ANSWERS_MAX]]
    return {"target": text, "at": at, "answers": answers, "more": more}


def _services(target: Target, director: Director) -> list[ServiceSettings]:
    return [each for each in director.settings.services if target.service in (None, each.name)]


def _places(
    target: Target, services: Sequence[ServiceSettings]
) -> list[tuple[ServiceSettings, RealServerSettings]]:
    names_of = named_by([] if target.realserver is None else [target.realserver])
    return [
        (service, realserver)
        for service in services
        if target.service in (None, service.name)
        for realserver in service.realservers
        if target.realserver is None or names_of(realserver)
    ]


def _answer(
    subject: str,
    what: str,
    value: object,
    since: float | None,
    causes: Sequence[Json],
    changes: Sequence[Change],
) -> Json:
    because = "; ".join(cause["text"] for cause in causes)
    shown = "not in the table" if value is None else value
    return {
        "subject": subject,
        "what": what,
        "value": value,
        "since": since,
        "causes": list(causes),
        "text": f"{what} of {subject} is {shown} because {because}"
        if causes
        else f"nothing is known of {subject} at that time",
        "changes": [change.as_json() for change in changes],
    }


def _then(subject: str, what: str, changes: Sequence[Change]) -> Json:
    """As it was at a time, by what had changed last before it."""
    last = changes[-1] if changes else None
    causes = [cause.as_json() for cause in last.causes] if last is not None else []
    return _answer(subject, what, last.after if last else None, last.at if last else None, causes, changes)


def _json(causes: Sequence[Cause]) -> list[Json]:
    return [cause.as_json() for cause in causes]


def _weight(
    service: ServiceSettings,
    realserver: RealServerSettings,
    director: Director,
    history: History,
    now: Instant,
    at: float | None,
) -> Json:
    subject = f"{realserver.name} in {service.service.key} ({service.name})"
    changes = history.changes(service=service.name, realserver=realserver.name, until=at, limit=_RECENT)
    if at is not None:
        return _then(subject, "weight", changes)
    view = director.views()[service.name]
    causes = weight_causes(director, service, realserver, view, now)
    since = changes[-1].at if changes else None
    return _answer(subject, "weight", view.weights.get(realserver.name), since, _json(causes), changes)


def _service(service: ServiceSettings, director: Director, history: History, at: float | None) -> Json:
    subject = f"{SORRY} of {service.name}" if service.sorry is not None else f"service {service.name}"
    changes = history.changes(service=service.name, realserver=SORRY, until=at, limit=_RECENT)
    if at is not None:
        return _then(subject, "state", changes)
    view = director.views()[service.name]
    if service.sorry is None:
        value = "up" if view.quorum_met else "below its quorum"
    else:
        value = "in use" if view.sorry_active else "standing by"
    since = changes[-1].at if changes else None
    return _answer(subject, "state", value, since, _json(sorry_causes(view, service)), changes)


def _router(router: Mapping[str, Any], history: History, at: float | None) -> Json:
    name = str(router["name"])
    changes = history.changes(subject=name, until=at, limit=2 * _RECENT)
    roles = [change for change in changes if change.what == "role"]
    answer = _then(name, "role", roles)
    if at is None and roles and roles[-1].after != router["state"]:
        answer["value"] = router["state"]
    answer["changes"] = [change.as_json() for change in changes]
    return answer
