"""Addresses with the virtual router's own hardware address: in a takeover, a restart, beside keepalived."""

import os
import signal

import pytest

from lvsha.core.addr import Address
from tests.interop.stories import Stories
from tests.interop.test_vrrp_authentication import START_S
from tests.interop.vrrp_directors import Keepalived, Lvsha, Pair, ended, gone, wall_clock
from tests.interop.vrrp_stage import Host, Stage, addresses, until

pytestmark = pytest.mark.interop

stories = Stories()
outcomes = stories.fixture()

PAIR_4 = Pair(preempts=False)
PAIR_6 = Pair(addresses=("fe80::10/64", "2001:db8::10/64"), preempts=False)
MAC_4 = bytes.fromhex("00005e000133")
MAC_6 = bytes.fromhex("00005e000233")
ALL_4 = addresses(*PAIR_4.addresses)


def with_vmac(stage: Stage, node: str, pair: Pair) -> Lvsha:
    director = Lvsha(stage.host(node), pair)
    with director.config_path.open("a") as config:
        config.write("vmac = true\n")
    return director


def interface(host: Host, name: str = "vrrp.51") -> tuple[str, list[str]]:
    """Its hardware address while it is up, else "down" or "none"; the addresses on it."""
    lines = host.namespace.run(["ip", "-o", "link", "show"]).splitlines()
    line = next((each for each in lines if f" {name}@" in each), None)
    if line is None:
        return "none", []
    words = host.namespace.run(["ip", "-o", "addr", "show", "dev", name]).split()
    bound = sorted(words[place + 1] for place, word in enumerate(words) if word in ("inet", "inet6"))
    return (line.split("link/ether ")[1].split()[0] if ",UP" in line or "<UP" in line else "down"), bound


def answering(host: Host, address: Address) -> str:
    """Which hardware address a host finds behind a virtual address."""
    host.namespace.run(["ip", "neigh", "flush", "dev", "eth0"])
    ping = ["ping", "-c1", "-W5", "-n", *(["-I", "eth0"] if address.version == 6 else []), str(address)]
    host.namespace.run(ping)
    words = host.namespace.run(["ip", "neigh", "show", str(address), "dev", "eth0"]).split()
    return words[words.index("lladdr") + 1]


def sources(stage: Stage, node: str, *, since: float) -> set[bytes]:
    """Hardware addresses that a director's adverts came from."""
    return {advert.mac for advert in stage.wire.of(node, since=since)}


@stories.story
async def test_the_hardware_address_moves_with_the_addresses_and_stays_through_a_restart(
    stage: Stage,
) -> None:
    one, other = (with_vmac(stage, node, PAIR_4) for node in ("lb1", "lb2"))
    with ended(one, other):
        one.start()
        await until(lambda: stage.holders(ALL_4) == ["lb1"] or None, within=START_S, what="one MASTER")
        other.start()
        await until(lambda: bool(other.events("vrrp.master_changed")), within=START_S, what="lb2 to hear")

        assert interface(one.host) == (MAC_4.hex(":"), sorted(PAIR_4.addresses))
        assert interface(other.host) == ("down", [])
        assert sources(stage, "lb1", since=0) == {MAC_4}
        assert {claim.mac for claim in stage.wire.claims} == {MAC_4}
        # Only the virtual router answers, not the interface below it.
        assert answering(other.host, min(ALL_4)) == MAC_4.hex(":")

        worker = one.vrrpd_pid()
        os.kill(worker, signal.SIGKILL)
        await until(lambda: gone(worker) and one.vrrpd_pid() != worker, within=10, what="a successor")
        await until(lambda: bool(one.events("vrrp.adopted_addresses")), within=10, what="adoption")
        assert stage.holders(ALL_4) == ["lb1"]
        assert not other.events("vrrp.became_master")

        since = wall_clock()
        one.stop()
        await until(lambda: stage.holders(ALL_4) == ["lb2"] or None, within=10, what="the successor")
        await until(lambda: one.status is not None or None, within=10, what="lb1 to leave")
        assert interface(one.host) == ("none", [])
        assert interface(other.host) == (MAC_4.hex(":"), sorted(PAIR_4.addresses))
        assert sources(stage, "lb2", since=since) == {MAC_4}
        assert one.host.namespace.run(["cat", "/proc/sys/net/ipv4/conf/eth0/arp_ignore"]).strip() == "0"


@stories.story
async def test_ipv6_advertises_from_the_link_local_address_below(stage: Stage) -> None:
    pair = PAIR_6
    one, other = (with_vmac(stage, node, pair) for node in ("lb1", "lb2"))
    ours = addresses(*pair.addresses)
    with ended(one, other):
        one.start()
        await until(lambda: stage.holders(ours) == ["lb1"] or None, within=START_S, what="one MASTER")
        other.start()
        await until(lambda: bool(other.events("vrrp.master_changed")), within=START_S, what="lb2 to hear")

        assert interface(one.host, "vrrp6.51") == (MAC_6.hex(":"), sorted(pair.addresses))
        assert sources(stage, "lb1", since=0) == {MAC_6}
        assert all(advert.source.is_link_local for advert in stage.wire.of("lb1"))
        assert answering(other.host, max(ours)) == MAC_6.hex(":")

        stage.cable("lb1", plugged=False)
        await until(lambda: stage.holders(ours) == ["lb2"] or None, within=10, what="a takeover")
        stage.cable("lb1", plugged=True)


async def takeover_beside_keepalived(stage: Stage, *, leader: str) -> None:
    pair = Pair(preempts=False)
    ours = with_vmac(stage, "lb1" if leader == "lvsha" else "lb2", pair)
    theirs = Keepalived(stage.host("lb2" if leader == "lvsha" else "lb1"), pair)
    config = theirs.host.folder / "keepalived.conf"
    text = config.read_text()
    config.write_text(text.replace("interface eth0", "interface eth0\n  use_vmac vrrp.51"))
    one, other = sorted((ours, theirs), key=lambda director: director.node)
    with ended(one, other):
        one.start()
        await until(lambda: stage.holders(ALL_4) == ["lb1"] or None, within=START_S, what="one MASTER")
        other.start()
        await until(
            lambda: bool(ours.events("vrrp.master_changed")) or "Entering BACKUP" in theirs.log() or None,
            within=START_S,
            what="the other as BACKUP",
        )
        assert sources(stage, "lb1", since=0) == {MAC_4}

        since = wall_clock()
        stage.forward("lb1", frames=False)
        await until(lambda: stage.holders(ALL_4) == ["lb1", "lb2"] or None, within=10, what="two MASTERs")
        # They hear each other again, although both send from one hardware address.
        stage.forward("lb1", frames=True)
        await until(lambda: stage.holders(ALL_4) == ["lb1"] or None, within=10, what="the worse to yield")
        assert sources(stage, "lb2", since=since) == {MAC_4}


@stories.story
async def test_keepalived_takes_over_from_lvsha_with_one_hardware_address(stage: Stage) -> None:
    await takeover_beside_keepalived(stage, leader="lvsha")


@stories.story
async def test_lvsha_takes_over_from_keepalived_with_one_hardware_address(stage: Stage) -> None:
    await takeover_beside_keepalived(stage, leader="keepalived")
