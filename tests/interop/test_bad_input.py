"""What can be wrong around vrrpd: it says so in a line that helps, and loses nothing by it.

In network namespaces, with real sockets; peers that are configured differently are
``test_keepalived_mismatch.py``'s.
"""

import os
import signal
import socket
import subprocess
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address
from typing import Any

import pytest

from lvsha.wire.arp import ArpForm, gratuitous_arp
from lvsha.wire.ndisc import unsolicited_advertisement
from tests.interop.stories import Stories
from tests.interop.vrrp_directors import Lvsha, Pair, gone, run_lvsha, running, wall_clock
from tests.interop.vrrp_stage import Host, Stage, addresses, until

pytestmark = pytest.mark.interop

stories = Stories()
outcomes = stories.fixture()

PAIR = Pair()
VIPS = addresses(*PAIR.addresses)
START_S = 30
FOREIGN_MAC = bytes.fromhex("020000000099")


def pair_of(stage: Stage, pair: Pair = PAIR) -> tuple[Lvsha, Lvsha]:
    return Lvsha(stage.host("lb1"), pair), Lvsha(stage.host("lb2"), pair)


async def event(lvsha: Lvsha, name: str, *, since: float = 0.0, **fields: Any) -> dict[str, Any]:
    """The first of its events of this name with these fields; waits for it."""

    def look() -> dict[str, Any] | None:
        for each in lvsha.events(name):
            if each["at"] >= since and all(each[key] == value for key, value in fields.items()):
                return each
        return None

    return await until(look, within=START_S, what=f"{name} {fields or ''}")


async def state(lvsha: Lvsha, wanted: str) -> None:
    await until(lambda: lvsha.state() == wanted, within=START_S, what=f"{lvsha.node} to be {wanted}")


def agent_words(lvsha: Lvsha, *more: str) -> list[str]:
    words = ["agent", "--file", str(lvsha.config_path), "--node", lvsha.node]
    return [*words, "--run-dir", str(lvsha.run_dir), *more]


def has_ip_vs() -> bool:
    return os.path.exists("/proc/net/ip_vs") or not subprocess.call(["modprobe", "-q", "-n", "ip_vs"])


# Before it runs


@stories.story
async def test_a_wrong_configuration_is_refused_with_every_problem_and_its_line(stage: Stage) -> None:
    lvsha, _ = pair_of(stage)
    text = (
        lvsha.config_path.read_text().replace("vrid = 51", "vird = 51").replace("10.0.0.11/24", "10.0.0.300")
    )
    lvsha.config_path.write_text(text)

    done = run_lvsha(lvsha.host, *agent_words(lvsha))

    lines = done.stderr.splitlines()
    assert done.returncode == 1
    assert len(lines) >= 2
    assert all(line.startswith(f"lvsha agent: {lvsha.config_path}: line ") for line in lines)
    assert any("vird" in line and "vrid" in line for line in lines)
    assert any("10.0.0.300" in line for line in lines)
    assert not lvsha.run_dir.exists(), "nothing was begun"


@stories.story
async def test_a_file_that_is_not_there_is_one_line(stage: Stage) -> None:
    lvsha, _ = pair_of(stage)
    lvsha.config_path.unlink()

    done = run_lvsha(lvsha.host, *agent_words(lvsha))

    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        f"lvsha agent: {lvsha.config_path}: No such file or directory; name the configuration file"
    ]


@stories.story
async def test_doubts_about_a_configuration_are_said_at_the_start(stage: Stage) -> None:
    lvsha, _ = pair_of(stage, replace(PAIR, interval=0.01))
    with running(lvsha):
        warned = await event(lvsha, "agent.config_warning")

    assert "advert_interval" in warned["problem"]
    assert "line " in warned["problem"]


@stories.story
async def test_a_missing_capability_is_named_with_what_gives_it(stage: Stage) -> None:
    lvsha, _ = pair_of(stage)

    done = run_lvsha(
        lvsha.host,
        *agent_words(lvsha, "--only", "vrrpd"),
        prefix=("setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin", "--"),
    )

    (complaint,) = [line for line in done.stderr.splitlines() if line.startswith("lvsha ")]
    assert done.returncode == 1
    assert "CAP_NET_ADMIN missing" in complaint
    assert "--cap-add NET_ADMIN" in complaint
    assert not VIPS & lvsha.host.addresses()


@stories.story
async def test_a_kernel_without_ip_vs_is_named_with_what_loads_it(stage: Stage) -> None:
    if has_ip_vs():
        pytest.skip("this kernel has ip_vs: tests/io/test_ipvs_genl.py has the refusal from a tape")
    lvsha, _ = pair_of(stage)

    done = run_lvsha(lvsha.host, *agent_words(lvsha, "--only", "directord"))

    (complaint,) = [line for line in done.stderr.splitlines() if line.startswith("lvsha ")]
    assert done.returncode == 1
    assert "modprobe ip_vs" in complaint


@stories.story
async def test_a_second_agent_is_refused_and_the_first_does_not_notice(stage: Stage) -> None:
    first, _ = pair_of(stage)
    with running(first):
        await state(first, "MASTER")
        begun = wall_clock()

        same = run_lvsha(first.host, *agent_words(first, "--only", "vrrpd"))
        whole = run_lvsha(first.host, *agent_words(first))

        for refused in (same, whole):
            assert refused.returncode == 1
            assert len(refused.stderr.splitlines()) == 1
            assert f"another lvsha agent (pid {first.pid})" in refused.stderr
            assert "stop it first" in refused.stderr
        assert first.state() == "MASTER"
        assert first.host.addresses() >= VIPS
        assert [each for each in first.events() if each["at"] >= begun] == []


# While it runs


@stories.story
async def test_a_missing_interface_is_a_fault_that_ends_when_it_comes(stage: Stage) -> None:
    lvsha, _ = pair_of(stage)
    lvsha.write_config(interface="eth9")
    with running(lvsha):
        said = await event(lvsha, "vrrp.interface_unusable")
        await state(lvsha, "FAULT")
        assert "there is no interface eth9 (there is: eth0, lo)" in said["problem"]
        assert lvsha.ask()["routers"][0]["fault"] == said["problem"]

        lvsha.host.namespace.batch(
            [
                "link add eth9 type veth peer name other",
                "addr add 10.0.0.9/24 dev eth9",
                "link set other up",
                "link set eth9 up",
            ]
        )
        await state(lvsha, "MASTER")
        assert lvsha.host.addresses() >= VIPS


@stories.story
async def test_an_interface_that_goes_down_hands_over_and_says_what_to_do(stage: Stage) -> None:
    lb1, lb2 = pair_of(stage)
    with running(lb1, lb2):
        await state(lb1, "MASTER")
        await state(lb2, "BACKUP")
        lb1.host.namespace.batch(["link set eth0 down"])

        said = await event(lb1, "vrrp.interface_unusable")
        await state(lb1, "FAULT")
        await state(lb2, "MASTER")

        assert "ip link set eth0 up" in said["problem"]
        assert not VIPS & lb1.host.addresses()


def send_frame(host: Host, frame: bytes) -> None:
    """Raw, from a host's eth0."""
    with (
        host.namespace.entered(),
        socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)) as sock,
    ):
        sock.bind(("eth0", 0))
        sock.send(frame)


@stories.story
async def test_somebody_else_with_our_address_is_named_and_answered_once(stage: Stage) -> None:
    lvsha, _ = pair_of(stage)
    with running(lvsha):
        await state(lvsha, "MASTER")
        await until(lambda: stage.wire.claims_of("lb1", VIPS, since=0), within=START_S, what="announcements")
        vip = IPv4Address("10.0.0.10")
        frame = gratuitous_arp(mac=FOREIGN_MAC, address=vip, form=ArpForm.REPLY)
        claimed = wall_clock()
        for _ in range(3):
            send_frame(stage.host("lb2"), frame)

        said = await event(lvsha, "vrrp.address_conflict")
        answer = await until(
            lambda: stage.wire.claims_of("lb1", frozenset({vip}), since=claimed), within=5, what="a defence"
        )

        assert (said["address"], said["mac"]) == ("10.0.0.10", FOREIGN_MAC.hex(":"))
        assert answer[0].mac != FOREIGN_MAC
        assert len(lvsha.events("vrrp.address_conflict")) == 1
        assert lvsha.state() == "MASTER"
        assert lvsha.host.addresses() >= VIPS


@stories.story
async def test_somebody_else_with_our_ipv6_address_is_named(stage: Stage) -> None:
    pair = replace(PAIR, addresses=("fe80::10/64", "2001:db8::10/64"))
    lvsha, _ = pair_of(stage, pair)
    with running(lvsha):
        await state(lvsha, "MASTER")
        vip = IPv6Address("2001:db8::10")
        message = unsolicited_advertisement(mac=FOREIGN_MAC, address=vip)
        with (
            stage.host("lb2").namespace.entered(),
            socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6) as sock,
        ):
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
            sock.sendto(message, ("ff02::1", 0, 0, socket.if_nametoindex("eth0")))

        said = await event(lvsha, "vrrp.address_conflict")

        assert (said["address"], said["mac"]) == ("2001:db8::10", FOREIGN_MAC.hex(":"))
        assert lvsha.state() == "MASTER"


@stories.story
async def test_two_masters_become_one_when_they_hear_each_other_again(stage: Stage) -> None:
    lb1, lb2 = pair_of(stage)
    with running(lb1, lb2):
        await state(lb1, "MASTER")
        await state(lb2, "BACKUP")
        stage.forward("lb1", frames=False)
        await state(lb2, "MASTER")
        assert stage.holders(VIPS) == ["lb1", "lb2"]
        healed = wall_clock()
        stage.forward("lb1", frames=True)

        said = await event(lb1, "vrrp.duplicate_master", since=healed)
        await state(lb2, "BACKUP")

        assert (said["other"], said["yields"]) == ("10.0.0.2", False)
        assert stage.holders(VIPS) == ["lb1"]
        # The network learns again where the address is.
        await until(lambda: stage.wire.claims_of("lb1", VIPS, since=healed), within=5, what="announcements")


@stories.story
async def test_a_killed_vrrpd_is_back_before_its_backup_gives_up(stage: Stage) -> None:
    lb1, lb2 = pair_of(stage, replace(PAIR, interval=0.5))
    with running(lb1, lb2):
        await state(lb1, "MASTER")
        await state(lb2, "BACKUP")
        before, killed = lb1.vrrpd_pid(), wall_clock()
        os.kill(before, signal.SIGKILL)

        adopted = await event(lb1, "vrrp.adopted_addresses", since=killed)
        await until(lambda: len(stage.wire.of("lb1", since=killed)) >= 4, within=START_S, what="adverts")

        assert adopted["as_master"]
        assert [each for each in lb2.events("vrrp.became_master") if each["at"] >= killed] == []
        assert lb1.host.addresses() >= VIPS
        assert gone(before)


@stories.story
async def test_a_reload_with_a_mistake_changes_nothing(stage: Stage) -> None:
    lvsha, _ = pair_of(stage)
    with running(lvsha):
        await state(lvsha, "MASTER")
        begun = wall_clock()
        lvsha.config_path.write_text(lvsha.config_path.read_text().replace("vrid = 51", "vrid = 510"))
        lvsha.signal(signal.SIGHUP)

        said = await event(lvsha, "agent.reload_refused", since=begun)

        assert "510" in said["problem"]
        assert lvsha.state() == "MASTER"
        assert lvsha.host.addresses() >= VIPS
