"""The examples load, warn of nothing, and mean what they say."""

from pathlib import Path

import pytest

from lvsha.config.load import check, loads
from lvsha.config.settings import Settings
from lvsha.ipvs.model import ForwardingMethod, TunnelType

FOLDER = Path(__file__).parents[2] / "docs" / "examples"


def load(name: str, node: str = "lb1") -> Settings:
    return loads((FOLDER / f"{name}.toml").read_text(), name, node)


@pytest.mark.parametrize("example", sorted(FOLDER.glob("*.toml")), ids=lambda path: path.stem)
def test_an_example_is_fine_for_every_director(example: Path) -> None:
    assert check(example.read_text(), str(example)) == ()


def test_the_minimal_one_has_ten_lines() -> None:
    lines = [line for line in (FOLDER / "minimal-dr.toml").read_text().splitlines() if line.strip()]

    assert len([line for line in lines if not line.startswith("#")]) <= 11


def test_nat_has_a_gateway_for_its_realservers() -> None:
    settings = load("nat")

    assert [router.name for router in settings.routers] == ["outside", "inside"]
    assert {
        realserver.destination.method for service in settings.services for realserver in service.realservers
    } == {ForwardingMethod.MASQ}
    assert settings.services[2].realservers[0].destination.port == 18000
    assert settings.services[2].sorry is not None


def test_tunnels_of_all_types() -> None:
    (service,) = load("tunnel").services

    assert [realserver.destination.tun_type for realserver in service.realservers] == [
        TunnelType.IPIP,
        TunnelType.GUE,
        TunnelType.GRE,
    ]


def test_fwmark() -> None:
    (service,) = load("fwmark").services

    assert service.service.key.fwmark == 5
    assert service.service.persistence_timeout_s == 600


def test_ipv6() -> None:
    settings = load("ipv6")

    assert [router.family for router in settings.routers] == [4, 6]
    assert len(settings.services) == 4


def test_each_director_is_at_home_for_one_address() -> None:
    one, other = load("active-active", "lb1"), load("active-active", "lb2")

    assert [router.priority for router in one.routers] == [200, 100]
    assert [router.priority for router in other.routers] == [100, 200]
    assert [settings.sync.interface for settings in (one, other) if settings.sync] == ["eth1", "ens4"]


def test_https_checks_differ_by_realserver() -> None:
    (service,) = load("https-checks").services
    checks = [realserver.check for realserver in service.realservers]

    assert [getattr(check.options, "path", None) for check in checks if check] == [
        "/healthz",
        "/healthz",
        "/alive",
    ]
    assert "only-a-health-page" not in repr(service)
