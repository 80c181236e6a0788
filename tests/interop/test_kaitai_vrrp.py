"""The parsers that Kaitai makes of proto/vrrp_v*.ksy accept what the codec accepts, and read the same."""

import random
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvsha.core.errors import DecodeError
from lvsha.wire.vrrp import Advertisement, decode_advertisement
from tests.conformance.vrrp_vectors import VrrpVector, vrrp_vectors
from tests.interop.kaitai_parsers import parse

pytestmark = pytest.mark.interop

VECTORS = vrrp_vectors()
BASES = [(vector.data, vector.family) for vector in VECTORS if vector.data]


@pytest.mark.parametrize("vector", [pytest.param(vector, id=vector.name) for vector in VECTORS])
def test_on_every_vector(vector: VrrpVector) -> None:
    assert kaitai(vector.data, vector.family) == codec(vector.data, vector.family)


@given(st.integers(0, 2**64), st.sampled_from(BASES))
def test_on_adverts_that_are_nearly_right(seed: int, base: tuple[bytes, int]) -> None:
    dice = random.Random(seed)
    data = bytearray(base[0])
    for _ in range(dice.randrange(3)):
        data[dice.randrange(len(data))] = dice.choice((0, 1, 2, 0x21, 0x31, dice.randrange(256)))
    cut = bytes(data[: dice.choice((len(data), len(data), dice.randrange(len(data) + 1)))])

    for family in (4, 6):
        assert kaitai(cut, family) == codec(cut, family)


@given(st.binary(max_size=60))
def test_on_any_bytes(data: bytes) -> None:
    for marked in (data, b"\x21\1\1\1" + data, b"\x31\1\1\1" + data):
        for family in (4, 6):
            assert kaitai(marked, family) == codec(marked, family)


def codec(data: bytes, family: int) -> Advertisement | None:
    try:
        return decode_advertisement(data, family=family)
    except DecodeError:
        return None


def kaitai(data: bytes, family: int) -> Advertisement | None:
    """What either specification reads; None: both refuse it."""
    if family == 4:
        parsed = parse("vrrp_v2", data)
        if parsed.error is None:
            root = parsed.root
            return Advertisement(
                version=root.version,
                vrid=root.vrid,
                priority=root.priority,
                addresses=tuple(map(ip_address, root.addresses)),
                advertisement_interval_s=root.advertisement_interval,
                auth_type=root.auth_type,
                auth_data=root.auth_data.rstrip(b"\0"),
            )
    parsed = parse("vrrp_v3", data, family == 6)
    if parsed.error is not None:
        return None
    root = parsed.root
    return Advertisement(
        version=root.version,
        vrid=root.vrid,
        priority=root.priority,
        addresses=tuple(map(ip_address, root.addresses)),
        max_advertise_interval_cs=root.max_advertise_interval,
    )
