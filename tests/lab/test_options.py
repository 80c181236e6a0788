"""Settings behind a scenario's name."""

from ipaddress import ip_network

import pytest

from lvsha.lab.errors import LabError
from lvsha.lab.options import OPTIONS, parse_cell
from lvsha.lab.settings import RunSettings
from lvsha.lab.topology import Topology, TopologySettings

SCENARIOS = ["crash", "agent-kill"]


def test_a_scenario_carries_settings_of_its_own() -> None:
    assert parse_cell("crash", SCENARIOS) == ("crash", {})
    assert parse_cell("crash,advert=1,method=nat,phase=any", SCENARIOS) == (
        "crash",
        {"advert_s": 1.0, "method": "nat", "phase": None},
    )
    assert parse_cell("crash,fwmark=7,persistent=yes", SCENARIOS) == (
        "crash",
        {"fwmark": 7, "persistent": True},
    )


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("clash", "there is no scenario 'clash': crash, agent-kill"),
        ("crash,advent=1", "there is no setting 'advent'"),
        ("crash,advert=soon", "advert=soon"),
        ("crash,advert=0", "more than 0"),
        ("crash,method=sr", "one of dr, nat, tun"),
        ("crash,vips=0", "at least 1"),
        ("crash,family", "family="),
        ("crash,persistent=perhaps", "yes or no"),
    ],
)
def test_what_cannot_be_asked_for_is_said(text: str, says: str) -> None:
    with pytest.raises(LabError, match=says):
        parse_cell(text, SCENARIOS)


def test_every_option_sets_something_that_a_run_has() -> None:
    assert {option.field for option in OPTIONS} <= set(RunSettings.__dataclass_fields__)


def test_no_more_virtual_addresses_than_there_are_in_the_network() -> None:
    option = next(each for each in OPTIONS if each.name == "vips")

    assert Topology(TopologySettings(vips=option.value("60000"))).vips[-1].ip in ip_network("10.0.0.0/16")
    with pytest.raises(LabError, match="at most 60000"):
        option.value("60001")
