"""Large answers, sent at the pace of whoever reads them.

An answer of megabytes that is written at once is copied for each client that reads
slowly, and the copying holds everything else up. In pieces a client costs one piece,
and all of them together what ``HELD_MAX`` says: who asks at the same time reads the
same body.
"""

import asyncio

from aiohttp import web

from lvsha.api.handlers import problem
from lvsha.io.slices import Slices

LARGE = 1 << 18
"""Bytes; smaller bodies are written at once."""
PIECE = 1 << 16
AT_ONCE = 64
"""Large answers that are on their way."""
HELD_MAX = 48 << 20
"""Bytes of different bodies that are on their way, the newest one aside."""
SEND_S = 20.0
"""Then a client that has not read all of it is cut off."""


class LargeAnswers:
    """All that are on their way."""

    def __init__(self, *, send_s: float = SEND_S) -> None:
        self._send_s = send_s
        self._on_their_way: list[bytes] = []

    async def sent(self, request: web.Request, answer: web.StreamResponse) -> web.StreamResponse:
        """``answer``, sent already if it is large; 503 while too many are."""
        body = answer.body if isinstance(answer, web.Response) else None
        if not isinstance(body, bytes) or len(body) <= LARGE or request.method == "HEAD":
            return answer
        held = sum(len(each) for each in {id(each): each for each in self._on_their_way}.values())
        if len(self._on_their_way) >= AT_ONCE or held > HELD_MAX:
            refusal = problem(503, "too many large answers are being read: ask again")
            refusal.headers["Retry-After"] = "1"
            return refusal
        self._on_their_way.append(body)
        try:
            async with asyncio.timeout(self._send_s):
                return await _in_pieces(request, answer, body)
        except TimeoutError:
            if request.transport is not None:
                request.transport.abort()
            raise ConnectionResetError("the client did not read its answer in time") from None
        finally:
            place = next(n for n, each in enumerate(self._on_their_way) if each is body)
            del self._on_their_way[place]


async def _in_pieces(request: web.Request, answer: web.StreamResponse, body: bytes) -> web.StreamResponse:
    stream = web.StreamResponse(status=answer.status, headers=answer.headers)
    stream.content_length = len(body)
    await stream.prepare(request)
    view, work = memoryview(body), Slices()
    for at in range(0, len(body), PIECE):
        await stream.write(view[at : at + PIECE])
        await work.pause()  # a client that reads as fast as we write would else get all in one turn
    await stream.write_eof()
    return stream
