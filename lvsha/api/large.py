"""Large answers, sent at the pace of whoever reads them.

An answer of megabytes that is written at once is copied for each client that reads
slowly, and the copying holds everything else up. In pieces a client costs one piece,
and all of them together a few bodies.
"""

import asyncio

from aiohttp import web

from lvsha.api.handlers import problem

LARGE = 1 << 18
"""Bytes; smaller bodies are written at once."""
PIECE = 1 << 16
AT_ONCE = 16
"""Large answers that are on their way; each may keep a picture of its own moment alive."""
SEND_S = 20.0
"""Then a client that has not read all of it is cut off."""


class LargeAnswers:
    """All that are on their way."""

    def __init__(self, *, send_s: float = SEND_S) -> None:
        self._send_s = send_s
        self._count = 0

    async def sent(self, request: web.Request, answer: web.StreamResponse) -> web.StreamResponse:
        """``answer``, sent already if it is large; 503 while too many are."""
        body = answer.body if isinstance(answer, web.Response) else None
        if not isinstance(body, bytes) or len(body) <= LARGE or request.method == "HEAD":
            return answer
        if self._count >= AT_ONCE:
            refusal = problem(503, "too many large answers are being read: ask again")
            refusal.headers["Retry-After"] = "1"
            return refusal
        self._count += 1
        try:
            async with asyncio.timeout(self._send_s):
                return await _in_pieces(request, answer, body)
        except TimeoutError:
            if request.transport is not None:
                request.transport.abort()
            raise ConnectionResetError("the client did not read its answer in time") from None
        finally:
            self._count -= 1


async def _in_pieces(request: web.Request, answer: web.StreamResponse, body: bytes) -> web.StreamResponse:
    stream = web.StreamResponse(status=answer.status, headers=answer.headers)
    stream.content_length = len(body)
    await stream.prepare(request)
    view = memoryview(body)
    for at in range(0, len(body), PIECE):
        await stream.write(view[at : at + PIECE])
    await stream.write_eof()
    return stream
