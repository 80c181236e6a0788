"""The verdict on a program by its exit status."""

from lvsha.checker.probes.dialogue import GOOD, Verdict, quoted
from lvsha.checker.result import Reason, bounded_detail
from lvsha.checker.settings import ExecOptions


def judge(options: ExecOptions, status: int, output: bytes) -> Verdict:
    """``status`` below zero: ended by that signal."""
    if status == 0:
        return GOOD
    if options.weight_from_exit and 2 <= status <= 255:
        return GOOD._replace(weight=status - 2)
    said = f", said {quoted(output.strip())}" if output.strip() else ""
    ended = f"exit status {status}" if status >= 0 else f"ended by signal {-status}"
    return Verdict(Reason.NONZERO_EXIT, bounded_detail(ended + said))
