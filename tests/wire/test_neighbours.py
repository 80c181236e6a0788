"""ARP and neighbour advertisements: whole frames, and any bytes."""

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvsha.core.errors import DecodeError, StateError
from lvsha.wire.arp import (
    ArpForm,
    ArpPacket,
    Operation,
    decode_arp,
    encode_arp,
    gratuitous_arp,
    mac_text,
)
from lvsha.wire.ndisc import (
    NeighborAdvertisement,
    decode_neighbor_advertisement,
    encode_neighbor_advertisement,
    unsolicited_advertisement,
)

MAC = bytes.fromhex("020000000001")
mac = st.binary(min_size=6, max_size=6)
v6 = st.ip_addresses(v=6)


@pytest.mark.parametrize(
    ("form", "operation", "target_mac"),
    [(ArpForm.REQUEST, Operation.REQUEST, bytes(6)), (ArpForm.REPLY, Operation.REPLY, MAC)],
)
def test_gratuitous_arp_claims_the_address_for_the_sender(
    form: ArpForm, operation: Operation, target_mac: bytes
) -> None:
    """RFC 5227 section 2.3 for the request, RFC 9568 section 6.4.2 for the reply."""
    address = IPv4Address("192.0.2.10")

    frame = gratuitous_arp(mac=MAC, address=address, form=form)

    assert frame[:14].hex() == "ffffffffffff0200000000010806"
    assert decode_arp(frame[14:]) == ArpPacket(
        operation=operation,
        sender_mac=MAC,
        sender_address=address,
        target_mac=target_mac,
        target_address=address,
    )


def test_unsolicited_advertisement_overrides_what_the_neighbours_believe() -> None:
    """RFC 9568 section 6.4.2: Router and Override set, Solicited clear, our link-layer address."""
    address = IPv6Address("2001:db8::10")

    message = unsolicited_advertisement(mac=MAC, address=address)

    assert decode_neighbor_advertisement(
        message, source=address, destination=IPv6Address("ff02::1")
    ) == NeighborAdvertisement(target=address, router=True, solicited=False, override=True, mac=MAC)


@given(st.integers(0, 65535), mac, st.ip_addresses(v=4), mac, st.ip_addresses(v=4))
def test_arp_round_trip(
    operation: int, sender: bytes, source: IPv4Address, target: bytes, destination: IPv4Address
) -> None:
    arp = ArpPacket(
        operation=operation,
        sender_mac=sender,
        sender_address=source,
        target_mac=target,
        target_address=destination,
    )

    assert decode_arp(encode_arp(arp)) == arp


@given(v6, st.booleans(), st.booleans(), st.booleans(), st.one_of(st.none(), mac), v6, v6)
def test_neighbor_advertisement_round_trip(
    target: IPv6Address,
    router: bool,
    solicited: bool,
    override: bool,
    link_layer: bytes | None,
    source: IPv6Address,
    destination: IPv6Address,
) -> None:
    advert = NeighborAdvertisement(
        target=target, router=router, solicited=solicited, override=override, mac=link_layer
    )

    message = encode_neighbor_advertisement(advert, source=source, destination=destination)

    assert decode_neighbor_advertisement(message, source=source, destination=destination) == advert


@given(st.binary(max_size=64))
def test_any_bytes_decode_or_raise_decode_error(data: bytes) -> None:
    for decode in (
        decode_arp,
        lambda message: decode_neighbor_advertisement(
            message, source=IPv6Address("::1"), destination=IPv6Address("::2")
        ),
    ):
        try:
            decode(data)
        except DecodeError:
            continue


def test_a_hardware_address_has_six_bytes() -> None:
    short = NeighborAdvertisement(
        target=IPv6Address("::1"), router=True, solicited=False, override=True, mac=b"12345"
    )
    arp = ArpPacket(
        operation=1,
        sender_mac=b"12345",
        sender_address=IPv4Address(1),
        target_mac=MAC,
        target_address=IPv4Address(1),
    )
    with pytest.raises(StateError):
        encode_neighbor_advertisement(short, source=IPv6Address("::1"), destination=IPv6Address("::2"))
    with pytest.raises(StateError):
        encode_arp(arp)


def test_mac_is_written_as_everybody_writes_it() -> None:
    assert mac_text(MAC) == "02:00:00:00:00:01"
