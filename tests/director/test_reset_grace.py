"""The rules that hold back resets, as text."""

from ipaddress import ip_address

from lvsha.core.instant import SECOND
from lvsha.director.desired import NUDGE_KEY
from lvsha.director.reset_grace import TABLE, guarded_endpoints, legacy_rules, ruleset
from lvsha.ipvs.model import DesiredService, Protocol, Service, ServiceKey

WEB = (ip_address("10.0.0.10"), 80)
WEB_6 = (ip_address("fd00::a"), 443)


def service(key: ServiceKey) -> DesiredService:
    return DesiredService(service=Service(key=key), destinations=())


def test_tcp_services_by_address_are_guarded_and_nothing_else() -> None:
    keys = [
        ServiceKey.of(Protocol.TCP, *WEB_6),
        ServiceKey.of(Protocol.TCP, *WEB),
        ServiceKey.of(Protocol.UDP, ip_address("10.0.0.10"), 53),
        NUDGE_KEY,
    ]

    assert guarded_endpoints({key: service(key) for key in keys}) == (WEB, WEB_6)


def test_nftables_gets_a_table_of_our_own_in_one_transaction() -> None:
    text = ruleset((WEB, WEB_6), 2 * SECOND)

    assert text.startswith(f"table {TABLE} {{}}\ndelete table {TABLE}\n")
    assert "elements = { 10.0.0.10 . 80 }" in text
    assert "elements = { fd00::a . 443 }" in text
    assert "timeout 2s" in text


def test_no_endpoints_or_no_grace_leave_no_table() -> None:
    assert ruleset((), 2 * SECOND) == ruleset((WEB,), 0) == f"table {TABLE} {{}}\ndelete table {TABLE}\n"


def test_iptables_gets_a_chain_of_our_own_with_one_rule_an_endpoint() -> None:
    first, chain, rule, *rest = legacy_rules((WEB,)).splitlines()

    assert (first, rest) == ("*filter", ["COMMIT"])
    assert chain == ":LVSHA-GRACE - [0:0]"
    assert "-s 10.0.0.10 --sport 80 " in rule
    assert rule.endswith("-j DROP")
