"""A file as a switch, or as a share of the weight."""

from lvsha.checker.probes.dialogue import GOOD, Verdict
from lvsha.checker.result import Reason
from lvsha.checker.settings import FileOptions

CONTENT_LIMIT = 64
"""Bytes of the file that are looked at."""


def judge(options: FileOptions, content: bytes | None) -> Verdict:
    """``content`` None: there is no such file."""
    if options.weight_from_content:
        text = (content or b"").decode("ascii", "replace").strip().removesuffix("%").strip()
        if text.isdecimal():
            return GOOD._replace(percent=min(int(text), 100))
        return GOOD
    if (content is not None) == options.present_is_up:
        return GOOD
    said = "is there" if content is not None else "is not there"
    return Verdict(Reason.TOLD_DOWN, f"{options.path} {said}")
