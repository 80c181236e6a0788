"""SIP: OPTIONS over UDP, the answer by its status. Source: RFC 3261."""

from lvsha.checker.probes.dialogue import GOOD, Datagram, Verdict, quoted
from lvsha.checker.probes.line_dialogue import has_break
from lvsha.checker.result import Reason
from lvsha.checker.settings import SipOptions


class SipQuestion:
    """``host``: the realserver, as a URI has it."""

    def __init__(self, options: SipOptions, *, host: str) -> None:
        for key, text in (("user", options.user), ("from_uri", options.from_uri)):
            if has_break(text):
                raise ValueError(f"{key}: a line break inside")
        self.options = options
        self.host = host

    def begin(self, token: int) -> Datagram:
        return _Sip(self, token)


class _Sip:
    __slots__ = ("_branch", "_statuses", "payload")

    def __init__(self, question: SipQuestion, token: int) -> None:
        options = question.options
        self._branch = f"z9hG4bK{token:04x}lvsha".encode()
        self._statuses = options.statuses
        lines = (
            f"OPTIONS sip:{options.user}@{question.host} SIP/2.0",
            f"Via: SIP/2.0/UDP lvsha.invalid;rport;branch={self._branch.decode()}",
            "Max-Forwards: 70",
            f"To: <sip:{options.user}@{question.host}>",
            f"From: <{options.from_uri}>;tag={token:04x}",
            f"Call-ID: {token:04x}@lvsha.invalid",
            "CSeq: 1 OPTIONS",
            f"Contact: <{options.from_uri}>",
            "Accept: application/sdp",
            "Content-Length: 0",
        )
        self.payload = "\r\n".join((*lines, "", "")).encode()

    def received(self, data: bytes) -> Verdict | None:
        if self._branch not in data:
            return None  # an answer to something else
        words = data.split(b"\r\n", 1)[0].split(b" ", 2)
        if len(words) < 2 or words[0] != b"SIP/2.0" or not words[1].isdigit() or len(words[1]) != 3:
            return Verdict(Reason.BAD_RESPONSE, f"not SIP: {quoted(data)}")
        status = int(words[1])
        if status < 200:
            return None  # provisional
        if any(low <= status <= high for low, high in self._statuses):
            return GOOD
        return Verdict(Reason.BAD_STATUS, f"status {status}")

    def silence(self) -> Verdict:
        return Verdict(Reason.TIMEOUT, "no answer")
