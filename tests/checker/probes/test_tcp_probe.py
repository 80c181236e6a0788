"""TCP: connect, send, expect."""

import pytest

from lvsha.checker.probes.dialogue import Step, Verdict
from lvsha.checker.probes.tcp import TcpQuestion
from lvsha.checker.result import Reason
from lvsha.checker.settings import TcpOptions


def talk(options: TcpOptions, *pieces: bytes) -> tuple[bytes, Verdict]:
    """What was sent, and the verdict; the stream ends after the pieces."""
    dialogue = TcpQuestion(options).begin()
    step: Step = dialogue.connected()
    sent = step.send
    for piece in pieces:
        if step.verdict is None:
            step = dialogue.received(piece)
            sent += step.send
    return sent, step.verdict or dialogue.closed()


def test_accepting_is_enough_where_nothing_is_expected() -> None:
    assert talk(TcpOptions()) == (b"", Verdict(Reason.OK))
    assert talk(TcpOptions(send=b"QUIT\r\n")) == (b"QUIT\r\n", Verdict(Reason.OK))


@pytest.mark.parametrize(
    ("options", "pieces", "reason"),
    [
        (TcpOptions(expect=b"220 "), (b"220 mail",), Reason.OK),
        (TcpOptions(expect=b"220 "), (b"2", b"20", b" x"), Reason.OK),
        (TcpOptions(expect=b"220 "), (b"2", b"21"), Reason.BAD_RESPONSE),
        (TcpOptions(expect=b"220 "), (b"554 no",), Reason.BAD_RESPONSE),
        (TcpOptions(expect=b"220 "), (b"22",), Reason.CLOSED),
        (TcpOptions(expect=b"220 "), (), Reason.CLOSED),
        (TcpOptions(expect_regex="ready$"), (b"not yet, ", b"ready"), Reason.OK),
        (TcpOptions(expect_regex="ready", response_limit=10), (b"x" * 20,), Reason.TOO_LONG),
        (TcpOptions(expect=b"OK", expect_regex="7"), (b"OK 1", b"7"), Reason.OK),
        (TcpOptions(expect=b"OK" * 20, response_limit=10), (b"OK" * 20,), Reason.TOO_LONG),
    ],
)
def test_answer(options: TcpOptions, pieces: tuple[bytes, ...], reason: Reason) -> None:
    _, verdict = talk(options, *pieces)

    assert verdict.reason is reason, verdict


def test_wrong_answer_is_quoted() -> None:
    _, verdict = talk(TcpOptions(expect=b"220 "), b"554 \x00go away\r\n")

    assert verdict.detail == r"expected '220 ', got '554 \x00go away\r\n'"
