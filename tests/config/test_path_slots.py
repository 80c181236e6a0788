"""`through = "path"`: a check of the virtual address that only one realserver can answer."""

from dataclasses import replace
from ipaddress import ip_address

import pytest

from lvsha.checker.pool import Pool
from lvsha.checker.settings import CheckSettings
from lvsha.config.exporters.keepalived import to_keepalived
from lvsha.config.findings import Findings
from lvsha.config.load import loads
from lvsha.config.path_slots import FIRST_MARK, FIRST_PORT, PORTS_EACH, SLOTS, with_slots
from lvsha.config.settings import Settings
from lvsha.config.show import document, to_toml
from lvsha.core.errors import ConfigErrors
from lvsha.director.desired import DesiredTables
from lvsha.ipvs.model import DesiredTable, ForwardingMethod, ServiceKey

HEAD = """
[directors]
lb1 = { address = "10.0.0.1" }
lb2 = { address = "10.0.0.2" }

[sync]
enabled = false
"""
SERVICE = """
[[service]]
address = "10.0.0.10:80"
method = "dr"
check = { type = "http", through = "path" }
realservers = ["10.0.0.11", "10.0.0.12"]
"""


def settings_of(*services: str, head: str = HEAD, node: str | None = "lb1") -> Settings:
    return loads(head + "".join(services), node=node)


def checks_of(settings: Settings) -> list[CheckSettings]:
    return [
        realserver.check
        for service in settings.services
        for realserver in service.realservers
        if realserver.check is not None
    ]


def table_of(settings: Settings) -> DesiredTable:
    views = {service.name: Pool(service.pool).view() for service in settings.services}
    return DesiredTables().table(settings.services, views, nudge=False)


def test_the_virtual_address_is_asked_from_our_own_with_a_mark_and_ports_for_each_realserver() -> None:
    one, other = checks_of(settings_of(SERVICE))

    for check in (one, other):
        slot = check.fwmark - FIRST_MARK
        assert 0 <= slot < SLOTS
        assert (check.bind_port, check.bind_port_count) == (FIRST_PORT + PORTS_EACH * slot, PORTS_EACH)
        assert (str(check.address), check.port, str(check.bind_address)) == ("10.0.0.10", 80, "10.0.0.1")
        assert check.close_with_reset
    assert one.fwmark != other.fwmark


def test_the_ports_end_where_the_kernels_own_choice_begins() -> None:
    assert FIRST_PORT + SLOTS * PORTS_EACH <= 32_768


def test_ipvs_leads_each_mark_to_its_realserver_alone() -> None:
    settings = settings_of(SERVICE)

    table = table_of(settings)

    for check, address in zip(checks_of(settings), ("10.0.0.11", "10.0.0.12"), strict=True):
        (there,) = table[ServiceKey.of_fwmark(check.fwmark)].destinations
        assert (str(there.address), there.port, there.weight) == (address, 0, 1)
        assert there.method is ForwardingMethod.DROUTE


def test_nat_keeps_the_realservers_port_and_asks_the_services() -> None:
    settings = settings_of(
        SERVICE.replace('"dr"', '"nat"').replace('"10.0.0.11", "10.0.0.12"', '"10.0.0.11:8080"')
    )

    (check,) = checks_of(settings)
    (there,) = table_of(settings)[ServiceKey.of_fwmark(check.fwmark)].destinations
    assert (check.port, there.port) == (80, 8080)


def test_a_realserver_has_one_slot_in_all_services_and_wherever_it_stands() -> None:
    second = SERVICE.replace(":80", ":443").replace('"10.0.0.11", "10.0.0.12"', '"10.0.0.12", "10.0.0.11"')

    first = [check.fwmark for check in checks_of(settings_of(SERVICE))]
    both = [check.fwmark for check in checks_of(settings_of(second, SERVICE))]

    assert both == [first[1], first[0], *first]


def test_who_meets_another_in_a_slot_gets_the_next_and_too_many_are_refused() -> None:
    (service,) = settings_of(SERVICE).services
    template = service.realservers[0]
    crowd = tuple(
        replace(
            template,
            name=str(i),
            destination=replace(template.destination, address=ip_address(0x0A010000 + i)),
        )
        for i in range(SLOTS)
    )
    findings = Findings()

    ((_, full),) = with_slots([(("service", 0), replace(service, realservers=crowd))], findings)
    assert not findings.has_errors
    assert len({each.check.fwmark for each in full.realservers if each.check is not None}) == SLOTS

    with_slots([(("service", 0), replace(service, realservers=(*crowd, template)))], findings)
    assert findings.has_errors


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (('"http", ', '"http", fwmark = 3, '), "chosen by through"),
        (('"http", ', '"http", bind_port = 99, '), "chosen by through"),
        (('"http"', '"ping"'), "has no path through IPVS"),
        (('address = "10.0.0.10:80"', "fwmark = 7"), "has no address of its own"),
        (('address = "10.0.0.10:80"', 'address = "[fd00::10]:80"'), "asks from an IPv6 address"),
        (('address = "10.0.0.10:80"', f"fwmark = {FIRST_MARK + 5}"), "mark of checks through the path"),
    ],
)
def test_what_cannot_be_is_refused(change: tuple[str, str], words: str) -> None:
    text = SERVICE.replace(*change)
    if "fd00" in text:
        text = text.replace("10.0.0.1", "fd00::1")
    if "mark of checks" in words:
        text = text.replace('"http"', '"http", port = 80, address = "10.0.0.10"')

    with pytest.raises(ConfigErrors, match=words):
        settings_of(text)


def test_a_director_without_an_address_has_to_be_told_one() -> None:
    with pytest.raises(ConfigErrors, match="bind_address"):
        settings_of(SERVICE, head="", node=None)

    told = SERVICE.replace('"http", ', '"http", bind_address = "10.0.0.9", ')
    assert str(checks_of(settings_of(told, head="", node=None))[0].bind_address) == "10.0.0.9"


def test_one_realserver_may_go_another_way() -> None:
    text = SERVICE.replace('"10.0.0.12"', '{ address = "10.0.0.12", check = { through = "address" } }')

    one, other = checks_of(settings_of(text))
    assert (one.through_path, other.through_path) == (True, False)
    assert (str(other.address), other.fwmark, other.bind_port) == ("10.0.0.12", 0, 0)


def test_what_is_shown_loads_again() -> None:
    settings = settings_of(SERVICE)

    again = loads(to_toml(document(settings)), node="lb1")
    assert again.services == settings.services


def test_keepalived_which_knows_no_such_check_asks_the_realserver_itself() -> None:
    text, lost = to_keepalived(settings_of(SERVICE))

    assert "connect_ip" not in text
    assert "10.0.0.11 itself is asked instead" in " ".join(lost)
