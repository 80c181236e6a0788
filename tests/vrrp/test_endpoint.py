"""Who gets an advert, and what an operator is told about those that nobody gets."""

from ipaddress import IPv4Address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvsha.core.errors import DropReason, StateError
from lvsha.core.instant import SECOND, Instant
from lvsha.vrrp.endpoint import Endpoint, Received
from lvsha.vrrp.outputs import AdvertisementDropped, PeerDisagrees
from lvsha.wire.vrrp import GROUP_IPV4, ChecksumForm, encode_advertisement
from tests.vrrp.routers import HIGHER_PEER, LOWER_PEER, US, idle, settings, settings_v2


def endpoint(*routers: Any) -> Endpoint:
    made = Endpoint(interface="eth0", family=4)
    for router in routers or [settings()]:
        made.put(router)
    made.own_addresses = frozenset({US})
    return made


def packet(priority: int = 200, source: IPv4Address = HIGHER_PEER, **changes: Any) -> bytes:
    advert = idle(**changes).advertisement(priority)
    return encode_advertisement(advert, source=source, destination=GROUP_IPV4)


def receive(
    to: Endpoint,
    data: bytes,
    *,
    source: IPv4Address = HIGHER_PEER,
    ttl: int = 255,
    now: int = 0,
) -> Received:
    return to.receive(data, source=source, destination=GROUP_IPV4, ttl=ttl, now=Instant(now))


def test_an_advert_goes_to_the_router_of_its_vrid() -> None:
    both = endpoint(settings(name="a", vrid=1), settings(name="b", vrid=2))

    assert receive(both, packet(vrid=2)).router == "b"
    assert receive(both, packet(vrid=1)).router == "a"
    assert both.accepted == 2


def test_a_removed_router_gets_nothing_more() -> None:
    one = endpoint()
    one.remove("r")

    assert receive(one, packet()).router is None


def test_a_vrid_belongs_to_one_router() -> None:
    with pytest.raises(StateError, match="both have VRID 51"):
        endpoint(settings(name="a"), settings(name="b"))


def test_a_router_belongs_to_its_interface_and_family() -> None:
    with pytest.raises(StateError):
        endpoint(settings(interface="eth1"))
    with pytest.raises(StateError):
        endpoint(settings(family=6))


def test_putting_a_router_again_changes_it() -> None:
    one = endpoint()
    one.put(settings(unicast_peers=(LOWER_PEER,)))

    assert receive(one, packet()).router is None


def test_a_unicast_peer_behind_a_router_is_heard_where_min_ttl_allows_it() -> None:
    one = endpoint(settings(unicast_peers=(HIGHER_PEER,), min_ttl=250))

    assert receive(one, packet(), ttl=250).router == "r"
    assert receive(one, packet(), ttl=249).router is None


def test_min_ttl_does_not_open_multicast() -> None:
    one = endpoint(settings(min_ttl=1))

    assert receive(one, packet(), ttl=254).router is None


def test_the_other_checksum_is_told_because_the_peer_may_refuse_ours() -> None:
    one = endpoint(settings(checksum=ChecksumForm.MESSAGE))

    received = receive(one, packet())

    assert received.router == "r"
    (event,) = received.events
    assert isinstance(event, PeerDisagrees)
    assert (event.what, event.source) == ("checksum", HIGHER_PEER)


CASES = {
    "another VRID": (
        settings(),
        packet(vrid=52),
        DropReason.UNKNOWN_VRID,
        "VRID 52 is not configured on eth0",
    ),
    "another version": (
        settings(),
        packet(version=2, advert_interval=SECOND),
        DropReason.BAD_VERSION,
        "peer speaks VRRPv2, we speak VRRPv3",
    ),
    "another interval": (
        settings_v2(),
        packet(version=2, advert_interval=2 * SECOND),
        DropReason.INTERVAL_MISMATCH,
        "advert interval 2 s, ours 1 s",
    ),
    "another authentication": (
        settings_v2(password="secret"),
        packet(version=2, advert_interval=SECOND),
        DropReason.BAD_AUTH_TYPE,
        "set password on both or on neither",
    ),
    "another password": (
        settings_v2(password="secret"),
        packet(version=2, advert_interval=SECOND, password="geheim"),
        DropReason.AUTH_FAILED,
        "another password",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_misconfigured_peer_is_told_with_what_to_do_about_it(case: str) -> None:
    router, data, reason, text = CASES[case]

    (event,) = receive(endpoint(router), data).events

    assert isinstance(event, AdvertisementDropped)
    assert (event.reason, event.source, event.interface, event.count) == (reason, HIGHER_PEER, "eth0", 1)
    assert text in event.detail


def test_a_password_is_in_no_event() -> None:
    router, data, _, _ = CASES["another password"]

    received = receive(endpoint(router), data)

    assert "secret" not in repr(received)
    assert "geheim" not in repr(received)


def test_a_flood_costs_a_handful_of_events_and_is_counted_in_full() -> None:
    one = endpoint()
    data = packet(vrid=52)

    counts = []
    for now in range(1000):
        for event in receive(one, data, now=now).events:
            assert isinstance(event, AdvertisementDropped)
            counts.append(event.count)

    assert counts == [1, 10, 100, 1000]
    assert one.dropped() == {"unknown_vrid": 1000}


def test_one_misconfigured_peer_does_not_hide_another_vrid() -> None:
    one = endpoint()
    for now in range(50):
        receive(one, packet(vrid=52), now=now)

    assert len(receive(one, packet(vrid=53), now=51).events) == 1


def test_after_a_quiet_minute_it_is_told_again() -> None:
    one = endpoint()
    for now in range(5):
        receive(one, packet(vrid=52), now=now)

    assert receive(one, packet(vrid=52), now=30 * SECOND).events == ()
    assert len(receive(one, packet(vrid=52), now=91 * SECOND).events) == 1


@given(st.binary(max_size=60), st.integers(0, 255))
def test_any_bytes_are_delivered_or_counted(data: bytes, ttl: int) -> None:
    one = endpoint()

    received = receive(one, data, ttl=ttl)

    assert (received.router is None) == (sum(one.dropped().values()) == 1)


def test_what_is_remembered_of_a_flood_of_forged_packets_is_bounded() -> None:
    """256 VRIDs times the reasons, whatever the sources are."""
    one = endpoint()
    for number in range(5000):
        source = IPv4Address(number + 1)
        receive(one, packet(vrid=number % 256, source=source), source=source, ttl=number % 256)

    assert len(one._complaints._episodes) <= 256 * len(DropReason)
