"""Authenticated adverts and their vectors say the same: ``proto/lvsha_vrrp_auth.md``."""

import json
from dataclasses import dataclass
from ipaddress import ip_address, ip_interface
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvsha.config.key_lines import parse_key_lines
from lvsha.core.errors import DecodeError, DropReason
from lvsha.core.instant import MILLISECOND, SECOND, Instant
from lvsha.vrrp.endpoint import Endpoint, Received
from lvsha.vrrp.replay import ReplayGuard
from lvsha.vrrp.settings import Authentication, RouterSettings
from lvsha.wire.vrrp import decode_advertisement
from lvsha.wire.vrrp_auth import AuthKeys, split

FILE = Path(__file__).resolve().parents[2] / "proto" / "vectors" / "vrrp_auth.json"
DOCUMENT = json.loads(FILE.read_text())
LISTED = parse_key_lines("\n".join(DOCUMENT["keys"]), str(FILE))
CLOCK: int = DOCUMENT["clock"]


@dataclass(frozen=True)
class Vector:
    told: dict[str, Any]

    def __str__(self) -> str:
        return str(self.told["name"])

    @property
    def packets(self) -> list[bytes]:
        return [bytes.fromhex(text) for text in self.told["hex"]]

    @property
    def error(self) -> DropReason | None:
        return DropReason(self.told["error"]["reason"]) if "error" in self.told else None

    def receive(self, endpoint: Endpoint, packet: bytes) -> Received:
        return endpoint.receive(
            packet,
            source=ip_address(self.told["from"]),
            destination=ip_address(self.told["to"]),
            ttl=self.told["ttl"],
            now=Instant(0),
        )

    def endpoint(self) -> Endpoint:
        """That has exactly the router which the message is for."""
        family = self.told["family"]
        message, _ = split(self.packets[0], family=family)
        try:
            advert = decode_advertisement(message, family=family)
        except DecodeError:
            advert = decode_advertisement(message[:12], family=family)
        authentication = Authentication(self.told["authentication"])
        router = RouterSettings(
            name="r",
            interface="eth0",
            vrid=advert.vrid,
            family=family,
            version=advert.version,
            advert_interval=SECOND if advert.version == 2 else 100 * MILLISECOND,
            addresses=tuple(ip_interface(str(address)) for address in advert.addresses),
            authentication=authentication,
            key_file=None if authentication is Authentication.NONE else "keys",
        )
        endpoint = Endpoint(
            interface="eth0", family=family, guard=ReplayGuard(wall=CLOCK, now=Instant(0), last=0)
        )
        endpoint.put(router, AuthKeys(LISTED))
        return endpoint


VECTORS = [Vector(told) for told in DOCUMENT["vectors"]]


@pytest.mark.parametrize("vector", VECTORS, ids=str)
def test_the_last_packet_is_taken_or_refused_as_the_vector_says(vector: Vector) -> None:
    endpoint = vector.endpoint()
    *before, last = vector.packets
    for packet in before:
        assert vector.receive(endpoint, packet).router == "r"

    received = vector.receive(endpoint, last)

    assert received.router == (None if vector.error else "r")
    assert endpoint.dropped() == ({vector.error: 1} if vector.error else {})


@pytest.mark.parametrize("vector", [each for each in VECTORS if "number" in each.told], ids=str)
def test_sealing_gives_the_bytes_of_the_vector(vector: Vector) -> None:
    (packet,) = vector.packets
    message, trailer = split(packet, family=vector.told["family"])
    assert trailer is not None
    first = LISTED[vector.told["key"]]

    sealed = AuthKeys([first]).seal(
        message,
        vector.told["number"],
        source=ip_address(vector.told["from"]),
        destination=ip_address(vector.told["to"]),
    )

    assert sealed == packet
    assert trailer.number == vector.told["number"]


@pytest.mark.parametrize("vector", [each for each in VECTORS if "number" in each.told], ids=str)
def test_no_byte_can_be_changed_or_left_out(vector: Vector) -> None:
    (packet,) = vector.packets
    changed = [packet[:at] + bytes([packet[at] ^ 1]) + packet[at + 1 :] for at in range(len(packet))]
    endpoint = vector.endpoint()

    for wrong in (*changed, *(packet[:length] for length in range(len(packet))), packet + b"\0"):
        assert vector.receive(endpoint, wrong).router is None, wrong.hex()
    assert vector.receive(endpoint, packet).router == "r"


def test_every_reason_of_the_specification_has_a_vector() -> None:
    reasons = {"unauthenticated", "trailing_bytes", "unknown_key", "auth_failed", "replayed", "stale"}

    assert {vector.error for vector in VECTORS} - {None} == reasons


@given(st.binary(max_size=120), st.sampled_from([4, 6]))
def test_any_bytes_are_split_without_loss(payload: bytes, family: int) -> None:
    message, trailer = split(payload, family=family)

    assert payload.startswith(message)
    assert len(payload) - len(message) == (32 if trailer else 0)


def test_keys_do_not_show() -> None:
    keys = AuthKeys(LISTED)

    assert all(key.hex() not in repr(keys) and repr(key) not in repr(keys) for key in LISTED)
