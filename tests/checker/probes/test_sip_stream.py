"""SIP over TCP: answers in any pieces, provisional ones, those of somebody else."""

import pytest

from lvsha.checker.probes.dialogue import Dialogue, Verdict
from lvsha.checker.probes.sip import HEAD_LIMIT, SipQuestion
from lvsha.checker.problems import problems
from lvsha.checker.result import Reason
from lvsha.checker.settings import CheckKind, CheckSettings, SipOptions, TlsOptions
from lvsha.core.addr import parse_endpoint

OPTIONS = SipOptions(transport="tcp")


def begin(options: SipOptions = OPTIONS) -> tuple[Dialogue, bytes, bytes]:
    """A dialogue, what it says, and the branch of that."""
    dialogue = SipQuestion(options, host="10.0.0.1:5060", first=7).over_stream().begin()
    said = dialogue.connected().send
    return dialogue, said, said.split(b"branch=")[1].split(b"\r")[0]


def reply(branch: bytes, status: bytes = b"200 OK", more: bytes = b"") -> bytes:
    return b"SIP/2.0 " + status + b"\r\nVia: SIP/2.0/TCP x;branch=" + branch + b"\r\n" + more + b"\r\n"


def verdict_of(dialogue: Dialogue, text: bytes, size: int) -> Verdict:
    for at in range(0, len(text), size):
        verdict = dialogue.received(text[at : at + size]).verdict
        if verdict is not None:
            return verdict
    return dialogue.closed()


@pytest.mark.parametrize("size", [1, 7, 10_000])
@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("good", Reason.OK),
        ("provisional first", Reason.OK),
        ("empty lines first", Reason.OK),
        ("busy", Reason.BAD_STATUS),
        ("of another request", Reason.CLOSED),
        ("http", Reason.BAD_RESPONSE),
        ("no number", Reason.BAD_RESPONSE),
        ("endless", Reason.TOO_LONG),
        ("half", Reason.CLOSED),
    ],
)
def test_verdicts_in_any_pieces(name: str, reason: Reason, size: int) -> None:
    dialogue, _, branch = begin()
    text = {
        "good": reply(branch),
        "provisional first": reply(branch, b"100 Trying") + reply(branch),
        "empty lines first": b"\r\n\r\n" + reply(branch),
        "busy": reply(branch, b"503 Busy"),
        "of another request": reply(b"z9hG4bKother"),
        "http": b"HTTP/1.1 400 Bad Request\r\n\r\n",
        "no number": reply(branch, b"xxx"),
        "endless": b"SIP/2.0 200 OK\r\n" + b"X: y\r\n" * (HEAD_LIMIT // 5),
        "half": reply(branch)[:-3],
    }[name]

    assert verdict_of(dialogue, text, size).reason is reason


def test_the_request_names_its_transport_and_no_two_are_alike() -> None:
    question = SipQuestion(OPTIONS, host="10.0.0.1:5060").over_stream()
    first, second = (question.begin().connected().send for _ in range(2))
    _, tls, _ = begin(SipOptions(transport="tcp", tls=TlsOptions()))

    assert b"Via: SIP/2.0/TCP " in first
    assert b"Via: SIP/2.0/TLS " in tls
    assert first != second


def test_tls_is_not_for_datagrams() -> None:
    address, port = parse_endpoint("10.0.0.1:5060")
    settings = CheckSettings(
        kind=CheckKind.SIP, address=address, port=port, options=SipOptions(tls=TlsOptions())
    )

    assert [name for name, _ in problems(settings)] == ["tls"]
