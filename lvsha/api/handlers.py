"""What the routes do: a request's words to the director's port, its answer to JSON."""

import asyncio
import json
import re
from typing import Any, TypeVar

from aiohttp import web
from pydantic import ValidationError

from lvsha.api import bodies
from lvsha.api.events import EventStream
from lvsha.api.inward import NOT_OF_PEERS
from lvsha.api.metrics import Metrics
from lvsha.api.port import DirectorPort, Json
from lvsha.api.roles import Identity, Role
from lvsha.api.snapshot import ServicePicture, Snapshot
from lvsha.io.slices import Slices

PORT = web.AppKey("port", DirectorPort)
SNAPSHOT = web.AppKey("snapshot", Snapshot)
EVENTS = web.AppKey("events", EventStream)
NEEDED = web.AppKey("needed", list[tuple[str, re.Pattern[str], Role]])
"""Method, path and role of every route."""
OPENAPI = web.AppKey("openapi", bytes)
METRICS = web.AppKey("metrics", Metrics)
IDENTITY: web.RequestKey[Identity] = web.RequestKey("identity", Identity)

B = TypeVar("B", bound=bodies.Body)


def answer(value: Any, status: int = 200) -> web.Response:
    return web.json_response(value, status=status)


def problem(status: int, error: str, **more: Any) -> web.Response:
    """An error's body: one sentence, and what belongs to it."""
    return web.json_response({"error": error, **more}, status=status)


async def read(request: web.Request, model: type[B]) -> B:
    """The request's body.

    Raises:
        HTTPBadRequest: it is none; HTTPRequestEntityTooLarge.
    """
    text = await request.read()
    try:
        return model.model_validate_json(text or b"{}")
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "body"
        message = json.dumps({"error": f"{where}: {first['msg']}"})
        raise web.HTTPBadRequest(text=message, content_type="application/json") from None


def _number(request: web.Request, name: str) -> float | None:
    text = request.query.get(name)
    if text is None:
        return None
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not abs(value) < 1e15:
        message = json.dumps({"error": f"{name} is a number"})
        raise web.HTTPBadRequest(text=message, content_type="application/json")
    return value


def _owner(request: web.Request, named: str) -> str:
    """On the Unix socket an administrator may act for somebody; a token's holder is who the file says."""
    identity = request[IDENTITY]
    if identity.role is Role.ADMIN and named:
        return named
    return identity.name


# Status


async def status(request: web.Request) -> web.Response:
    picture = await request.app[SNAPSHOT].get()
    return web.Response(body=picture.body, content_type="application/json")


async def _status(request: web.Request) -> Json:
    return (await request.app[SNAPSHOT].get()).status


async def services(request: web.Request) -> web.Response:
    return answer({"services": (await _status(request))["services"]})


async def service(request: web.Request) -> web.Response:
    name = request.match_info["name"]
    for each in (await request.app[SNAPSHOT].get()).services:
        if each.service["name"] == name:
            return web.Response(text=each.text(), content_type="application/json")
    return problem(404, f"there is no service {name[:200]!r}; GET /v1/services lists them")


async def _chosen(request: web.Request) -> list[ServicePicture]:
    wanted = request.query.get("service")
    pictures = (await request.app[SNAPSHOT].get()).services
    return [each for each in pictures if wanted in (None, each.service["name"])]


async def destinations(request: web.Request) -> web.Response:
    rows = [
        f'{{"service":{json.dumps(each.service["name"])},{row[1:]}'
        for each in await _chosen(request)
        for row in each.rows
    ]
    return web.Response(text=f'{{"destinations":[{",".join(rows)}]}}', content_type="application/json")


def _checks(pictures: list[ServicePicture]) -> str:
    texts = []
    for each in pictures:
        for text in each.rows:
            row = json.loads(text)
            shown = {"service": each.service["name"], "realserver": row["name"]}
            shown |= {key: row[key] for key in ("check", "state", "since_s", "last_check")}
            texts.append(json.dumps(shown))
    return f'{{"checks":[{",".join(texts)}]}}'


async def checks(request: web.Request) -> web.Response:
    text = await asyncio.to_thread(_checks, await _chosen(request))
    return web.Response(text=text, content_type="application/json")


async def vrrp(request: web.Request) -> web.Response:
    return answer((await _status(request))["vrrp"])


async def sync(request: web.Request) -> web.Response:
    return answer((await _status(request))["sync"])


async def overrides(request: web.Request) -> web.Response:
    return answer({"overrides": (await _status(request))["overrides"]})


async def history(request: web.Request) -> web.Response:
    for name in ("until", "after", "limit"):
        _number(request, name)
    work, rows = Slices(), list[str]()
    for row in request.app[PORT].history(request.query):
        rows.append(json.dumps(row, separators=(",", ":")))
        await work.pause()
    text = f'{{"changes":[{",".join(rows)}]}}'
    return web.Response(body=text.encode(), content_type="application/json", charset="utf-8")


async def identity(request: web.Request) -> web.Response:
    who = request[IDENTITY]
    services = list(who.services) if who.services is not None else None
    return answer({"name": who.name, "role": who.role.name.lower(), "services": services})


async def explain(request: web.Request) -> web.Response:
    target = request.query.get("target", "")
    if not target:
        return problem(400, "target is missing: a realserver, a service, a virtual router or an address")
    return answer(request.app[PORT].explain(target, _number(request, "at")))


async def events(request: web.Request) -> web.StreamResponse:
    kinds = request.query.get("kinds")
    return await request.app[EVENTS].serve(request, frozenset(kinds.split(",")) if kinds else None)


async def metrics(request: web.Request) -> web.Response:
    body = await request.app[METRICS].scrape()
    return web.Response(body=body, headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})


async def openapi(request: web.Request) -> web.Response:
    return web.Response(body=request.app[OPENAPI], content_type="application/json")


# The answer is the status code


def _verdict(good: bool, **more: Any) -> web.Response:
    return web.json_response({"ok": good, **more}, status=200 if good else 503)


async def livez(request: web.Request) -> web.Response:
    return _verdict(True)


async def readyz(request: web.Request) -> web.Response:
    vital = request.app[PORT].vital()
    age, limit = vital.table_age_s, vital.table_limit_s
    is_fresh = age is not None and age <= limit
    return _verdict(
        is_fresh and vital.vrrpd,
        vrrpd=vital.vrrpd,
        table_age_s=None if age is None else round(age, 3),
        table_limit_s=limit,
    )


async def master(request: web.Request) -> web.Response:
    router = request.query.get("router")
    found = request.app[PORT].vital().master
    return _verdict(bool(found) if router is None else router in found)


async def backup(request: web.Request) -> web.Response:
    router = request.query.get("router")
    vital = request.app[PORT].vital()
    found = vital.backup
    return _verdict(bool(found) and not vital.master if router is None else router in found)


async def healthy(request: web.Request) -> web.Response:
    return _verdict(request.app[PORT].vital().services)


async def in_sync(request: web.Request) -> web.Response:
    return _verdict(request.app[PORT].vital().in_sync)


# Orders


async def _order(request: web.Request, kind: str, body: bodies.Order, **more: Any) -> web.Response:
    return answer(
        await request.app[PORT].order(
            kind,
            body.target,
            owner=_owner(request, body.owner),
            reason=body.reason,
            expires_s=body.expires_s,
            services=request[IDENTITY].services,
            **more,
        )
    )


async def _take_back(request: web.Request, kinds: list[str]) -> web.Response:
    body = await read(request, bodies.TakeBack)
    return answer(
        await request.app[PORT].take_back(
            kinds,
            body.target,
            owner=_owner(request, body.owner),
            reason=body.reason,
            services=request[IDENTITY].services,
        )
    )


async def drain(request: web.Request) -> web.Response:
    body = await read(request, bodies.Drain)
    return await _order(request, "drain", body, deadline_s=body.deadline_s)


async def undrain(request: web.Request) -> web.Response:
    return await _take_back(request, ["drain"])


async def weight(request: web.Request) -> web.Response:
    body = await read(request, bodies.Weight)
    if body.weight is None:
        return answer(
            await request.app[PORT].take_back(
                ["weight"],
                body.target,
                owner=_owner(request, body.owner),
                reason=body.reason,
                services=request[IDENTITY].services,
            )
        )
    return await _order(request, "weight", body, weight=body.weight)


async def disable(request: web.Request) -> web.Response:
    return await _order(request, "disable", await read(request, bodies.Order))


async def enable(request: web.Request) -> web.Response:
    return await _take_back(request, ["disable"])


async def maintenance(request: web.Request) -> web.Response:
    body = await read(request, bodies.Maintenance)
    port, owner = request.app[PORT], _owner(request, body.owner)
    services = request[IDENTITY].services
    if not body.on:
        return answer(
            await port.take_back(
                ["maintenance"], body.target, owner=owner, reason=body.reason, services=services
            )
        )
    return answer(
        await port.order(
            "maintenance",
            body.target,
            owner=owner,
            reason=body.reason,
            expires_s=body.expires_s,
            services=services,
        )
    )


async def pause(request: web.Request) -> web.Response:
    body = await read(request, bodies.Pause)
    return answer(
        await request.app[PORT].order(
            "pause",
            None,
            owner=_owner(request, body.owner),
            reason=body.reason,
            expires_s=body.expires_s,
            services=request[IDENTITY].services,
        )
    )


async def switchover(request: web.Request) -> web.Response:
    body = await read(request, bodies.SwitchOver)
    owner = _owner(request, body.owner)
    if body.cancel:
        return answer(await request.app[PORT].cancel_switchover(owner=owner))
    return answer(await request.app[PORT].switchover(force=body.force, owner=owner, at=body.at))


async def release(request: web.Request) -> web.Response:
    force = request.query.get("force") == "1"
    return answer(await request.app[PORT].switchover(force=force, owner=_owner(request, "")))


async def resume(request: web.Request) -> web.Response:
    await read(request, bodies.Nothing)
    return answer(await request.app[PORT].resume(owner=_owner(request, "")))


async def resync(request: web.Request) -> web.Response:
    await read(request, bodies.Nothing)
    return answer(request.app[PORT].resync())


# Alerts


async def alerts(request: web.Request) -> web.Response:
    return answer({"alerts": request.app[PORT].alerts()})


async def alert_test(request: web.Request) -> web.Response:
    body = await read(request, bodies.AlertTest)
    return answer(await request.app[PORT].test_alert(body.name, owner=_owner(request, "")))


# Another director


async def ask_peer(request: web.Request) -> web.Response:
    """Its answer as it is. Who asks is asked for the role here, and what it may there is in the question."""
    body = await read(request, bodies.PeerQuestion)
    who = request[IDENTITY]
    path = body.path.partition("?")[0]
    role = next(
        (
            role
            for method, pattern, role in request.app[NEEDED]
            if method == body.method and pattern.fullmatch(path) and path not in NOT_OF_PEERS
        ),
        None,
    )
    if role is None:
        return problem(400, f"{body.method} {path[:200]} cannot be asked of another director")
    if who.role < role:
        return problem(
            403, f"{who.name} has the role {who.role.name.lower()}, this needs {role.name.lower()}"
        )
    name, status, text = await request.app[PORT].ask_peer(
        body.peer,
        {
            "method": body.method,
            "path": body.path,
            "name": _owner(request, str((body.body or {}).get("owner", ""))[:200]),
            "role": who.role.name.lower(),
            "services": None if who.services is None else list(who.services),
        },
        b"" if body.body is None else json.dumps(body.body).encode(),
    )
    return web.Response(
        body=text, status=status, content_type="application/json", headers={"Lvsha-Peer": name}
    )


# The configuration


async def config(request: web.Request) -> web.Response:
    return answer(request.app[PORT].config())


async def validate(request: web.Request) -> web.Response:
    body = await read(request, bodies.ConfigText)
    found = await request.app[PORT].check_config(body.text)
    return answer({"ok": found["ok"], "problems": found["problems"]})


async def diff(request: web.Request) -> web.Response:
    body = await read(request, bodies.ConfigText)
    return answer(await request.app[PORT].check_config(body.text))


async def reload(request: web.Request) -> web.Response:
    await read(request, bodies.Nothing)
    return answer(await request.app[PORT].reload(owner=_owner(request, "")))


async def apply_config(request: web.Request) -> web.Response:
    body = await read(request, bodies.ConfigTrial)
    owner = _owner(request, body.owner)
    return answer(
        await request.app[PORT].apply_config(
            body.text, within_s=body.confirm_within_s, owner=owner, pair=body.pair
        )
    )


async def confirm_config(request: web.Request) -> web.Response:
    body = await read(request, bodies.ConfigConfirm)
    owner = _owner(request, body.owner)
    return answer(await request.app[PORT].confirm_config(generation=body.generation, owner=owner))


async def roll_back_config(request: web.Request) -> web.Response:
    body = await read(request, bodies.ConfigRollBack)
    return answer(await request.app[PORT].roll_back_config(owner=_owner(request, body.owner)))
