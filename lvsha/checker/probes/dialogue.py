"""The shape of every probe that talks.

A *question* is made once per check, from its settings: it holds everything that
does not change from probe to probe (the bytes of a request, compiled
expressions). ``begin`` makes the state of one probe. That state takes what came
and returns what to do next; it never touches a socket, so a table of bytes
tests it whole.

Two kinds of state: a ``Dialogue`` over a stream, and a ``Datagram`` exchange.
Every answer is bounded: a realserver that never stops talking gets a verdict.
"""

from typing import NamedTuple, Protocol

from lvsha.checker.result import Reason, bounded_detail


class Verdict(NamedTuple):
    """What the answer means. ``ProbeResult`` adds when and how long."""

    reason: Reason
    detail: str = ""
    weight: int | None = None
    percent: int | None = None
    warning: str = ""

    @property
    def ok(self) -> bool:
        return self.reason is Reason.OK


class Step(NamedTuple):
    """What a dialogue does next."""

    send: bytes = b""
    verdict: Verdict | None = None
    """The end. What ``send`` holds is still sent, as far as the socket takes it at once."""
    start_tls: bool = False
    """Everything after ``send`` is TLS; ``connected`` is called again when it stands."""
    reconnect: bool = False
    """Close, connect to the same realserver again; ``connected`` is called again when that stands."""


WAIT = Step()
"""Nothing yet: more has to come."""


class Dialogue(Protocol):
    """One probe over a stream."""

    @property
    def phase(self) -> str:
        """What is waited for, to name in a time-out: ``greeting``, ``headers`` ..."""

    def connected(self) -> Step:
        """The connection stands (and TLS, where it is spoken from the first byte)."""

    def received(self, data: bytes) -> Step:
        """Some bytes came, never none."""

    def closed(self) -> Verdict:
        """The other side has ended the stream."""


class Datagram(Protocol):
    """One probe over datagrams."""

    @property
    def payload(self) -> bytes:
        """What is sent."""

    def received(self, data: bytes) -> Verdict | None:
        """A datagram came; None: not an answer to this question, go on waiting."""

    def silence(self) -> Verdict:
        """Nothing came within the time-out, not even an ICMP error."""


class Question(Protocol):
    """What stays the same from probe to probe of a check over a stream."""

    def begin(self) -> Dialogue:
        """The state of one probe."""


class QuickQuestion(Question, Protocol):
    """A question that speaks first, and whose usual answer needs no state.

    Thousands of answers a second are short, whole and good. They are judged at once; a dialogue
    is begun for all others.
    """

    @property
    def opening(self) -> Step:
        """What ``connected`` of each of its dialogues returns first."""

    def judge_whole(self, answer: bytes) -> Verdict | None:
        """The verdict on an answer of the usual form that came in one piece, the same as a dialogue's;
        None: ask a dialogue."""


class DatagramQuestion(Protocol):
    """What stays the same from probe to probe of a check over datagrams."""

    def begin(self, token: int) -> Datagram:
        """The state of one probe. ``token`` (0-65535) tells its answer from others' where the
        protocol has a field for that."""


def quoted(data: bytes, limit: int = 80) -> str:
    """Some bytes that came, for a message: printable, bounded, in quotes."""
    text = data[: limit + 1].decode("utf-8", "replace")
    short = text if len(text) <= limit else text[: limit - 3] + "..."
    return repr(short)


def bad(reason: Reason, detail: str) -> Step:
    """A step that ends the dialogue badly."""
    return Step(verdict=Verdict(reason, bounded_detail(detail)))


GOOD = Verdict(Reason.OK)
"""Up, and nothing more to say."""
