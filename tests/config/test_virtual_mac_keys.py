"""``vmac``: which interface carries a virtual router's own hardware address."""

import pytest

from lvsha.config.load import loads
from lvsha.core.errors import ConfigErrors
from lvsha.core.instant import SECOND

BASE = """
[directors]
lb1 = { address = "10.0.0.1" }
[[vrrp]]
interface = "eth0"
vrid = 51
addresses = ["10.0.0.10/24"]
%s
"""
SECOND_ROUTER = """
[[vrrp]]
interface = "eth1"
vrid = 51
addresses = ["10.1.0.10/24"]
vmac = true
"""


@pytest.mark.parametrize(
    ("own", "interface"),
    [
        ("", None),
        ("vmac = true", "vrrp.51"),
        ('vmac = true\nvmac_interface = "vip0"', "vip0"),
        ('vmac = true\nvmac_interface = { lb1 = "a" }', "a"),
    ],
)
def test_its_name_is_made_of_the_vrid_unless_one_is_given(own: str, interface: str | None) -> None:
    assert loads(BASE % own, "x.toml", "lb1").routers[0].vmac_interface == interface


def test_ipv6_has_a_name_of_its_own_beside_the_same_vrid() -> None:
    six = BASE.replace("10.0.0.10/24", "fe80::10/64") % "vmac = true"

    assert loads(six, "x.toml", "lb1").routers[0].vmac_interface == "vrrp6.51"


def test_two_routers_of_one_vrid_need_two_names() -> None:
    with pytest.raises(ConfigErrors, match="already the vmac_interface"):
        loads(BASE % "vmac = true" + SECOND_ROUTER, "x.toml", "lb1")


def test_what_is_said_of_accepting_and_of_the_boot_reaches_the_router() -> None:
    (router,) = loads(BASE % 'accept = false\nboot_delay = "30s"', "x.toml", "lb1").routers

    assert not router.accept
    assert router.boot_delay == 30 * SECOND
