"""HAProxy's agent-check: the realserver says itself how it feels.

One line of words: ``75%`` (of its weight), ``up``, ``ready``, ``drain``, ``maint``, ``down``,
``fail``, ``stopped``; what follows a ``#`` is for people. Source: HAProxy's configuration
manual, ``agent-check``.
"""

from lvsha.checker.probes.dialogue import GOOD, WAIT, Dialogue, Step, Verdict, bad
from lvsha.checker.probes.line_dialogue import LineDialogue
from lvsha.checker.result import Reason, bounded_detail
from lvsha.checker.settings import AgentOptions

_DOWN = frozenset({"down", "fail", "failed", "stopped", "maint"})
_UP = frozenset({"up", "ready"})


class AgentQuestion:
    def __init__(self, options: AgentOptions) -> None:
        self.send = options.send

    def begin(self) -> Dialogue:
        return _Agent(self.send)


class _Agent(LineDialogue):
    __slots__ = ("_send",)

    def __init__(self, send: bytes) -> None:
        super().__init__("the agent's line")
        self._send = send

    def connected(self) -> Step:
        return Step(send=self._send) if self._send else WAIT

    def line(self, text: str) -> Step:
        return Step(verdict=judge(text))

    def closed(self) -> Verdict:
        if self._rest:  # a line without its end
            return judge(self._rest.decode("utf-8", "replace"))
        return super().closed()


def judge(text: str) -> Verdict:
    """What a line means; words that nobody knows are passed over, a line of only such ones is bad."""
    said, _, comment = text.partition("#")
    percent: int | None = None
    known = False
    for word in said.replace(",", " ").split():
        word = word.lower()
        if word.endswith("%") and word[:-1].isdecimal():
            percent = min(int(word[:-1]), 100)
        elif word in _DOWN:
            return Verdict(
                Reason.TOLD_DOWN, bounded_detail(f"the agent says {word} {comment.strip()}".strip())
            )
        elif word == "drain":
            percent = 0
        elif word not in _UP and not word.startswith("maxconn:"):
            continue
        known = True
    if not known:
        verdict = bad(
            Reason.BAD_RESPONSE, f"the agent's line has no word that is known: {text[:120]!r}"
        ).verdict
        assert verdict is not None, "bad() ends the dialogue"
        return verdict
    return GOOD._replace(percent=percent)
