"""``lvsha switchover``, its refusal, ``--force`` and ``lvsha sync resync``, by hand on a running pair.

The tests follow one another.
"""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from ipaddress import IPv4Address

import pytest

from lvsha.director.rebuild import rebuilder
from lvsha.io.conn_rows import table_rows
from lvsha.io.ipvs_genl import IpvsSocket
from lvsha.io.private_link import PRIVATE_INTERFACE
from lvsha.io.sync_socket import SyncInjector
from lvsha.lab.scenarios.flood import syn
from lvsha.lab.topology import PORT
from lvsha.sync.resync import deletion, pack
from lvsha.wire.ipvs_sync.v1 import encode_entry
from tests.kernel.director_rig import Process, Rig, running_pair

pytestmark = [pytest.mark.kernel, pytest.mark.timeout(120)]

CONNECTIONS = 40
STRANGER = IPv4Address("10.0.0.99")
"""Nobody has this address, so whoever answers it is not answered."""
STRANGERS_PORT = 5555


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    with running_pair(tmp_path_factory.mktemp("switchover")) as rig:
        rig.stage.open_connections(CONNECTIONS)
        yield rig


def order(rig: Rig, node: str, *words: str) -> tuple[int, str, str]:
    """Exit status, stdout and stderr of a command about a director."""
    command = [sys.executable, "-m", "lvsha.cli.main", *words, "--run-dir", str(rig.run_dir(node))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


def survived(rig: Rig) -> int:
    return int(rig.stage.check_connections()["survived"])


def has_rows(rig: Rig, node: str, count: int) -> bool:
    return sum(row[0] == "TCP" for row in rig.stage.rows(node)) == count


def test_a_resync_by_hand_brings_back_what_the_others_kernel_has_lost(rig: Rig) -> None:
    rig.until(lambda: has_rows(rig, "lb2", CONNECTIONS), "lb2 has every connection")
    with rig.namespace("lb2").entered(), IpvsSocket() as ipvs:
        rebuild = rebuilder(ipvs.table(), ipvs.timeouts())
        gone = [deletion(encode_entry(conn)) for row in table_rows() if (conn := rebuild(row))]
        with SyncInjector(PRIVATE_INTERFACE) as injector:
            injector.deliver(pack(51, gone))
    rig.until(lambda: has_rows(rig, "lb2", 0), "lb2's kernel has lost every connection")

    status, said, _ = order(rig, "lb1", "sync", "resync")

    assert status == 0
    assert "connections go to lb2 again" in said
    rig.until(lambda: has_rows(rig, "lb2", CONNECTIONS), "lb2 has every connection again")


def is_half_open(rig: Rig, node: str) -> bool:
    return any(row[1:3] == (f"{int(STRANGER):08X}", f"{STRANGERS_PORT:04X}") for row in rig.stage.rows(node))


def test_a_switchover_moves_the_address_and_no_connection_dies(rig: Rig) -> None:
    """Nor does the one whose first packet came before and whose second will come after it."""
    vip = IPv4Address(rig.stage.vip)
    with (
        rig.stage.topology.client.entered(),
        socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw,
    ):
        raw.sendto(syn(STRANGER, STRANGERS_PORT, vip, PORT), (str(vip), 0))
    rig.until(lambda: is_half_open(rig, "lb1"), "lb1 has seen a first packet")
    assert not is_half_open(rig, "lb2")

    status, _, complaint = order(rig, "lb1", "switchover")

    assert (status, complaint) == (0, "")
    rig.until(lambda: rig.holders() == {"lb2"}, "lb2 holds the address")
    rig.until(lambda: is_half_open(rig, "lb2"), "lb2 knows of the handshake")
    assert survived(rig) == CONNECTIONS
    done = rig.events("director.handover_finished")[-1]
    assert (done["forced"], done["lost_count"]) == ("", 0)


def test_without_a_peer_it_is_refused_with_the_list_of_what_would_be_lost(rig: Rig) -> None:
    assert order(rig, "lb1", "resume")[0] == 0
    os.kill(rig.worker(Process.DIRECTORD, "lb1"), signal.SIGSTOP)
    try:
        rig.event("relay.peer_lost", node="lb2", since=0)
        status, listed, complaint = order(rig, "lb2", "switchover")

        assert status == 1
        assert "refused: no other director is connected; --force" in complaint
        ours = [line for line in listed.splitlines() if str(STRANGER) not in line]
        assert sum("10.0.0.10:8000 -> 10.0.0.1" in line for line in ours) == CONNECTIONS
        assert rig.holders() == {"lb2"}

        status, _, _ = order(rig, "lb2", "switchover", "--force")

        assert status == 0
        rig.until(lambda: rig.holders() == {"lb1"}, "lb1 holds the address")
    finally:
        os.kill(rig.worker(Process.DIRECTORD, "lb1"), signal.SIGCONT)
    # Its kernel had them all along; only nobody could say so.
    assert survived(rig) == CONNECTIONS
    done = rig.events("director.handover_finished", node="lb2")[-1]
    assert done["forced"] == "no other director is connected"
