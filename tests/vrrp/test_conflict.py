from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface

from lvsha.core.instant import SECOND, Instant
from lvsha.vrrp.conflict import DEFEND_INTERVAL, ConflictWatch
from lvsha.vrrp.outputs import AddressConflict, Announce
from lvsha.wire.arp import ArpPacket
from lvsha.wire.ndisc import NeighborAdvertisement

OURS, THEIRS = bytes.fromhex("020000000001"), bytes.fromhex("020000000002")
VIP = IPv4Interface("10.0.0.10/24")
VIP6 = IPv6Interface("fe80::10/64")


def watch() -> ConflictWatch:
    made = ConflictWatch(own_macs=frozenset({OURS}))
    made.hold("r", (VIP, VIP6))
    return made


def arp(sender: IPv4Address = VIP.ip, mac: bytes = THEIRS) -> ArpPacket:
    return ArpPacket(
        operation=1, sender_mac=mac, sender_address=sender, target_mac=bytes(6), target_address=VIP.ip
    )


def neighbor(mac: bytes | None = THEIRS) -> NeighborAdvertisement:
    return NeighborAdvertisement(target=VIP6.ip, router=False, solicited=False, override=True, mac=mac)


def test_another_mac_with_our_address_is_a_conflict_and_we_say_where_it_is() -> None:
    assert watch().receive(arp(), Instant(5)) == [
        AddressConflict("r", VIP.ip, THEIRS, 1),
        Announce("r", (VIP,), 1),
    ]


def test_so_it_is_for_ipv6() -> None:
    assert watch().receive(neighbor(), Instant(5)) == [
        AddressConflict("r", VIP6.ip, THEIRS, 1),
        Announce("r", (VIP6,), 1),
    ]


def test_our_own_packets_are_no_conflict() -> None:
    assert watch().receive(arp(mac=OURS), Instant(5)) == []
    assert watch().receive(neighbor(OURS), Instant(5)) == []


def test_a_probe_claims_nothing() -> None:
    """RFC 5227 section 1.1: its sender address is zero."""
    assert watch().receive(arp(IPv4Address("0.0.0.0")), Instant(5)) == []


def test_a_question_about_our_address_is_no_claim() -> None:
    assert watch().receive(arp(IPv4Address("10.0.0.77")), Instant(5)) == []
    assert watch().receive(neighbor(None), Instant(5)) == []


def test_an_address_is_defended_once_in_ten_seconds() -> None:
    """RFC 5227 section 2.4: two hosts that are both sure must not shout at each other."""
    held = watch()
    held.receive(arp(), Instant(0))
    quiet = [held.receive(arp(), Instant(step * SECOND)) for step in range(1, 10)]

    again = held.receive(arp(), Instant(DEFEND_INTERVAL))

    assert quiet == [[]] * 9
    assert again[0] == AddressConflict("r", VIP.ip, THEIRS, 11)


def test_an_address_that_is_not_held_any_more_is_not_watched() -> None:
    held = watch()
    held.drop("r", (VIP,))

    assert held.receive(arp(), Instant(0)) == []
    assert held.receive(neighbor(), Instant(0)) != []


def test_an_address_that_moved_to_another_router_stays_watched() -> None:
    held = watch()
    held.hold("new", (VIP,))
    held.drop("r", (VIP,))

    assert held.receive(arp(), Instant(0))[0] == AddressConflict("new", VIP.ip, THEIRS, 1)


def test_another_address_is_nobodys_business() -> None:
    assert watch().receive(arp(IPv4Address("10.0.0.11")), Instant(0)) == []
    assert ConflictWatch(own_macs=frozenset()).receive(neighbor(), Instant(0)) == []
    assert IPv6Address("fe80::10") == VIP6.ip
