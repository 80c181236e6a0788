"""FTP, POP3, IMAP4 and NNTP: the greeting, TLS where asked for, a login where a name is given, good-bye.

Source: RFC 959 and RFC 4217; RFC 1939 and RFC 2595; RFC 9051; RFC 3977, RFC 4642 and RFC 4643.
"""

from typing import ClassVar

from lvsha.checker.probes.dialogue import GOOD, WAIT, Dialogue, Step, bad
from lvsha.checker.probes.line_dialogue import (
    STARTTLS_PHASE,
    LineDialogue,
    has_break,
    no_tls,
    unexpected,
)
from lvsha.checker.result import Reason
from lvsha.checker.settings import LoginOptions


class _LoginQuestion:
    def __init__(self, options: LoginOptions) -> None:
        for key, text in (("username", options.username), ("password", options.password)):
            if has_break(text):
                raise ValueError(f"{key}: a line break inside")
        self.username = options.username
        self.password = options.password or ""
        self.starttls = options.starttls


class FtpQuestion(_LoginQuestion):
    def begin(self) -> Dialogue:
        return _Ftp(self)


class PopQuestion(_LoginQuestion):
    def begin(self) -> Dialogue:
        return _Pop(self)


class ImapQuestion(_LoginQuestion):
    def begin(self) -> Dialogue:
        return _Imap(self)


class NntpQuestion(_LoginQuestion):
    def begin(self) -> Dialogue:
        return _Nntp(self)


class _Login(LineDialogue):
    __slots__ = ("_question",)

    starttls: ClassVar[str]
    """The command."""

    def __init__(self, question: _LoginQuestion) -> None:
        super().__init__("the greeting")
        self._question = question

    def connected(self) -> Step:
        return self.talk() if self.phase == STARTTLS_PHASE else WAIT  # the second time: TLS stands

    def talk(self) -> Step:
        """What is said when we may speak freely."""
        raise NotImplementedError

    def _greeted(self) -> Step:
        return self._ask(STARTTLS_PHASE, self.starttls) if self._question.starttls else self.talk()

    def _answered(self, is_yes: bool, text: str) -> Step:
        """The answer to our wish for TLS."""
        return Step(start_tls=True) if is_yes else no_tls(self.starttls, text)

    def _ask(self, phase: str, command: str) -> Step:
        self.phase = phase
        return Step(send=command.encode() + b"\r\n")


class _Ftp(_Login):
    __slots__ = ()
    starttls = "AUTH TLS"

    def talk(self) -> Step:
        if self._question.username is None:
            return Step(send=b"QUIT\r\n", verdict=GOOD)
        return self._ask("the answer to USER", f"USER {self._question.username}")

    def line(self, text: str) -> Step:
        if text[3:4] == "-" or not text[:3].isdecimal() or text[:1] == "1":
            return WAIT  # the middle of a long answer, or "wait"
        code = text[:3]
        question = self._question
        if self.phase == "the greeting" and code == "220":
            return self._greeted()
        if self.phase == STARTTLS_PHASE:
            return self._answered(code == "234", text)
        if self.phase == "the answer to USER" and code == "331":
            return self._ask("the answer to PASS", f"PASS {question.password}")
        if code == "230" and self.phase != "the greeting":
            return Step(send=b"QUIT\r\n", verdict=GOOD)
        return bad(Reason.BAD_STATUS, f"{self.phase}: got {text[:120]!r}")


class _Pop(_Login):
    __slots__ = ()
    starttls = "STLS"

    def talk(self) -> Step:
        if self._question.username is None:
            return Step(send=b"QUIT\r\n", verdict=GOOD)
        return self._ask("the answer to USER", f"USER {self._question.username}")

    def line(self, text: str) -> Step:
        is_yes = text.startswith("+OK")
        if self.phase == STARTTLS_PHASE:
            return self._answered(is_yes, text)
        if not is_yes:
            return unexpected(self.phase, text)
        if self.phase == "the greeting":
            return self._greeted()
        if self.phase == "the answer to PASS":
            return Step(send=b"QUIT\r\n", verdict=GOOD)
        return self._ask("the answer to PASS", f"PASS {self._question.password}")


class _Imap(_Login):
    __slots__ = ()
    starttls = "a0 STARTTLS"

    def talk(self) -> Step:
        question = self._question
        if question.username is None:
            return Step(send=b"a1 LOGOUT\r\n", verdict=GOOD)
        login = f"a1 LOGIN {_quoted(question.username)} {_quoted(question.password)}"
        return self._ask("the answer to LOGIN", login)

    def line(self, text: str) -> Step:
        words = text.split(" ", 2)
        tag, status = words[0], words[1].upper() if len(words) > 1 else ""
        if self.phase == "the greeting":
            if tag != "*" or status not in ("OK", "PREAUTH"):
                return unexpected(self.phase, text)
            if status == "PREAUTH" and not self._question.starttls:
                return Step(send=b"a1 LOGOUT\r\n", verdict=GOOD)
            return self._greeted()
        if tag not in ("a0", "a1"):
            return unexpected(self.phase, text) if status == "BYE" else WAIT
        if self.phase == STARTTLS_PHASE:
            return self._answered(status == "OK", text)
        if status != "OK":
            return bad(Reason.BAD_STATUS, f"{self.phase}: got {text[:120]!r}")
        return Step(send=b"a2 LOGOUT\r\n", verdict=GOOD)


class _Nntp(_Login):
    __slots__ = ()
    starttls = "STARTTLS"

    def talk(self) -> Step:
        if self._question.username is None:
            return Step(send=b"QUIT\r\n", verdict=GOOD)
        return self._ask("the answer to AUTHINFO USER", f"AUTHINFO USER {self._question.username}")

    def line(self, text: str) -> Step:
        code = text[:3]
        question = self._question
        if self.phase == "the greeting" and code in ("200", "201"):
            return self._greeted()
        if self.phase == STARTTLS_PHASE:
            return self._answered(code == "382", text)
        if self.phase == "the answer to AUTHINFO USER" and code == "381":
            return self._ask("the answer to AUTHINFO PASS", f"AUTHINFO PASS {question.password}")
        if code == "281" and self.phase != "the greeting":
            return Step(send=b"QUIT\r\n", verdict=GOOD)
        if not code.isdecimal():
            return unexpected(self.phase, text)
        # 400: "service temporarily unavailable", its own word for being down.
        reason = Reason.TOLD_DOWN if code == "400" else Reason.BAD_STATUS
        return bad(reason, f"{self.phase}: got {text[:120]!r}")


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
