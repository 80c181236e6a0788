"""A realserver in namespaces: before, prepared, proved by packets from the director, taken back."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from ipaddress import IPv6Address
from pathlib import Path
from socket import AF_INET6, create_server

import pytest

from lvsha.io.path_probe import Outcome, probe_path
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
    # tunl0 in each namespace, as on a machine of its own.
    only_first = Path("/proc/sys/net/core/fb_tunnels_only_for_init_net")
    before = only_first.read_text()
    only_first.write_text("0")
    names = {"lb1": "1", "rs1": "11", "client": "100"}
    spaces = {name: Namespace(f"real-{name}") for name in names}
    bridge = Namespace("real-bridge")
    with ExitStack() as stack:
        for space in (bridge, *spaces.values()):
            ip_batch([f"netns add {space.name}"])
            stack.callback(ip_batch, [f"netns del {space.name}"])
        bridge.batch(["link add br0 type bridge", "link set br0 up"])
        for name, space in spaces.items():
            space.sysctl(net__ipv6__conf__default__accept_dad=0)
            space.batch(
                [
                    f"link add eth0 type veth peer name {name} netns {bridge.name}",
                    "link set lo up",
                    "link set eth0 up",
                    f"address add 10.0.0.{names[name]}/24 dev eth0",
                    f"address add fd00::{names[name]}/64 dev eth0 nodad",
                ]
            )
            bridge.batch([f"link set {name} master br0", f"link set {name} up"])
        spaces["lb1"].batch(
            ["address add 10.0.0.10/24 dev eth0", "address add fd00::10/64 dev eth0 nodad preferred_lft 0"]
        )
        yield spaces
    only_first.write_text(before)


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


TUNNELS = """
[sync]
enabled = false
[directors]
lb1 = { address = "10.0.0.1" }
[[vrrp]]
interface = "eth0"
vrid = 51
addresses = ["10.0.0.10/24"]
[[service]]
address = "10.0.0.10:80"
method = "tun"
realservers = ["10.0.0.11"]
[[service]]
address = "10.0.0.10:81"
method = "tun"
tunnel = { type = "gre" }
realservers = ["10.0.0.11"]
[[service]]
address = "10.0.0.10:82"
method = "tun"
tunnel = { type = "gue", port = 6080 }
realservers = ["10.0.0.11"]
"""

NAT = """
[directors]
lb1 = { address = "10.0.0.1" }
[[vrrp]]
interface = "eth0"
vrid = 51
addresses = ["10.0.0.10/24"]
[[service]]
address = "10.0.0.10:80"
method = "nat"
realservers = ["10.0.0.11:8080"]
"""


_LOOK = """
ip -4 -o address; ip -4 route | sort; nft list tables; ip fou show; ip -o link | grep -o "^.*gre:"
cd /proc/sys/net/ipv4
grep . ip_forward conf/all/arp_* conf/*/rp_filter conf/*/send_redirects conf/*/accept_redirects
grep . conf/lo/arp_* conf/eth0/arp_*
"""


def settings_of(space: Namespace) -> list[str]:
    """What a plan may change: addresses, routes, settings, tables."""
    with space.entered():
        done = subprocess.run(["sh", "-c", _LOOK], capture_output=True, text=True, check=False, timeout=60)
    return done.stdout.splitlines()


@pytest.mark.parametrize(
    ("text", "host", "role"),
    [(TUNNELS, "rs1", "realserver"), (NAT, "rs1", "realserver"), (NAT, "lb1", "director")],
    ids=["tunnels", "one network", "director"],
)
def test_applied_twice_it_does_nothing_and_undone_nothing_is_left(
    hosts: dict[str, Namespace], tmp_path: Path, text: str, host: str, role: str
) -> None:
    file, state = tmp_path / "lvsha.toml", tmp_path / "state.json"
    file.write_text(text)
    space = hosts[host]
    space.run(["sysctl", "-q", "-w", "net.ipv4.conf.all.rp_filter=1"])
    here = (str(file), "--role", role, "--state", str(state))
    before = settings_of(space)

    status, first = lvsha(space, "apply", "--yes", *here)
    assert status == 0, first
    after = settings_of(space)
    status, second = lvsha(space, "apply", "--yes", *here)

    assert (status, second) == (0, {"applied": []})
    assert first["applied"]
    assert after != before
    assert lvsha(space, "undo", "--state", str(state))[0] == 0
    assert settings_of(space) == before


def test_a_director_proves_each_path_by_packets(hosts: dict[str, Namespace], tmp_path: Path) -> None:
    """DR, IP in IP, GRE and GUE, without an IPVS table; then a narrow way, and a realserver taken back."""
    file, state = tmp_path / "lvsha.toml", tmp_path / "state.json"
    file.write_text(TUNNELS + CONFIG[CONFIG.index("[[service]]") :].replace(":80", ":83"))
    lb1, rs1 = hosts["lb1"], hosts["rs1"]
    rs1.run(["sysctl", "-q", "-w", "net.ipv4.conf.all.rp_filter=1"])
    asked = (str(file), "--role", "director")
    assert lvsha(rs1, "apply", "--yes", str(file), "--state", str(state))[0] == 0

    with ExitStack() as stack:
        with rs1.entered():
            for port in (80, 81, 82, 83):
                stack.enter_context(create_server(("0.0.0.0", port)))
        sound = lvsha(lb1, "check", *asked)
        rs1.run(["ip", "fou", "del", "port", "6080"])
        rs1.run(["sysctl", "-q", "-w", "net.ipv4.conf.tunl0.rp_filter=2"])
        broken = lvsha(lb1, "check", *asked)

    assert (sound[0], wrong(sound[1]["findings"])) == (0, []), json.dumps(sound[1])
    assert len(wrong(sound[1]["findings"], ok=True)) == 8  # ARP, four answers, three of full size
    assert broken[0] == 1
    assert wrong(broken[1]["findings"]) == [
        "10.0.0.11 answers from 10.0.0.10 port 80, by TUNNEL",
        "10.0.0.11 answers from 10.0.0.10 port 82, by TUNNEL",
    ]


TUNNELS_6 = """
[sync]
enabled = false
[directors]
lb1 = { address = "10.0.0.1" }
[[vrrp]]
interface = "eth0"
vrid = 51
version = 3
addresses = ["fd00::10/64"]
[[service]]
address = "[fd00::10]:80"
realservers = ["fd00::11"]
[[service]]
address = "[fd00::10]:81"
method = "tun"
realservers = ["fd00::11"]
[[service]]
address = "[fd00::10]:82"
method = "tun"
tunnel = { type = "gre" }
realservers = ["fd00::11"]
[[service]]
address = "[fd00::10]:83"
method = "tun"
tunnel = { type = "gue", port = 6080 }
realservers = ["fd00::11"]
"""


@pytest.mark.timeout(300)
def test_ipv6_paths_are_proved_by_packets(hosts: dict[str, Namespace], tmp_path: Path) -> None:
    """Neighbour solicitations, DR, IP in IP, GRE and GUE; then a narrow way, and the address on the wire."""
    file, state = tmp_path / "lvsha.toml", tmp_path / "state.json"
    file.write_text(TUNNELS_6)
    lb1, rs1, client = hosts["lb1"], hosts["rs1"], hosts["client"]
    asked = (str(file), "--role", "director")
    assert lvsha(rs1, "apply", "--yes", str(file), "--state", str(state))[0] == 0

    with ExitStack() as stack:
        with rs1.entered():
            for port in (80, 81, 82, 83):
                stack.enter_context(create_server(("::", port), family=AF_INET6))
        sound = lvsha(lb1, "check", *asked)
        near = lvsha(client, "check", "--arp", "eth0", str(file))
        rs1.batch(["address add fd00::10/128 dev eth0 nodad", "link set eth0 mtu 1400"])
        broken = lvsha(lb1, "check", *asked)
        near_broken = lvsha(client, "check", "--arp", "eth0", str(file))
        rs1.batch(["address del fd00::10/128 dev eth0", "address del fd00::10/128 dev lo"])
        gone = lvsha(lb1, "check", *asked)

    lb1.sysctl(net__ipv6__conf__all__forwarding=1)
    lb1.batch(["address add fd01::1/64 dev eth0 nodad"])
    client.batch(["route add fd01::/64 via fd00::1"])
    with client.entered():
        arrived = probe_path(IPv6Address("fd00::11"), 33434, size=1280, timeout_s=10.0)
        too_big = probe_path(IPv6Address("fd00::11"), 33434, size=1501, timeout_s=10.0)
        expired = probe_path(IPv6Address("fd01::99"), 33434, ttl=1, timeout_s=10.0)

    assert arrived == (Outcome.ARRIVED, IPv6Address("fd00::11"))
    assert too_big == (Outcome.TOO_BIG, None)
    assert expired[0] is Outcome.EXPIRED
    assert (sound[0], wrong(sound[1]["findings"])) == (0, []), json.dumps(sound[1])
    assert len(wrong(sound[1]["findings"], ok=True)) == 8  # neighbours, four answers, three of full size
    assert near[0] == 0, json.dumps(near[1])
    assert broken[0] == 1
    assert wrong(broken[1]["findings"]) == [
        "nobody but this director answers neighbour solicitation for fd00::10 on eth0",
        "1460 bytes with DF come through the tunnel to fd00::11",
        "1456 bytes with DF come through the tunnel to fd00::11",
        "1448 bytes with DF come through the tunnel to fd00::11",
    ]
    assert near_broken[0] == 1, json.dumps(near_broken[1])
    assert [text for text in wrong(gone[1]["findings"]) if "answers from" in text] == [
        f"fd00::11 answers from fd00::10 port {port}, by {method}"
        for port, method in ((80, "DROUTE"), (81, "TUNNEL"), (82, "TUNNEL"), (83, "TUNNEL"))
    ]


def wrong(findings: object, *, ok: bool = False) -> list[str]:
    assert isinstance(findings, list)
    return [finding["what"] for finding in findings if finding["ok"] is ok]
