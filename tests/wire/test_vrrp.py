"""What no vector can say: any bytes, any advert."""

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvsha.core.errors import DecodeError, StateError
from lvsha.core.instant import MILLISECOND, SECOND
from lvsha.wire.vrrp import (
    Advertisement,
    ChecksumForm,
    checksum_form,
    decode_advertisement,
    encode_advertisement,
)

SOURCE4, GROUP4 = IPv4Address("192.0.2.1"), IPv4Address("224.0.0.18")
SOURCE6, GROUP6 = IPv6Address("fe80::1"), IPv6Address("ff02::12")

byte = st.integers(0, 255)
v4_addresses = st.lists(st.ip_addresses(v=4), min_size=1, max_size=20).map(tuple)
v6_addresses = st.lists(st.ip_addresses(v=6), min_size=1, max_size=20).map(tuple)
v3_adverts = st.builds(
    Advertisement,
    version=st.just(3),
    vrid=byte,
    priority=byte,
    addresses=st.one_of(v4_addresses, v6_addresses),
    max_advertise_interval_cs=st.integers(1, 4095),
)
v2_adverts = st.builds(
    Advertisement,
    version=st.just(2),
    vrid=byte,
    priority=byte,
    addresses=v4_addresses,
    advertisement_interval_s=st.integers(1, 255),
    auth_type=byte,
    auth_data=st.binary(max_size=8).map(lambda data: data.rstrip(b"\0")),
)


def advert(**changes: object) -> Advertisement:
    fields: dict[str, object] = {
        "version": 3,
        "vrid": 51,
        "priority": 100,
        "addresses": (IPv4Address("192.0.2.10"),),
        "max_advertise_interval_cs": 10,
    }
    return Advertisement(**(fields | changes))  # type: ignore[arg-type]  # one helper for every field


@given(st.one_of(v3_adverts, v2_adverts), st.sampled_from(ChecksumForm))
def test_what_is_encoded_decodes_to_the_same_and_its_checksum_holds(
    sent: Advertisement, form: ChecksumForm
) -> None:
    over_ipv6 = sent.addresses[0].version == 6
    source, destination = (SOURCE6, GROUP6) if over_ipv6 else (SOURCE4, GROUP4)

    data = encode_advertisement(sent, source=source, destination=destination, checksum=form)

    assert decode_advertisement(data, family=6 if over_ipv6 else 4) == sent
    assert checksum_form(data, source=source, destination=destination) is not None


@given(st.binary(max_size=80), st.sampled_from([4, 6]))
def test_any_bytes_decode_or_raise_decode_error(data: bytes, family: int) -> None:
    try:
        decode_advertisement(data, family=family)
    except DecodeError:
        return


@given(st.binary(min_size=7, max_size=7), st.integers(0, 3), st.sampled_from([b"\x21", b"\x31"]))
def test_what_decodes_encodes_to_the_same_bytes(fields: bytes, count: int, first: bytes) -> None:
    """But for what the receiver ignores: the reserved bits of version 3."""
    v2 = first == b"\x21"
    data = bytearray(first + fields + bytes(range(4 * count)) + (b"password" if v2 else b""))
    data[3] = count
    if not v2:
        data[4] &= 0x0F
    try:
        decoded = decode_advertisement(bytes(data))
    except DecodeError:
        return

    encoded = encode_advertisement(decoded, source=SOURCE4, destination=GROUP4)

    assert encoded[:6] + encoded[8:] == bytes(data[:6] + data[8:])


def test_checksum_over_ipv6_is_left_to_the_kernel_when_the_addresses_are_not_known() -> None:
    data = encode_advertisement(advert(addresses=(IPv6Address("fe80::10"),)))

    assert data[6:8] == b"\0\0"


def test_checksum_over_ipv4_needs_the_addresses() -> None:
    with pytest.raises(StateError, match="needs source and destination"):
        encode_advertisement(advert())


@pytest.mark.parametrize(
    "changes",
    [
        {"version": 4},
        {"version": 2, "advertisement_interval_s": 0},
        {"version": 2, "advertisement_interval_s": 256},
        {"version": 2, "advertisement_interval_s": 1, "addresses": (IPv6Address("::1"),)},
        {"addresses": ()},
        {"addresses": (IPv4Address("192.0.2.1"),) * 256},
        {"addresses": (IPv4Address("192.0.2.1"), IPv6Address("::1"))},
        {"vrid": 256},
        {"priority": -1},
        {"max_advertise_interval_cs": 0},
        {"max_advertise_interval_cs": 4096},
        {"auth_data": b"123456789"},
    ],
    ids=str,
)
def test_what_does_not_fit_is_not_encoded(changes: dict[str, object]) -> None:
    with pytest.raises(StateError):
        encode_advertisement(advert(**changes), source=SOURCE4, destination=GROUP4)


def test_interval_is_in_nanoseconds_whatever_the_version() -> None:
    assert advert(max_advertise_interval_cs=10).advert_interval == 100 * MILLISECOND
    assert advert(version=2, advertisement_interval_s=2).advert_interval == 2 * SECOND


def test_a_password_does_not_show() -> None:
    assert "secret" not in repr(advert(auth_data=b"secret"))
