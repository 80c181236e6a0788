"""Any bytes decode or raise ``DecodeError``; what is encoded decodes to itself."""

from typing import Literal

from hypothesis import example, given
from hypothesis import strategies as st

from lvsha.core.errors import DecodeError
from lvsha.wire.ipvs_sync.message import decode_message, decode_rows, encode_message, encode_messages
from lvsha.wire.ipvs_sync.names import SEQ_MASK, STATE_COUNT, ConnFlag
from lvsha.wire.ipvs_sync.options import SequenceData, SequenceDelta, encode_option, encode_options
from lvsha.wire.ipvs_sync.receiver import Receiver
from lvsha.wire.ipvs_sync.records import SyncConn
from tests.conformance.ipvs_sync_vectors import load_vectors

u8, u16, u32 = (st.integers(0, 2**bits - 1) for bits in (8, 16, 32))
deltas = st.builds(SequenceDelta, u32, u32, u32)
sequences = st.builds(SequenceData, deltas, deltas)
vectors = st.sampled_from([vector.data for vector in load_vectors() if len(vector.data) < 2_000])


@st.composite
def connections(draw: st.DrawFn, *, inet6: bool | None = None) -> SyncConn:
    """What a receiver installs, as odd as it may be."""
    six = draw(st.booleans()) if inet6 is None else inet6
    address = st.binary(min_size=16, max_size=16) if six else st.binary(min_size=4, max_size=4)
    flags = draw(u32)
    if flags & ConnFlag.TEMPLATE:
        protocol, state = draw(u8), draw(u16)
    else:
        protocol = draw(st.sampled_from(sorted(STATE_COUNT)))
        state = draw(st.integers(0, STATE_COUNT[protocol] - 1))
    pe_name = draw(st.binary(max_size=16))
    options = encode_options(
        sequence=draw(st.none() | sequences),
        pe_name=pe_name,
        pe_data=draw(st.binary(max_size=255)) if pe_name else b"",
    )
    if draw(st.booleans()):
        options += encode_option(draw(st.integers(0x44, 0x7F)), draw(st.binary(min_size=1, max_size=255)))
    if draw(st.booleans()):
        options = b""
    return SyncConn(
        type=draw(u8) | 1 if six else 0,
        protocol=protocol,
        flags=flags,
        state=state,
        cport=draw(u16),
        vport=draw(u16),
        dport=draw(u16),
        fwmark=draw(u32),
        timeout=draw(u32),
        caddr=draw(address),
        vaddr=draw(address),
        daddr=draw(address),
        options=options,
    )


@st.composite
def v0_connections(draw: st.DrawFn) -> SyncConn:
    conn = draw(connections(inet6=False))
    flags = conn.flags & 0xFFFF & ~ConnFlag.ONE_PACKET
    sequence = draw(sequences) if flags & SEQ_MASK else None
    return conn._replace(
        type=draw(u8), flags=flags, fwmark=0, timeout=0, options=encode_options(sequence=sequence)
    )


receivers = st.builds(
    Receiver,
    syncid=st.sampled_from([0, 7]),
    maxlen=st.sampled_from([1024, 65507]),
    inet6=st.booleans(),
    engines=st.sampled_from([None, frozenset(), frozenset({b"sip"})]),
    refuses_template_state=st.booleans(),
)


def check_any_bytes(data: bytes, receiver: Receiver) -> None:
    try:
        message = decode_message(data, receiver)
    except DecodeError:
        assert len(data) < 4
        return
    assert decode_rows(data, receiver) == list(message.entries)
    if message.entries and message.version == 1:
        again = decode_message(encode_message(message.syncid, message.entries), receiver)
        assert again.entries == message.entries
    assert [problem.offset for problem in message.problems] == sorted(p.offset for p in message.problems)
    for problem in message.problems:
        assert 0 <= problem.offset <= len(data)


@given(st.binary(max_size=400), receivers)
def test_any_bytes_decode_or_raise_decode_error(data: bytes, receiver: Receiver) -> None:
    check_any_bytes(data, receiver)


@given(u8, u8, st.binary(max_size=400), receivers)
def test_any_body_under_a_sound_header_decodes(
    syncid: int, count: int, body: bytes, receiver: Receiver
) -> None:
    size = (8 + len(body)).to_bytes(2, "big")
    check_any_bytes(bytes((0, syncid)) + size + bytes((count, 1, 0, 0)) + body, receiver)


@given(vectors, st.lists(st.tuples(st.integers(0, 1_999), u8), max_size=6), receivers)
@example(bytes.fromhex("000700060101"), [], Receiver())
def test_a_mutated_vector_decodes(data: bytes, changes: list[tuple[int, int]], receiver: Receiver) -> None:
    mutated = bytearray(data)
    for place, value in changes:
        if mutated:
            mutated[place % len(mutated)] = value
    check_any_bytes(bytes(mutated), receiver)


@given(u8, st.lists(connections(), max_size=8))
def test_v1_decodes_to_what_was_encoded(syncid: int, entries: list[SyncConn]) -> None:
    message = decode_message(encode_message(syncid, entries))

    assert (message.version, message.syncid, list(message.entries)) == (1, syncid, entries)
    assert message.problems == ()


@given(u8, st.lists(v0_connections(), min_size=1, max_size=8), st.sampled_from(["little", "big"]))
def test_v0_decodes_to_what_was_encoded(
    syncid: int, entries: list[SyncConn], byteorder: Literal["little", "big"]
) -> None:
    data = encode_message(syncid, entries, version=0, byteorder=byteorder)

    message = decode_message(data, Receiver(byteorder=byteorder))

    assert (message.version, message.syncid, list(message.entries)) == (0, syncid, entries)
    assert message.problems == ()


@given(st.lists(connections(), max_size=60), st.integers(700, 3_000))
def test_messages_hold_every_entry_in_order_within_maxlen(entries: list[SyncConn], maxlen: int) -> None:
    messages = list(encode_messages(7, entries, maxlen=maxlen))

    assert all(len(data) <= maxlen for data in messages)
    assert [conn for data in messages for conn in decode_message(data).entries] == entries
