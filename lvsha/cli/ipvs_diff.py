"""``lvsha ipvs diff FILE``: the kernel's table beside a saved one."""

import argparse
import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from lvsha.cli.parser import Parser
from lvsha.core.errors import LvshaError
from lvsha.io.ipvs_genl import IpvsSocket
from lvsha.io.names import SystemNames
from lvsha.ipvs.ipvsadm.lines import destination_words, operation_words, service_words
from lvsha.ipvs.model import DesiredTable
from lvsha.ipvs.plan import plan
from lvsha.ipvs.rehearsal import rehearse, wanted_of

TOLD = 3
"""Lines with an error that are told one by one."""

_EPILOG = """\
- is in the kernel and not in the file, + in the file and not in the kernel. `ipvsadm -S` saves no
thresholds: save with `lvsha ipvs -Sn --full` to have them compared.
Exit status: 0 the same, 1 they differ or the file has an error, 2 wrong usage.

example: lvsha ipvs -Sn --full >good && lvsha ipvs diff good
"""


def words_of(table: DesiredTable) -> Iterator[tuple[tuple[object, ...], str]]:
    """Each service and realserver as a line, with what identifies it."""
    for key, wanted in table.items():
        yield (key,), f"-A {service_words(wanted.service)}"
        for destination in wanted.destinations:
            yield (key, *destination.key), f"-a {destination_words(key, destination)}"


def differences(kernel: DesiredTable, saved: DesiredTable) -> Iterator[tuple[str | None, str | None]]:
    """What the kernel has, and what the file has in its place."""
    ours, theirs = dict(words_of(kernel)), dict(words_of(saved))
    for name, line in ours.items():
        if theirs.get(name) != line:
            yield line, theirs.get(name)
    for name, line in theirs.items():
        if name not in ours:
            yield None, line


def main(argv: list[str]) -> int:
    parser = Parser(
        prog="lvsha ipvs diff",
        description="The kernel's table beside a saved one.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", metavar="FILE", help="what `ipvsadm -S` printed; - is the standard input")
    parser.add_argument("--json", action="store_true", help="with the commands that would make them equal")
    options = parser.parse_args(argv)
    try:
        return _compare(_lines(options.file), as_json=options.json)
    except LvshaError as error:
        print(f"lvsha ipvs diff: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"lvsha ipvs diff: {options.file}: {error.strerror}", file=sys.stderr)
        return 1


def _lines(file: str) -> Iterable[str]:
    data = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    return data.decode("utf-8", "surrogateescape").split("\n")


def _compare(text: Iterable[str], *, as_json: bool) -> int:
    saved = rehearse(text, {}, SystemNames())
    for problem in saved.problems[:TOLD]:
        print(f"lvsha ipvs diff: {problem}", file=sys.stderr)
    if (more := len(saved.problems) - TOLD) > 0:
        print(
            f"lvsha ipvs diff: {more} more lines like these: is it what `ipvsadm -S` printed?",
            file=sys.stderr,
        )
    if saved.problems:
        return 1
    with IpvsSocket() as socket:
        table = socket.table()
    found = list(differences(wanted_of(table), saved.after))
    if as_json:
        operations = plan(saved.after, table, exclusive=True, owned=frozenset())
        report = {
            "equal": not found,
            "differences": [{"kernel": has, "file": wanted} for has, wanted in found],
            "plan": [operation_words(operation) for operation in operations],
        }
        print(json.dumps(report))
    else:
        for has, wanted in found:
            for sign, line in (("-", has), ("+", wanted)):
                if line is not None:
                    print(f"{sign} {line}")
    return 1 if found else 0
