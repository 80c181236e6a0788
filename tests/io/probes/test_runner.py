"""Probes over real sockets on loopback: verdicts, whose fault, and what the runner promises."""

import asyncio
import contextlib
import os
import resource
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from functools import partial
from ipaddress import ip_address
from typing import Any

import pytest

from lvsha.checker.lag import LoopBecameLate
from lvsha.checker.result import ProbeResult, Reason
from lvsha.checker.settings import CheckKind, HttpOptions, TcpOptions
from lvsha.core.instant import MILLISECOND
from lvsha.core.machine import Output
from lvsha.io.probes.runner import ProbeRunner, probe_once
from tests.io.probes.probe_servers import (
    HOST,
    answering,
    ask,
    check,
    closes_at_once,
    full_backlog,
    resets_after_the_request,
    resets_at_once,
    resets_in_the_body,
    serving,
    silent,
    trickling,
)

OK_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
HTTP, TCP = CheckKind.HTTP, CheckKind.TCP


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind((HOST, 0))
        port: int = sock.getsockname()[1]
        return port


# Good ones


async def test_tcp_accepts() -> None:
    result = await ask(silent, TCP)

    assert result.ok
    assert result.timings.connected is not None
    assert 0 < result.timings.connected <= result.timings.total


async def test_tcp_sends_and_expects() -> None:
    result = await ask(answering(b"+PONG\r\n"), TCP, TcpOptions(send=b"PING\r\n", expect=b"+PONG"))

    assert result.ok


async def test_http_answers() -> None:
    result = await ask(answering(OK_ANSWER), HTTP)

    assert result.ok
    assert result.detail == "status 200"
    timings = result.timings
    assert timings.connected is not None
    assert timings.first_byte is not None
    assert timings.connected <= timings.first_byte <= timings.total


async def test_http_asks_with_the_options_given() -> None:
    asked = bytearray()

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.extend(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        await writer.drain()

    result = await ask(handler, HTTP, HttpOptions(method="OPTIONS", path="/up", host="www.example.test"))

    assert result.ok
    assert asked.startswith(b"OPTIONS /up HTTP/1.1\r\nHost: www.example.test\r\n")


async def test_redirects_are_followed_over_new_connections() -> None:
    asked: list[bytes] = []

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append((await reader.read(1024)).split(b" ")[1])
        number = len(asked)
        writer.write(b"HTTP/1.1 302 x\r\nLocation: /%d\r\n\r\n" % number if number < 4 else OK_ANSWER)
        await writer.drain()

    async with serving(handler) as port:
        result = await probe_once(check(HTTP, port, HttpOptions(redirects=3)))
        asked_then, asked = asked, []
        endless = await probe_once(check(HTTP, port, HttpOptions(redirects=2)))

    assert result.ok, result.detail
    assert asked_then == [b"/", b"/1", b"/2", b"/3"]
    assert endless.reason is Reason.BAD_STATUS
    assert "more than 2 redirects" in endless.detail


async def test_a_plain_probe_only_connects() -> None:
    settings = replace(check(HTTP, 0), plain_connects=3, timeout=300 * MILLISECOND)
    results: asyncio.Queue[ProbeResult] = asyncio.Queue()
    reasons = []
    async with serving(silent) as port:
        settings = replace(settings, port=port)
        runner = ProbeRunner()
        for is_plain in (True, False):
            runner.start("x", settings, lambda _, result: results.put_nowait(result), is_plain=is_plain)
            reasons.append((await results.get()).reason)
        runner.close()

    assert reasons == [Reason.OK, Reason.TIMEOUT]


async def test_large_request_is_sent_whole() -> None:
    """More than a socket's buffer takes at once."""
    body = os.urandom(8 * 1024 * 1024)
    received = 0

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal received
        await reader.readuntil(b"\r\n\r\n")
        while received < len(body):
            received += len(await reader.read(1 << 20))
        writer.write(OK_ANSWER)
        await writer.drain()

    result = await ask(handler, HTTP, HttpOptions(method="POST", body=body), timeout_ms=8_000)

    assert result.ok, result
    assert received == len(body)


async def test_large_body_is_read_to_its_end() -> None:
    body = b"x" * 3_000_000 + b"the end"
    answer = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body

    result = await ask(answering(answer), HTTP, HttpOptions(body_regex="end$", body_limit=4_000_000))

    assert result.ok, result


async def test_ipv6_target() -> None:
    try:
        async with serving(answering(OK_ANSWER), host="::1") as port:
            result = await probe_once(check(HTTP, port, host="::1"))
    except OSError:
        pytest.skip("no IPv6 on this host")
    assert result.ok


async def test_source_address_and_port_are_the_configured_ones() -> None:
    seen: list[Any] = []

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(writer.get_extra_info("peername"))
        writer.write(OK_ANSWER)
        await writer.drain()

    source_port = free_port()
    async with serving(handler) as port:
        settings = replace(check(HTTP, port), bind_address=ip_address("127.0.0.99"))
        assert (await probe_once(settings)).ok
        assert (await probe_once(replace(settings, bind_port=source_port))).ok

    assert seen[0][0] == "127.0.0.99"
    assert seen[1] == ("127.0.0.99", source_port)


def _tell(ended: "asyncio.Future[ProbeResult]", _check_id: str, result: ProbeResult) -> None:
    ended.set_result(result)


async def test_source_ports_are_used_by_turns_and_one_in_use_is_passed_over() -> None:
    seen: list[int] = []

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(writer.get_extra_info("peername")[1])

    source = "127.0.0.98"
    with socket.create_server((source, 0)) as taken:
        first = port_taken = taken.getsockname()[1]
        async with serving(handler) as port:
            settings = replace(
                check(CheckKind.TCP, port),
                bind_address=ip_address(source),
                bind_port=first,
                bind_port_count=8,
                close_with_reset=True,
            )
            runner = ProbeRunner()
            try:
                for _ in range(10):
                    ended: asyncio.Future[ProbeResult] = asyncio.get_running_loop().create_future()
                    runner.start("web", settings, partial(_tell, ended))
                    assert (await ended).ok
            finally:
                runner.close()
            async with asyncio.timeout(30):
                while len(seen) < 10:  # noqa: ASYNC110  (the server hears of the last ones in a moment)
                    await asyncio.sleep(0.01)
            alone = await probe_once(replace(settings, bind_port=port_taken, bind_port_count=1))

    assert first not in seen
    assert set(seen) <= set(range(first, first + 8))
    assert len(set(seen)) > 1
    assert (alone.reason, alone.ours) == (Reason.BIND_FAILED, True)


async def test_reset_instead_of_goodbye_where_asked() -> None:
    ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.read(1)
            ended.set_result("goodbye")
        except ConnectionResetError:
            ended.set_result("reset")

    async with serving(handler) as port:
        await probe_once(replace(check(TCP, port), close_with_reset=True))
        assert await asyncio.wait_for(ended, 5) == "reset"
        ended = asyncio.get_running_loop().create_future()
        await probe_once(check(TCP, port))
        assert await asyncio.wait_for(ended, 5) == "goodbye"


# Bad ones: a bounded verdict and a reason


async def test_nobody_listens() -> None:
    result = await probe_once(check(TCP, free_port()))

    assert result.reason is Reason.REFUSED
    assert not result.ours


async def test_no_answer_to_connect() -> None:
    with full_backlog() as port:
        result = await probe_once(check(TCP, port, timeout_ms=200))

    assert result.reason is Reason.TIMEOUT
    assert result.detail == "no answer to connect"
    assert 200 * MILLISECOND <= result.timings.total < 400 * MILLISECOND


async def test_server_that_accepts_and_says_nothing() -> None:
    result = await ask(silent, HTTP, timeout_ms=150)

    assert result.reason is Reason.TIMEOUT
    assert result.detail == "connected, waiting for a status line"


async def test_one_byte_now_and_then_does_not_outlive_the_timeout() -> None:
    """The time-out is for the whole check (keepalived issue 1822: each read had its own)."""
    result = await ask(trickling(b"HTTP/1.1 200 OK\r\nX: ", b"x", 0.03), HTTP, timeout_ms=300)

    assert result.reason is Reason.TIMEOUT
    assert result.detail == "connected, waiting for the rest of the headers"
    assert result.timings.total < 600 * MILLISECOND


async def test_body_without_end_is_cut_at_the_limit() -> None:
    endless = trickling(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n", b"x" * 65536, 0)

    assert (await ask(endless, HTTP)).ok
    digest = await ask(endless, HTTP, HttpOptions(digest="0" * 32))
    assert digest.reason is Reason.TOO_LONG
    regex = await ask(endless, HTTP, HttpOptions(body_regex="y"))
    assert regex.reason is Reason.BODY_MISMATCH


async def test_headers_without_end() -> None:
    result = await ask(trickling(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n" * 100, 0), HTTP)

    assert result.reason is Reason.TOO_LONG


async def test_reset_at_once() -> None:
    result = await ask(resets_at_once, HTTP)

    assert result.reason is Reason.RESET, result


async def test_reset_after_the_request() -> None:
    result = await ask(resets_after_the_request, HTTP)

    assert result.reason is Reason.RESET
    assert result.detail == "waiting for a status line: reset"


async def test_reset_in_the_body() -> None:
    result = await ask(resets_in_the_body, HTTP)

    assert result.reason is Reason.RESET
    assert result.detail == "waiting for the rest of the body, 5 bytes of 1000 came: reset"


async def test_closed_without_an_answer() -> None:
    result = await ask(closes_at_once, HTTP)

    assert result.reason in (Reason.CLOSED, Reason.RESET)
    assert result.detail


async def test_answer_that_precedes_a_refused_request_counts() -> None:
    """A server may answer and close before it has read the request (it is full, say)."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    result = await ask(handler, HTTP)

    assert result.reason is Reason.BAD_STATUS


# Ours


async def test_address_that_we_do_not_have_is_our_failure() -> None:
    result = await probe_once(replace(check(TCP, 80), bind_address=ip_address("203.0.113.99")))

    assert result.reason is Reason.BIND_FAILED
    assert result.ours
    assert result.detail == "bind to 203.0.113.99: the address is not on this host"


async def test_interface_that_does_not_exist_is_our_failure() -> None:
    result = await probe_once(replace(check(TCP, 80), bind_interface="nosuch0"))

    assert result.ours
    assert result.reason is Reason.BIND_FAILED
    assert "nosuch0" in result.detail


async def test_missing_route_is_our_failure() -> None:
    # TCP has no route to the broadcast address, on any host.
    result = await probe_once(check(TCP, 80, host="255.255.255.255"))

    assert result.ours
    assert result.reason is Reason.NO_ROUTE


async def test_unknown_zone_is_our_failure() -> None:
    result = await probe_once(check(TCP, 80, host="fe80::1%nosuch0"))

    assert result.ours
    assert result.reason is Reason.MISCONFIGURED


async def test_missing_descriptors_are_our_failure() -> None:
    runner = ProbeRunner()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with collecting() as results:
        lowest_free = os.dup(0)
        os.close(lowest_free)
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, hard))
        try:
            runner.start("a", check(TCP, 9), results.done)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        (result,) = await results.take(1)
    runner.close()

    assert result.ours
    assert result.reason is Reason.NO_DESCRIPTORS
    assert "LimitNOFILE" in result.detail


# Ping


async def test_ping_answers() -> None:
    result = await probe_once(check(CheckKind.PING))

    assert result.ok, result
    assert result.timings.total > 0


async def test_ping_of_ipv6_answers() -> None:
    result = await probe_once(check(CheckKind.PING, host="::1"))

    if result.reason is Reason.NO_ROUTE:
        pytest.skip("no IPv6 on this host")
    assert result.ok, result


async def test_ping_without_an_answer() -> None:
    # Sent into lo, where nobody has the address.
    settings = replace(check(CheckKind.PING, host="203.0.113.1", timeout_ms=100), bind_interface="lo")

    result = await probe_once(settings)

    assert result.reason is Reason.TIMEOUT, result
    assert result.detail == "no echo reply"


async def test_many_pings_share_one_socket() -> None:
    runner = ProbeRunner()
    before = len(os.listdir("/proc/self/fd"))
    with collecting() as results:
        for i in range(1, 201):
            runner.start(str(i), check(CheckKind.PING, host=f"127.0.1.{i}"), results.done)
        assert len(os.listdir("/proc/self/fd")) <= before + 1
        found = await results.take(200)
    runner.close()

    assert all(result.ok for result in found)


# What the runner promises


class Results:
    """Collects results until there are enough."""

    def __init__(self) -> None:
        self.found: dict[str, ProbeResult] = {}
        self.order: list[str] = []
        self._changed = asyncio.Event()

    def done(self, check_id: str, result: ProbeResult) -> None:
        assert check_id not in self.found, "one result per probe"
        self.found[check_id] = result
        self.order.append(check_id)
        self._changed.set()

    async def take(self, count: int) -> list[ProbeResult]:
        async with asyncio.timeout(10):
            while len(self.found) < count:
                self._changed.clear()
                await self._changed.wait()
        return list(self.found.values())


@contextlib.contextmanager
def collecting() -> Iterator[Results]:
    yield Results()


@pytest.fixture
async def runner() -> AsyncIterator[ProbeRunner]:
    runner = ProbeRunner()
    yield runner
    runner.close()


async def test_result_never_comes_from_within_start(runner: ProbeRunner) -> None:
    with collecting() as results:
        runner.start("a", replace(check(TCP, 80), bind_address=ip_address("203.0.113.99")), results.done)
        assert not results.found
        await results.take(1)


async def test_cancelled_probe_says_nothing(runner: ProbeRunner) -> None:
    with collecting() as results:
        async with serving(silent) as port:
            runner.start("a", check(HTTP, port, timeout_ms=100), results.done)
            runner.start("b", check(HTTP, port, timeout_ms=100), results.done)
            runner.start("ours", replace(check(TCP, 80), bind_interface="nosuch0"), results.done)
            runner.cancel("a")
            runner.cancel("ours")
            runner.cancel("never started")
            await results.take(1)

    assert results.order == ["b"]
    assert len(runner) == 0


async def test_second_start_of_a_check_replaces_the_first(runner: ProbeRunner) -> None:
    with collecting() as results:
        async with serving(silent) as port:
            runner.start("a", check(HTTP, port, timeout_ms=50), results.done)
            runner.start("a", check(TCP, port), results.done)
            await results.take(1)
            await asyncio.sleep(0.1)

    assert results.found["a"].ok


async def test_callback_may_start_the_next_probe(runner: ProbeRunner) -> None:
    finished: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    count = 0
    async with serving(answering(OK_ANSWER)) as port:
        settings = check(HTTP, port)

        def again(check_id: str, result: ProbeResult) -> None:
            nonlocal count
            assert result.ok
            count += 1
            if count == 50:
                finished.set_result(count)
            else:
                runner.start(check_id, settings, again)

        runner.start("a", settings, again)
        assert await asyncio.wait_for(finished, 10) == 50


async def test_callback_that_raises_does_not_lose_the_others(runner: ProbeRunner) -> None:
    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: complaints.append(context))

    def broken(check_id: str, result: ProbeResult) -> None:
        raise ZeroDivisionError

    with collecting() as results:
        for i in range(5):
            runner.start(f"broken {i}", check(CheckKind.PING), broken)
            runner.start(f"good {i}", check(CheckKind.PING), results.done)
        await results.take(5)
    await asyncio.sleep(0)

    assert {type(context.get("exception")) for context in complaints} == {ZeroDivisionError}


async def test_hundreds_of_probes_at_once(runner: ProbeRunner) -> None:
    with collecting() as results:
        async with serving(answering(OK_ANSWER), host="0.0.0.0") as port:
            for i in range(300):
                host = f"127.0.{i // 200 + 1}.{i % 200 + 1}"
                runner.start(str(i), check(HTTP, port, host=host, timeout_ms=8_000), results.done)
            found = await results.take(300)

    assert all(result.ok for result in found)


async def test_nothing_is_left_open() -> None:
    before = sorted(os.listdir("/proc/self/fd"))
    runner = ProbeRunner()
    with collecting() as results:
        async with serving(silent) as port:
            for i in range(10):
                runner.start(f"timeout {i}", check(HTTP, port, timeout_ms=50), results.done)
                runner.start(f"refused {i}", check(TCP, free_port()), results.done)
                runner.start(f"closed {i}", check(HTTP, port), results.done)
                runner.start(f"ping {i}", check(CheckKind.PING), results.done)
            await results.take(30)
            runner.close()
            runner.close()

    assert sorted(os.listdir("/proc/self/fd")) == before


# Our own lateness


def slow_server(listener: socket.socket, delay: float) -> None:
    """Answers from a thread, so that it is well while our loop is not."""
    with contextlib.suppress(OSError):
        while True:
            connection, _ = listener.accept()
            with connection:
                connection.recv(1024)
                time.sleep(delay)
                connection.sendall(OK_ANSWER)


@pytest.fixture
def threaded_port() -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        listener.listen(16)
        thread = threading.Thread(target=slow_server, args=(listener, 0.1), daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(5)


async def test_loop_that_slept_does_not_fail_who_answered_meanwhile(threaded_port: int) -> None:
    heard: list[Output] = []
    runner = ProbeRunner(heard.append)
    with collecting() as results:
        runner.start("web", check(HTTP, threaded_port, timeout_ms=300), results.done)
        await asyncio.sleep(0.05)
        time.sleep(0.6)  # noqa: ASYNC251  (this is the fault)
        (result,) = await results.take(1)
    runner.close()

    assert result.ok, result
    assert any(isinstance(event, LoopBecameLate) for event in heard)


async def test_time_that_we_slept_is_given_back(threaded_port: int) -> None:
    """The request leaves late: the realserver still has its whole time-out to answer."""
    runner = ProbeRunner()
    with collecting() as results:
        # So long that a busy machine, which slows the server as well, stays within what is given back.
        runner.start("web", check(HTTP, threaded_port, timeout_ms=800), results.done)
        time.sleep(0.78)  # noqa: ASYNC251  (before the loop has seen that the connection stands)
        (result,) = await results.take(1)
    runner.close()

    assert result.ok, result


async def test_timeout_while_we_were_late_says_so() -> None:
    runner = ProbeRunner()
    with collecting() as results:
        async with serving(silent) as port:
            runner.start("web", check(HTTP, port, timeout_ms=100), results.done)
            await asyncio.sleep(0.03)
            time.sleep(0.3)  # noqa: ASYNC251  (this is the fault)
            (result,) = await results.take(1)
    runner.close()

    assert result.reason is Reason.TIMEOUT
    assert result.lag >= 200 * MILLISECOND
    assert result.timings.total < 1_000 * MILLISECOND


async def test_settings_of_a_check_may_change(runner: ProbeRunner) -> None:
    async with serving(silent) as port:
        for settings, ok in ((check(TCP, port), True), (check(TCP, free_port()), False)):
            with collecting() as results:
                runner.start("a", settings, results.done)
                (result,) = await results.take(1)
                assert result.ok is ok
