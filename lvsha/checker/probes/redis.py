"""Redis: AUTH where a password is given, then PING. Source: the Redis serialization protocol (RESP)."""

from lvsha.checker.probes.dialogue import GOOD, Dialogue, Step, bad
from lvsha.checker.probes.line_dialogue import LineDialogue
from lvsha.checker.result import Reason
from lvsha.checker.settings import RedisOptions


def _command(*words: str) -> bytes:
    encoded = [word.encode() for word in words]
    return b"*%d\r\n" % len(encoded) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in encoded)


class RedisQuestion:
    def __init__(self, options: RedisOptions) -> None:
        self.login = b""
        if options.password is not None:
            name = () if options.username is None else (options.username,)
            self.login = _command("AUTH", *name, options.password)
        self.ping = _command("PING")

    def begin(self) -> Dialogue:
        return _Redis(self)


class _Redis(LineDialogue):
    __slots__ = ("_question",)

    def __init__(self, question: RedisQuestion) -> None:
        super().__init__("the answer to AUTH" if question.login else "the answer to PING")
        self._question = question

    def connected(self) -> Step:
        return Step(send=self._question.login or self._question.ping)

    def line(self, text: str) -> Step:
        if self.phase == "the answer to AUTH" and text == "+OK":
            self.phase = "the answer to PING"
            return Step(send=self._question.ping)
        if self.phase == "the answer to PING" and text == "+PONG":
            return Step(verdict=GOOD)
        reason = Reason.TOLD_DOWN if text.startswith(("-LOADING", "-MASTERDOWN")) else Reason.BAD_RESPONSE
        return bad(reason, f"{self.phase}: got {text[:120]!r}")
