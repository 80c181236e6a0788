"""A realserver in namespaces: before, prepared, proved by packets from the director, taken back."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from socket import create_server

import pytest

from lvsha.lab.netns import Namespace, ip_batch

pytestmark = pytest.mark.kernel

CONFIG = """
[directors]
lb1 = { address = "10.0.0.1" }
[[vrrp]]
interface = "eth0"
vrid = 51
addresses = ["10.0.0.10/24"]
[[service]]
address = "10.0.0.10:80"
realservers = ["10.0.0.11"]
"""


@pytest.fixture
def hosts() -> Iterator[dict[str, Namespace]]:
    """A director that holds the address, a realserver and a client on one bridge."""
    names = {"lb1": "10.0.0.1/24", "rs1": "10.0.0.11/24", "client": "10.0.0.100/24"}
    spaces = {name: Namespace(f"real-{name}") for name in names}
    bridge = Namespace("real-bridge")
    with ExitStack() as stack:
        for space in (bridge, *spaces.values()):
            ip_batch([f"netns add {space.name}"])
            stack.callback(ip_batch, [f"netns del {space.name}"])
        bridge.batch(["link add br0 type bridge", "link set br0 up"])
        for name, space in spaces.items():
            space.batch(
                [
                    f"link add eth0 type veth peer name {name} netns {bridge.name}",
                    "link set lo up",
                    "link set eth0 up",
                    f"address add {names[name]} dev eth0",
                ]
            )
            bridge.batch([f"link set {name} master br0", f"link set {name} up"])
        spaces["lb1"].batch(["address add 10.0.0.10/24 dev eth0"])
        yield spaces


def lvsha(space: Namespace, *arguments: str) -> tuple[int, dict[str, object]]:
    command = [str(Path(sys.executable).with_name("lvsha")), "realserver", *arguments, "--json"]
    with space.entered():
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def test_from_a_bare_machine_and_back(hosts: dict[str, Namespace], tmp_path: Path) -> None:
    file, state = tmp_path / "lvsha.toml", tmp_path / "state.json"
    file.write_text(CONFIG)
    here = (str(file), "--state", str(state))
    before = hosts["rs1"].run(["ip", "-4", "-o", "address"])

    assert lvsha(hosts["rs1"], "check", *here)[0] == 1
    status, _ = lvsha(hosts["rs1"], "apply", "--yes", *here)
    assert status == 0
    with hosts["rs1"].entered():
        server = create_server(("10.0.0.10", 80))
    with server:  # its backlog takes the connection
        status, found = lvsha(hosts["rs1"], "check", *here)
    assert status == 0, found
    status, found = lvsha(hosts["client"], "check", "--arp", "eth0", *here)
    assert status == 0, found
    assert lvsha(hosts["rs1"], "undo", "--state", str(state))[0] == 0
    assert hosts["rs1"].run(["ip", "-4", "-o", "address"]) == before


def test_a_realserver_that_answers_arp_is_found(hosts: dict[str, Namespace], tmp_path: Path) -> None:
    file = tmp_path / "lvsha.toml"
    file.write_text(CONFIG)
    hosts["rs1"].batch(["address add 10.0.0.10/32 dev lo"])  # without arp_ignore: the classic mistake

    status, found = lvsha(hosts["client"], "check", "--arp", "eth0", str(file))

    assert status == 1
    assert "lvsha realserver apply" in str(found)
