"""HTTP/2: one request on stream 1, and the conditions of ``http`` on its answer. Source: RFC 9113.

The framing is the library h2's, which keeps its own bounds (header lists, frames); the
body and the whole answer are bounded here. With TLS the realserver has to choose h2 by
ALPN; without, it has to expect HTTP/2 at once (prior knowledge).

The same exchange carries gRPC's health protocol; see ``grpc``.
"""

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
)
from h2.exceptions import H2Error

from lvsha.checker.probes.dialogue import WAIT, Dialogue, Step, Verdict, bad, quoted
from lvsha.checker.probes.http import HttpQuestion, host_header
from lvsha.checker.result import Reason
from lvsha.checker.settings import HttpOptions
from lvsha.core.addr import Address

STREAM = 1
OVERHEAD_LIMIT = 256 * 1024
"""Bytes of the answer that are not body: frames, headers, settings, pings."""

Headers = list[tuple[str, str]]


class Http2Question:
    """A request and its conditions; those of HTTP/1 judge the answer."""

    def __init__(self, options: HttpOptions, *, address: Address, port: int, tls: bool) -> None:
        self.conditions = HttpQuestion(options, address=address, port=port, tls=tls)
        self.body = options.body
        host = options.host if options.host is not None else host_header(address, port, tls=tls)
        headers = {"user-agent": "lvsha", "accept": "*/*"}
        if options.authorization is not None:
            headers["authorization"] = options.authorization
        for name, value in options.headers:
            if name.lower() == "host":
                host = value
            elif name.lower() not in ("connection", "transfer-encoding", "keep-alive", "upgrade"):
                headers[name.lower()] = value
        self.headers: Headers = [
            (":method", options.method),
            (":scheme", "https" if tls else "http"),
            (":authority", host),
            (":path", options.path),
            *headers.items(),
        ]

    def begin(self) -> Dialogue:
        return _Http2(self)


class Exchange:
    """One request and its answer; a subclass judges the answer in ``judge``."""

    __slots__ = ("_connection", "_raw", "body", "phase", "seen")

    def __init__(self) -> None:
        self._connection = H2Connection(H2Configuration(client_side=True, header_encoding="utf-8"))
        self._raw = 0
        self.body = bytearray()
        self.seen = 0
        self.phase = "the answer's headers"

    def ask(self, headers: Headers, body: bytes) -> Step:
        """Preface, settings and the request."""
        connection = self._connection
        connection.initiate_connection()
        connection.send_headers(STREAM, headers, end_stream=not body)
        sent = connection.data_to_send()
        room = connection.local_flow_control_window(STREAM)
        if len(body) > room:
            return bad(Reason.MISCONFIGURED, f"the body has more than the {room} bytes that go at once")
        while body:
            piece, body = body[:16384], body[16384:]
            connection.send_data(STREAM, piece, end_stream=not body)
        return Step(send=sent + connection.data_to_send())

    def received(self, data: bytes) -> Step:
        self._raw += len(data)
        if self._raw > OVERHEAD_LIMIT + self.seen + len(data):
            return bad(Reason.TOO_LONG, f"more than {OVERHEAD_LIMIT} bytes around the answer")
        if self._raw == len(data) and data.startswith(b"HTTP/1"[: len(data)]):
            return bad(Reason.BAD_RESPONSE, f"the server speaks HTTP/1: {quoted(data)}")
        try:
            for event in self._connection.receive_data(data):
                step = self._take(event)
                if step.verdict is not None:
                    return step._replace(send=self._goodbye())
            return Step(send=self._connection.data_to_send())
        except H2Error as error:
            return bad(Reason.BAD_RESPONSE, f"not HTTP/2: {error}: {quoted(data)}")
        except (ValueError, UnicodeDecodeError) as error:
            return bad(Reason.BAD_RESPONSE, f"{self.phase}: {error}")

    def closed(self) -> Verdict:
        return Verdict(Reason.CLOSED, f"closed before {self.phase}")

    def on_headers(self, headers: dict[str, str]) -> Step:
        """The answer's headers came."""
        raise NotImplementedError

    def on_body(self) -> Step:
        """``body`` has grown."""
        raise NotImplementedError

    def on_end(self, trailers: dict[str, str]) -> Step:
        """The answer is whole."""
        raise NotImplementedError

    def _take(self, event: Event) -> Step:
        if isinstance(event, ResponseReceived):
            headers = _texts(event.headers)
            self.phase = "the rest of the answer"
            return self.on_headers(headers)
        if isinstance(event, DataReceived):
            self.seen += len(event.data)
            self.body += event.data
            self._connection.acknowledge_received_data(event.flow_controlled_length or 0, STREAM)
            return self.on_body()
        if isinstance(event, TrailersReceived):
            return self.on_end(_texts(event.headers))
        if isinstance(event, StreamEnded):
            return self.on_end({})
        if isinstance(event, StreamReset):
            return bad(Reason.RESET, f"the stream was reset (error {int(event.error_code or 0)})")
        if isinstance(event, ConnectionTerminated):
            said = f" {quoted(event.additional_data)}" if event.additional_data else ""
            return bad(Reason.CLOSED, f"GOAWAY, error {int(event.error_code or 0)}{said}")
        return WAIT

    def _goodbye(self) -> bytes:
        try:
            self._connection.close_connection()
            return self._connection.data_to_send()
        except H2Error:
            return b""


class _Http2(Exchange):
    __slots__ = ("_question", "_status")

    def __init__(self, question: Http2Question) -> None:
        super().__init__()
        self._question = question
        self._status = 0

    def connected(self) -> Step:
        return self.ask(self._question.headers, self._question.body)

    def on_headers(self, headers: dict[str, str]) -> Step:
        conditions = self._question.conditions
        status = self._status = int(headers.get(":status", "0"))
        if not conditions.accepts(status):
            wanted = ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in conditions.options.statuses)
            return bad(Reason.BAD_STATUS, f"status {status}, good is {wanted}")
        return WAIT

    def on_body(self) -> Step:
        conditions = self._question.conditions
        limit = conditions.options.body_limit
        if self.seen <= limit:
            if not conditions.keeps_body:
                self.body.clear()
            return WAIT
        if conditions.digest is not None:
            return bad(Reason.TOO_LONG, f"the body is longer than body_limit ({limit} bytes): no digest")
        return conditions.judge(self._status, self.body[:limit], self.seen)

    def on_end(self, trailers: dict[str, str]) -> Step:
        return self._question.conditions.judge(self._status, self.body, self.seen)


def _texts(headers: object) -> dict[str, str]:
    assert isinstance(headers, list), "h2 gives headers as a list"
    return {str(name): str(value) for name, value in headers}
