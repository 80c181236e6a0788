"""The VRRP, ARP and neighbour codecs and their vectors say the same, both ways."""

import pytest

from lvsha.core.errors import DecodeError, DropReason
from lvsha.core.instant import Instant
from lvsha.vrrp.endpoint import Endpoint
from lvsha.vrrp.outputs import AdvertisementDropped
from lvsha.wire.arp import decode_arp, encode_arp
from lvsha.wire.ndisc import decode_neighbor_advertisement, encode_neighbor_advertisement
from lvsha.wire.vrrp import checksum_form, decode_advertisement, encode_advertisement
from tests.conformance.vrrp_vectors import (
    ArpVector,
    NdiscVector,
    VrrpVector,
    arp_vectors,
    ndisc_vectors,
    vrrp_vectors,
)

VRRP = vrrp_vectors()
GOOD = [vector for vector in VRRP if vector.error is None]
NOT_DECODED = [vector for vector in VRRP if vector.error is not None and not vector.by_endpoint]
NOT_ADMITTED = [vector for vector in VRRP if vector.by_endpoint]
ARP = arp_vectors()
NDISC = ndisc_vectors()


def name_of(vector: VrrpVector | ArpVector | NdiscVector) -> str:
    return vector.name


@pytest.mark.parametrize("vector", GOOD, ids=name_of)
def test_advert_decodes_to_what_the_vector_says(vector: VrrpVector) -> None:
    assert decode_advertisement(vector.data, family=vector.family) == vector.advert


@pytest.mark.parametrize("vector", GOOD, ids=name_of)
def test_checksum_is_of_the_form_that_the_vector_says(vector: VrrpVector) -> None:
    form = checksum_form(vector.data, source=vector.source, destination=vector.destination)

    assert form is vector.checksum


@pytest.mark.parametrize("vector", [vector for vector in GOOD if vector.canonical], ids=name_of)
def test_advert_encodes_to_the_bytes_of_the_vector(vector: VrrpVector) -> None:
    assert vector.advert is not None
    assert vector.checksum is not None

    encoded = encode_advertisement(
        vector.advert, source=vector.source, destination=vector.destination, checksum=vector.checksum
    )

    assert encoded == vector.data


@pytest.mark.parametrize("vector", NOT_DECODED, ids=name_of)
def test_decoder_refuses_for_the_reason_that_the_vector_says(vector: VrrpVector) -> None:
    with pytest.raises(DecodeError) as caught:
        decode_advertisement(vector.data, family=vector.family)

    assert caught.value.reason is vector.error


@pytest.mark.parametrize("vector", NOT_ADMITTED, ids=name_of)
def test_endpoint_refuses_for_the_reason_that_the_vector_says(vector: VrrpVector) -> None:
    assert vector.router is not None
    endpoint = Endpoint(interface="eth0", family=vector.family)
    endpoint.put(vector.router)
    endpoint.own_addresses = vector.own

    received = endpoint.receive(
        vector.data,
        source=vector.source,
        destination=vector.destination,
        ttl=vector.ttl,
        now=Instant(0),
    )

    assert received.router is None
    (event,) = received.events
    assert isinstance(event, AdvertisementDropped)
    assert event.reason is vector.error
    assert event.detail
    assert endpoint.dropped() == {vector.error: 1}


@pytest.mark.parametrize("vector", [vector for vector in GOOD if len(vector.data) < 100], ids=name_of)
def test_advert_cut_at_every_length_is_truncated(vector: VrrpVector) -> None:
    for length in range(len(vector.data)):
        with pytest.raises(DecodeError) as caught:
            decode_advertisement(vector.data[:length], family=vector.family)
        assert caught.value.reason is DropReason.TRUNCATED, length


@pytest.mark.parametrize("vector", GOOD, ids=name_of)
@pytest.mark.parametrize("count", [1, 4, 8, 16, 100])
def test_advert_with_bytes_after_it_is_refused(vector: VrrpVector, count: int) -> None:
    with pytest.raises(DecodeError) as caught:
        decode_advertisement(vector.data + bytes(count), family=vector.family)

    assert caught.value.reason is DropReason.TRAILING_BYTES


@pytest.mark.parametrize("vector", ARP, ids=name_of)
def test_arp_and_its_vectors_agree(vector: ArpVector) -> None:
    if vector.error is not None:
        with pytest.raises(DecodeError) as caught:
            decode_arp(vector.data)
        assert caught.value.reason is vector.error
        return

    arp = decode_arp(vector.data)

    assert arp == vector.arp
    assert (arp.is_gratuitous, arp.is_probe) == (vector.is_gratuitous, vector.is_probe)
    assert encode_arp(arp) == vector.data
    assert decode_arp(vector.data + bytes(18)) == arp
    for length in range(len(vector.data)):
        with pytest.raises(DecodeError, match="truncated"):
            decode_arp(vector.data[:length])


@pytest.mark.parametrize("vector", NDISC, ids=name_of)
def test_neighbor_advertisement_and_its_vectors_agree(vector: NdiscVector) -> None:
    source, destination = vector.source, vector.destination
    if vector.error is not None:
        with pytest.raises(DecodeError) as caught:
            decode_neighbor_advertisement(vector.data, source=source, destination=destination)
        assert caught.value.reason is vector.error
        return

    advert = decode_neighbor_advertisement(vector.data, source=source, destination=destination)

    assert advert == vector.advert
    encoded = encode_neighbor_advertisement(advert, source=source, destination=destination)
    assert (encoded == vector.data) is vector.canonical
    for data in (*(vector.data[:length] for length in range(len(vector.data))), vector.data + b"\0"):
        with pytest.raises(DecodeError):
            decode_neighbor_advertisement(data, source=source, destination=destination)


def test_every_reason_to_drop_an_advert_has_a_vector() -> None:
    """The list of ``core.errors`` between "Any decoder" and the sync protocol's."""
    reasons = list(DropReason)
    vrrp = set(reasons[: reasons.index(DropReason.OWN_PACKET) + 1])

    assert {vector.error for vector in VRRP} - {None} == vrrp
