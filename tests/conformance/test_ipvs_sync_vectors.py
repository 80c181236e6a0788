"""The codec and the vectors say the same, both ways."""

from dataclasses import replace

import pytest

from lvsha.core.errors import DecodeError, DropReason
from lvsha.wire.ipvs_sync.message import decode_message, decode_rows, encode_message
from lvsha.wire.ipvs_sync.records import Loses, SyncMessage
from tests.conformance.ipvs_sync_vectors import Vector, load_vectors

VECTORS = load_vectors()
WHOLE = [vector for vector in VECTORS if vector.error is None]


def named(vectors: list[Vector]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("vector", [pytest.param(vector, id=vector.name) for vector in vectors])


def lengths(vector: Vector) -> list[int]:
    """Every length to cut at; of a long one every length near its ends, and some between."""
    total = len(vector.data)
    if total <= 300:
        return list(range(total))
    return [*range(150), *range(150, total - 100, 37), *range(total - 100, total)]


def without_details(message: SyncMessage) -> SyncMessage:
    return replace(message, problems=tuple(replace(problem, detail="") for problem in message.problems))


@named(WHOLE)
def test_decodes_to_what_the_vector_says(vector: Vector) -> None:
    message = decode_message(vector.data, vector.receiver)

    assert without_details(message) == SyncMessage(
        version=vector.version, syncid=vector.syncid, entries=vector.entries, problems=vector.problems
    )


@named(WHOLE)
def test_the_bulk_path_gives_the_same_entries(vector: Vector) -> None:
    assert tuple(decode_rows(vector.data, vector.receiver)) == vector.entries


@named([vector for vector in VECTORS if vector.error is not None])
def test_refuses_what_the_vector_refuses(vector: Vector) -> None:
    with pytest.raises(DecodeError) as refused:
        decode_message(vector.data, vector.receiver)

    assert refused.value.reason == vector.error


@named([vector for vector in WHOLE if vector.canonical])
def test_encodes_to_the_vector(vector: Vector) -> None:
    version = vector.version
    assert version in (0, 1)
    encoded = encode_message(
        vector.syncid, vector.entries, version=1 if version else 0, byteorder=vector.receiver.byteorder
    )

    assert encoded == vector.data


@named(WHOLE)
def test_cut_at_every_length_it_installs_nothing(vector: Vector) -> None:
    """The size field no longer is the datagram's length, so a kernel does not look further."""
    for length in lengths(vector):
        if length < 4:
            with pytest.raises(DecodeError):
                decode_message(vector.data[:length], vector.receiver)
        else:
            assert decode_message(vector.data[:length], vector.receiver).entries == ()


@named(WHOLE)
def test_cut_at_every_length_with_its_size_set_it_never_installs_more(vector: Vector) -> None:
    """Entries are lost from the end only, or one by one where the cut made another entry of them."""
    for length in lengths(vector)[4:]:
        cut = bytearray(vector.data[:length])
        cut[2:4] = length.to_bytes(2, "big")

        entries = decode_message(bytes(cut), vector.receiver).entries

        if vector.problems == () or vector.problems[0].loses is not Loses.MESSAGE:
            assert entries == vector.entries[: len(entries)]


@named(WHOLE)
@pytest.mark.parametrize("tail", [b"\0", b"\xff" * 3, bytes(80)])
def test_bytes_after_it_refuse_it_whole(vector: Vector, tail: bytes) -> None:
    message = decode_message(vector.data + tail, vector.receiver)

    assert message.entries == ()
    assert message.problems[0].loses is Loses.MESSAGE


@named([vector for vector in WHOLE if vector.canonical and vector.version == 1])
def test_bytes_after_it_that_its_size_covers_are_ignored(vector: Vector) -> None:
    longer = bytearray(vector.data + b"\xff" * 9)
    if len(longer) > 65_507:
        pytest.skip("no room for more")
    longer[2:4] = len(longer).to_bytes(2, "big")

    message = decode_message(bytes(longer), vector.receiver)

    assert message.entries == vector.entries
    assert message.problems[-1].reason is DropReason.TRAILING_BYTES


def test_every_reason_to_drop_sync_messages_has_a_vector() -> None:
    """The sync protocol's reasons of ``core.errors``, and those of any decoder that it uses."""
    reasons = list(DropReason)
    first, last = reasons.index(DropReason.BAD_MESSAGE_SIZE), reasons.index(DropReason.NEVER_HASHED)
    sync = set(reasons[first : last + 1])
    sync |= {DropReason.TRUNCATED, DropReason.TRAILING_BYTES, DropReason.BAD_VERSION}

    found = {problem.reason for vector in VECTORS for problem in vector.problems}
    found |= {vector.error for vector in VECTORS if vector.error is not None}

    assert found == sync
