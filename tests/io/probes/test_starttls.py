"""TLS that is asked for in the clear, over real sockets; and what can go wrong once it was granted."""

import asyncio

import pytest

from lvsha.checker.result import ProbeResult, Reason
from lvsha.checker.settings import CheckKind, LoginOptions, TlsOptions
from tests.io.probes.probe_servers import CERTIFICATES, Handler, ask, reset, server_context

TLS = TlsOptions(ca_file=str(CERTIFICATES / "authority.pem"), server_name="www.example.test")


async def grants(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"* OK ready\r\n")
    await reader.readline()
    writer.write(b"a0 OK go on\r\n")
    await writer.drain()


async def speaks(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await grants(reader, writer)
    await writer.start_tls(server_context())
    await reader.readline()
    writer.write(b"a1 OK in\r\n")
    await writer.drain()
    await reader.read()


async def babbles(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await grants(reader, writer)
    await reader.read(1)
    writer.write(bytes(range(256)))
    await writer.drain()
    await reader.read()


async def says_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await grants(reader, writer)
    await reader.read()


async def breaks_off(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await grants(reader, writer)
    await reader.read(1)
    reset(writer)


async def asked(handler: Handler, timeout_ms: int = 3_000) -> ProbeResult:
    options = LoginOptions(username="joe", password="sesame", starttls=True, tls=TLS)
    return await ask(handler, CheckKind.IMAP, options, timeout_ms=timeout_ms)


async def test_a_login_under_tls() -> None:
    result = await asked(speaks)

    assert result.ok, result.detail
    assert result.timings.tls is not None


@pytest.mark.parametrize(
    ("handler", "reason", "words"),
    [
        (babbles, Reason.TLS_FAILED, "TLS"),
        (breaks_off, Reason.RESET, "TLS handshake"),
        (says_nothing, Reason.TIMEOUT, "TLS handshake"),
    ],
)
async def test_what_follows_the_grant_has_a_bound_and_a_reason(
    handler: Handler, reason: Reason, words: str
) -> None:
    result = await asked(handler, timeout_ms=300 if reason is Reason.TIMEOUT else 3_000)

    assert (result.reason, result.ours) == (reason, False)
    assert words in result.detail
