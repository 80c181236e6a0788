"""The API of a director: HTTP on a Unix socket, and on TCP with TLS where it is configured.

On every request, in this order: how often this client asks, who it is, whether its role
may do this. Then the route does it, and what goes wrong comes back as JSON with a sentence
under ``error``: 400 not understood, 401 who are you, 403 you may not, 404 no such thing,
409 refused and nothing has changed, 413 too much, 429 too often, 503 nobody could do it.
"""

import asyncio
import contextlib
import grp
import json
import logging
import os
import pwd
import re
import socket
import ssl
import struct
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from aiohttp import web

from lvsha.api import handlers, openapi
from lvsha.api.events import EventStream
from lvsha.api.inward import AS, on_behalf
from lvsha.api.large import LargeAnswers
from lvsha.api.limits import RateLimit
from lvsha.api.metrics import Metrics
from lvsha.api.port import DirectorPort, Refused, Unavailable
from lvsha.api.roles import NOBODY, Credentials, Identity, Role
from lvsha.api.routes import ROUTES
from lvsha.api.snapshot import Snapshot
from lvsha.config.settings import ApiSettings
from lvsha.core.errors import ConfigErrors, ConfigProblem

_SHUTDOWN_S = 0.5
_BODY_MAX = 5 << 20
"""A configuration of ten thousand realservers has 2 MB."""
_UNIX_RATE, _UNIX_BURST = 2000.0, 4000.0
_GUESSES = 0.5
"""Unknown tokens a second from one address, and ten times as many at once."""
_PORT = re.compile(r":\d+$")
_OWN_NAMES = {"localhost", "127.0.0.1", "::1", "lvsha"}
_PEERCRED = struct.Struct("3i")

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class ApiServer:
    """Started and stopped by directord."""

    def __init__(
        self, port: DirectorPort, *, events: EventStream, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._clock = clock
        self.events = events
        self.snapshot = Snapshot(port)
        self._limit = RateLimit(rate=_UNIX_RATE, burst=_UNIX_BURST)
        self._tcp_limit = RateLimit(rate=50, burst=100)
        self._guesses = RateLimit(rate=_GUESSES, burst=_GUESSES * 10)
        self._credentials = Credentials()
        self._large = LargeAnswers()
        self._roles = {(route.method, route.path): route.role for route in ROUTES}
        app = web.Application(client_max_size=_BODY_MAX, middlewares=[self._guard])
        app[handlers.PORT] = port
        app[handlers.NEEDED] = [
            (route.method, re.compile(re.sub(r"\\{\w+\\}", "[^/]+", re.escape(route.path))), route.role)
            for route in ROUTES
        ]
        app[handlers.SNAPSHOT] = self.snapshot
        app[handlers.EVENTS] = events
        app[handlers.OPENAPI] = json.dumps(openapi.document()).encode()
        self._metrics = app[handlers.METRICS] = Metrics(self.snapshot, events)
        for route in ROUTES:
            app.router.add_route(route.method, route.path, route.handler)
        # A bad request is the client's business; it gets 400, and our log no line.
        logger = logging.getLogger("lvsha.api")
        logger.addHandler(logging.NullHandler())
        logger.propagate = False
        self.app = app
        self._runner = web.AppRunner(
            app, access_log=None, logger=logger, shutdown_timeout=_SHUTDOWN_S, keepalive_timeout=75.0
        )

    async def start(self, path: Path, *, group: str | None = None) -> None:
        """Listen on ``path``, mode 0660; a dead predecessor's socket is replaced.

        Args:
            group: who besides root may; None, or one that is not there: the process's own.
        """
        await self._runner.setup()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        await web.UnixSite(self._runner, str(path), backlog=1024).start()
        if group is not None:
            with contextlib.suppress(KeyError, PermissionError):
                wanted = grp.getgrnam(group).gr_gid
                if os.stat(path).st_gid != wanted:  # the unit's filter of system calls has no chown
                    os.chown(path, -1, wanted)
        os.chmod(path, 0o660)

    async def listen(self, settings: ApiSettings) -> None:
        """TLS over TCP, where the settings want it.

        Raises:
            ConfigErrors: the token file, the certificate or an address is no good.
        """
        if not settings.listen:
            return
        self.configure(settings)
        self._tcp_limit = RateLimit(rate=settings.rate, burst=2 * settings.rate)
        context = _tls(settings)
        for host, port in settings.listen:
            try:
                await web.TCPSite(self._runner, host, port, ssl_context=context, backlog=1024).start()
            except OSError as error:
                message = f"{host} port {port} cannot be listened on: {error.strerror or error}"
                raise ConfigErrors("[api]", [ConfigProblem(path="api.listen", message=message)]) from None

    @property
    def addresses(self) -> list[Any]:
        """Where it listens: paths, and hosts with ports."""
        return self._runner.addresses

    def configure(self, settings: ApiSettings) -> None:
        """Read the token file again.

        Raises:
            ConfigErrors: it is no good; the tokens known so far go on.
        """
        if settings.token_file is not None:
            self._credentials = Credentials.read(settings.token_file)

    async def stop(self) -> None:
        await self.events.stop()
        self.snapshot.close()
        self._metrics.close()
        await self._runner.cleanup()

    # On every request

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            identity, client, limit = self._who(request)
            now = self._clock()
            wait_s = limit.wait_s(client, now)
            if not wait_s and identity is NOBODY and "Authorization" in request.headers:
                wait_s = self._guesses.wait_s(client, now)
            if wait_s:
                response = handlers.problem(429, "too many requests: ask more slowly")
                response.headers["Retry-After"] = str(int(wait_s) + 1)
                return response
            request[handlers.IDENTITY] = identity
            refusal = _astray(request) or self._may(request, identity)
            return refusal if refusal is not None else await self._large.sent(request, await handler(request))
        except Refused as refused:
            return web.json_response(refused.answer, status=409)
        except Unavailable as error:
            return handlers.problem(503, str(error))
        except web.HTTPException as error:
            if error.content_type == "application/json":
                return web.Response(status=error.status, text=error.text, content_type="application/json")
            if error.status == 404:
                return handlers.problem(404, f"there is no {request.path[:200]}; see /v1/openapi.json")
            return handlers.problem(error.status, error.text or error.reason)
        except (asyncio.CancelledError, ConnectionError):
            raise
        except Exception as error:
            # A bug of ours must not take the director down: say it to whoever asked.
            return handlers.problem(500, f"{type(error).__name__}: {error}; please report this")

    def _may(self, request: web.Request, identity: Identity) -> web.Response | None:
        resource = request.match_info.route.resource
        path = resource.canonical if resource is not None else request.path
        needed = self._roles.get((request.method, path)) or self._roles.get(("GET", path), Role.NOBODY)
        if identity.role >= needed:
            return None
        if identity.role is Role.NOBODY:
            response = handlers.problem(401, "a token is needed: Authorization: Bearer TOKEN")
            response.headers["WWW-Authenticate"] = "Bearer"
            return response
        return handlers.problem(
            403,
            f"{identity.name} has the role {identity.role.name.lower()}, this needs {needed.name.lower()}",
        )

    def _who(self, request: web.Request) -> tuple[Identity, str, RateLimit]:
        """Who asks, whose bucket it is, and which."""
        sock = _unix_socket(request)
        if sock is not None:
            _, uid, _ = _PEERCRED.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
            identity = Identity(name=_user(uid), role=Role.ADMIN)
            return on_behalf(request.headers.get(AS), identity), f"uid {uid}", self._limit
        identity = self._of_token(request) or self._of_certificate(request) or NOBODY
        # By address: a new token a request would else be a new bucket a request.
        return identity, str(request.remote), self._tcp_limit

    def _of_token(self, request: web.Request) -> Identity | None:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        return self._credentials.of_token(token.strip()) if scheme.lower() == "bearer" else None

    def _of_certificate(self, request: web.Request) -> Identity | None:
        if "Authorization" in request.headers or request.transport is None:
            return None  # who shows a token is who the token says, or nobody
        certificate = request.transport.get_extra_info("peercert")
        return self._credentials.of_certificate(certificate) if certificate else None


def _tls(settings: ApiSettings) -> ssl.SSLContext:
    assert settings.certificate is not None, "the configuration was checked"
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(settings.certificate, settings.key)
        if settings.client_ca is not None:
            context.load_verify_locations(settings.client_ca)
            # Not required: who has a token needs none. A certificate that does not verify ends the handshake.
            context.verify_mode = ssl.CERT_OPTIONAL
    except (OSError, ssl.SSLError) as error:
        message = f"TLS cannot be set up with {settings.certificate} and {settings.key}: {error}"
        raise ConfigErrors("[api]", [ConfigProblem(path="api.certificate", message=message)]) from None
    return context


def _astray(request: web.Request) -> web.Response | None:
    """A browser that another site sent here; None: it came by itself.

    Whoever forwards the Unix socket to a port of its own has a director without a password on
    localhost, where every page that the browser shows may try to reach it.
    """
    origin = request.headers.get("Origin")
    if origin is not None and origin.partition("://")[2] != request.host:
        return handlers.problem(403, f"this page is not ours: {origin[:200]}")
    name = _PORT.sub("", request.host).strip("[]").lower()
    if _unix_socket(request) is not None and name not in _OWN_NAMES:
        return handlers.problem(421, "through the Unix socket this director is called localhost")
    return None


def _unix_socket(request: web.Request) -> socket.socket | None:
    """The one that the request came by; None: it came over TCP, or its client has gone."""
    transport = request.transport
    sock: socket.socket | None = transport.get_extra_info("socket") if transport is not None else None
    return sock if sock is not None and sock.family == socket.AF_UNIX else None


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
