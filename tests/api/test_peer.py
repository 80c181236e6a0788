"""One director asks another: who may, in whose name, and what comes back."""

import json
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, UnixConnector

from lvsha.api.events import EventStream
from lvsha.api.inward import AS, ask_own, on_behalf
from lvsha.api.port import Json, Unavailable
from lvsha.api.roles import NOBODY, Identity, Role
from lvsha.api.server import ApiServer
from tests.api.pretended import Pretended, serving

ROOT = Identity(name="root", role=Role.ADMIN)


def question(path: str, method: str = "GET", **more: Any) -> Json:
    return {"method": method, "path": path, **more}


async def test_the_question_goes_on_with_who_asks_and_the_answer_comes_back_as_it_is(tmp_path: Path) -> None:
    port = Pretended()
    async with (
        serving(tmp_path, port) as (session, _),
        session.post("/v1/peer", json=question("/v1/drain", "POST", peer="lb2", body={"target": "x"})) as got,
    ):
        assert (got.status, await got.json()) == (200, {"node": "lb2"})
        assert got.headers["Lvsha-Peer"] == "lb2"

    ((name, said),) = port.orders
    assert (name, said["peer"], said["body"]) == ("ask_peer", "lb2", '{"target": "x"}')
    assert {key: said["question"][key] for key in ("method", "path", "role", "services")} == {
        "method": "POST",
        "path": "/v1/drain",
        "role": "admin",
        "services": None,
    }


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        (question("/v1/services/web?x=1"), 200),
        (question("/v1/nothing"), 400),
        (question("/v1/drain"), 400),
        (question("/v1/events"), 400),
        (question("/v1/peer", "POST"), 400),
        (question("v1/status"), 400),
        (question("/v1/status", "DELETE"), 400),
    ],
)
async def test_only_what_a_director_answers_is_asked(tmp_path: Path, asked: Json, status: int) -> None:
    async with serving(tmp_path, Pretended()) as (session, _), session.post("/v1/peer", json=asked) as got:
        assert got.status == status


@pytest.mark.parametrize(
    ("role", "asked", "status"),
    [
        ("read", question("/v1/status"), 200),
        ("read", question("/v1/drain", "POST", body={"target": "x"}), 403),
        ("operate", question("/v1/drain", "POST", body={"target": "x"}), 200),
        ("operate", question("/v1/config"), 403),
        ("admin", question("/v1/config"), 200),
        ("nobody", question("/v1/status"), 401),
    ],
)
async def test_who_may_not_here_may_not_there(tmp_path: Path, role: str, asked: Json, status: int) -> None:
    port = Pretended()
    told = {AS: json.dumps({"name": "ann", "role": role, "services": ["web"]})}
    async with (
        serving(tmp_path, port) as (session, _),
        session.post("/v1/peer", json=asked, headers=told) as got,
    ):
        assert got.status == status
    assert [said["question"]["name"] for _, said in port.orders if role != "admin"] in ([], ["ann"])
    assert all(said["question"]["services"] == ["web"] for _, said in port.orders)


async def test_a_peer_that_is_away_is_said_with_503(tmp_path: Path) -> None:
    port = Pretended()
    port.trouble = Unavailable("lb2 is not connected")
    async with (
        serving(tmp_path, port) as (session, _),
        session.post("/v1/peer", json=question("/v1/status")) as got,
    ):
        assert (got.status, await got.json()) == (503, {"error": "lb2 is not connected"})


@pytest.mark.parametrize(
    ("header", "role", "name"),
    [
        (None, Role.ADMIN, "root"),
        ('{"name":"ann at lb2","role":"operate","services":null}', Role.OPERATE, "ann at lb2"),
        ('{"name":"ann","role":"god","services":null}', Role.NOBODY, "nobody"),
        ('{"name":"ann","role":"admin"}', Role.NOBODY, "nobody"),
        ('{"name":"ann","role":"admin","services":[1]}', Role.NOBODY, "nobody"),
        ("nonsense", Role.NOBODY, "nobody"),
        ("[]", Role.NOBODY, "nobody"),
    ],
)
def test_on_behalf_of_somebody_is_never_more(header: str | None, role: Role, name: str) -> None:
    found = on_behalf(header, ROOT)

    assert (found.role, found.name) == (role, name)
    assert on_behalf(header, Identity(name="x", role=Role.READ)).role <= Role.READ


async def test_a_peers_question_is_put_to_our_own_api_in_its_name(tmp_path: Path) -> None:
    port = Pretended()
    server = ApiServer(port, events=EventStream("life", keep=10))
    path = tmp_path / "directord.sock"
    await server.start(path)
    ann = {"name": "ann at lb1", "role": "operate", "services": ["web"]}
    try:
        ordered = await ask_own(path, "POST", "/v1/disable", b'{"target":"rs11"}', identity=ann)
        refused = await ask_own(path, "GET", "/v1/config", b"", identity=ann)
        endless = await ask_own(path, "GET", "/v1/events?kinds=change", b"", identity=ann)
    finally:
        await server.stop()
    gone = await ask_own(path, "GET", "/v1/status", b"", identity=ann)

    assert ordered[0] == 200
    ((_, said),) = port.orders
    assert (said["owner"], said["services"]) == ("ann at lb1", ("web",))
    assert (refused[0], endless[0], gone[0]) == (403, 400, 503)
    assert b"error" in gone[1]


async def test_over_the_unix_socket_alone_somebody_else_may_be_named(tmp_path: Path) -> None:
    """On TCP the header means nothing: ``_who`` does not look at it."""
    server = ApiServer(Pretended(), events=EventStream("life", keep=10))
    path = tmp_path / "directord.sock"
    await server.start(path)
    told = {AS: json.dumps({"name": NOBODY.name, "role": "nobody", "services": None})}
    try:
        async with (
            ClientSession("http://lvsha", connector=UnixConnector(str(path))) as session,
            session.get("/v1/status", headers=told) as got,
        ):
            assert got.status == 401
    finally:
        await server.stop()
