"""``lvsha ipvs -R --dry-run`` and ``--atomic``: all lines are read and judged before any is carried out."""

import json
import sys
from collections.abc import Iterable

from lvsha.core.errors import KernelError
from lvsha.io.ipvs_genl import IpvsSocket
from lvsha.io.names import SystemNames
from lvsha.ipvs.ipvsadm.lines import operation_words
from lvsha.ipvs.model import Operation, Table
from lvsha.ipvs.plan import plan
from lvsha.ipvs.rehearsal import Rehearsal, rehearse, wanted_of

TOLD = 20
"""Problems and planned changes that are told one by one."""


def restore(text: Iterable[str], *, dry_run: bool, as_json: bool = False) -> int:
    """Carry out all lines or none; the exit status."""
    with IpvsSocket() as kernel:
        before = kernel.table()
        rehearsal = rehearse(text, before, SystemNames())
        operations = plan(rehearsal.after, before, exclusive=True, owned=frozenset())
        report: dict[str, object] = {
            "lines": rehearsal.lines,
            "problems": [
                {"line": each.line, "text": each.text, "message": each.message} for each in rehearsal.problems
            ],
            "plan": [operation_words(operation) for operation in operations],
            "applied": False,
            "restored": None,
        }
        status = _carry_out(kernel, before, rehearsal, operations, report, dry_run=dry_run)
    if as_json:
        print(json.dumps(report))
    else:
        _tell(rehearsal, operations, report, dry_run=dry_run)
    return status


def _carry_out(
    kernel: IpvsSocket,
    before: Table,
    rehearsal: Rehearsal,
    operations: tuple[Operation, ...],
    report: dict[str, object],
    *,
    dry_run: bool,
) -> int:
    if rehearsal.problems:
        return 1
    if dry_run:
        return 0
    try:
        failures = [(operation_words(operation), str(error)) for operation, error in kernel.apply(operations)]
    except KernelError as error:
        failures = [("", str(error))]
    if not failures:
        report["applied"] = True
        return 0
    report["failures"] = [{"command": words, "message": message} for words, message in failures]
    wanted = wanted_of(before)
    back = plan(wanted, kernel.table(), exclusive=True, owned=frozenset())
    report["restored"] = not kernel.apply(back) and not plan(
        wanted, kernel.table(), exclusive=True, owned=frozenset()
    )
    return 1


def _tell(
    rehearsal: Rehearsal, operations: tuple[Operation, ...], report: dict[str, object], *, dry_run: bool
) -> None:
    for problem in rehearsal.problems[:TOLD]:
        print(f"lvsha ipvs: {problem}", file=sys.stderr)
    if rehearsal.problems:
        more = len(rehearsal.problems) - TOLD
        rest = f" ({more} more)" if more > 0 else ""
        print(f"lvsha ipvs: nothing was changed: mend these lines first{rest}", file=sys.stderr)
        return
    shown = operations if dry_run else operations[:TOLD]
    for operation in shown:
        print(operation_words(operation))
    if len(shown) < len(operations):
        print(f"... and {len(operations) - len(shown)} more")
    failures = report.get("failures")
    if isinstance(failures, list):
        for failure in failures[:TOLD]:
            print(f"lvsha ipvs: {failure['command']}: {failure['message']}", file=sys.stderr)
        how = "the table is as it was before" if report["restored"] else "the table could NOT be put back"
        print(
            f"lvsha ipvs: the kernel refused {len(failures)} of {len(operations)} changes; {how}",
            file=sys.stderr,
        )
        return
    done = "to make" if dry_run else "made"
    print(f"lines: {rehearsal.lines}, changes {done}: {len(operations)}", file=sys.stderr)
