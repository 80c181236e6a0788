"""Time, network and director of the simulator: what the swarm stands on."""

from ipaddress import IPv4Address, IPv4Interface
from random import Random

import pytest

from lvsha.core.addr import Address
from lvsha.core.instant import MILLISECOND, SECOND, Instant
from lvsha.core.machine import Output
from lvsha.sim.director import INBOX, Director
from lvsha.sim.network import GATEWAY, Claim, Datagram, Frame, Network, Weather
from lvsha.sim.world import World
from lvsha.vrrp.settings import RouterSettings

A, B = IPv4Address("10.0.0.1"), IPv4Address("10.0.0.2")
GROUP = IPv4Address("224.0.0.18")
VIP = IPv4Interface("10.0.0.10/24")


def datagram(number: int = 0, to: Address = GROUP) -> Datagram:
    return Datagram(A, to, 255, bytes([number]))


def segment(seed: int = 0) -> tuple[World, Network, dict[str, list[Frame]]]:
    world = World()
    network = Network(world, Random(seed))
    heard: dict[str, list[Frame]] = {"a": [], "b": [], "c": []}
    for number, name in enumerate(heard, start=1):
        network.attach(name, IPv4Address(f"10.0.0.{number}"), heard[name].append)
    return world, network, heard


def test_time_jumps_to_what_is_to_come_and_ends_where_it_was_told_to() -> None:
    world = World()
    seen: list[int] = []
    world.at(Instant(50), lambda: seen.append(world.now))
    world.at(Instant(10), lambda: seen.append(world.now))

    world.advance(40)
    at_40 = list(seen)
    world.advance(40)

    assert at_40 == [10]
    assert seen == [10, 50]
    assert world.now == 80


def test_what_is_due_at_once_comes_in_the_order_it_was_asked_for() -> None:
    world = World()
    seen: list[str] = []
    for name in "abc":
        world.at(Instant(5), lambda name=name: seen.append(name))
    world.advance(5)

    assert seen == ["a", "b", "c"]


def test_time_that_stands_still_is_noticed() -> None:
    world = World()

    def again() -> None:
        world.at(world.now, again)

    world.at(Instant(5), again)

    with pytest.raises(AssertionError, match="time stands still"):
        world.advance(10)


def test_a_group_is_everybody_else_and_an_address_is_one() -> None:
    world, network, heard = segment()

    network.send("a", datagram(1))
    network.send("a", datagram(2, to=B))
    world.advance(SECOND)

    assert [len(heard[name]) for name in "abc"] == [0, 2, 1]


def test_a_cut_is_in_one_direction() -> None:
    world, network, heard = segment()
    network.cut("a", "b")

    network.send("a", datagram())
    network.send("b", datagram())
    world.advance(SECOND)

    assert [len(heard[name]) for name in "abc"] == [1, 0, 2]


def test_the_isolated_reach_nobody_not_even_the_gateway() -> None:
    world, network, heard = segment()
    network.isolate("a")

    network.send("a", Claim("a", VIP.ip))
    network.send("b", Claim("b", VIP.ip))
    world.advance(SECOND)

    assert heard["a"] == []
    assert network.beliefs == {VIP.ip: "b"}
    assert ("a", GATEWAY) in network.cuts


@pytest.mark.parametrize(
    ("weather", "least", "most"),
    [(Weather(loss=0.5), 350, 650), (Weather(duplication=0.5), 1350, 1650), (Weather(loss=1.0), 0, 0)],
    ids=["loss", "duplication", "nothing"],
)
def test_weather_does_what_it_says(weather: Weather, least: int, most: int) -> None:
    world, network, heard = segment()
    network.weather = weather

    for _ in range(1000):
        network.send("a", datagram(to=B))
    world.advance(SECOND)

    assert least <= len(heard["b"]) <= most


def test_delay_between_two_bounds_reorders() -> None:
    world, network, heard = segment()
    network.weather = Weather(delay_least=MILLISECOND, delay_most=100 * MILLISECOND)
    sent = [datagram(number, to=B) for number in range(50)]

    for each in sent:
        network.send("a", each)
        world.advance(MILLISECOND)
    world.advance(SECOND)

    assert heard["b"] != sent
    assert sorted(heard["b"], key=str) == sorted(sent, key=str)


# A director alone on its network: what its kernel and its process do.


def director(world: World, network: Network, lines: list[tuple[str, Output]] | None = None) -> Director:
    log = lines if lines is not None else []
    return Director(
        name="d",
        address=A,
        routers=(RouterSettings(name="r", interface="eth0", vrid=51, priority=200, addresses=(VIP,)),),
        world=world,
        network=network,
        log=lambda name, output: log.append((name, output)),
    )


def master() -> tuple[World, Director]:
    world = World()
    made = director(world, Network(world, Random(0)))
    made.start()
    world.advance(SECOND)
    assert made.is_master("r")
    return world, made


def test_a_killed_process_leaves_its_addresses_to_the_kernel() -> None:
    _, killed = master()

    killed.kill()

    assert killed.kernel.bound == {VIP}
    assert not killed.is_running


def test_power_takes_everything() -> None:
    _, gone = master()

    gone.power_off()

    assert gone.kernel.bound == set()


def test_a_quick_restart_writes_nothing() -> None:
    world, restarted = master()
    writes = restarted.kernel.writes
    restarted.kill()
    world.advance(150 * MILLISECOND)

    restarted.start()
    world.advance(10 * SECOND)

    assert restarted.is_master("r")
    assert restarted.kernel.writes == writes


def test_what_comes_to_a_standing_process_waits_within_a_bound() -> None:
    world, frozen = master()
    frozen.freeze()
    network = frozen._network
    network.attach("other", B, lambda _: None)

    for _ in range(INBOX + 10):
        network.send("other", datagram())
    world.advance(SECOND)

    assert len(frozen.inbox) == INBOX
    assert frozen.overflowed == 10


def test_a_refusing_kernel_is_an_input() -> None:
    world = World()
    lines: list[tuple[str, Output]] = []
    refused = director(world, Network(world, Random(0)), lines)
    refused.kernel.bind_errno = 1
    refused.start()
    world.advance(SECOND)

    assert refused.kernel.bound == set()
    assert "EnteredFault" in [type(output).__name__ for _, output in lines]
