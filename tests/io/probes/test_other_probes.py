"""Programs, files and datagrams for real: processes, sockets on loopback, a real redis and dnsmasq."""

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from lvsha.checker.result import ProbeResult, Reason
from lvsha.checker.settings import (
    CheckKind,
    CheckSettings,
    DnsOptions,
    ExecOptions,
    FileOptions,
    RedisOptions,
    UdpOptions,
)
from lvsha.core.instant import MILLISECOND, SECOND
from lvsha.io.probes.runner import probe_once

HOST = "127.0.0.1"


def exec_check(*argv: str, **options: object) -> CheckSettings:
    return CheckSettings(
        kind=CheckKind.EXEC,
        address=ip_address(HOST),
        port=81,
        timeout=10 * SECOND,
        options=ExecOptions(argv=argv, **options),  # type: ignore[arg-type]
    )


async def run_script(text: str, **changes: Any) -> ProbeResult:
    return await probe_once(replace(exec_check("/bin/sh", "-c", text), **changes))


async def test_a_program_knows_its_target_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "x")

    result = await run_script('test "$LVSHA_CHECK_ADDRESS:$LVSHA_CHECK_PORT:$SECRET" = 127.0.0.1:81:')

    assert result.ok, result.detail


async def test_a_program_that_fails_is_quoted() -> None:
    result = await run_script("echo no disk >&2; exit 3")

    assert (result.reason, result.ours) == (Reason.NONZERO_EXIT, False)
    assert "exit status 3" in result.detail
    assert "no disk" in result.detail


def still_running(pids: Path) -> list[int]:
    """Those of a file that have not died; SIGKILL takes a moment."""
    left = [int(pid) for pid in pids.read_text().split()]
    for _ in range(200):
        left = [pid for pid in left if _state(pid) not in "ZX"]
        if not left:
            break
        time.sleep(0.01)
    return left


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return "X"


async def test_a_program_that_forks_and_hangs_dies_with_its_children(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    script = f"trap '' TERM; (trap '' TERM; exec sleep 1000) & echo $! > {pids}; echo $$ >> {pids}; wait"

    result = await run_script(script, timeout=500 * MILLISECOND)

    assert result.reason is Reason.TIMEOUT
    assert "killed" in result.detail
    assert not still_running(pids)


async def test_what_a_program_leaves_behind_dies_too(tmp_path: Path) -> None:
    pids = tmp_path / "pids"

    result = await run_script(f"sleep 1000 & echo $! > {pids}")

    assert result.ok
    assert not still_running(pids)


async def test_a_program_that_talks_without_end_is_not_listened_to() -> None:
    result = await run_script("yes | head -c 10000000; exit 1")

    assert result.reason is Reason.NONZERO_EXIT
    assert len(result.detail) <= 200


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        (exec_check("/nowhere/x"), "No such file"),
        (exec_check("/bin/true", user="nobody-at-all"), "nobody-at-all"),
    ],
)
async def test_a_program_that_cannot_start_is_our_fault(settings: CheckSettings, word: str) -> None:
    result = await probe_once(settings)

    assert (result.reason, result.ours) == (Reason.MISCONFIGURED, True)
    assert word in result.detail


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
async def test_a_program_gets_the_rights_of_its_user() -> None:
    result = await probe_once(exec_check("/bin/sh", "-c", 'test "$(id -un)" = nobody', user="nobody"))

    assert result.ok, result.detail


async def test_files(tmp_path: Path) -> None:
    switch = tmp_path / "maintenance"
    settings = CheckSettings(
        kind=CheckKind.FILE, address=ip_address(HOST), options=FileOptions(path=str(switch))
    )

    assert (await probe_once(settings)).ok
    switch.touch()
    assert (await probe_once(settings)).reason is Reason.TOLD_DOWN


@contextlib.contextmanager
def udp_server(answer: bytes | None) -> Iterator[int]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind((HOST, 0))
        loop = asyncio.get_running_loop()

        def reply() -> None:
            _, peer = server.recvfrom(2048)
            if answer is not None:
                server.sendto(answer, peer)

        loop.add_reader(server, reply)
        try:
            yield server.getsockname()[1]
        finally:
            loop.remove_reader(server)


def udp_check(port: int, **options: object) -> CheckSettings:
    return CheckSettings(
        kind=CheckKind.UDP,
        address=ip_address(HOST),
        port=port,
        timeout=200 * MILLISECOND,
        options=UdpOptions(payload=b"?", **options),  # type: ignore[arg-type]
    )


async def test_udp_answers() -> None:
    with udp_server(b"yes") as port:
        result = await probe_once(udp_check(port, expect=b"yes"))

    assert result.ok, result.detail


async def test_udp_silence() -> None:
    with udp_server(None) as port:
        assert (await probe_once(udp_check(port))).ok
        assert (await probe_once(udp_check(port, require_reply=True))).reason is Reason.TIMEOUT


async def test_a_closed_udp_port_is_down_at_once() -> None:
    with udp_server(None) as port:
        pass

    result = await probe_once(udp_check(port))

    assert (result.reason, result.ours) == (Reason.REFUSED, False)


@contextlib.contextmanager
def daemon(*argv: str) -> Iterator[None]:
    program = shutil.which(argv[0])
    assert program, f"{argv[0]} is not installed: `./run test` does it"
    process = subprocess.Popen([program, *argv[1:]], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(10)


def free_port(kind: int) -> int:
    with socket.socket(socket.AF_INET, kind) as sock:
        sock.bind((HOST, 0))
        port: int = sock.getsockname()[1]
        return port


async def answer_of(settings: CheckSettings, wanted: Reason) -> ProbeResult:
    """Ask until it is as wanted: a daemon takes a moment to listen."""
    for _ in range(100):
        result = await probe_once(settings)
        if result.reason is wanted:
            break
        await asyncio.sleep(0.05)
    return result


@pytest.mark.interop
async def test_a_real_redis(tmp_path: Path) -> None:
    port = free_port(socket.SOCK_STREAM)
    settings = CheckSettings(
        kind=CheckKind.REDIS, address=ip_address(HOST), port=port, options=RedisOptions(password="secret")
    )
    arguments = ("--port", str(port), "--bind", HOST, "--save", "", "--requirepass", "secret")

    with daemon("redis-server", *arguments, "--dir", str(tmp_path)):
        good = await answer_of(settings, Reason.OK)
        bad = await answer_of(replace(settings, options=RedisOptions(password="wrong")), Reason.BAD_RESPONSE)

    assert good.ok, good.detail
    assert "WRONGPASS" in bad.detail
    assert "wrong'" not in bad.detail


@pytest.mark.interop
async def test_a_real_dnsmasq(tmp_path: Path) -> None:
    port = free_port(socket.SOCK_DGRAM)
    settings = CheckSettings(
        kind=CheckKind.DNS,
        address=ip_address(HOST),
        port=port,
        options=DnsOptions(name="www.example.com", type="A", expect="192.0.2.7"),
    )
    arguments = [
        "--keep-in-foreground",
        "--conf-file=/dev/null",
        "--no-resolv",
        "--no-hosts",
        "--bind-interfaces",
    ]
    arguments += [f"--port={port}", f"--listen-address={HOST}", "--address=/www.example.com/192.0.2.7"]
    arguments += [f"--pid-file={tmp_path}/pid", f"--user={'root' if os.geteuid() == 0 else ''}"]

    with daemon("dnsmasq", *arguments):
        good = await answer_of(settings, Reason.OK)
        options = DnsOptions(name="www.example.com", type="A", expect="192.0.2.8")
        bad = await answer_of(replace(settings, options=options), Reason.BODY_MISMATCH)

    assert good.ok, good.detail
    assert bad.detail == "expected 192.0.2.8, got 192.0.2.7"
