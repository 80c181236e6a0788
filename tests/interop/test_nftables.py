"""Rules of a real nftables: what the doctor makes of them, and what ``lvsha realserver`` writes.

In namespaces of this machine: Debian's user-mode kernel, where the other kernel tests run, has nftables for
bridges alone.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from ipaddress import IPv4Address
from pathlib import Path
from socket import create_connection, create_server
from typing import Any

import pytest

from lvsha.doctor.firewall import Packet, find_drop, parse_nft
from lvsha.lab.netns import Namespace, ip_batch
from tests.doctor.test_firewall import ADVERT, WEB


def has_nftables() -> bool:
    """Whether this kernel, in a namespace of its own, takes a table."""
    command = ["unshare", "-n", "nft", "add table inet lvsha-try"]
    try:
        return subprocess.run(command, capture_output=True, check=False, timeout=60).returncode == 0
    except FileNotFoundError:
        return False


pytestmark = [
    pytest.mark.interop,
    pytest.mark.skipif(not has_nftables(), reason="needs root, nft, and a kernel with nftables"),
]

LINES = {
    "lb": ("address add 10.0.0.1/24 dev outer", "address add 10.1.0.254/24 dev inner"),
    "rs": ("address add 10.1.0.11/24 dev eth0", "route add default via 10.1.0.254"),
    "client": ("address add 10.0.0.100/24 dev eth0",),
}
"""Client and realserver, a director between them; the client knows no route to the realserver."""


@pytest.fixture
def hosts() -> Iterator[dict[str, Namespace]]:
    spaces = {name: Namespace(f"lvnft{os.getpid()}-{name}") for name in LINES}
    with ExitStack() as stack:
        for space in spaces.values():
            ip_batch([f"netns add {space.name}"])
            stack.callback(ip_batch, [f"netns del {space.name}"])
        for own, name in (("outer", "client"), ("inner", "rs")):
            spaces["lb"].batch([f"link add {own} type veth peer name eth0 netns {spaces[name].name}"])
        for name, lines in LINES.items():
            devices = ("lo", "outer", "inner") if name == "lb" else ("lo", "eth0")
            spaces[name].batch([*(f"link set {device} up" for device in devices), *lines])
        yield spaces


SYNC = Packet(protocol=17, destination=IPv4Address("224.0.0.81"), port=8848, interface="eth0")
WRAPPED = Packet(protocol=4, destination=IPv4Address("10.0.0.11"), interface="eth0")


@pytest.mark.parametrize(
    ("packet", "policy", "rule", "is_dropped"),
    [
        (WEB, "accept", "tcp dport { 22, 80-90 } counter drop", True),
        (WEB, "accept", "tcp dport 443 drop", False),
        (WEB, "accept", "ip daddr 10.0.0.0/24 tcp dport 80 reject with tcp reset", True),
        (WEB, "accept", "ip saddr != 10.0.0.0/24 drop", False),
        (WEB, "drop", "ct state established,related accept", True),
        (WEB, "drop", "ct state { new, established } accept", False),
        (WEB, "drop", "iifname eth0 tcp dport http accept", False),
        (WEB, "drop", "iifname lo accept", True),
        (WEB, "accept", "jump inner", True),
        (WEB, "drop", "limit rate 5/second accept", False),
        (WEB, "accept", "meta nfproto ipv6 drop", False),
        (ADVERT, "accept", "ip protocol vrrp drop", True),
        (ADVERT, "accept", "meta l4proto != tcp drop", True),
        (ADVERT, "drop", "ip daddr 224.0.0.0/4 accept", False),
        (SYNC, "accept", "udp dport 8848 drop", True),
        (SYNC, "accept", "ip daddr 224.0.0.81 udp dport 8848 counter accept", False),
        (WRAPPED, "accept", "meta l4proto ipencap drop", True),
        (WRAPPED, "accept", "ip protocol { tcp, udp } drop", False),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_rules_as_nft_prints_them(packet: Packet, policy: str, rule: str, is_dropped: bool) -> None:
    script = (
        "add table inet t; add chain inet t inner; add rule inet t inner tcp dport 80 drop;"
        f"add chain inet t in {{ type filter hook input priority 0; policy {policy}; }};"
        f"add rule inet t in {rule}"
    )
    done = subprocess.run(
        ["unshare", "-n", "sh", "-c", "nft -f - && nft -j list ruleset"],
        input=script,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    found = find_drop(parse_nft(done.stdout), "input", packet)

    assert done.returncode == 0, done.stderr
    assert (found is not None) is is_dropped, str(found)


def lvsha(space: Namespace, *arguments: str) -> tuple[int, dict[str, Any]]:
    command = [str(Path(sys.executable).with_name("lvsha")), *arguments, "--json"]
    with space.entered():
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def test_the_doctor_names_the_rule_that_drops(hosts: dict[str, Namespace]) -> None:
    rs = hosts["rs"]
    rs.batch(["address add 10.0.0.10/32 dev lo"])
    rs.sysctl(net__ipv4__conf__all__arp_ignore=1, net__ipv4__conf__all__arp_announce=2)
    told = ("doctor", "--vip=10.0.0.10:80", "--method=dr", "--listen=0")

    def drops() -> list[str]:
        found = lvsha(rs, *told)[1]["findings"]
        return [each["evidence"] for each in found if each["id"] == "firewall-drops"]

    with rs.entered():
        server = create_server(("0.0.0.0", 80))
    with server:
        before = drops()
        rs.run(["nft", "add table inet t"])
        rs.run(["nft", "add chain inet t in { type filter hook input priority 0; policy drop; }"])
        rs.run(["nft", "add rule inet t in tcp dport 22 accept"])
        after = drops()

    assert before == []
    assert len(after) == 1
    assert "TCP to 10.0.0.10 port 80" in after[0]
    assert "the policy of chain inet t in" in after[0]


NAT = """
[sync]
enabled = false
[directors]
lb1 = { address = "10.0.0.1" }
[[vrrp]]
interface = "outer"
vrid = 51
addresses = ["10.0.0.10/24", "10.1.0.254/24"]
[[service]]
address = "10.0.0.10:80"
method = "nat"
realservers = ["10.1.0.11:8080"]
"""
TUNNEL = """
[sync]
enabled = false
[[vrrp]]
interface = "eth0"
vrid = 51
addresses = ["10.0.0.10/24"]
[[service]]
address = "10.0.0.10:80"
method = "tun"
realservers = ["10.1.0.11"]
"""


def test_realservers_ask_with_the_directors_address(hosts: dict[str, Namespace], tmp_path: Path) -> None:
    """Masquerading: seen by its packets, done once, and taken back."""
    file, state = tmp_path / "lvsha.toml", tmp_path / "state.json"
    file.write_text(NAT)
    lb = hosts["lb"]
    here = (str(file), "--role", "director", "--state", str(state))

    def asks() -> str | None:
        """Whose address a server on the client sees; None: nobody came."""
        with hosts["client"].entered():
            server = create_server(("10.0.0.100", 7))
        with server, hosts["rs"].entered():
            try:
                connection = create_connection(("10.0.0.100", 7), 1.5)
            except OSError:
                return None
            with connection, server.accept()[0] as accepted:
                return str(accepted.getpeername()[0])

    before = asks()
    status, first = lvsha(lb, "realserver", "apply", "--yes", *here)
    masqueraded = asks()
    _, second = lvsha(lb, "realserver", "apply", "--yes", *here)
    tables = lb.run(["nft", "list", "tables"])
    undone = lvsha(lb, "realserver", "undo", "--state", str(state))[0]

    assert before is None
    assert (status, undone) == (0, 0)
    assert [step["what"] for step in first["applied"] if step["kind"] == "firewall"] == [
        "masquerade what the realservers ask for"
    ]
    assert masqueraded == "10.0.0.1"
    assert second == {"applied": []}
    assert tables.split() == ["table", "inet", "lvsha-masquerade"]
    assert lb.run(["nft", "list", "ruleset"]) == ""
    assert asks() is None


def test_the_clamp_of_a_tunnel_is_seen_as_done(hosts: dict[str, Namespace], tmp_path: Path) -> None:
    """The table is read back as it was written: a second plan has nothing to do for it."""
    file = tmp_path / "lvsha.toml"
    file.write_text(TUNNEL)
    rs = hosts["rs"]

    def clamp() -> dict[str, Any]:
        steps = lvsha(rs, "realserver", "plan", str(file))[1]["steps"]
        (step,) = (step for step in steps if step["kind"] == "firewall")
        return dict(step)

    before = clamp()
    rs.run(before["command"])
    after = clamp()
    rs.run(before["undo"])

    assert (before["done"], after["done"]) == (False, True)
    assert "maxseg size set 1440" in before["command"][1]
    assert rs.run(["nft", "list", "ruleset"]) == ""
