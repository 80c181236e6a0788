"""TCP: does it accept; and where asked, does it answer what it should."""

import re

from lvsha.checker.probes.dialogue import GOOD, WAIT, Dialogue, Step, Verdict, bad, quoted
from lvsha.checker.result import Reason, bounded_detail
from lvsha.checker.settings import TcpOptions

_ACCEPTED = Step(verdict=GOOD)


class TcpQuestion:
    """Connect; then send and expect, where the options say so."""

    def __init__(self, options: TcpOptions) -> None:
        self.send = options.send
        self.expect = options.expect
        self.regex = re.compile(options.expect_regex) if options.expect_regex is not None else None
        self.limit = options.response_limit
        self.expects = self.expect is not None or self.regex is not None
        self.opening = Step(send=self.send, verdict=None if self.expects else GOOD)

    def begin(self) -> Dialogue:
        return _Answers(self) if self.expects else _Accepts(self.opening)

    def judge_whole(self, answer: bytes) -> Verdict | None:
        """Who expects an answer looks at it piece by piece."""
        return None


class _Accepts:
    """Up as soon as the connection stands."""

    __slots__ = ("_step",)

    phase = "connect"

    def __init__(self, step: Step) -> None:
        self._step = step

    def connected(self) -> Step:
        return self._step

    def received(self, data: bytes) -> Step:
        return _ACCEPTED

    def closed(self) -> Verdict:
        return GOOD


class _Answers:
    """Collects the answer until it matches, cannot match any more, or is too long."""

    __slots__ = ("_answer", "_question")

    phase = "the expected answer"

    def __init__(self, question: TcpQuestion) -> None:
        self._question = question
        self._answer = b""

    def connected(self) -> Step:
        return self._question.opening

    def received(self, data: bytes) -> Step:
        question = self._question
        self._answer = (self._answer + data)[: question.limit]
        expect = question.expect
        if expect is not None:
            if not self._answer.startswith(expect[: len(self._answer)]):
                return bad(Reason.BAD_RESPONSE, f"expected {quoted(expect)}, got {quoted(self._answer)}")
            if len(self._answer) < len(expect):
                return WAIT if len(self._answer) < question.limit else self._too_long()
        if question.regex is None or question.regex.search(self._answer.decode("utf-8", "replace")):
            return _ACCEPTED
        return WAIT if len(self._answer) < question.limit else self._too_long()

    def closed(self) -> Verdict:
        came = f"got {quoted(self._answer)}" if self._answer else "got nothing"
        return Verdict(Reason.CLOSED, bounded_detail(f"closed before the expected answer; {came}"))

    def _too_long(self) -> Step:
        return bad(
            Reason.TOO_LONG,
            f"the expected answer is not in the first {self._question.limit} bytes: {quoted(self._answer)}",
        )
