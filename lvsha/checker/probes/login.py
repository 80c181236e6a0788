"""FTP, POP3, IMAP4 and NNTP: the greeting, a login where a name is given, good-bye.

Source: RFC 959, RFC 1939, RFC 9051, RFC 3977 and RFC 4643.
"""

from lvsha.checker.probes.dialogue import GOOD, WAIT, Dialogue, Step, bad
from lvsha.checker.probes.line_dialogue import LineDialogue, has_break, unexpected
from lvsha.checker.result import Reason
from lvsha.checker.settings import LoginOptions


class _LoginQuestion:
    def __init__(self, options: LoginOptions) -> None:
        for key, text in (("username", options.username), ("password", options.password)):
            if has_break(text):
                raise ValueError(f"{key}: a line break inside")
        self.username = options.username
        self.password = options.password or ""


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

    def __init__(self, question: _LoginQuestion) -> None:
        super().__init__("the greeting")
        self._question = question

    def _ask(self, phase: str, command: str) -> Step:
        self.phase = phase
        return Step(send=command.encode() + b"\r\n")


class _Ftp(_Login):
    __slots__ = ()

    def line(self, text: str) -> Step:
        if text[3:4] == "-" or not text[:3].isdecimal() or text[:1] == "1":
            return WAIT  # the middle of a long answer, or "wait"
        code = text[:3]
        question = self._question
        if self.phase == "the greeting" and code == "220":
            if question.username is None:
                return Step(send=b"QUIT\r\n", verdict=GOOD)
            return self._ask("the answer to USER", f"USER {question.username}")
        if self.phase == "the answer to USER" and code == "331":
            return self._ask("the answer to PASS", f"PASS {question.password}")
        if code == "230" and self.phase != "the greeting":
            return Step(send=b"QUIT\r\n", verdict=GOOD)
        return bad(Reason.BAD_STATUS, f"{self.phase}: got {text[:120]!r}")


class _Pop(_Login):
    __slots__ = ()

    def line(self, text: str) -> Step:
        if not text.startswith("+OK"):
            return unexpected(self.phase, text)
        question = self._question
        if question.username is None or self.phase == "the answer to PASS":
            return Step(send=b"QUIT\r\n", verdict=GOOD)
        if self.phase == "the greeting":
            return self._ask("the answer to USER", f"USER {question.username}")
        return self._ask("the answer to PASS", f"PASS {question.password}")


class _Imap(_Login):
    __slots__ = ()

    def line(self, text: str) -> Step:
        words = text.split(" ", 2)
        tag, status = words[0], words[1].upper() if len(words) > 1 else ""
        if self.phase == "the greeting":
            if tag != "*" or status not in ("OK", "PREAUTH"):
                return unexpected(self.phase, text)
            question = self._question
            if question.username is None or status == "PREAUTH":
                return Step(send=b"a1 LOGOUT\r\n", verdict=GOOD)
            login = f"a1 LOGIN {_quoted(question.username)} {_quoted(question.password)}"
            return self._ask("the answer to LOGIN", login)
        if tag != "a1":
            return unexpected(self.phase, text) if status == "BYE" else WAIT
        if status != "OK":
            return bad(Reason.BAD_STATUS, f"{self.phase}: got {text[:120]!r}")
        return Step(send=b"a2 LOGOUT\r\n", verdict=GOOD)


class _Nntp(_Login):
    __slots__ = ()

    def line(self, text: str) -> Step:
        code = text[:3]
        question = self._question
        if self.phase == "the greeting" and code in ("200", "201"):
            if question.username is None:
                return Step(send=b"QUIT\r\n", verdict=GOOD)
            return self._ask("the answer to AUTHINFO USER", f"AUTHINFO USER {question.username}")
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
