"""The relay's frames, messages and refusals, and ``proto/vectors/relay.json``, say the same."""

from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvsha.core.errors import DecodeError, DropReason
from lvsha.core.instant import Instant
from lvsha.core.machine import Output
from lvsha.sync.relay import Relay
from lvsha.sync.relay_outputs import FrameRefused, InstallEntries
from lvsha.sync.relay_settings import RelayPeer, RelaySettings
from lvsha.sync.store import Store
from lvsha.wire.relay import Hello, Welcome, decode_envelope, encode_message
from lvsha.wire.relay_seal import FrameHeader, FrameKeys, Keyring, decode_header
from tests.conformance.relay_vectors import (
    EPOCH_B,
    KEY,
    A,
    B,
    FrameVector,
    MessageVector,
    SessionVector,
    Step,
    frame_vectors,
    header_vectors,
    message_vectors,
    session_vectors,
)

FRAMES, HEADERS, MESSAGES, SESSIONS = (
    frame_vectors(),
    header_vectors(),
    message_vectors(),
    session_vectors(),
)
GOOD = [vector for vector in MESSAGES if vector.envelope is not None]
BAD = [vector for vector in MESSAGES if vector.error is not None]
NOW = Instant(0)


def name_of(vector: FrameVector | MessageVector | SessionVector) -> str:
    return vector.name


@pytest.mark.parametrize("vector", FRAMES, ids=name_of)
def test_a_frame_is_sealed_and_opened_as_the_vector_says(vector: FrameVector) -> None:
    keyring = Keyring([vector.key])
    assert keyring.primary == vector.header.key_id
    key_id, sender, receiver, epoch, _ = vector.header
    assert keyring.frame_key(key_id, sender=sender, receiver=receiver, epoch=epoch) == vector.frame_key

    assert FrameKeys(keyring).seal(vector.header, vector.message) == vector.data
    assert decode_header(vector.data) == vector.header
    assert FrameKeys(keyring).open(vector.header, vector.data) == vector.message


def test_every_bit_of_a_frame_is_authenticated() -> None:
    vector = FRAMES[0]
    keys = FrameKeys(Keyring([vector.key]))

    for at in range(4, len(vector.data)):
        spoilt = bytearray(vector.data)
        spoilt[at] ^= 1
        with pytest.raises(DecodeError) as caught:
            keys.open(decode_header(bytes(spoilt)), bytes(spoilt))
        assert caught.value.reason is (DropReason.UNKNOWN_KEY if at < 8 else DropReason.AUTH_FAILED)


@pytest.mark.parametrize(("name", "data", "error"), HEADERS)
def test_a_header_is_refused_as_the_vector_says(name: str, data: bytes, error: DropReason) -> None:
    with pytest.raises(DecodeError) as caught:
        decode_header(data)

    assert caught.value.reason is error, name


@pytest.mark.parametrize("vector", GOOD, ids=name_of)
def test_a_message_decodes_and_encodes_as_the_vector_says(vector: MessageVector) -> None:
    assert vector.envelope is not None
    flags, peer_epoch, settled, message = vector.envelope

    assert decode_envelope(vector.data) == vector.envelope
    assert vector.data == encode_message(
        message, flags=flags, peer_epoch=peer_epoch, settled=settled, pad=vector.pad
    )


@pytest.mark.parametrize("vector", GOOD, ids=name_of)
def test_a_message_that_is_cut_or_has_bytes_after_it_is_refused(vector: MessageVector) -> None:
    assert vector.envelope is not None
    message = vector.envelope.message
    whole = len(encode_message(message)) if isinstance(message, Hello | Welcome) else len(vector.data)

    for data in (*(vector.data[:length] for length in range(whole)), vector.data + b"\1"):
        with pytest.raises(DecodeError):
            decode_envelope(data)


@pytest.mark.parametrize("vector", BAD, ids=name_of)
def test_a_message_is_refused_as_the_vector_says(vector: MessageVector) -> None:
    with pytest.raises(DecodeError) as caught:
        decode_envelope(vector.data)

    assert caught.value.reason is vector.error


@given(st.binary(max_size=200), st.integers(0, 9))
def test_any_bytes_decode_or_are_refused(data: bytes, kind: int) -> None:
    for candidate in (data, bytes((kind, 0, 0, 0)) + data):
        try:
            envelope = decode_envelope(candidate)
        except DecodeError:
            continue
        again = encode_message(
            envelope.message,
            flags=envelope.flags,
            peer_epoch=envelope.peer_epoch,
            settled=envelope.settled,
            pad=len(candidate),
        )
        assert decode_envelope(again) == envelope


def relay() -> Relay:
    peer = RelayPeer(name="a", director=A, address=IPv4Address("10.0.0.1"))
    settings = RelaySettings(director=B, peers=(peer,), key_file="")
    machine = Relay(settings, Store(director=B), Keyring([KEY]), epoch=EPOCH_B)
    machine.start(NOW)
    return machine


def receive(machine: Relay, step: Step) -> list[Output]:
    """What the last frame of a step does."""
    outputs: list[Output] = []
    keyring = Keyring([step.key])
    for number in range(step.times):
        message = bytearray(step.message)
        if step.fresh:
            # The client's port, in the entry of the first record.
            message[48:50] = (1024 + number).to_bytes(2, "big")
        header = FrameHeader(keyring.primary, step.sender, step.receiver, step.epoch, step.sequence + number)
        frame = bytearray(FrameKeys(keyring).seal(header, bytes(message)))
        if step.flip is not None:
            frame[step.flip] ^= 1
        outputs = machine.receive(bytes(frame), (step.source, 8849), NOW)
    return outputs


@pytest.mark.parametrize("vector", SESSIONS, ids=name_of)
def test_a_session_refuses_as_the_vector_says(vector: SessionVector) -> None:
    machine = relay()
    for step in vector.steps[:-1]:
        receive(machine, step)
    assert not machine.counts
    rows = len(machine.store)

    outputs = receive(machine, vector.steps[-1])

    if vector.error is None:
        assert not machine.counts
        assert len(machine.store) == 1
        return
    assert machine.counts[vector.error] == 1
    assert len(machine.store) == rows
    assert not any(isinstance(output, InstallEntries) for output in outputs)
    assert [output.reason for output in outputs if isinstance(output, FrameRefused)] == [vector.error]


def test_every_reason_to_refuse_of_the_relay_has_a_vector() -> None:
    reasons = list(DropReason)
    first, last = reasons.index(DropReason.BAD_MAGIC), reasons.index(DropReason.BAD_GENERATION)
    produced = {
        *(vector.error for vector in BAD),
        *(error for _, _, error in HEADERS),
        *(vector.error for vector in SESSIONS),
    }

    assert set(reasons[first : last + 1]) <= produced
