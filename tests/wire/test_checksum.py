from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvsha.wire.checksum import checksum_holds, internet_checksum, pseudo_header


def slow_checksum(data: bytes) -> int:
    """RFC 1071 section 4.1, word by word."""
    if len(data) % 2:
        data += b"\0"
    total = sum(int.from_bytes(data[at : at + 2], "big") for at in range(0, len(data), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


def test_checksum_is_that_of_the_example_in_rfc_1071() -> None:
    """Section 3: the words 0001 f203 f4f5 f6f7 add up to ddf2."""
    assert internet_checksum(bytes.fromhex("0001f203f4f5f6f7")) == 0xFFFF - 0xDDF2


@given(st.one_of(st.binary(max_size=80), st.just(b"\xff\xff"), st.just(bytes(9))))
def test_checksum_by_division_is_the_checksum_by_addition(data: bytes) -> None:
    assert internet_checksum(data) == slow_checksum(data)


@given(st.binary(min_size=2, max_size=60), st.integers(0, 10**6))
def test_checksum_holds_once_it_is_written_and_not_after_a_flipped_bit(data: bytes, where: int) -> None:
    data = data[: len(data) // 2 * 2]
    summed = data + internet_checksum(data).to_bytes(2, "big")
    bit = where % (len(summed) * 8)
    damaged = (int.from_bytes(summed, "big") ^ 1 << bit).to_bytes(len(summed), "big")

    assert checksum_holds(summed)
    assert not checksum_holds(damaged)


def test_nothing_but_zeros_has_no_valid_checksum() -> None:
    assert not checksum_holds(bytes(20))


def test_pseudo_headers_have_the_shape_of_their_rfcs() -> None:
    """RFC 9293 section 3.1 and RFC 8200 section 8.1."""
    v4 = pseudo_header(
        source=IPv4Address("1.2.3.4"), destination=IPv4Address("5.6.7.8"), protocol=112, length=12
    )
    v6 = pseudo_header(source=IPv6Address("::1"), destination=IPv6Address("::2"), protocol=112, length=40)

    assert v4.hex() == "01020304050607080070000c"
    assert v6.hex() == "0" * 31 + "1" + "0" * 31 + "2" + "00000028" + "000000" + "70"


def test_pseudo_header_of_two_families_is_refused() -> None:
    with pytest.raises(ValueError, match="two families"):
        pseudo_header(source=ip_address("::1"), destination=ip_address("1.2.3.4"), protocol=1, length=0)
