"""Large answers cost one piece a client, whatever the client reads."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import ClientSession, UnixConnector, web

from lvsha.api.large import AT_ONCE, PIECE, LargeAnswers

BODY = bytes(range(256)) * (4 << 12)  # 4 MiB
GENEROUS_S = 30
ASK = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


class Served:
    def __init__(self, answers: LargeAnswers) -> None:
        self.asked: asyncio.Queue[web.Request] = asyncio.Queue()
        self.cut_off = asyncio.Event()
        self._answers = answers

    async def large(self, request: web.Request) -> web.StreamResponse:
        self.asked.put_nowait(request)
        answer = web.Response(body=BODY, content_type="text/plain", headers={"X-Kept": "yes"})
        try:
            return await self._answers.sent(request, answer)
        except ConnectionError:
            self.cut_off.set()
            raise


@asynccontextmanager
async def serving(path: Path, answers: LargeAnswers) -> AsyncIterator[Served]:
    served = Served(answers)
    app = web.Application()
    app.router.add_get("/", served.large)
    runner = web.AppRunner(app, shutdown_timeout=0)
    await runner.setup()
    await web.UnixSite(runner, str(path)).start()
    try:
        yield served
    finally:
        await runner.cleanup()


async def test_clients_that_do_not_read_hold_one_piece_each_and_only_so_many_at_once(tmp_path: Path) -> None:
    path = tmp_path / "s"
    async with asyncio.timeout(GENEROUS_S), serving(path, LargeAnswers()) as served:
        slow = [await asyncio.open_unix_connection(path) for _ in range(AT_ONCE)]
        for _, writer in slow:
            writer.write(ASK)
        waiting = [await served.asked.get() for _ in slow]
        async with ClientSession("http://x", connector=UnixConnector(str(path))) as session:
            async with session.get("/") as refused:
                assert (refused.status, refused.headers["Retry-After"]) == (503, "1")
            for request in waiting:
                assert request.transport is not None
                assert request.transport.get_write_buffer_size() <= 3 * PIECE

            slow[0][1].close()
            await served.cut_off.wait()
            async with session.get("/") as response:
                assert (response.status, response.headers["X-Kept"]) == (200, "yes")
                assert response.content_length == len(BODY)
                assert await response.read() == BODY
        for _, writer in slow:
            writer.close()


async def test_a_client_that_does_not_read_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "s"
    async with asyncio.timeout(GENEROUS_S), serving(path, LargeAnswers(send_s=0.05)) as served:
        reader, writer = await asyncio.open_unix_connection(path, limit=1)
        writer.write(ASK)
        await served.cut_off.wait()
        got = 0
        try:
            while piece := await reader.read(PIECE):
                got += len(piece)
        except ConnectionResetError:
            pass
        assert got < len(BODY)
        writer.close()
