"""HTTP/2 and gRPC: h2's server side answers, byte for byte as a network would bring it."""

import struct
from collections.abc import Callable
from ipaddress import ip_address

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, RequestReceived, StreamEnded
from hypothesis import given, settings
from hypothesis import strategies as st

from lvsha.checker.probes.dialogue import Dialogue, Step, Verdict
from lvsha.checker.probes.grpc import GrpcQuestion
from lvsha.checker.probes.http2 import Http2Question
from lvsha.checker.result import Reason
from lvsha.checker.settings import GrpcOptions, HttpOptions

ADDRESS = ip_address("10.0.0.11")
Answer = Callable[[H2Connection], None]


class Server:
    """One connection's server; ``answer`` says what when the request is whole."""

    def __init__(self, answer: Answer) -> None:
        self._connection = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
        self._connection.initiate_connection()
        self._answer = answer
        self.headers: dict[str, str] = {}
        self.body = b""

    def take(self, data: bytes) -> bytes:
        for event in self._connection.receive_data(data):
            if isinstance(event, RequestReceived):
                self.headers = {str(name): str(value) for name, value in event.headers}
            elif isinstance(event, DataReceived):
                self.body += event.data
            elif isinstance(event, StreamEnded):
                self._answer(self._connection)
        return self._connection.data_to_send()


def talk(dialogue: Dialogue, server: Server, piece: int = 4096) -> Verdict:
    step = dialogue.connected()
    for _ in range(50):
        heard = server.take(step.send)
        step = Step()
        for at in range(0, len(heard), piece):
            step = dialogue.received(heard[at : at + piece])
            if step.verdict is not None:
                return step.verdict
            if step.send:
                heard += server.take(step.send)
        if not heard:
            break
    return dialogue.closed()


def saying(status: str, body: bytes = b"", **headers: str) -> Answer:
    def answer(connection: H2Connection) -> None:
        connection.send_headers(1, [(":status", status), *headers.items()], end_stream=not body)
        if body:
            connection.send_data(1, body, end_stream=True)

    return answer


def page(**options: object) -> Dialogue:
    return Http2Question(HttpOptions(**options), address=ADDRESS, port=80, tls=False).begin()  # type: ignore[arg-type]


@pytest.mark.parametrize("piece", [1, 7, 4096])
@pytest.mark.parametrize(
    ("options", "answer", "reason"),
    [
        ({}, saying("200"), Reason.OK),
        ({}, saying("200", b"hello"), Reason.OK),
        ({}, saying("503", b"no"), Reason.BAD_STATUS),
        ({"body_regex": "hel+o"}, saying("200", b"hello"), Reason.OK),
        ({"body_regex": "bye"}, saying("200", b"hello"), Reason.BODY_MISMATCH),
        ({"body_limit": 4, "body_regex": "hell"}, saying("200", b"hello"), Reason.OK),
        ({"body_limit": 4, "digest": "0" * 32}, saying("200", b"hello"), Reason.TOO_LONG),
    ],
)
def test_verdicts(piece: int, options: dict[str, object], answer: Answer, reason: Reason) -> None:
    verdict = talk(page(**options), Server(answer), piece)

    assert verdict.reason is reason, verdict.detail


def test_the_request_carries_its_options() -> None:
    server = Server(saying("200"))
    dialogue = page(host="www.example", path="/up", headers=(("X-A", "b"),), method="POST", body=b"x" * 20000)

    assert talk(dialogue, server).ok
    assert server.headers[":authority"] == "www.example"
    assert (server.headers[":path"], server.headers["x-a"]) == ("/up", "b")
    assert server.body == b"x" * 20000


def test_a_server_of_http_1_is_no_server_of_http_2() -> None:
    dialogue = page()
    dialogue.connected()

    verdict = dialogue.received(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").verdict

    assert verdict is not None
    assert verdict.reason is Reason.BAD_RESPONSE


def test_settings_without_end_are_too_long() -> None:
    dialogue = page()
    dialogue.connected()
    verdict = None
    for _ in range(1000):
        verdict = dialogue.received(bytes.fromhex("000000040000000000") * 100).verdict
        if verdict is not None:
            break

    assert verdict is not None
    assert verdict.reason is Reason.TOO_LONG


@settings(max_examples=50)
@given(st.lists(st.binary(min_size=1, max_size=60), max_size=4), st.booleans(), st.booleans())
def test_any_bytes_have_a_verdict(pieces: list[bytes], with_settings: bool, is_grpc: bool) -> None:
    dialogue = grpc() if is_grpc else page()
    dialogue.connected()
    if with_settings:
        pieces = [bytes.fromhex("000000040000000000"), *pieces]
    for piece in pieces:
        if (verdict := dialogue.received(piece).verdict) is not None:
            assert not verdict.ok
            return

    assert not dialogue.closed().ok


def grpc(service: str = "") -> Dialogue:
    return GrpcQuestion(GrpcOptions(service=service), address=ADDRESS, port=50051).begin()


def health(message: bytes, *, status: str = "0", kind: str = "application/grpc") -> Answer:
    def answer(connection: H2Connection) -> None:
        connection.send_headers(1, [(":status", "200"), ("content-type", kind)])
        if message:
            connection.send_data(1, struct.pack("!BI", 0, len(message)) + message)
        connection.send_headers(1, [("grpc-status", status)], end_stream=True)

    return answer


def unimplemented(connection: H2Connection) -> None:
    headers = [(":status", "200"), ("content-type", "application/grpc"), ("grpc-status", "12")]
    connection.send_headers(1, headers, end_stream=True)


def resets(connection: H2Connection) -> None:
    connection.reset_stream(1, 7)


def goes_away(connection: H2Connection) -> None:
    connection.close_connection(additional_data=b"maintenance")


@pytest.mark.parametrize(
    ("answer", "reason", "word"),
    [
        (health(b"\x08\x01"), Reason.OK, ""),
        (health(b"\x12\x01x\x08\x01"), Reason.OK, ""),  # a field of a later version before it
        (health(b"\x08\x02"), Reason.TOLD_DOWN, "NOT_SERVING"),
        (health(b"\x08\x03"), Reason.TOLD_DOWN, "SERVICE_UNKNOWN"),
        (health(b"", status="5"), Reason.BAD_STATUS, "NOT_FOUND"),
        (health(b""), Reason.BAD_RESPONSE, "message"),
        (health(b"\x08"), Reason.BAD_RESPONSE, "cut short"),
        (health(b"\x08\x01", status="x"), Reason.BAD_RESPONSE, ""),
        (health(b"\x08\x01", kind="text/html"), Reason.BAD_RESPONSE, "content-type"),
        (health(b"\x12" + bytes(5000)), Reason.TOO_LONG, ""),
        (unimplemented, Reason.BAD_STATUS, "UNIMPLEMENTED"),
        (resets, Reason.RESET, "7"),
        (goes_away, Reason.CLOSED, "maintenance"),
    ],
)
def test_grpc(answer: Answer, reason: Reason, word: str) -> None:
    verdict = talk(grpc(), Server(answer))

    assert verdict.reason is reason, verdict.detail
    assert word in verdict.detail


def test_grpc_asks_for_a_service() -> None:
    server = Server(health(b"\x08\x01"))

    assert talk(grpc("a.B"), server).ok
    assert server.headers[":path"] == "/grpc.health.v1.Health/Check"
    assert server.headers["te"] == "trailers"
    assert server.body == b"\0\0\0\0\x05\x0a\x03a.B"
