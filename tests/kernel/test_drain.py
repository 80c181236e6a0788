"""A realserver is drained under traffic: no new connection comes, and none of the old ones is cut."""

import json
import os
import select
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

from lvsha.cli.client import ask
from lvsha.lab.helper import Helper
from lvsha.lab.settings import Process
from lvsha.lab.topology import PORT
from tests.kernel.director_rig import Rig, running_pair

pytestmark = [pytest.mark.kernel, pytest.mark.timeout(120)]

HELD = 8


def persistent(text: str) -> str:
    assert 'scheduler = "rr"' in text
    return text.replace('scheduler = "rr"', 'scheduler = "rr"\npersistence_timeout = "300s"')


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    with running_pair(tmp_path_factory.mktemp("drain"), persistent) as rig:
        yield rig


def _traffic(address: str, port: int) -> None:
    """A new connection every 30 ms, and some that stay and say a line each 200 ms, until a line on stdin."""
    held: list[socket.socket] = []
    new: list[tuple[float, str]] = []
    resets: list[tuple[float, str]] = []
    servers: set[str] = set()

    def name_of(sock: socket.socket) -> str:
        sock.sendall(b"x\n")
        return sock.recv(200).decode().split(" ")[0]

    for _ in range(HELD):
        sock = socket.create_connection((address, port), 3)
        servers.add(name_of(sock))
        held.append(sock)
    print(json.dumps({"held": sorted(servers)}), flush=True)
    last = 0.0
    while not select.select([0], [], [], 0.03)[0]:
        began = time.time()
        try:
            with socket.create_connection((address, port), 3) as sock:
                new.append((began, name_of(sock)))
        except OSError as error:
            resets.append((began, f"new: {error}"))
        if time.monotonic() - last > 0.2:
            last = time.monotonic()
            for sock in held:
                try:
                    if name_of(sock) not in servers:
                        resets.append((time.time(), "another answered"))
                except OSError as error:
                    resets.append((time.time(), f"held: {error}"))
    os.read(0, 100)
    for sock in held:
        with suppress(OSError):
            sock.close()
    print(json.dumps({"new": new, "resets": resets}), flush=True)


@contextmanager
def traffic(rig: Rig) -> Iterator[tuple[str, dict[str, Any]]]:
    """The realserver that persistence chose, and (afterwards) what became of everything."""
    helper = Helper(
        "traffic",
        lambda: _traffic(str(rig.stage.vip), PORT),
        namespace=rig.stage.topology.client,
        log=rig.folder / "traffic.log",
    )
    try:
        (server,) = helper.receive(10.0)["held"]
        result: dict[str, Any] = {}
        yield server, result
        helper.send({})
        result.update(helper.receive(10.0))
    finally:
        helper.kill()


def destinations(rig: Rig, name: str) -> dict[str, dict[str, Any]]:
    """Of one realserver, by the protocol of the service."""
    found = {}
    for service in rig.status()["services"]:
        for row in service["destinations"]:
            if row["name"] == name:
                found[service["service"].split(" ")[0]] = row
    return found


def order(rig: Rig, verb: str, **body: Any) -> Any:
    return ask(str(rig.run_dir()), "POST", f"/v1/{verb}", body=body)


def test_a_drain_lets_nothing_new_in_cuts_nothing_off_and_outlives_its_directord(rig: Rig) -> None:
    """Also for a client that persistence ties to the realserver."""
    with traffic(rig) as (server, result):
        rig.stage.pump(1.0)
        name = f"{rig.stage.topology.realserver_address(server)}:{PORT}"

        answer = order(rig, "drain", target=name, deadline_s=12.0, reason="new disk")
        drained_at = time.time() + 0.05
        rig.stage.pump(1.0)
        shown = destinations(rig, name)

        os.kill(rig.worker(Process.DIRECTORD), signal.SIGKILL)
        rig.event("director.started", since=drained_at)
        after = rig.status()
        # UDP has no connection: out of the table at zero. TCP has those that stay: at the deadline.
        rig.until(lambda: destinations(rig, name)["UDP"]["kernel_weight"] is None, "UDP drained")
        held = destinations(rig, name)["TCP"]
        rig.stage.pump(1.0)

    assert {row["weight"] for row in answer["destinations"]} == {0}
    assert shown["TCP"]["kernel_weight"] == 0
    assert shown["TCP"]["drain"]["connections"] >= HELD
    assert 0 < shown["TCP"]["drain"]["deadline_s"] <= 12
    assert [(each["kind"], each["reason"]) for each in after["overrides"]] == [("drain", "new disk")]
    assert rig.events("director.started", since=drained_at)[-1]["writes"] == 0
    assert held["kernel_weight"] == 0
    late = [each for each in result["new"] if each[0] > drained_at and each[1] == server]
    assert (late, result["resets"]) == ([], [])
    assert len([each for each in result["new"] if each[0] > drained_at]) > 30

    rig.until(
        lambda: destinations(rig, name)["TCP"]["kernel_weight"] is None, "cut at the deadline", within=15
    )
    assert destinations(rig, name)["TCP"]["drain"]["phase"] == "cut"
    order(rig, "undrain", target=name)
    rig.until(lambda: destinations(rig, name)["TCP"]["kernel_weight"] == 1, "back with its weight")
    changes = ask(str(rig.run_dir()), "GET", f"/v1/history?realserver={name}")["changes"]
    assert [change["after"] for change in changes if "tcp" in change["service"]] == [1, 0, None, 1]
    assert all(change["causes"] for change in changes)
