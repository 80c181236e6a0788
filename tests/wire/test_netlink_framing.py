"""Netlink framing, and layouts that are learned."""

import struct
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvsha.core.errors import DecodeError
from lvsha.wire.netlink import (
    Layouts,
    acknowledgement,
    attribute,
    attribute_map,
    attributes,
    message,
    messages,
    nest,
    string,
)


@given(st.lists(st.tuples(st.integers(0, 0xFFFF), st.integers(0, 0xFFFF), st.binary(max_size=40))))
def test_messages_of_a_datagram(parts: list[tuple[int, int, bytes]]) -> None:
    data = b"".join(
        message(kind, flags, number, payload) for number, (kind, flags, payload) in enumerate(parts)
    )

    found = [(kind, flags, number, data[start:end]) for kind, flags, number, start, end in messages(data)]

    assert found == [(kind, flags, number, payload) for number, (kind, flags, payload) in enumerate(parts)]


@given(st.lists(st.tuples(st.integers(1, 0x3FFF), st.binary(max_size=40))))
def test_attributes_of_a_message(parts: list[tuple[int, bytes]]) -> None:
    data = b"".join(attribute(kind, payload) for kind, payload in parts)

    assert [(kind, data[start:end]) for kind, start, end in attributes(data, 0, len(data))] == parts


@given(st.binary(max_size=200))
def test_any_bytes_are_framed_or_refused(data: bytes) -> None:
    """And by nothing but DecodeError."""
    layouts = Layouts([((("I", (1, 2)),), 0), ((("s", (3,)),), b"")])
    for decode in (
        lambda: list(messages(data)),
        lambda: attribute_map(data, 0, len(data)),
        lambda: acknowledgement(data, 0x300, 0, len(data)),
        lambda: layouts.read(data, 0, len(data)),
    ):
        with suppress(DecodeError):
            decode()


@pytest.mark.parametrize("cut", [cut for cut in range(1, 36) if cut != 16])
def test_a_datagram_cut_short_is_refused(cut: int) -> None:
    data = message(1, 0, 1, b"0123") + message(2, 0, 2, b"")

    with pytest.raises(DecodeError):
        list(messages(data[:-cut]))


def test_an_error_with_the_request_echoed_still_tells_its_words() -> None:
    """Without CAP_ACK the whole request stands before the kernel's words."""
    request = message(28, 5, 7, b"some request!")
    words = attribute(2, struct.pack("=I", 12)) + attribute(1, b"bad thing\0")
    payload = struct.pack("=i", -22) + request + words

    assert acknowledgement(payload, 0x200, 0, len(payload)) == (22, "bad thing")


LEAVES = [
    ((("I", (1, 1)),), 0),
    ((("Q", (1, 5, 1)), ("I", (1, 4, 1))), -1),
    ((("s", (1, 2)),), b"none"),
    ((("H", (1, 3)),), 99),
]


def sample(
    number: int, name: str, *, wide: bool, port: int | None, order: bool
) -> tuple[bytes, tuple[object, ...]]:
    """A message and what the leaves make of it."""
    kind, letter = (5, "=Q") if wide else (4, "=I")
    counter = nest(kind, attribute(1, struct.pack(letter, number)))
    parts = [attribute(1, struct.pack("=I", number)), string(2, name), counter]
    if port is not None:
        parts.append(attribute(3, struct.pack("=H", port)))
    if order:
        parts.reverse()
    wanted = (number, number, name.encode() + b"\0", 99 if port is None else port)
    return b"head" + nest(1, *parts), wanted


@given(
    st.lists(
        st.tuples(
            st.integers(0, 2**32 - 1),
            st.sampled_from(["rr", "wlc", "lblcr", "mh"]),
            st.booleans(),
            st.none() | st.integers(0, 65535),
            st.booleans(),
        ),
        max_size=30,
    )
)
def test_learned_layouts_read_what_a_walk_would(
    objects: list[tuple[int, str, bool, int | None, bool]],
) -> None:
    """Shapes of one length that differ in the order or the presence of attributes are never mixed up."""
    layouts = Layouts(LEAVES, skip=4)

    for number, name, wide, port, order in objects:
        data, wanted = sample(number, name, wide=wide, port=port, order=order)
        padded = b"??" + data
        assert layouts.read(padded, 2, len(padded)) == wanted


def test_learned_layouts_do_not_grow_without_bound() -> None:
    layouts = Layouts(LEAVES, skip=4)

    for length in range(500):
        data, wanted = sample(7, "x" * length, wide=True, port=None, order=False)
        assert layouts.read(data, 0, len(data)) == wanted

    assert sum(map(len, layouts._known.values())) <= 64
