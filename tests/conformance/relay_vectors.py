"""Reads ``proto/vectors/relay.json``."""

import json
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from lvsha.core.addr import Address
from lvsha.core.errors import DropReason
from lvsha.wire.relay import (
    Ack,
    Bye,
    Digests,
    Entries,
    Envelope,
    Hello,
    Holdings,
    Message,
    MessageFlag,
    Readiness,
    Record,
    Status,
    Talk,
    Welcome,
)
from lvsha.wire.relay_seal import FrameHeader
from lvsha.wire.relay_talk import Got, News, Part, Purpose, Word

FILE = Path(__file__).resolve().parents[2] / "proto" / "vectors" / "relay.json"
A, B = 0xCA978112, 0x3E23E816
EPOCH_A, EPOCH_B = 0x1111111111111111, 0x2222222222222222
KEY = bytes(range(32))


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameVector:
    name: str
    key: bytes
    frame_key: bytes
    header: FrameHeader
    message: bytes
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageVector:
    name: str
    data: bytes
    envelope: Envelope | None
    pad: int
    error: DropReason | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Frames that come in."""

    message: bytes
    sequence: int
    sender: int
    receiver: int
    epoch: int
    key: bytes
    source: Address
    flip: int | None
    times: int
    fresh: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionVector:
    name: str
    steps: tuple[Step, ...]
    error: DropReason | None


def frame_vectors() -> list[FrameVector]:
    return [
        FrameVector(
            name=raw["name"],
            key=bytes.fromhex(raw["key"]),
            frame_key=bytes.fromhex(raw["frame_key"]),
            header=FrameHeader(
                bytes.fromhex(raw["key_id"]), raw["sender"], raw["receiver"], raw["epoch"], raw["sequence"]
            ),
            message=bytes.fromhex(raw["message"]),
            data=bytes.fromhex(raw["hex"]),
        )
        for raw in _raw("frames")
    ]


def header_vectors() -> list[tuple[str, bytes, DropReason]]:
    return [
        (raw["name"], bytes.fromhex(raw["hex"]), DropReason(raw["error"]["reason"]))
        for raw in _raw("headers")
    ]


def message_vectors() -> list[MessageVector]:
    return [
        MessageVector(
            name=raw["name"],
            data=bytes.fromhex(raw["hex"]),
            envelope=_envelope(raw) if "message" in raw else None,
            pad=raw.get("pad", 0),
            error=DropReason(raw["error"]["reason"]) if "error" in raw else None,
        )
        for raw in _raw("messages")
    ]


def session_vectors() -> list[SessionVector]:
    return [
        SessionVector(
            name=raw["name"],
            steps=tuple(_step(step) for step in raw["steps"]),
            error=DropReason(raw["error"]["reason"]) if raw["error"] else None,
        )
        for raw in _raw("sessions")
    ]


def _raw(section: str) -> list[dict[str, Any]]:
    vectors: list[dict[str, Any]] = json.loads(FILE.read_text(encoding="utf-8"))[section]
    return vectors


def _step(raw: dict[str, Any]) -> Step:
    return Step(
        message=bytes.fromhex(raw["message"]),
        sequence=raw["sequence"],
        sender=raw.get("sender", A),
        receiver=raw.get("receiver", B),
        epoch=raw.get("epoch", EPOCH_A),
        key=bytes.fromhex(raw["key"]) if "key" in raw else KEY,
        source=ip_address(raw.get("source", "10.0.0.1")),
        flip=raw.get("flip"),
        times=raw.get("times", 1),
        fresh=raw.get("fresh", False),
    )


def _envelope(raw: dict[str, Any]) -> Envelope:
    return Envelope(MessageFlag(raw["flags"]), raw["peer_epoch"], raw["settled"], _message(**raw["message"]))


def _message(type: str, **fields: Any) -> Message:
    match type:
        case "ENTRIES":
            return Entries(
                records=tuple(
                    Record(
                        each["generation"],
                        each["origin"],
                        each["lifetime_ms"],
                        bytes.fromhex(each["entry"]),
                    )
                    for each in fields["records"]
                )
            )
        case "ACK":
            return Ack(
                installed=tuple((first, last) for first, last in fields["installed"]),
                missing=tuple((first, last) for first, last in fields["missing"]),
            )
        case "STATUS":
            return Status(**{**fields, "readiness": Readiness(fields["readiness"])})
        case "DIGESTS":
            return Digests(first=fields["first"], digests=tuple(fields["digests"]))
        case "HOLDINGS":
            return Holdings(**{**fields, "items": tuple(fields["items"])})
        case "HELLO":
            return Hello(**fields)
        case "WELCOME":
            return Welcome(**fields)
        case "TALK":
            return Talk(word=_word(**fields))
        case _:
            return Bye()


def _word(word: str, **fields: Any) -> Word:
    match word:
        case "NEWS":
            return News(**fields)
        case "PART":
            data = bytes.fromhex(fields["data"])
            return Part(**{**fields, "purpose": Purpose(fields["purpose"]), "data": data})
        case _:
            return Got(**{**fields, "purpose": Purpose(fields["purpose"])})
