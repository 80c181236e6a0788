"""``drift``: what somebody changed behind our back, in words."""

from dataclasses import replace
from ipaddress import ip_address

from hypothesis import given

from lvsha.core.addr import AF_INET6
from lvsha.ipvs.drift import (
    DestinationAltered,
    DestinationForeign,
    DestinationMissing,
    DriftNotTold,
    ServiceAltered,
    ServiceMissing,
    destination_changes,
    drift,
    service_changes,
)
from lvsha.ipvs.model import (
    DesiredService,
    DesiredTable,
    Destination,
    ForwardingMethod,
    Protocol,
    Service,
    ServiceFlags,
    ServiceKey,
    TunnelType,
)
from lvsha.ipvs.plan import plan
from tests.ipvs.table_model import table_of, tables

WEB = ServiceKey.of(Protocol.TCP, ip_address("10.0.0.1"), 80)
RS = Destination(address=ip_address("10.1.0.1"), port=80)
APPLIED: DesiredTable = {WEB: DesiredService(service=Service(key=WEB), destinations=(RS,))}


def test_what_was_applied_is_no_drift() -> None:
    assert drift(APPLIED, table_of(APPLIED)) == []


def test_a_cleared_table_is_one_event_a_service() -> None:
    assert drift(APPLIED, {}) == [ServiceMissing("TCP 10.0.0.1:80", 1)]


def test_an_edited_service_tells_what_is_and_what_should_be() -> None:
    edited = Service(key=WEB, scheduler="rr", persistence_timeout_s=60, netmask=0xFFFFFF00)
    table = table_of({WEB: replace(APPLIED[WEB], service=edited)})

    assert drift(APPLIED, table) == [
        ServiceAltered(
            "TCP 10.0.0.1:80",
            (
                "scheduler is rr, should be wlc",
                "persistence is 60 s, should be off",
                "netmask is 255.255.255.0, should be each client alone",
            ),
        )
    ]


def test_destinations_missing_altered_and_foreign_are_told_apart() -> None:
    other = replace(RS, port=81)
    applied = {WEB: replace(APPLIED[WEB], destinations=(RS, other))}
    found = {WEB: replace(APPLIED[WEB], destinations=(replace(RS, weight=7), replace(RS, port=82)))}

    assert drift(applied, table_of(found)) == [
        DestinationAltered("TCP 10.0.0.1:80", "10.1.0.1:80", ("weight is 7, should be 1",)),
        DestinationMissing("TCP 10.0.0.1:80", "10.1.0.1:81"),
        DestinationForeign("TCP 10.0.0.1:80", "10.1.0.1:82"),
    ]


def test_foreign_services_are_no_drift() -> None:
    assert drift({}, table_of(APPLIED)) == []


def test_a_rewritten_table_is_told_up_to_a_limit() -> None:
    many = tuple(replace(RS, port=port) for port in range(1, 1001))
    applied = {WEB: replace(APPLIED[WEB], destinations=many)}
    found = table_of({WEB: replace(APPLIED[WEB], destinations=())})

    events = drift(applied, found, limit=10)

    assert len(events) == 11
    assert events[-1] == DriftNotTold(990)


def test_every_setting_of_a_service_has_words() -> None:
    key = ServiceKey.of(Protocol.UDP, ip_address("fd00::1"), 53)
    found = Service(
        key=key,
        scheduler="mh",
        flags=ServiceFlags.ONE_PACKET | ServiceFlags.SCHED_2,
        persistence_timeout_s=5,
        netmask=64,
        pe_name="sip",
    )

    assert service_changes(Service(key=key), found) == (
        "scheduler is mh, should be wlc",
        "flags is one-packet sched-2, should be none",
        "persistence is 5 s, should be off",
        "netmask is /64, should be each client alone",
        "persistence engine is sip, should be none",
    )


def test_every_setting_of_a_destination_has_words() -> None:
    found = replace(
        RS,
        method=ForwardingMethod.TUNNEL,
        upper_threshold=9,
        lower_threshold=8,
        tun_type=TunnelType.GUE,
        tun_port=6080,
    )

    assert destination_changes(RS, found) == (
        "method is tunnel, should be droute",
        "upper threshold is 9, should be 0",
        "lower threshold is 8, should be 0",
        "tunnel is gue, should be ipip",
        "tunnel port is 6080, should be 0",
    )


@given(applied=tables(), actual=tables())
def test_drift_is_told_exactly_when_there_is_something_to_repair(
    applied: DesiredTable, actual: DesiredTable
) -> None:
    """Every difference that ``plan`` would repair has an event with words in it, and no other."""
    table = table_of(actual)

    events = drift(applied, table)

    assert bool(events) == bool(plan(applied, table, exclusive=False, owned=frozenset()))
    for event in events:
        if isinstance(event, ServiceAltered | DestinationAltered):
            assert event.changes


def test_keys_name_themselves_as_operators_do() -> None:
    assert str(WEB) == "TCP 10.0.0.1:80"
    assert str(ServiceKey.of(132, ip_address("fd00::1"), 9)) == "SCTP [fd00::1]:9"
    assert str(ServiceKey.of(47, ip_address("10.0.0.1"), 0)) == "IP47 10.0.0.1:0"
    assert str(ServiceKey.of_fwmark(5)) == "FWM 5"
    assert str(ServiceKey.of_fwmark(5, AF_INET6)) == "FWM 5 IPv6"
