"""HTTPS probes: certificates are verified, and whatever is wrong with TLS has a reason."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import pytest

from lvsha.checker.result import ProbeResult, Reason
from lvsha.checker.settings import CheckKind, HttpOptions, TcpOptions, TlsOptions
from lvsha.core.instant import SECOND
from lvsha.io.probes.runner import probe_once
from tests.io.probes.probe_servers import (
    CERTIFICATES,
    HOST,
    Handler,
    answering,
    ask,
    check,
    closes_at_once,
    reset,
    server_context,
    serving,
    silent,
    trickling,
)

OK_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
AUTHORITY = str(CERTIFICATES / "authority.pem")
TRUSTING = TlsOptions(ca_file=AUTHORITY)
YEAR = 365 * 86_400 * SECOND


def options(tls: TlsOptions = TRUSTING, host: str | None = "www.example.test") -> HttpOptions:
    return HttpOptions(host=host, tls=tls, body_regex="^hello$")


async def https(
    http: HttpOptions,
    *,
    handler: Handler | None = None,
    context: ssl.SSLContext | None = None,
    timeout_ms: int = 3_000,
) -> ProbeResult:
    return await ask(
        handler or answering(OK_ANSWER),
        CheckKind.HTTPS,
        http,
        tls=context or server_context(),
        timeout_ms=timeout_ms,
    )


async def test_certificate_of_a_trusted_authority_for_the_host() -> None:
    result = await https(options())

    assert result.ok, result
    assert result.timings.connected is not None
    assert result.timings.tls is not None
    assert result.timings.first_byte is not None
    assert result.timings.connected < result.timings.tls < result.timings.first_byte


async def test_without_a_host_the_certificate_has_to_name_the_address() -> None:
    assert (await https(options(host=None))).ok


async def test_sni_is_the_host_without_its_port_or_what_is_configured() -> None:
    names: list[str | None] = []
    context = server_context()
    context.sni_callback = lambda stream, name, context: names.append(name)

    await https(options(host="www.example.test:8443"), context=context)
    await https(
        options(TlsOptions(ca_file=AUTHORITY, server_name="www.example.test"), host="other"), context=context
    )
    await https(options(TlsOptions(verify=False), host=None), context=context)

    assert names == ["www.example.test", "www.example.test", None]


@pytest.mark.parametrize(
    ("http", "certificate", "words"),
    [
        (options(host="other.example.test"), "server.pem", "Hostname mismatch"),
        (options(), "expired.pem", "certificate has expired"),
        (options(TlsOptions()), "server.pem", "unable to get local issuer certificate"),
    ],
)
async def test_bad_certificate(http: HttpOptions, certificate: str, words: str) -> None:
    result = await https(http, context=server_context(certificate))

    assert result.reason is Reason.CERTIFICATE_INVALID
    assert words in result.detail
    assert not result.ours


async def test_any_certificate_will_do_where_it_is_not_verified() -> None:
    for certificate in ("server.pem", "expired.pem"):
        result = await https(options(TlsOptions(verify=False), host="x"), context=server_context(certificate))
        assert result.ok, result


async def test_client_certificate_where_the_realserver_wants_one() -> None:
    with_one = TlsOptions(ca_file=AUTHORITY, certificate_file=str(CERTIFICATES / "client.pem"))

    with threaded_server(server_context(wants_client=True)) as port:
        assert (await probe_once(check(CheckKind.HTTPS, port, options(with_one)))).ok
    with threaded_server(server_context(wants_client=True)) as port:
        refused = await probe_once(check(CheckKind.HTTPS, port, options()))

    assert refused.reason is Reason.TLS_FAILED
    assert "certificate required" in refused.detail


async def test_certificate_that_soon_ends_is_a_warning() -> None:
    soon = TlsOptions(ca_file=AUTHORITY, expiry_warning=1_000 * YEAR)

    result = await https(options(soon))

    assert result.ok
    assert result.warning == "the certificate ends Jan  1 00:00:00 2120 GMT"


@pytest.mark.parametrize(
    "tls",
    [
        TlsOptions(ca_file="/nonexistent.pem"),
        TlsOptions(ca_file=__file__),
        TlsOptions(certificate_file=AUTHORITY),
    ],
)
async def test_files_that_are_missing_or_wrong_are_our_failure(tls: TlsOptions) -> None:
    result = await https(options(tls))

    assert result.reason is Reason.MISCONFIGURED
    assert result.ours
    assert (tls.ca_file or AUTHORITY) in result.detail


async def test_plain_http_on_the_port_of_https() -> None:
    result = await ask(answering(b"HTTP/1.1 400 Bad Request\r\n\r\n"), CheckKind.HTTPS, options())

    assert result.reason is Reason.TLS_FAILED
    assert result.detail == "TLS: wrong version number"


async def test_garbage_instead_of_tls() -> None:
    result = await ask(answering(bytes(range(256)) * 10), CheckKind.HTTPS, options())

    assert result.reason is Reason.TLS_FAILED


async def test_empty_handshake_messages_without_end() -> None:
    """OpenSSL ignores any number of HelloRequests, at our expense."""
    result = await ask(trickling(b"", b"\x16\x03\x03\x40\x00" + bytes(0x4000), 0), CheckKind.HTTPS, options())

    assert result.reason is Reason.TLS_FAILED


async def test_closed_in_the_handshake() -> None:
    result = await ask(closes_at_once, CheckKind.HTTPS, options())

    assert result.reason in (Reason.TLS_FAILED, Reason.RESET)


async def test_reset_in_the_handshake() -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        reset(writer)

    result = await ask(handler, CheckKind.HTTPS, options())

    assert result.reason is Reason.RESET
    assert result.detail == "waiting for the TLS handshake: reset"


async def test_silence_in_the_handshake() -> None:
    result = await ask(silent, CheckKind.HTTPS, options(), timeout_ms=150)

    assert result.reason is Reason.TIMEOUT
    assert result.detail == "connected, waiting for the TLS handshake"


async def test_silence_after_the_handshake() -> None:
    result = await https(options(), handler=silent, timeout_ms=400)

    assert result.reason is Reason.TIMEOUT
    assert result.detail == "connected, waiting for a status line"


async def test_body_without_end() -> None:
    endless = trickling(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n", b"x" * 65536, 0)

    result = await https(HttpOptions(host="www.example.test", tls=TRUSTING), handler=endless)

    assert result.ok, result


async def test_large_body_comes_whole() -> None:
    body = b"x" * 1_000_000 + b"the end"
    answer = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
    http = HttpOptions(host="www.example.test", tls=TRUSTING, body_regex="end$", body_limit=2_000_000)

    result = await https(http, handler=answering(answer))

    assert result.ok, result


async def test_body_that_ends_with_the_connection() -> None:
    result = await https(options(), handler=answering(b"HTTP/1.0 200 OK\r\n\r\nhello"))

    assert result.ok, result


async def test_tcp_check_may_speak_tls() -> None:
    wanted = TcpOptions(
        send=b"x", expect=b"hello", tls=TlsOptions(ca_file=AUTHORITY, server_name="www.example.test")
    )

    result = await ask(answering(b"hello"), CheckKind.TCP, wanted, tls=server_context())

    assert result.ok, result


@contextlib.contextmanager
def threaded_server(context: ssl.SSLContext) -> Iterator[int]:
    """One connection over blocking sockets: unlike asyncio's server it says why it gives up."""

    def serve(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with (
            connection,
            contextlib.suppress(OSError),
            context.wrap_socket(connection, server_side=True) as stream,
        ):
            stream.recv(1024)
            stream.sendall(OK_ANSWER)

    with socket.socket() as listener:
        listener.bind((HOST, 0))
        listener.listen()
        thread = Thread(target=serve, args=(listener,), daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        thread.join(5)


async def test_tls_1_2() -> None:
    context = server_context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2

    with threaded_server(context) as port:
        result = await probe_once(check(CheckKind.HTTPS, port, options()))

    assert result.ok, result


async def test_changed_authority_is_noticed(tmp_path: Path) -> None:
    """A rotated file must not need a restart; here the context is simply asked for again."""
    from lvsha.io.probes import tls as module

    contexts = module.Contexts()
    file = tmp_path / "authority.pem"
    file.write_bytes((CERTIFICATES / "authority.pem").read_bytes())
    wanted = TlsOptions(ca_file=str(file))
    first = contexts.get(wanted)
    assert contexts.get(wanted) is first

    async with serving(answering(OK_ANSWER), tls=server_context()) as port:
        http = HttpOptions(host="www.example.test", tls=wanted)
        assert (await probe_once(check(CheckKind.HTTPS, port, http))).ok
