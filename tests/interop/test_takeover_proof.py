"""A new MASTER asks its gateway, and says whether it has followed: over IPv4 and IPv6."""

from ipaddress import ip_address

import pytest

from tests.interop.stories import Stories
from tests.interop.test_keepalived_mismatch import first_event
from tests.interop.vrrp_directors import Lvsha, Pair, ended
from tests.interop.vrrp_stage import OWN_4, Stage, addresses, until

pytestmark = pytest.mark.interop

stories = Stories()
outcomes = stories.fixture()

START_S = 40


def gateway(stage: Stage, address: str, length: int) -> None:
    """The switch is the gateway of both directors."""
    family = "-6" if ":" in address else "-4"
    if family == "-6":
        stage.switch.sysctl(net__ipv6__conf__br0__disable_ipv6=0)
    nodad = ["nodad"] if family == "-6" else []
    stage.switch.run(["ip", "addr", "add", f"{address}/{length}", "dev", "br0", *nodad])
    for host in stage.hosts.values():
        host.namespace.run(["ip", family, "route", "add", "default", "via", address, "dev", "eth0"])


def mac_of(stage: Stage, node: str) -> str:
    words = stage.host(node).namespace.run(["ip", "-o", "link", "show", "dev", "eth0"]).split()
    return words[words.index("link/ether") + 1]


@stories.story
async def test_the_gateway_is_asked_until_it_has_followed(stage: Stage) -> None:
    gateway(stage, "10.0.0.254", 24)
    pair = Pair()
    lb1, lb2 = (Lvsha(stage.host(node), pair) for node in ("lb1", "lb2"))
    with ended(lb1, lb2):
        lb1.start()
        proved = await first_event(lb1, "vrrp.takeover_proved")
        assert proved["neighbors"] == ["10.0.0.254"]
        assert proved["asked"] >= len(pair.addresses)

        lb2.start()
        await first_event(lb2, "vrrp.became_backup", reason="started")
        await until(lambda: lb2.state() == "BACKUP" or None, within=START_S, what="a BACKUP")
        stage.switch.run(["ip", "addr", "del", "10.0.0.254/24", "dev", "br0"])
        stage.cable("lb1", plugged=False)
        doubted = await first_event(lb2, "vrrp.takeover_unproved")
        assert doubted["silent"] == ["10.0.0.254"]
        assert doubted["addresses"] == len(pair.addresses)
        assert lb2.events("vrrp.takeover_proved") == []

        stage.switch.run(["ip", "addr", "add", "10.0.0.254/24", "dev", "br0"])
        await first_event(lb2, "vrrp.takeover_proved")
        # And what it had to learn, it knows: the neighbour table of the gateway itself.
        known = stage.switch.run(["ip", "neigh", "show", "dev", "br0"])
        mac = mac_of(stage, "lb2")
        for vip in ("10.0.0.10", "10.0.0.11"):
            for line in known.splitlines():
                assert not line.startswith(f"{vip} ") or mac in line


@stories.story
async def test_a_gateway_over_ipv6_answers_too(stage: Stage) -> None:
    gateway(stage, "2001:db8::fe", 64)
    lb1 = Lvsha(stage.host("lb1"), Pair(addresses=("fe80::10/64", "2001:db8::10/64")))
    with ended(lb1):
        lb1.start()
        proved = await first_event(lb1, "vrrp.takeover_proved")

        assert proved["neighbors"] == ["2001:db8::fe"]


@stories.story
async def test_a_second_holder_that_is_silent_is_found(stage: Stage) -> None:
    """A frozen former MASTER: its kernel answers ARP, its process says nothing."""
    stage.host("lb2").namespace.run(["ip", "addr", "add", "10.0.0.10/24", "dev", "eth0"])
    lb1 = Lvsha(stage.host("lb1"), Pair())
    with ended(lb1):
        lb1.start()
        conflict = await first_event(lb1, "vrrp.address_conflict")
        await first_event(lb1, "vrrp.became_master")

        mac = mac_of(stage, "lb2")
        assert (conflict["address"], conflict["mac"]) == ("10.0.0.10", mac)
        claims = stage.wire.claims_of("lb1", addresses("10.0.0.10"), since=0.0)
        assert claims, "announced"
        assert ip_address(OWN_4["lb2"]) not in {claim.address for claim in claims}
