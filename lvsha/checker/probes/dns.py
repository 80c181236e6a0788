"""DNS over UDP: one question, and the answer that has to come. Source: RFC 1035, RFC 3596, RFC 3597."""

import struct
from ipaddress import IPv4Address, IPv6Address

from lvsha.checker.probes.dialogue import GOOD, Datagram, Verdict
from lvsha.checker.result import Reason, bounded_detail
from lvsha.checker.settings import DnsOptions

TYPES = {
    "A": 1,
    "NS": 2,
    "CNAME": 5,
    "SOA": 6,
    "PTR": 12,
    "MX": 15,
    "TXT": 16,
    "AAAA": 28,
    "SRV": 33,
    "DS": 43,
    "RRSIG": 46,
    "DNSKEY": 48,
    "SVCB": 64,
    "HTTPS": 65,
    "ANY": 255,
    "CAA": 257,
}
_RCODES = {1: "FORMERR", 2: "SERVFAIL", 3: "NXDOMAIN", 4: "NOTIMP", 5: "REFUSED"}
_POINTERS = 32
"""Pointers followed in one name, and answers that are looked at."""


def encode_name(name: str) -> bytes:
    """``www.example.com.`` as labels.

    Raises:
        ValueError: a label is empty or longer than 63 bytes, or the name than 255.
    """
    stripped = name.rstrip(".")
    encoded = b""
    for label in stripped.split(".") if stripped else []:
        part = label.encode("idna") if not label.isascii() else label.encode()
        if not 1 <= len(part) <= 63:
            raise ValueError(f"{name!r} is no domain name")
        encoded += bytes([len(part)]) + part
    if len(encoded) > 254:
        raise ValueError(f"{name!r} is longer than a domain name")
    return encoded + b"\0"


class DnsQuestion:
    """Raises ValueError for a name or a type that there is not."""

    def __init__(self, options: DnsOptions) -> None:
        word = options.type.upper()
        if word in TYPES:
            number = TYPES[word]
        elif word.startswith("TYPE") and word[4:].isdecimal() and int(word[4:]) <= 0xFFFF:
            number = int(word[4:])
        else:
            raise ValueError(f"{options.type!r} is no record type")
        self.type = number
        self.body = encode_name(options.name) + struct.pack("!HH", number, 1)
        self.flags = 0x0100 if options.recursion_desired else 0
        self.expect = options.expect.rstrip(".").lower() if options.expect is not None else None

    def begin(self, token: int) -> Datagram:
        return _Dns(self, token)


class _Dns:
    __slots__ = ("_question", "_token", "payload")

    def __init__(self, question: DnsQuestion, token: int) -> None:
        self._question = question
        self._token = token
        self.payload = struct.pack("!6H", token, question.flags, 1, 0, 0, 0) + question.body

    def received(self, data: bytes) -> Verdict | None:
        question = self._question
        if len(data) < 12:
            return None
        token, flags, questions, answers, _, _ = struct.unpack_from("!6H", data)
        if token != self._token or not flags & 0x8000:
            return None  # somebody else's
        if questions and data[12 : 12 + len(question.body)].lower() != question.body.lower():
            return None
        if rcode := flags & 0xF:
            return Verdict(Reason.BAD_STATUS, f"the server says {_RCODES.get(rcode, rcode)}")
        if question.expect is None:
            return GOOD
        if flags & 0x0200:
            return Verdict(Reason.TOO_LONG, "the answer was truncated: expect less, or check over TCP")
        try:
            found = _answers(data, 12 + (len(question.body) if questions else 0), answers)
        except (IndexError, ValueError, struct.error):
            return Verdict(Reason.BAD_RESPONSE, "the answer is cut short")
        texts = [text for kind, text in found if question.type in (kind, 255)]
        if question.expect in texts:
            return GOOD
        words = f"expected {question.expect}, got {', '.join(texts) or 'no such record'}"
        return Verdict(Reason.BODY_MISMATCH, bounded_detail(words))

    def silence(self) -> Verdict:
        return Verdict(Reason.TIMEOUT, "no answer")


def _answers(data: bytes, at: int, count: int) -> list[tuple[int, str]]:
    """Type and text of each record in the answer section."""
    found = []
    for _ in range(min(count, _POINTERS)):
        _, at = _name(data, at)
        kind, _, _, length = struct.unpack_from("!HHIH", data, at)
        at += 10
        if at + length > len(data):
            raise ValueError("a record beyond the end")
        found.append((kind, _text(data, at, length, kind)))
        at += length
    return found


def _text(data: bytes, at: int, length: int, kind: int) -> str:
    if kind == 1:
        return str(IPv4Address(data[at : at + length]))
    if kind == 28:
        return str(IPv6Address(data[at : at + length]))
    if kind in (2, 5, 12, 6):
        return _name(data, at)[0]
    if kind == 15:
        return _name(data, at + 2)[0]
    if kind == 33:
        return _name(data, at + 6)[0]
    if kind == 16:
        text, end = b"", at + length
        while at < end:
            text += data[at + 1 : at + 1 + data[at]]
            at += 1 + data[at]
        return text.decode("utf-8", "replace").rstrip(".").lower()
    return data[at : at + length].hex()


def _name(data: bytes, at: int) -> tuple[str, int]:
    """A name in lower case without its last dot, and where it ends."""
    labels: list[str] = []
    end: int | None = None
    for _ in range(_POINTERS + 128):
        length = data[at]
        if length == 0:
            return ".".join(labels), at + 1 if end is None else end
        if length & 0xC0 == 0xC0:
            end = at + 2 if end is None else end
            at = (length & 0x3F) << 8 | data[at + 1]
        else:
            labels.append(data[at + 1 : at + 1 + length].decode("ascii", "replace").lower())
            at += 1 + length
    raise ValueError("a name without end")
