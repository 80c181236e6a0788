"""The document holds: what it allows is understood, what comes back is what it says, and nothing is a 500."""

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from aiohttp import ClientSession
from hypothesis import given, settings
from yarl import URL

from tests.api.described import OPERATIONS, Operation, Request, faults, requests
from tests.api.pretended import Pretended, serving

STREAM = "/v1/events"
"""Its body has no end."""


class Server:
    """The real one, on a loop of its own, for tests that are not coroutines."""

    def __init__(self, folder: Path) -> None:
        self._loop = asyncio.new_event_loop()
        self._stack = AsyncExitStack()
        self._session: ClientSession
        self._session, _ = self._loop.run_until_complete(
            self._stack.enter_async_context(serving(folder, Pretended()))
        )

    def close(self) -> None:
        self._loop.run_until_complete(self._stack.aclose())
        self._loop.close()

    def ask(self, request: Request) -> tuple[int, str, bytes]:
        return self._loop.run_until_complete(self._ask(request))

    async def _ask(self, request: Request) -> tuple[int, str, bytes]:
        method, url = request.operation.method, f"http://lvsha{request.target}"
        async with self._session.request(method, URL(url, encoded=True), data=request.body) as response:
            if request.operation.path == STREAM and response.status == 200:
                response.close()
                return 200, response.content_type, b""
            return response.status, response.content_type, await response.read()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("api"))
    yield server
    server.close()


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda each: f"{each.method} {each.path}")
def test_answers_are_as_described(server: Server, operation: Operation) -> None:
    @settings(max_examples=25 if operation.body or operation.described.get("parameters") else 1)
    @given(requests(operation))
    def holds(request: Request) -> None:
        assert not faults(request, *server.ask(request)), request

    holds()
