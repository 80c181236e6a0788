"""gRPC's health protocol: ``grpc.health.v1.Health/Check`` over HTTP/2.

The message is small enough to be written by hand: a frame of a flag and a length, and in
it protocol buffers with one field, ``string service = 1`` one way and
``ServingStatus status = 1`` the other. Source: grpc/doc/health-checking.md and
PROTOCOL-HTTP2.md of the gRPC project.
"""

import struct

from lvsha.checker.probes.dialogue import GOOD, WAIT, Dialogue, Step, bad, quoted
from lvsha.checker.probes.http import host_header
from lvsha.checker.probes.http2 import Exchange, Headers
from lvsha.checker.result import Reason
from lvsha.checker.settings import GrpcOptions
from lvsha.core.addr import Address

MESSAGE_LIMIT = 4096
"""Bytes of the answer's message; two are enough."""

_STATUSES = {0: "UNKNOWN", 1: "SERVING", 2: "NOT_SERVING", 3: "SERVICE_UNKNOWN"}
_CODES = {
    5: "NOT_FOUND",
    12: "UNIMPLEMENTED",
    14: "UNAVAILABLE",
    7: "PERMISSION_DENIED",
    16: "UNAUTHENTICATED",
}


class GrpcQuestion:
    def __init__(self, options: GrpcOptions, *, address: Address, port: int) -> None:
        tls = options.tls is not None
        authority = options.host if options.host is not None else host_header(address, port, tls=tls)
        self.headers: Headers = [
            (":method", "POST"),
            (":scheme", "https" if tls else "http"),
            (":authority", authority),
            (":path", "/grpc.health.v1.Health/Check"),
            ("te", "trailers"),
            ("content-type", "application/grpc"),
            ("user-agent", "lvsha"),
        ]
        name = options.service.encode()
        if len(name) > 127:
            raise ValueError("service: longer than 127 bytes")
        message = bytes((0x0A, len(name))) + name if name else b""
        self.body = struct.pack("!BI", 0, len(message)) + message

    def begin(self) -> Dialogue:
        return _Grpc(self)


class _Grpc(Exchange):
    __slots__ = ("_early", "_question")

    def __init__(self, question: GrpcQuestion) -> None:
        super().__init__()
        self._question = question
        self._early: dict[str, str] = {}

    def connected(self) -> Step:
        return self.ask(self._question.headers, self._question.body)

    def on_headers(self, headers: dict[str, str]) -> Step:
        if headers.get(":status") != "200":
            return bad(Reason.BAD_STATUS, f"HTTP status {headers.get(':status')}, not 200")
        kind = headers.get("content-type", "")
        if not kind.startswith("application/grpc"):
            return bad(Reason.BAD_RESPONSE, f"content-type {kind[:80]!r} is not gRPC's")
        self._early = headers  # an answer without a message has its trailers here
        return WAIT

    def on_body(self) -> Step:
        if self.seen > MESSAGE_LIMIT:
            return bad(Reason.TOO_LONG, f"more than {MESSAGE_LIMIT} bytes of answer")
        return WAIT

    def on_end(self, trailers: dict[str, str]) -> Step:
        said = {**self._early, **trailers}
        if "grpc-status" not in said:
            return bad(Reason.BAD_RESPONSE, "the answer ended without a grpc-status")
        code = int(said["grpc-status"])
        if code != 0:
            words = said.get("grpc-message", "")[:120]
            return bad(Reason.BAD_STATUS, f"gRPC status {_CODES.get(code, code)} {words}".rstrip())
        if len(self.body) < 5 or self.body[0] != 0:
            return bad(Reason.BAD_RESPONSE, f"not a gRPC message: {quoted(bytes(self.body))}")
        status = _serving_status(bytes(self.body[5:]))
        if status == 1:
            return Step(verdict=GOOD)
        return bad(Reason.TOLD_DOWN, f"the service is {_STATUSES.get(status, status)}")


def _serving_status(message: bytes) -> int:
    """Field 1 of a HealthCheckResponse; 0, its default, where it is left out.

    Raises:
        ValueError: these are not protocol buffers.
    """
    status = at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        if tag & 7 == 0:
            value, at = _varint(message, at)
            status = value if tag >> 3 == 1 else status
        elif tag & 7 == 2:
            size, at = _varint(message, at)
            at += size
        else:
            raise ValueError(f"a field of wire type {tag & 7}")
    return status


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            raise ValueError("a number is cut short")
        value |= (data[at] & 0x7F) << shift
        at += 1
        if not data[at - 1] & 0x80:
            return value, at
    raise ValueError("a number without end")
