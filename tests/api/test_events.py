"""Events come once, in order, and go on where they were left."""

import asyncio
import json
import socket
from pathlib import Path
from typing import Any

from aiohttp import ClientResponse

from lvsha.api import events as events_module
from tests.api.pretended import Pretended, serving


async def read(response: ClientResponse, count: int) -> list[dict[str, Any]]:
    """So many events; what is no event is passed over."""
    found: list[dict[str, Any]] = []
    fields: dict[str, str] = {}
    async with asyncio.timeout(10):
        while len(found) < count:
            line = (await response.content.readline()).decode().rstrip("\n")
            if line:
                name, _, value = line.partition(": ")
                fields[name] = value
            elif "event" in fields:
                found.append({**fields, "data": json.loads(fields["data"])})
                fields = {}
    return found


async def test_events_come_in_order_with_their_ids(tmp_path: Path) -> None:
    async with serving(tmp_path, Pretended()) as (session, events), session.get("/v1/events") as response:
        for number in range(3):
            events.publish("change", {"n": number})
        found = await read(response, 3)

    assert response.headers["Content-Type"] == "text/event-stream"
    assert [(each["id"], each["event"], each["data"]) for each in found] == [
        (f"life-{number + 1}", "change", {"n": number}) for number in range(3)
    ]


async def test_a_client_that_comes_again_misses_nothing(tmp_path: Path) -> None:
    async with serving(tmp_path, Pretended()) as (session, events):
        for number in range(5):
            events.publish("journal", {"n": number})
        async with session.get("/v1/events", headers={"Last-Event-ID": "life-2"}) as response:
            found = await read(response, 3)

    assert [each["data"]["n"] for each in found] == [2, 3, 4]


async def test_what_is_gone_is_told_as_a_gap(tmp_path: Path) -> None:
    async with serving(tmp_path, Pretended()) as (session, events):
        for number in range(150):
            events.publish("journal", {"n": number})
        found = []
        for last_id in ("life-2", "other-7", "x" * 5000):
            async with session.get("/v1/events", headers={"Last-Event-ID": last_id}) as response:
                found += await read(response, 1)

    assert [each["event"] for each in found] == ["gap"] * 3
    assert found[0]["data"]["lost"] == "48 events are no longer kept"
    assert found[0]["id"] == "life-150"
    assert len(found[2]["data"]["last_id"]) <= 80


async def test_only_the_kinds_that_were_asked_for_come(tmp_path: Path) -> None:
    async with (
        serving(tmp_path, Pretended()) as (session, events),
        session.get("/v1/events?kinds=change") as response,
    ):
        events.publish("journal", {"n": 1})
        events.publish("change", {"n": 2})
        found = await read(response, 1)

    assert found[0]["data"] == {"n": 2}


async def test_who_does_not_read_is_let_go_and_the_others_are_served(
    tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setattr(events_module, "_STALLED_S", 0.1)
    async with serving(tmp_path, Pretended()) as (session, events):
        deaf = socket.socket(socket.AF_UNIX)
        deaf.connect(str(tmp_path / "directord.sock"))
        deaf.sendall(b"GET /v1/events HTTP/1.1\r\nHost: lvsha\r\n\r\n")
        async with asyncio.timeout(10):
            while not events.dropped:
                events.publish("journal", {"text": "x" * 30000})
                await asyncio.sleep(0.01)
        async with session.get("/v1/events") as response:
            events.publish("journal", {"n": 1})
            found = await read(response, 1)
        deaf.close()

    assert found[0]["data"] == {"n": 1}


async def test_there_are_no_more_listeners_than_the_bound(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(events_module, "CLIENTS_MAX", 1)
    async with (
        serving(tmp_path, Pretended()) as (session, _),
        session.get("/v1/events"),
        session.get("/v1/events") as second,
    ):
        assert second.status == 503
