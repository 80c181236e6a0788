"""SIP: OPTIONS over UDP or TCP, the answer by its status. Source: RFC 3261.

An answer belongs to a request by the branch of its Via (section 17.1.3). Every request has
another branch: a server may take one that repeats within 32 s for a retransmission, and
say again what it said before (section 17.2.2).
"""

from itertools import count

from lvsha.checker.probes.dialogue import GOOD, WAIT, Datagram, Dialogue, Step, Verdict, bad, quoted
from lvsha.checker.probes.line_dialogue import has_break
from lvsha.checker.result import Reason
from lvsha.checker.settings import SipOptions

HEAD_LIMIT = 16 * 1024
"""Bytes of an answer's headers over TCP; an answer with more is none."""


class SipQuestion:
    """``host``: the realserver, as a URI has it. ``first``: from which number on requests are counted
    where nobody else counts them."""

    def __init__(self, options: SipOptions, *, host: str, first: int = 0) -> None:
        for key, text in (("user", options.user), ("from_uri", options.from_uri)):
            if has_break(text):
                raise ValueError(f"{key}: a line break inside")
        self.options = options
        self.host = host
        self._numbers = count(first)

    def begin(self, token: int) -> Datagram:
        return _Datagram(self, token)

    def over_stream(self) -> "_Stream":
        """The same question over TCP."""
        return _Stream(self)

    def next_number(self) -> int:
        return next(self._numbers) & 0xFFFFFFFF

    def request(self, number: int) -> bytes:
        """The bytes of request ``number``."""
        options = self.options
        transport = "UDP" if options.transport == "udp" else "TLS" if options.tls is not None else "TCP"
        lines = (
            f"OPTIONS sip:{options.user}@{self.host} SIP/2.0",
            f"Via: SIP/2.0/{transport} lvsha.invalid;rport;branch={branch_of(number)}",
            "Max-Forwards: 70",
            f"To: <sip:{options.user}@{self.host}>",
            f"From: <{options.from_uri}>;tag={number:04x}",
            f"Call-ID: {number:04x}@lvsha.invalid",
            "CSeq: 1 OPTIONS",
            f"Contact: <{options.from_uri}>",
            "Accept: application/sdp",
            "Content-Length: 0",
        )
        return "\r\n".join((*lines, "", "")).encode()

    def judge(self, answer: bytes, number: int) -> Verdict | None:
        """What an answer's head means; None: it is provisional, or somebody else's."""
        if branch_of(number).encode() not in answer:
            return None
        words = answer.split(b"\r\n", 1)[0].split(b" ", 2)
        if len(words) < 2 or words[0] != b"SIP/2.0" or not words[1].isdigit() or len(words[1]) != 3:
            return Verdict(Reason.BAD_RESPONSE, f"not SIP: {quoted(answer)}")
        status = int(words[1])
        if status < 200:
            return None  # provisional
        if any(low <= status <= high for low, high in self.options.statuses):
            return GOOD
        return Verdict(Reason.BAD_STATUS, f"status {status}")


def branch_of(number: int) -> str:
    """The mark of a request; section 8.1.1.7 has the beginning."""
    return f"z9hG4bK{number:04x}lvsha"


class _Datagram:
    __slots__ = ("_number", "_question", "payload")

    def __init__(self, question: SipQuestion, number: int) -> None:
        self._question = question
        self._number = number
        self.payload = question.request(number)

    def received(self, data: bytes) -> Verdict | None:
        return self._question.judge(data, self._number)

    def silence(self) -> Verdict:
        return Verdict(Reason.TIMEOUT, "no answer")


class _Stream:
    """A question over TCP or TLS."""

    def __init__(self, question: SipQuestion) -> None:
        self._question = question

    def begin(self) -> Dialogue:
        return _Answers(self._question)


class _Answers:
    """Answers one behind the other, up to the one that counts; none of them has a body that we ask for."""

    __slots__ = ("_number", "_question", "_rest")

    phase = "the answer to OPTIONS"

    def __init__(self, question: SipQuestion) -> None:
        self._question = question
        self._number = question.next_number()
        self._rest = b""

    def connected(self) -> Step:
        return Step(send=self._question.request(self._number))

    def received(self, data: bytes) -> Step:
        # Empty lines before a message mean nothing: they keep connections alive (section 7.5).
        self._rest = (self._rest + data).lstrip(b"\r\n")
        while (end := self._rest.find(b"\r\n\r\n")) >= 0:
            head, self._rest = self._rest[:end], self._rest[end + 4 :].lstrip(b"\r\n")
            if not head.startswith(b"SIP/2.0 "):
                return bad(Reason.BAD_RESPONSE, f"not SIP: {quoted(head)}")
            verdict = self._question.judge(head, self._number)
            if verdict is not None:
                return Step(verdict=verdict)
        if not b"SIP/2.0 ".startswith(self._rest[:8]):
            return bad(Reason.BAD_RESPONSE, f"not SIP: {quoted(self._rest)}")
        if len(self._rest) > HEAD_LIMIT:
            return bad(Reason.TOO_LONG, f"more than {HEAD_LIMIT} bytes of headers")
        return WAIT

    def closed(self) -> Verdict:
        return Verdict(Reason.CLOSED, f"closed before {self.phase}")
