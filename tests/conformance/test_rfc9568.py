"""RFC 9568, one test per MUST that a director can keep.

Where the RFC speaks of the virtual MAC address (7.3, 8.1.2, 8.2.2) there is nothing
to test yet: the addresses are bound to the interface and answered with its own MAC,
as keepalived does by default. Router Advertisements (6.4.3) and ICMP redirects
(8.1.1, 8.2.1) are the host's. Section 8.4 (both versions at once) is not offered.
"""

from ipaddress import IPv4Address, IPv6Address, IPv6Interface

import pytest

from lvsha.core.errors import DecodeError, DropReason, StateError
from lvsha.core.instant import MILLISECOND, SECOND, Instant
from lvsha.vrrp.endpoint import Endpoint, Received
from lvsha.vrrp.outputs import (
    AddAddresses,
    AdvertisementDropped,
    Announce,
    BecameBackup,
    BecameMaster,
    DuplicateMaster,
    PeerDisagrees,
    Reason,
    Released,
    RemoveAddresses,
    SendAdvertisement,
    StopAnnouncing,
)
from lvsha.vrrp.settings import RouterSettings, problems
from lvsha.vrrp.transitions import State
from lvsha.wire.arp import ArpForm, decode_arp, gratuitous_arp
from lvsha.wire.ndisc import unsolicited_advertisement
from lvsha.wire.vrrp import (
    GROUP_IPV4,
    GROUP_IPV6,
    IP_PROTOCOL,
    TTL,
    ChecksumForm,
    decode_advertisement,
    encode_advertisement,
)
from tests.vrrp.routers import (
    ADVERT,
    DOWN,
    HIGHER_PEER,
    LOWER_PEER,
    SKEW,
    US,
    VIPS,
    VIPS6,
    advert,
    backup,
    due,
    fire,
    hear,
    idle,
    kinds,
    master,
    pass_time,
    settings,
)

PEER = HIGHER_PEER
PACKET = encode_advertisement(advert(200), source=PEER, destination=GROUP_IPV4)


def admit(
    packet: bytes = PACKET,
    *,
    router: RouterSettings | None = None,
    ttl: int = 255,
    source: IPv4Address = PEER,
) -> Received:
    endpoint = Endpoint(interface="eth0", family=4)
    endpoint.put(router or settings())
    return endpoint.receive(packet, source=source, destination=GROUP_IPV4, ttl=ttl, now=Instant(0))


def refusal(received: Received) -> DropReason:
    assert received.router is None
    (event,) = received.events
    assert isinstance(event, AdvertisementDropped)
    return event.reason


# Section 5: the packet


def test_an_advert_that_passes_all_checks_reaches_its_router() -> None:
    """The counterpart of every refusal below."""
    received = admit()

    assert (received.router, received.advert, received.events) == ("r", advert(200), ())


@pytest.mark.parametrize("ttl", [0, 1, 64, 254])
def test_5_1_1_3_a_ttl_other_than_255_is_discarded(ttl: int) -> None:
    """ "A VRRP Router receiving a packet with the TTL not equal to 255 MUST discard the packet"."""
    assert refusal(admit(ttl=ttl)) is DropReason.BAD_TTL


def test_5_1_1_3_we_send_with_ttl_255() -> None:
    """The value that the sockets of ``lvsha.io`` are set to."""
    assert TTL == 255


def test_5_1_2_3_a_hop_limit_other_than_255_is_discarded() -> None:
    router = settings(family=6, addresses=VIPS6)
    endpoint = Endpoint(interface="eth0", family=6)
    endpoint.put(router)
    source = IPv6Address("fe80::9")
    packet = encode_advertisement(
        idle(family=6, addresses=VIPS6).advertisement(200), source=source, destination=GROUP_IPV6
    )

    def at(hop_limit: int) -> Received:
        return endpoint.receive(packet, source=source, destination=GROUP_IPV6, ttl=hop_limit, now=Instant(0))

    assert at(255).router == "r"
    assert refusal(at(254)) is DropReason.BAD_TTL


def test_5_2_2_an_unknown_type_is_discarded() -> None:
    assert refusal(admit(b"\x32" + PACKET[1:])) is DropReason.BAD_TYPE


def test_5_2_4_only_the_owner_has_priority_255_and_backups_have_1_to_254() -> None:
    assert [problem.field for problem in problems(settings(priority=0))] == ["priority"]
    assert [problem.field for problem in problems(settings(priority=256))] == ["priority"]
    assert list(problems(settings(priority=1))) == []
    assert settings(priority=255).is_owner
    assert not settings(priority=254).is_owner
    with pytest.raises(StateError):
        backup().set_priority(0, Instant(0))


def test_5_2_5_a_count_of_0_is_ignored() -> None:
    """With erratum 8299."""
    assert refusal(admit(PACKET[:3] + b"\0" + PACKET[4:])) is DropReason.NO_ADDRESSES


def test_5_2_6_reserved_bits_are_zero_when_sent_and_ignored_when_received() -> None:
    with_reserved = PACKET[:4] + bytes([PACKET[4] | 0xF0]) + PACKET[5:]

    assert PACKET[4] & 0xF0 == 0
    assert decode_advertisement(with_reserved) == advert(200)


def test_5_2_8_over_ipv4_the_message_alone_is_summed() -> None:
    """Both this form and RFC 5798's, with a pseudo header, are taken; which is sent is a setting,
    and its default is what the deployed base takes."""
    packet = encode_advertisement(advert(200), checksum=ChecksumForm.MESSAGE)

    received = admit(packet, router=settings(checksum=ChecksumForm.MESSAGE))

    assert (received.router, received.events) == ("r", ())
    assert packet != PACKET
    assert admit(PACKET).router == "r"


def test_5_2_8_a_checksum_of_neither_form_is_discarded() -> None:
    damaged = PACKET[:2] + bytes([PACKET[2] ^ 1]) + PACKET[3:]

    assert refusal(admit(damaged)) is DropReason.BAD_CHECKSUM


def test_5_2_8_over_ipv6_the_pseudo_header_is_summed_too() -> None:
    """From another source, the same bytes are wrong."""
    endpoint = Endpoint(interface="eth0", family=6)
    endpoint.put(settings(family=6, addresses=VIPS6))
    source = IPv6Address("fe80::9")
    packet = encode_advertisement(
        idle(family=6, addresses=VIPS6).advertisement(200), source=source, destination=GROUP_IPV6
    )

    received = endpoint.receive(
        packet, source=IPv6Address("fe80::8"), destination=GROUP_IPV6, ttl=255, now=Instant(0)
    )

    assert refusal(received) is DropReason.BAD_CHECKSUM


def test_5_2_9_the_first_ipv6_address_is_the_link_local_one() -> None:
    """However the operator ordered them."""
    sent = idle(family=6, addresses=VIPS6).advertisement(100)

    assert sent.addresses == (IPv6Address("fe80::10"), IPv6Address("2001:db8::10"))


def test_5_2_9_addresses_are_of_the_family_of_the_packet() -> None:
    """Others may be bound (excluded_addresses), not advertised."""
    mixed = settings(addresses=(*VIPS, IPv6Interface("2001:db8::10/64")))

    assert [problem.field for problem in problems(mixed)] == ["addresses"]


# Section 6.4.1: Initialize


def test_6_4_1_the_owner_starts_as_master() -> None:
    """Sends an advert, announces, sets Adver_Timer to Advertisement_Interval."""
    router = idle(priority=255)

    outputs = router.start(Instant(0))

    assert router.state is State.MASTER
    assert outputs == [
        SendAdvertisement("r", 255),
        AddAddresses("r", VIPS),
        Announce("r", VIPS, 5),
        BecameMaster("r", Reason.OWNER, 0),
    ]
    assert router.deadline == ADVERT


def test_6_4_1_others_start_as_backup_with_their_own_interval() -> None:
    """Sets Active_Adver_Interval to Advertisement_Interval, Active_Down_Timer to Active_Down_Interval."""
    router = idle()

    outputs = router.start(Instant(0))

    assert router.state is State.BACKUP
    assert outputs == [BecameBackup("r", Reason.STARTED, None, None)]
    assert router.deadline == DOWN


# Section 6.4.2: Backup


def test_6_4_2_a_backup_binds_no_address() -> None:
    """Then the kernel answers no ARP request, no Neighbor Solicitation, and accepts no packet for it."""
    router = master()
    outputs = hear(router, 200, due(router))

    assert RemoveAddresses("r", VIPS) in outputs
    assert not router.holds_addresses
    assert not any(isinstance(output, AddAddresses | Announce) for output in outputs)


def test_6_4_2_shutdown_cancels_the_timer_and_ends_in_initialize() -> None:
    router = backup()

    outputs = router.shutdown(Instant(5))

    assert router.state is State.INIT
    assert router.deadline is None
    assert outputs == [Released("r", Reason.SHUTDOWN, None)]


def test_6_4_2_when_the_down_timer_fires_it_advertises_announces_and_is_master() -> None:
    """The advert first; with erratum 7949, Adver_Timer at Advertisement_Interval; here once all is read."""
    router = backup()

    outputs = pass_time(router, Instant(DOWN))

    assert outputs == [
        SendAdvertisement("r", 100),
        AddAddresses("r", VIPS),
        Announce("r", VIPS, 5, 4 * SECOND),
        BecameMaster("r", Reason.MASTER_DOWN, DOWN),
    ]
    assert router.state is State.MASTER
    assert router.deadline == DOWN + ADVERT


def test_6_4_2_before_the_down_timer_fires_nothing_happens() -> None:
    router = backup()

    assert router.on_deadline(Instant(DOWN - 1)) == []
    assert router.state is State.BACKUP


def test_6_4_2_gratuitous_arp_carries_the_address_and_its_new_place() -> None:
    mac = bytes.fromhex("020000000001")

    arp = decode_arp(gratuitous_arp(mac=mac, address=US, form=ArpForm.REPLY)[14:])

    assert (arp.sender_address, arp.target_address, arp.target_mac) == (US, US, mac)


def test_6_4_2_unsolicited_neighbor_advertisement_has_r_and_o_set_and_s_clear() -> None:
    message = unsolicited_advertisement(mac=bytes(6), address=IPv6Address("fe80::10"))

    assert message[4] == 0b1010_0000


def test_6_4_2_priority_0_sets_the_down_timer_to_skew_time() -> None:
    router = backup()
    hear(router, 200, 50 * MILLISECOND)

    hear(router, 0, 60 * MILLISECOND)

    assert router.deadline == 60 * MILLISECOND + SKEW
    assert kinds(fire(router))[-1] == "BecameMaster"


@pytest.mark.parametrize("priority", [100, 101, 255])
def test_6_4_2_an_advert_as_good_as_ours_restarts_the_down_timer_with_its_interval(priority: int) -> None:
    """Active_Adver_Interval, Skew_Time and Active_Down_Interval follow what it says."""
    router = backup()

    hear(router, priority, 7 * MILLISECOND, interval_cs=100)

    assert router.master_advert_interval == SECOND
    assert router.deadline == 7 * MILLISECOND + 3 * SECOND + 156 * SECOND // 256


def test_6_4_2_without_preempt_mode_a_worse_advert_restarts_the_down_timer() -> None:
    router = backup(preempts=False)

    hear(router, 1, 7 * MILLISECOND)

    assert router.deadline == 7 * MILLISECOND + DOWN


def test_6_4_2_with_preempt_mode_a_worse_advert_is_discarded() -> None:
    router = backup()

    outputs = hear(router, 99, 7 * MILLISECOND)

    assert outputs == []
    assert router.deadline == DOWN


def test_6_1_an_owner_preempts_whatever_preempt_mode_says() -> None:
    router = idle(priority=255, preempts=False)
    router.set_interface(False, None, Instant(0))
    router.start(Instant(0))
    router.set_priority(254, Instant(0))
    router.set_interface(True, US, Instant(0))
    router.set_priority(255, Instant(0))

    hear(router, 200, 1)

    assert router.deadline == 3 * ADVERT + 2 * ADVERT // 256


# Section 6.4.3: Active


def test_6_4_3_the_master_binds_the_addresses() -> None:
    """Then the kernel answers ARP and Neighbor Solicitations for them and accepts their packets
    (Accept_Mode True: a director is the service)."""
    router = backup()

    assert AddAddresses("r", VIPS) in fire(router)
    assert router.holds_addresses


def test_6_4_3_shutdown_sends_priority_0_and_ends_in_initialize() -> None:
    router = master()

    outputs = router.shutdown(due(router))

    assert outputs == [
        SendAdvertisement("r", 0),
        StopAnnouncing("r", VIPS),
        RemoveAddresses("r", VIPS),
        Released("r", Reason.SHUTDOWN, None),
    ]
    assert router.state is State.INIT
    assert router.deadline is None


def test_6_4_3_when_the_advert_timer_fires_it_advertises_and_resets_it() -> None:
    router = master()
    at = due(router)

    assert fire(router) == [SendAdvertisement("r", 100)]
    assert router.deadline == at + ADVERT


def test_6_4_3_priority_0_is_answered_at_once_and_resets_the_advert_timer() -> None:
    router = master()
    at = due(router) - 40 * MILLISECOND

    outputs = hear(router, 0, at)

    assert outputs[0] == SendAdvertisement("r", 100)
    assert router.state is State.MASTER
    assert router.deadline == at + ADVERT


@pytest.mark.parametrize(("priority", "source"), [(101, LOWER_PEER), (100, HIGHER_PEER)])
def test_6_4_3_a_better_advert_makes_it_a_backup_that_follows_its_sender(
    priority: int, source: IPv4Address
) -> None:
    """Higher priority, or the same from a higher address. (The last advert is ours, rule 5.)"""
    router = master()
    at = due(router) - 40 * MILLISECOND

    outputs = hear(router, priority, at, source=source, interval_cs=20)

    assert outputs == [
        SendAdvertisement("r", 100),
        StopAnnouncing("r", VIPS),
        RemoveAddresses("r", VIPS),
        BecameBackup("r", Reason.BETTER_MASTER, source, priority),
    ]
    assert router.state is State.BACKUP
    assert router.master_advert_interval == 2 * ADVERT
    assert router.deadline == at + 6 * ADVERT + 2 * SKEW


def test_6_4_3_addresses_are_compared_as_unsigned_numbers() -> None:
    """10.0.0.200 is higher than 10.0.0.5, and fe80::1:0 than fe80::5."""
    router = master()

    hear(router, 100, due(router), source=IPv4Address("10.0.0.200"))

    assert router.state is State.BACKUP


@pytest.mark.parametrize(("priority", "source"), [(99, HIGHER_PEER), (100, LOWER_PEER)])
def test_6_4_3_a_worse_advert_is_answered_at_once(priority: int, source: IPv4Address) -> None:
    """ "Send an ADVERTISEMENT immediately to assert the {Active} state"; and the learning
    bridges follow whoever spoke last, so the addresses are announced again."""
    router = master()
    for _ in range(4):
        fire(router)
    at = due(router) - 40 * MILLISECOND

    outputs = hear(router, priority, at, source=source)

    assert outputs == [
        SendAdvertisement("r", 100),
        Announce("r", VIPS, 5),
        DuplicateMaster("r", source, priority, False, 1),
    ]
    assert router.state is State.MASTER
    assert router.deadline == at + ADVERT


# Section 7.1: receiving


def test_7_1_another_version_is_discarded() -> None:
    packet = encode_advertisement(
        idle(version=2, advert_interval=SECOND).advertisement(200), source=PEER, destination=GROUP_IPV4
    )

    assert refusal(admit(packet)) is DropReason.BAD_VERSION


def test_7_1_an_incomplete_packet_is_discarded() -> None:
    for length in range(len(PACKET)):
        with pytest.raises(DecodeError) as caught:
            decode_advertisement(PACKET[:length])
        assert caught.value.reason is DropReason.TRUNCATED


def test_7_1_a_vrid_not_configured_on_the_interface_is_discarded() -> None:
    assert refusal(admit(router=settings(vrid=52))) is DropReason.UNKNOWN_VRID


def test_7_1_an_interval_of_zero_is_discarded() -> None:
    """Erratum 8301."""
    assert refusal(admit(PACKET[:4] + b"\0\0" + PACKET[6:])) is DropReason.BAD_INTERVAL


def test_7_1_another_interval_is_told_and_taken() -> None:
    """ "the receiver SHOULD log the event (subject to rate-limiting)"."""
    received = admit(router=settings(advert_interval=SECOND))

    assert received.router == "r"
    (event,) = received.events
    assert isinstance(event, PeerDisagrees)
    assert event.what == "advert_interval"


def test_7_1_another_address_list_is_told_and_taken() -> None:
    received = admit(router=settings(addresses=VIPS[:1]))

    assert received.router == "r"
    (event,) = received.events
    assert isinstance(event, PeerDisagrees)
    assert event.what == "addresses"
    assert "only theirs: 10.0.0.11" in event.detail


def test_7_1_an_owner_tells_of_others_and_hears_them() -> None:
    """Erratum 8298: dropped, two owners would stay MASTERs for ever."""
    received = admit(router=settings(priority=255))

    assert received.router == "r"
    (event,) = received.events
    assert isinstance(event, PeerDisagrees)
    assert event.what == "owner"


# Section 7.2: transmitting


def test_7_2_the_fields_are_those_of_the_configuration() -> None:
    sent = idle(vrid=7, advert_interval=250 * MILLISECOND).advertisement(33)

    assert (sent.version, sent.vrid, sent.priority) == (3, 7, 33)
    assert sent.addresses == tuple(prefix.ip for prefix in VIPS)
    assert sent.max_advertise_interval_cs == 25


def test_7_2_protocol_and_groups_are_those_of_iana() -> None:
    assert (IP_PROTOCOL, str(GROUP_IPV4), str(GROUP_IPV6)) == (112, "224.0.0.18", "ff02::12")


# Section 8


@pytest.mark.parametrize("addresses", [VIPS, VIPS6])
def test_8_1_2_and_8_2_2_nothing_is_announced_before_the_address_is_configured(addresses: object) -> None:
    """ "gratuitous ARP messages MUST be delayed until both ... are configured"; likewise for IPv6."""
    router = backup(addresses=addresses, family=4 if addresses is VIPS else 6)

    order = kinds(fire(router))

    assert order.index("AddAddresses") < order.index("Announce")
