"""SMTP: greeting, EHLO, STARTTLS where asked for, QUIT. Source: RFC 5321, RFC 3207."""

from lvsha.checker.probes.dialogue import GOOD, WAIT, Dialogue, Step, bad
from lvsha.checker.probes.line_dialogue import STARTTLS_PHASE, LineDialogue, has_break, unexpected
from lvsha.checker.result import Reason
from lvsha.checker.settings import SmtpOptions


class SmtpQuestion:
    def __init__(self, options: SmtpOptions) -> None:
        if has_break(options.helo_name):
            raise ValueError("helo_name: a line break inside")
        self.hello = b"EHLO " + options.helo_name.encode() + b"\r\n"
        self.starttls = options.starttls

    def begin(self) -> Dialogue:
        return _Smtp(self)


class _Smtp(LineDialogue):
    __slots__ = ("_offers_tls", "_question", "_wants_tls")

    def __init__(self, question: SmtpQuestion) -> None:
        super().__init__("the greeting")
        self._question = question
        self._wants_tls = question.starttls
        self._offers_tls = False

    def connected(self) -> Step:
        if self.phase == STARTTLS_PHASE:  # TLS stands: introduce yourself again
            self.phase = "the answer to EHLO"
            return Step(send=self._question.hello)
        return WAIT

    def line(self, text: str) -> Step:
        code, separator = text[:3], text[3:4]
        if not code.isdecimal():
            return unexpected(self.phase, text)
        if self.phase == "the answer to EHLO" and text[4:].strip().upper() == "STARTTLS":
            self._offers_tls = True
        if separator == "-":
            return WAIT
        wanted = {"the answer to EHLO": "250"}.get(self.phase, "220")
        if code != wanted:
            return bad(Reason.BAD_STATUS, f"{self.phase}: expected {wanted}, got {text[:120]!r}")
        if self.phase == "the greeting":
            self.phase = "the answer to EHLO"
            return Step(send=self._question.hello)
        if self.phase == "the answer to EHLO":
            if not self._wants_tls:
                return Step(send=b"QUIT\r\n", verdict=GOOD)
            if not self._offers_tls:
                return bad(Reason.TLS_FAILED, "STARTTLS is not offered")
            self._wants_tls = False
            self.phase = STARTTLS_PHASE
            return Step(send=b"STARTTLS\r\n")
        return Step(start_tls=True)
