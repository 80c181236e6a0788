"""Every route, once: what it is called, who may, what it takes, what it does.

The server registers this table, ``api.openapi`` describes it; neither knows a route that
the other does not.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aiohttp import web

from lvsha.api import bodies, handlers, pages
from lvsha.api.roles import Role

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """A word of the query, or of the path."""

    name: str
    description: str
    schema: str = "string"
    place: str = "query"
    is_required: bool = False
    """It may be neither left out nor empty; one of the path never may."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One of them."""

    method: str
    path: str
    handler: Handler
    role: Role
    summary: str
    parameters: tuple[Parameter, ...] = ()
    body: type[bodies.Body] | None = None
    media: str = "application/json"
    refuses: bool = False
    """It may answer 409: understood, and nothing has changed."""


def _get(path: str, handler: Handler, summary: str, *parameters: Parameter, role: Role = Role.READ) -> Route:
    return Route(method="GET", path=path, handler=handler, role=role, summary=summary, parameters=parameters)


def _post(
    path: str, handler: Handler, summary: str, body: type[bodies.Body], *, role: Role = Role.OPERATE
) -> Route:
    return Route(
        method="POST", path=path, handler=handler, role=role, summary=summary, body=body, refuses=True
    )


def _answer(path: str, handler: Handler, summary: str) -> Route:
    """One whose status code is the answer: 200 yes, 503 no. Open to all: it tells nothing else."""
    return _get(path, handler, summary, role=Role.NOBODY)


def _page(path: str, handler: Handler, summary: str, media: str) -> Route:
    """A file of the dashboard. It tells nothing: what it shows it has to ask for."""
    return Route(method="GET", path=path, handler=handler, role=Role.NOBODY, summary=summary, media=media)


_NAME = Parameter(name="name", description="A service's name.", place="path")
_SERVICE = Parameter(name="service", description="Of this service only.")
_ROUTER = Parameter(name="router", description="Of this virtual router; left out: of any.")

ROUTES: tuple[Route, ...] = (
    _get("/v1/status", handlers.status, "All of it: what `lvsha status` shows."),
    _get("/v1/services", handlers.services, "The virtual services, without their realservers."),
    _get("/v1/services/{name}", handlers.service, "One service with its realservers.", _NAME),
    _get("/v1/destinations", handlers.destinations, "The realservers of every service.", _SERVICE),
    _get("/v1/checks", handlers.checks, "The last result of every check.", _SERVICE),
    _get("/v1/vrrp", handlers.vrrp, "The virtual routers and the process that plays them."),
    _get("/v1/sync", handlers.sync, "Connection synchronisation: daemons, relay, coverage."),
    _get("/v1/overrides", handlers.overrides, "What operators have ordered."),
    _get(
        "/v1/history",
        handlers.history,
        "Changes with their causes, oldest first.",
        Parameter(name="subject", description="Of this alone, as changes name it: `rs1 in web`, `eth0-51`."),
        _SERVICE,
        Parameter(name="realserver", description="Of this realserver."),
        Parameter(name="until", description="Not after this time, seconds since 1970.", schema="number"),
        Parameter(name="after", description="Only those with a greater id.", schema="integer"),
        Parameter(name="limit", description="At most so many, the last ones (100).", schema="integer"),
    ),
    _get(
        "/v1/explain",
        handlers.explain,
        "Why something is as it is.",
        Parameter(
            name="target",
            description="A realserver, a service, a virtual router or an address.",
            is_required=True,
        ),
        Parameter(name="at", description="As it was then, seconds since 1970.", schema="number"),
    ),
    Route(
        method="GET",
        path="/v1/events",
        handler=handlers.events,
        role=Role.READ,
        summary="Server-sent events: `change` (with causes), `journal`, and `gap` where some were lost.",
        parameters=(
            Parameter(name="kinds", description="Only these, by commas: `change,journal`."),
            Parameter(name="last_event_id", description="As the header Last-Event-ID: go on after this."),
        ),
        media="text/event-stream",
    ),
    _get("/v1/config", handlers.config, "The configuration in force, secrets masked.", role=Role.ADMIN),
    _post(
        "/v1/config/validate",
        handlers.validate,
        "Every problem of a configuration; nothing is applied.",
        bodies.ConfigText,
        role=Role.ADMIN,
    ),
    _post(
        "/v1/config/diff",
        handlers.diff,
        "What loading a configuration would change, and what that does to running traffic.",
        bodies.ConfigText,
        role=Role.ADMIN,
    ),
    _post(
        "/v1/config/apply",
        handlers.apply_config,
        "Run by another configuration, on trial: it is rolled back unless it is confirmed in time.",
        bodies.ConfigTrial,
        role=Role.ADMIN,
    ),
    _post(
        "/v1/config/confirm",
        handlers.confirm_config,
        "The configuration on trial stays; the agent's file is replaced.",
        bodies.ConfigConfirm,
        role=Role.ADMIN,
    ),
    _post(
        "/v1/config/rollback",
        handlers.roll_back_config,
        "End a trial now: what ran before runs again.",
        bodies.ConfigRollBack,
        role=Role.ADMIN,
    ),
    _get("/v1/alerts", handlers.alerts, "Who is told what, and what waits to be told.", role=Role.ADMIN),
    _post(
        "/v1/alerts/test",
        handlers.alert_test,
        "Tell somebody that this is a test; the answer says what came back.",
        bodies.AlertTest,
        role=Role.ADMIN,
    ),
    _post("/v1/reload", handlers.reload, "Load the agent's file anew.", bodies.Nothing, role=Role.ADMIN),
    _post("/v1/drain", handlers.drain, "No new connections; out at zero or at the deadline.", bodies.Drain),
    _post("/v1/undrain", handlers.undrain, "Take a drain back.", bodies.TakeBack),
    _post("/v1/weight", handlers.weight, "Another weight than the configured one.", bodies.Weight),
    _post("/v1/disable", handlers.disable, "No new connections, until `enable`.", bodies.Order),
    _post("/v1/enable", handlers.enable, "Take a `disable` back.", bodies.TakeBack),
    _post(
        "/v1/maintenance",
        handlers.maintenance,
        "A realserver, or this director, is being worked at, or no longer.",
        bodies.Maintenance,
    ),
    _post(
        "/v1/switchover",
        handlers.switchover,
        "Hand the addresses over, connections first.",
        bodies.SwitchOver,
    ),
    Route(
        method="POST",
        path="/v1/release",
        handler=handlers.release,
        role=Role.OPERATE,
        summary="As /v1/switchover, now; the older name.",
        parameters=(Parameter(name="force", description="1: also when connections would be lost."),),
        refuses=True,
    ),
    _post(
        "/v1/pause",
        handlers.pause,
        "Take no part in VRRP until `resume`, also after a restart.",
        bodies.Pause,
    ),
    _post("/v1/resume", handlers.resume, "Take part in VRRP again.", bodies.Nothing),
    _post(
        "/v1/sync/resync",
        handlers.resync,
        "Exchange all connections with the peers once more.",
        bodies.Nothing,
    ),
    Route(
        method="POST",
        path="/v1/peer",
        handler=handlers.ask_peer,
        role=Role.READ,
        summary="Ask another director, through the relay; its answer. The role is the asked route's.",
        body=bodies.PeerQuestion,
        refuses=True,
    ),
    Route(
        method="GET",
        path="/metrics",
        handler=handlers.metrics,
        role=Role.READ,
        summary="Everything countable, as Prometheus reads it.",
        media="text/plain",
    ),
    _answer("/livez", handlers.livez, "The process answers."),
    _answer("/readyz", handlers.readyz, "It sees the kernel's table, and vrrpd answers."),
    _get("/master", handlers.master, "MASTER?", _ROUTER, role=Role.NOBODY),
    _get("/backup", handlers.backup, "BACKUP?", _ROUTER, role=Role.NOBODY),
    _answer("/healthy", handlers.healthy, "Every service is in the kernel and has its quorum."),
    _answer("/in-sync", handlers.in_sync, "Another director has the connections that this one has."),
    _get("/v1/identity", handlers.identity, "Who asks, and what that one may."),
    _page("/", pages.page, "The dashboard.", "text/html"),
    _page("/dashboard.js", pages.script, "Its script.", "text/javascript"),
    _page("/dashboard.css", pages.style, "Its looks.", "text/css"),
    _get("/v1/openapi.json", handlers.openapi, "This document.", role=Role.NOBODY),
)
