"""Both kinds of director are given the same job."""

from pathlib import Path

import pytest

from lvsha.config.load import loads
from lvsha.core.instant import seconds
from lvsha.lab.peers.keepalived import Keepalived
from lvsha.lab.peers.lvsha import Lvsha
from lvsha.lab.settings import RunSettings
from lvsha.lab.topology import Method, Topology

CASES = [
    RunSettings(scenario="crash"),
    RunSettings(scenario="crash", family=6, method=Method.TUN),
    RunSettings(scenario="crash", method=Method.NAT, advert_s=1.0),
    RunSettings(scenario="crash", method=Method.NAT, family=6),
    RunSettings(scenario="crash", vips=500),
    RunSettings(scenario="crash", sync_maxlen=64),
]
MARKED = RunSettings(scenario="crash", fwmark=7, persistent=True, family=6, vips=2)


@pytest.mark.parametrize("settings", CASES, ids=lambda s: f"{s.method}-{s.family}-{s.vips}-{s.sync_maxlen}")
@pytest.mark.parametrize("node", ["lb1", "lb2"])
def test_lvsha_is_given_a_configuration_that_loads_and_says_what_the_run_asks_for(
    settings: RunSettings, node: str, tmp_path: Path
) -> None:
    topology = Topology(settings.topology)
    text = Lvsha(topology, settings, tmp_path).config(node)

    loaded = loads(text, "lab", node)

    outside = loaded.routers[0]
    addresses = [str(address) for address in (*outside.addresses, *outside.excluded_addresses)]
    assert addresses == [str(vip) for vip in topology.vips]
    assert outside.advert_interval == seconds(settings.advert_s)
    assert outside.priority == {"lb1": 200, "lb2": 100}[node]
    assert len(loaded.routers) == (2 if settings.method is Method.NAT else 1)
    assert len(loaded.services) == 2 * len(topology.service_addresses)


@pytest.mark.parametrize("settings", CASES, ids=lambda s: f"{s.method}-{s.family}-{s.vips}-{s.sync_maxlen}")
def test_keepalived_is_given_every_address_and_every_realserver(
    settings: RunSettings, tmp_path: Path
) -> None:
    topology = Topology(settings.topology)
    text = Keepalived(topology, settings, tmp_path).config("lb2")

    assert all(f"    {vip} dev eth0\n" in text for vip in topology.vips)
    assert text.count("virtual_server ") == 2 * len(topology.service_addresses)
    assert text.count("real_server ") == text.count("virtual_server ") * 2
    assert text.count("{") == text.count("}")
    assert "priority 100" in text
    assert f"advert_int {settings.advert_s:g}" in text
    assert ("maxlen 64" in text) is (settings.sync_maxlen == 64)


def test_a_crowd_is_spread_over_all_addresses_for_either(tmp_path: Path) -> None:
    settings = RunSettings(scenario="restart-under-load", vips=100, crowd=1000)
    topology = Topology(settings.topology)

    loaded = loads(Lvsha(topology, settings, tmp_path).config("lb1"), "lab", "lb1")
    text = Keepalived(topology, settings, tmp_path).config("lb1")

    crowds = [service for service in loaded.services if len(service.realservers) == 10]
    assert len(crowds) == 100
    assert text.count("real_server 198.18.") == 1000
    assert len({line for line in text.splitlines() if "real_server 198.18." in line}) == 1000


def test_a_marked_run_has_a_persistent_service_for_the_mark_of_each_address(tmp_path: Path) -> None:
    topology = Topology(MARKED.topology)
    first, second = topology.service_addresses
    assert topology.marks(7) == {first: 7, second: 8}

    loaded = loads(Lvsha(topology, MARKED, tmp_path).config("lb1"), "lab", "lb1")
    text = Keepalived(topology, MARKED, tmp_path).config("lb1")

    assert [service.service.key.fwmark for service in loaded.services] == [7, 8]
    assert all(service.service.persistence_timeout_s == 120 for service in loaded.services)
    assert [text.count(f"virtual_server fwmark {mark} {{") for mark in (7, 8)] == [1, 1]
    assert text.count("ip_family inet6") == text.count("persistence_timeout 120") == 2


def test_a_dead_realserver_is_missed_by_the_clock_of_each_kind_of_check(tmp_path: Path) -> None:
    settings = RunSettings(
        scenario="realserver-death", check_interval_s=1.0, check_timeout_s=0.5, check_fall=3
    )
    topology = Topology(settings.topology)

    assert Lvsha(topology, settings, tmp_path).detection_limit_s() == 3.5
    assert Keepalived(topology, settings, tmp_path).detection_limit_s() == 4.5
