"""What is asked over the socket, and what comes back."""

import getpass
import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from lvsha.api.openapi import document
from lvsha.api.port import Refused, Unavailable
from lvsha.api.routes import ROUTES
from tests.api.pretended import Pretended, serving


async def test_the_status_has_every_realserver_with_its_orders(tmp_path: Path) -> None:
    port = Pretended()
    port.bench.order("drain", "web/rs12", deadline_at=port.bench.at + 60)
    async with serving(tmp_path, port) as (session, _):
        response = await session.get("/v1/status")
        status = await response.json()

    (web, api) = status["services"]
    assert (web["name"], api["name"]) == ("web", "api")
    assert [row["orders"] for row in web["destinations"]] == [[], ["drain"]]
    assert web["destinations"][1]["drain"]["phase"] == "draining"
    assert web["destinations"][1]["weight"] == 0
    assert api["destinations"][0]["weight"] == 10


async def test_each_part_of_the_status_has_a_route(tmp_path: Path) -> None:
    async with serving(tmp_path, Pretended()) as (session, _):

        async def get(path: str) -> Any:
            response = await session.get(path)
            assert response.status == 200, path
            return await response.json()

        services = (await get("/v1/services"))["services"]
        web = await get("/v1/services/web")
        rows = (await get("/v1/destinations?service=api"))["destinations"]
        checks = (await get("/v1/checks"))["checks"]
        vrrp, sync, overrides = await get("/v1/vrrp"), await get("/v1/sync"), await get("/v1/overrides")

    assert "destinations" not in services[0]
    assert [row["name"] for row in web["destinations"]] == ["rs11", "rs12"]
    assert [(row["service"], row["name"]) for row in rows] == [("api", "rs11")]
    assert [(row["realserver"], row["state"]) for row in checks] == [
        ("rs11", "up"),
        ("rs12", "up"),
        ("rs11", "up"),
    ]
    assert vrrp["routers"][0]["state"] == "MASTER"
    assert sync["expected"] is False
    assert overrides == {"overrides": []}


@pytest.mark.parametrize(
    ("path", "body", "order"),
    [
        (
            "/v1/drain",
            {"target": "rs11", "deadline_s": 60.0, "reason": "disk"},
            ("order", {"kind": "drain", "target": "rs11", "deadline_s": 60.0, "reason": "disk"}),
        ),
        ("/v1/undrain", {"target": "rs11"}, ("take_back", {"kinds": ["drain"], "target": "rs11"})),
        ("/v1/weight", {"target": "rs11", "weight": 7}, ("order", {"kind": "weight", "weight": 7})),
        ("/v1/weight", {"target": "rs11", "weight": None}, ("take_back", {"kinds": ["weight"]})),
        (
            "/v1/disable",
            {"target": "rs11", "expires_s": 9.0},
            ("order", {"kind": "disable", "expires_s": 9.0}),
        ),
        ("/v1/enable", {"target": "rs11"}, ("take_back", {"kinds": ["disable"]})),
        ("/v1/maintenance", {"on": True}, ("order", {"kind": "maintenance", "target": None})),
        ("/v1/maintenance", {"on": False, "target": "rs11"}, ("take_back", {"kinds": ["maintenance"]})),
        ("/v1/pause", {"reason": "kernel"}, ("order", {"kind": "pause", "target": None, "reason": "kernel"})),
        ("/v1/resume", {}, ("resume", {})),
        ("/v1/switchover", {"at": 2e9}, ("switchover", {"force": False, "at": 2e9})),
        ("/v1/switchover", {"cancel": True}, ("cancel_switchover", {})),
        ("/v1/release?force=1", {}, ("switchover", {"force": True, "at": None})),
        ("/v1/sync/resync", {}, ("resync", {})),
        ("/v1/reload", {}, ("reload", {})),
        ("/v1/config/validate", {"text": "[agent]"}, ("check_config", {"text": "[agent]"})),
    ],
)
async def test_an_order_reaches_the_director_with_its_owner(
    tmp_path: Path, path: str, body: object, order: tuple[str, dict[str, Any]]
) -> None:
    """Whoever opened the socket, as the kernel says."""
    port = Pretended()
    async with serving(tmp_path, port) as (session, _), session.post(path, json=body) as response:
        assert response.status == 200, await response.text()

    ((name, fields),) = port.orders
    assert name == order[0]
    assert {key: fields[key] for key in order[1]} == order[1]
    assert fields.get("owner", getpass.getuser()) == getpass.getuser()


@pytest.mark.parametrize(
    "body",
    [
        "{",
        "[]",
        '"drain"',
        "{}",
        '{"target": ""}',
        '{"target": 7}',
        '{"target": "rs11", "deadline_s": -1}',
        '{"target": "rs11", "deadline_s": 1e400}',
        '{"target": "rs11", "deadlines": 1}',
        '{"target": "%s"}' % ("x" * 201),
        "\x00",
        '{"target": "rs11", "deadline_s": "60"}',
    ],
)
async def test_a_body_that_is_not_understood_is_400_with_a_sentence(tmp_path: Path, body: str) -> None:
    port = Pretended()
    async with serving(tmp_path, port) as (session, _):
        response = await session.post("/v1/drain", data=body.encode())
        answer = await response.json()

    assert response.status == 400
    assert len(answer["error"]) > 5
    assert port.orders == []


async def test_what_goes_wrong_has_its_own_status(tmp_path: Path) -> None:
    port = Pretended()
    async with serving(tmp_path, port) as (session, _):

        async def post(trouble: Exception) -> tuple[int, Any]:
            port.trouble = trouble
            response = await session.post("/v1/release")
            return response.status, await response.json()

        refused = await post(Refused("refused: lb2 lacks 3 connections", lost=["a"], lost_count=3))
        away = await post(Unavailable("vrrpd does not answer"))
        bug = await post(RuntimeError("oh"))
        paths = (
            "/v1/nothing",
            "/v1/release",
            "/v1/services/nothing",
            "/v1/history?limit=many",
            "/v1/explain",
        )
        found = []
        for path in paths:
            async with session.get(path) as response:
                found.append(response.status)
                assert (await response.json())["error"]

    assert refused == (409, {"error": "refused: lb2 lacks 3 connections", "lost": ["a"], "lost_count": 3})
    assert away == (503, {"error": "vrrpd does not answer"})
    assert (bug[0], "oh" in bug[1]["error"]) == (500, True)
    assert found == [404, 405, 404, 400, 400]


@pytest.mark.parametrize(
    ("path", "good", "bad"),
    [
        ("/livez", {}, None),
        ("/readyz", {}, {"is_well": False}),
        ("/readyz", {}, {"table_age_s": 31.0}),
        ("/readyz", {}, {"table_age_s": None}),
        ("/master", {}, {"state": "BACKUP"}),
        ("/master?router=eth0-51", {}, {"state": "BACKUP"}),
        ("/backup", {"state": "BACKUP"}, {"state": "MASTER"}),
        ("/backup", {"state": "BACKUP"}, {"state": "FAULT"}),
        ("/healthy", {}, {"is_well": False}),
        ("/in-sync", {}, {"is_well": False}),
    ],
)
async def test_the_status_code_is_the_answer(
    tmp_path: Path, path: str, good: dict[str, Any], bad: dict[str, Any] | None
) -> None:
    port = Pretended()
    async with serving(tmp_path, port) as (session, _):
        for fields, status in ((good, 200), (bad, 503)):
            if fields is None:
                continue
            for name, value in fields.items():
                setattr(port, name, value)
            async with session.get(path) as response:
                assert response.status == status


async def test_an_unknown_virtual_router_is_not_master(tmp_path: Path) -> None:
    async with (
        serving(tmp_path, Pretended()) as (session, _),
        session.get("/master?router=eth9-1") as response,
    ):
        assert response.status == 503


async def test_only_owner_and_group_may_open_the_socket(tmp_path: Path) -> None:
    async with serving(tmp_path, Pretended()):
        assert stat.S_IMODE(os.stat(tmp_path / "directord.sock").st_mode) == 0o660


async def test_the_document_describes_exactly_the_routes_there_are(tmp_path: Path) -> None:
    async with serving(tmp_path, Pretended()) as (session, _):
        served = json.loads(await (await session.get("/v1/openapi.json")).text())

    described = {(method.upper(), path) for path, methods in served["paths"].items() for method in methods}
    assert described == {(route.method, route.path) for route in ROUTES}
    assert served == document()
    names = [each["operationId"] for methods in served["paths"].values() for each in methods.values()]
    assert len(set(names)) == len(names)
    for methods in served["paths"].values():
        for operation in methods.values():
            if "requestBody" in operation:
                reference = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"]
                assert reference.rpartition("/")[2] in served["components"]["schemas"]


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Host": "rebound.example"}, 421),
        ({"Host": "localhost:8089", "Origin": "http://localhost:8089"}, 200),
        ({"Host": "[::1]:8089"}, 200),
    ],
)
async def test_a_browser_that_another_site_sent_is_refused(
    tmp_path: Path, headers: dict[str, str], code: int
) -> None:
    port = Pretended()
    async with serving(tmp_path, port) as (session, _):
        response = await session.post("/v1/switchover", data=b"{}", headers=headers)

    assert response.status == code
    assert bool(port.orders) is (code == 200)
