"""What probes of line protocols have in common: lines of a bounded length, one step for each."""

from lvsha.checker.probes.dialogue import WAIT, Step, Verdict, bad
from lvsha.checker.result import Reason

LINE_LIMIT = 2048
"""Bytes of one line; SMTP allows 512, IMAP and HAProxy's agents are freer."""
LINES_LIMIT = 200
"""Lines of a whole probe: a banner may be long, not endless."""

STARTTLS_PHASE = "the answer to STARTTLS"


class LineDialogue:
    """Cuts what comes into lines; a subclass answers them in ``line``."""

    __slots__ = ("_count", "_rest", "phase")

    def __init__(self, phase: str) -> None:
        self.phase = phase
        self._rest = b""
        self._count = 0

    def connected(self) -> Step:
        return WAIT

    def line(self, text: str) -> Step:
        """One line, without its end."""
        raise NotImplementedError

    def received(self, data: bytes) -> Step:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for raw in lines:
            self._count += 1
            if self._count > LINES_LIMIT:
                return bad(Reason.TOO_LONG, f"more than {LINES_LIMIT} lines while waiting for {self.phase}")
            step = self.line(raw.rstrip(b"\r").decode("utf-8", "replace"))
            if step is not WAIT:
                # What was sent after the answer does not count, and before TLS stands least of
                # all: anybody on the way may have put it there.
                self._rest = b""
                return step
        if len(self._rest) > LINE_LIMIT:
            return bad(Reason.TOO_LONG, f"a line of more than {LINE_LIMIT} bytes as {self.phase}")
        return WAIT

    def closed(self) -> Verdict:
        return Verdict(Reason.CLOSED, f"closed before {self.phase}")


def has_break(text: str | None) -> bool:
    """Whether a name or password would end a line, and smuggle a command in."""
    return text is not None and any(character in text for character in "\r\n\0")


def no_tls(command: str, text: str) -> Step:
    """The server does not want to speak TLS."""
    return bad(Reason.TLS_FAILED, f"{command}: got {text[:120]!r}")


def unexpected(phase: str, text: str) -> Step:
    """A line that means no."""
    return bad(Reason.BAD_RESPONSE, f"{phase}: got {text[:120]!r}")
