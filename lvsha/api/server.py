"""The API of a director: HTTP on a Unix socket. Whoever may open the socket may ask.

``GET /v1/status`` is what ``lvsha status`` shows. ``POST /v1/release`` and
``/v1/resume`` give the role up and take part again; ``/v1/release`` answers 409, with
what would be lost, when the other director is not ready for it (``?force=1``: all the
same). ``POST /v1/sync/resync`` exchanges all connections with the peers once more.
"""

import contextlib
import os
from pathlib import Path
from typing import Any, Protocol

from aiohttp import web

_SHUTDOWN_S = 0.5


class VrrpPort(Protocol):
    def send(self, message: dict[str, Any]) -> bool: ...


class DirectorPort(Protocol):
    """What the API needs of directord."""

    @property
    def vrrp(self) -> VrrpPort: ...

    async def status(self) -> dict[str, Any]: ...

    async def switchover(self, *, force: bool) -> dict[str, Any]: ...

    def resync(self) -> dict[str, Any]: ...


class ApiServer:
    """Started and stopped by directord."""

    def __init__(self, director: DirectorPort) -> None:
        self._director = director
        app = web.Application()
        app.router.add_get("/v1/status", self._status)
        app.router.add_post("/v1/release", self._release)
        app.router.add_post("/v1/resume", self._resume)
        app.router.add_post("/v1/sync/resync", self._resync)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=_SHUTDOWN_S)

    async def start(self, path: Path) -> None:
        """Listen on ``path``, mode 0660; a dead predecessor's socket is replaced."""
        await self._runner.setup()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        await web.UnixSite(self._runner, str(path)).start()
        os.chmod(path, 0o660)

    async def stop(self) -> None:
        await self._runner.cleanup()

    async def _status(self, _request: web.Request) -> web.Response:
        return web.json_response(await self._director.status())

    async def _release(self, request: web.Request) -> web.Response:
        answer = await self._director.switchover(force=request.query.get("force") == "1")
        status = 200
        if "error" in answer:
            # 409: it was understood, and nothing has changed; 503: nobody could do it.
            status = 409 if answer["error"].startswith("refused") else 503
        return web.json_response(answer, status=status)

    async def _resync(self, _request: web.Request) -> web.Response:
        answer = self._director.resync()
        return web.json_response(answer, status=409 if "error" in answer else 200)

    async def _resume(self, _request: web.Request) -> web.Response:
        return self._order("resume")

    def _order(self, kind: str) -> web.Response:
        if not self._director.vrrp.send({"type": kind}):
            return web.json_response({"error": "vrrpd does not answer; is lvsha-vrrpd running?"}, status=503)
        return web.json_response({"ordered": kind})
