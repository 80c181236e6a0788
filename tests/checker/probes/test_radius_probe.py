"""RADIUS, against a server of a few lines that does the arithmetic of RFC 2865 once more."""

import hashlib
import hmac
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvsha.checker.probes.radius import RadiusQuestion, hidden
from lvsha.checker.result import Reason
from lvsha.checker.settings import RadiusOptions

SECRET = b"s3cret"


def answer(request: bytes, code: int, attributes: bytes = b"", secret: bytes = SECRET) -> bytes:
    head = struct.pack("!BBH", code, request[1], 20 + len(attributes))
    signature = hashlib.md5(head + request[4:20] + attributes + secret).digest()
    return head + signature + attributes


def attributes_of(packet: bytes) -> dict[int, bytes]:
    found, at = {}, 20
    while at < len(packet):
        found[packet[at]] = packet[at + 2 : at + packet[at + 1]]
        at += packet[at + 1]
    return found


def asked(**options: str) -> RadiusQuestion:
    return RadiusQuestion(RadiusOptions(secret=SECRET.decode(), **options))


def test_status_server_is_signed_as_rfc_5997_says() -> None:
    packet = asked().begin(0x1234).payload

    code, identifier, size = struct.unpack_from("!BBH", packet)
    unsigned = packet[:-16] + bytes(16)
    assert (code, identifier, size) == (12, 0x34, len(packet))
    assert attributes_of(packet)[80] == hmac.digest(SECRET, unsigned, "md5")


def test_password_is_hidden_as_rfc_2865_says() -> None:
    packet = asked(username="joe", password="a longer password").begin(1).payload

    attributes = attributes_of(packet)
    key = hashlib.md5(SECRET + packet[4:20]).digest()
    first = bytes(a ^ b for a, b in zip(attributes[2][:16], key, strict=True))
    assert packet[0] == 1
    assert attributes[1] == b"joe"
    assert (first, len(attributes[2])) == (b"a longer passwor", 32)
    assert len(hidden(b"", SECRET, bytes(16))) == 16


@pytest.mark.parametrize(
    ("code", "attributes", "reason"),
    [
        (2, b"", Reason.OK),
        (3, b"\x12\x04no", Reason.BAD_STATUS),
        (11, b"", Reason.BAD_STATUS),
        (5, b"", Reason.BAD_RESPONSE),
    ],
)
def test_verdicts(code: int, attributes: bytes, reason: Reason) -> None:
    exchange = asked(username="joe", password="x").begin(7)

    verdict = exchange.received(answer(exchange.payload, code, attributes))

    assert verdict is not None
    assert verdict.reason is reason
    assert ("no" in verdict.detail) == bool(attributes)


def test_an_answer_of_another_secret_does_not_count() -> None:
    exchange = asked().begin(7)

    assert exchange.received(answer(exchange.payload, 2, secret=b"other")) is None
    assert "secret" in exchange.silence().detail


def test_an_answer_to_another_question_does_not_count() -> None:
    question = asked()
    one, other = question.begin(7), question.begin(7 + 256)

    assert one.received(answer(other.payload, 2)) is None


@given(st.binary(max_size=60))
def test_any_datagram_is_ignored_or_judged(data: bytes) -> None:
    assert asked().begin(1).received(data) is None


def test_what_cannot_be_asked_is_refused() -> None:
    for options in ({"username": "x" * 254}, {"username": "x", "password": "y" * 129}):
        with pytest.raises(ValueError):
            asked(**options)
