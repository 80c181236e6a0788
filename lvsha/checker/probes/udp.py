"""UDP: one datagram; an ICMP error says down, an answer where one is asked for says up."""

from lvsha.checker.probes.dialogue import GOOD, Datagram, Verdict, quoted
from lvsha.checker.result import Reason, bounded_detail
from lvsha.checker.settings import UdpOptions


class UdpQuestion:
    def __init__(self, options: UdpOptions) -> None:
        self.payload = options.payload
        self.needs_reply = options.require_reply or options.expect is not None
        self.expect = options.expect or b""
        mask = options.expect_mask
        self.mask = (mask or b"").ljust(len(self.expect), b"\xff")
        self.minimum, self.maximum = options.minimum_reply, options.maximum_reply

    def begin(self, token: int) -> Datagram:
        return _Udp(self)


class _Udp:
    __slots__ = ("_question", "payload")

    def __init__(self, question: UdpQuestion) -> None:
        self._question = question
        self.payload = question.payload

    def received(self, data: bytes) -> Verdict | None:
        question = self._question
        if not question.needs_reply:
            return GOOD
        if not question.minimum <= len(data) <= question.maximum:
            return Verdict(
                Reason.BAD_RESPONSE,
                f"{len(data)} bytes, not {question.minimum} to {question.maximum}",
            )
        seen = data[: len(question.expect)]
        if len(seen) == len(question.expect) and all(
            not (one ^ other) & mask
            for one, other, mask in zip(seen, question.expect, question.mask, strict=False)
        ):
            return GOOD
        return Verdict(
            Reason.BODY_MISMATCH, bounded_detail(f"expected {quoted(question.expect)}, got {quoted(data)}")
        )

    def silence(self) -> Verdict:
        if self._question.needs_reply:
            return Verdict(Reason.TIMEOUT, "no reply")
        return GOOD
