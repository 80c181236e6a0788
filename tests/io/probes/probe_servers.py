"""Servers for probes to meet: good ones, and every kind of bad one."""

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from ipaddress import ip_address
from pathlib import Path

from lvsha.checker.result import ProbeResult
from lvsha.checker.settings import CheckKind, CheckOptions, CheckSettings
from lvsha.core.instant import MILLISECOND
from lvsha.io.probes.runner import probe_once

CERTIFICATES = Path(__file__).parent / "certificates"
HOST = "127.0.0.7"
"""The server certificate carries it."""

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextlib.asynccontextmanager
async def serving(
    handler: Handler, *, tls: ssl.SSLContext | None = None, host: str = HOST
) -> AsyncIterator[int]:
    """A server on a port of its own. Its connections end with it, and their errors are theirs."""
    tasks: set[asyncio.Task[None]] = set()

    async def guarded(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                await handler(reader, writer)
        finally:
            tasks.discard(task)
            writer.transport.abort()

    server = await asyncio.start_server(guarded, host, 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tuple(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def check(
    kind: CheckKind,
    port: int = 0,
    options: CheckOptions | None = None,
    *,
    host: str = HOST,
    timeout_ms: int = 2_000,
) -> CheckSettings:
    return CheckSettings(
        kind=kind, address=ip_address(host), port=port, options=options, timeout=timeout_ms * MILLISECOND
    )


async def ask(
    handler: Handler,
    kind: CheckKind,
    options: CheckOptions | None = None,
    *,
    tls: ssl.SSLContext | None = None,
    timeout_ms: int = 2_000,
) -> ProbeResult:
    """What a probe says of a server that treats connections so."""
    async with serving(handler, tls=tls) as port:
        settings = check(kind, port, options, timeout_ms=timeout_ms)
        return await asyncio.wait_for(probe_once(settings), 10)


def answering(answer: bytes) -> Handler:
    """Reads a request, answers, closes."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1024)
        writer.write(answer)
        await writer.drain()
        writer.close()

    return handler


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Accepts and says nothing."""
    await reader.read(-1)
    await asyncio.sleep(3600)


async def closes_at_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()


def reset(writer: asyncio.StreamWriter) -> None:
    """End a connection with RST."""
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def resets_at_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    reset(writer)


async def resets_after_the_request(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1024)
    reset(writer)


async def resets_in_the_body(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1024)
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhello")
    await writer.drain()
    await asyncio.sleep(0.05)
    reset(writer)


def trickling(beginning: bytes, piece: bytes, interval: float) -> Handler:
    """Sends ``piece`` again and again, slowly or as fast as it is read."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1024)
        writer.write(beginning)
        while True:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(interval)

    return handler


def server_context(name: str = "server.pem", *, wants_client: bool = False) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATES / name)
    if wants_client:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(CERTIFICATES / "authority.pem")
    return context


@contextlib.contextmanager
def full_backlog() -> Iterator[int]:
    """A port that answers no SYN: its accept queue is full."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind((HOST, 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        for _ in range(4):
            client = stack.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex((HOST, port))
        yield port
