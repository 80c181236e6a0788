"""Clients that mean no good, or know no better: refused or left waiting, while others are served."""

import asyncio
import random
from contextlib import AsyncExitStack
from pathlib import Path

from tests.api.pretended import Pretended, serving
from tests.bench.bench_api import malformed

LISTENERS = 50
GENEROUS_S = 30


async def test_others_are_served_beside_slow_and_malformed_ones(tmp_path: Path) -> None:
    """The 1,000 listeners and 100,000 requests are tests/bench/bench_api.py's."""
    path = str(tmp_path / "directord.sock")
    port = Pretended()
    async with AsyncExitStack() as stack, asyncio.timeout(GENEROUS_S):
        session, events = await stack.enter_async_context(serving(tmp_path, port))

        async def connected(said: bytes) -> asyncio.StreamReader:
            reader, writer = await asyncio.open_unix_connection(path)
            stack.callback(writer.close)
            writer.write(said)
            return reader

        for said in (
            b"GET /v1/st",
            b"POST /v1/drain HTTP/1.1\r\nHost: lvsha\r\nContent-Length: 4000000\r\n\r\n{",
        ):
            for _ in range(20):
                await connected(said)  # and then nothing
        hello = b"GET /v1/events?kinds=change HTTP/1.1\r\nHost: lvsha\r\n\r\n"
        listeners = [await connected(hello) for _ in range(LISTENERS)]
        for reader in listeners:
            await reader.readuntil(b"retry: 1000\n\n")

        dice = random.Random(1)
        for _ in range(200):
            reader, writer = await asyncio.open_unix_connection(path)
            writer.write(malformed(dice))
            writer.write_eof()
            answer = await reader.read()
            writer.close()
            assert b" 500 " not in answer.partition(b"\r\n")[0]

        events.publish("change", {"id": 1, "at": 0.0})
        for reader in listeners:
            assert b"event: change" in await reader.readuntil(b"event: change")
        async with session.get("/v1/status") as response:
            assert response.status == 200
    assert port.orders == []
