"""ipvsadm and ours, each in a network namespace of its own, told the same.

Run as root where the kernel has IPVS::

    lvsha lab exec --bare --limit 1800 -- .venv/bin/python -m tests.kernel.ipvsadm_pair --count 5000 --pairs

prints how many sequences were equal, and those that were not.
"""

import argparse
import contextlib
import json
import os
import re
import shutil
import signal
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp
from typing import NamedTuple

from lvsha.cli.ipvsadm import Program
from lvsha.io.ipvs_rows import IpvsRows
from lvsha.io.netlink import NetlinkError
from lvsha.ipvs.ipvsadm.command import Command, parse
from lvsha.ipvs.ipvsadm.names import Names
from lvsha.ipvs.ipvsadm.requests import payload
from lvsha.lab.netns import Namespace, ip_batch
from tests.kernel.ipvsadm_commands import PAIRS_TABLE, Sequence, Step, option_pairs, sequences

LINKS = (
    "link set lo up",
    "link add dummy0 type dummy",
    "link set dummy0 up",
    "addr add 10.99.0.1/24 dev dummy0",
)
STEP_LIMIT_S = 20
PAIRS = "option pairs"
PLAIN_LISTS = (("-Ln",), ("-ln",), ("-L", "-n"), ("--list", "--numeric"))
INSTALLED = Path(sys.executable).with_name("lvsha-ipvsadm")
"""Answers those itself (``lvsha/native/lvsha-ipvsadm.c``) and leaves the rest to Python."""
PLACE = re.compile(r" \(line \d+: .*\)$", re.MULTILINE)


class Outcome(NamedTuple):
    status: int
    out: str
    err: str


@dataclass(frozen=True, slots=True)
class Difference:
    """A sequence whose two ends differ, and where."""

    sequence: Sequence
    step: int
    what: str
    theirs: object
    ours: object

    def __str__(self) -> str:
        lines = [f"step {self.step}, {self.what}: ipvsadm {self.theirs!r}", f"  ours {self.ours!r}"]
        lines += [
            f"  {'>' if i == self.step else ' '} {step.argv} {step.stdin!r}"
            for i, step in enumerate(self.sequence)
        ]
        return "\n".join(lines)


class Table:
    """One namespace's kernel state, without counters, so that two can be compared."""

    def __init__(self) -> None:
        self._rows = IpvsRows()
        self._times = self._rows.timeouts()

    def close(self) -> None:
        self._rows.close()

    def state(self) -> object:
        rows = self._rows
        services = []
        for row in rows.services():
            destinations = sorted(each[:10] for each in rows.destinations(row))
            numbers = (row.family, row.protocol, row.address, row.port, row.fwmark, row.scheduler)
            services.append((*numbers, row.flags, row.timeout_s, row.netmask, row.pe_name, destinations))
        return sorted(services), sorted(rows.daemons()), rows.timeouts()

    def prepare(self, lines: Iterable[str]) -> None:
        """Put something into an empty table, without either program."""
        requests = [payload(parse(line.split(), Names())) for line in lines]
        assert not self._rows.apply([request for request in requests if request is not None])

    def reset(self) -> None:
        for verb in ("clear", "set"):
            command = Command(verb)
            command.timeouts = self._times
            request = payload(command)
            assert request is not None
            self._rows.apply([request])
        for state, *_ in self._rows.daemons():
            command = Command("stop-daemon")
            command.daemon = "master" if state == 1 else "backup"
            request = payload(command)
            assert request is not None
            with contextlib.suppress(NetlinkError):  # it is gone already
                self._rows.stop_daemon(request, state)


class Pair:
    """Both programs. Leave it by ``close``."""

    def __init__(self, program: list[str] | None = None) -> None:
        """``program``: ours as a process; else inside this one, but for the plain lists."""
        self._program = program
        self._folder = Path(mkdtemp())
        self._names = ("theirs", "ours")
        ip_batch([f"netns add {name}" for name in self._names])
        self._spaces = [Namespace(name) for name in self._names]
        self._tables = []
        for space in self._spaces:
            with space.entered():
                ip_batch(LINKS)
                self._tables.append(Table())

    def close(self) -> None:
        for table in self._tables:
            table.reset()
            table.close()
        ip_batch([f"netns del {name}" for name in self._names])
        shutil.rmtree(self._folder)

    def difference(self, sequence: Sequence, table: Iterable[str] = ()) -> Difference | None:
        """Play it on two tables with the same lines in them; None if nothing differs."""
        theirs, ours = self._spaces
        for each in self._tables:
            each.prepare(table)
        try:
            for number, step in enumerate(sequence):
                with theirs.entered():
                    expected = self._spawn(["/usr/sbin/ipvsadm"], step)
                with ours.entered():
                    actual = self._ours(step)
                for what, one, other in _compared(step, expected, actual):
                    if one != other:
                        return Difference(sequence, number, what, one, other)
                one, other = [table.state() for table in self._tables]
                if one != other:
                    return Difference(sequence, number, "the kernel's tables", one, other)
        finally:
            for each in self._tables:
                each.reset()
        return None

    def _ours(self, step: Step) -> Outcome:
        if self._program:
            return self._spawn(self._program, step)
        return self._spawn([str(INSTALLED)], step) if step.argv in PLAIN_LISTS else _inside(step)

    def _spawn(self, program: list[str], step: Step) -> Outcome:
        files = [self._folder / name for name in ("in", "out", "err")]
        files[0].write_text(step.stdin, errors="surrogateescape")
        fds = [os.open(files[0], os.O_RDONLY)]
        fds += [os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC) for path in files[1:]]
        # As the name by which it is called: what it calls itself in one message.
        argv = [*(["ipvsadm"] if len(program) == 1 else program), *step.argv]
        actions = [(os.POSIX_SPAWN_DUP2, fd, number) for number, fd in enumerate(fds)]
        pid = os.posix_spawn(program[0], argv, os.environ, file_actions=actions)
        for fd in fds:
            os.close(fd)
        give_up = signal.signal(signal.SIGALRM, lambda *_: os.kill(pid, signal.SIGKILL))
        signal.alarm(STEP_LIMIT_S)
        _, status = os.waitpid(pid, 0)
        signal.alarm(0)
        signal.signal(signal.SIGALRM, give_up)
        out, err = [path.read_text(errors="surrogateescape") for path in files[1:]]
        return Outcome(os.waitstatus_to_exitcode(status), out, err)


def _inside(step: Step) -> Outcome:
    out: list[str] = []
    err: list[str] = []
    program = Program(
        name="ipvsadm",
        stdin=step.stdin.splitlines(keepends=True) if "\r" not in step.stdin else _lines(step.stdin),
        out=out.append,
        err=err.append,
    )
    status = program.run(step.argv)
    return Outcome(status, "".join(out), "".join(err))


def _lines(text: str) -> list[str]:
    return [line + "\n" for line in text.split("\n")]


def _compared(step: Step, theirs: Outcome, ours: Outcome) -> Iterator[tuple[str, object, object]]:
    yield "standard error", theirs.err, PLACE.sub("", ours.err)
    yield "exit status", theirs.status, ours.status
    if step.argv and step.argv[0] in ("-h", "--help", "-v", "--version"):
        return
    if "-h" in step.stdin or "--help" in step.stdin:
        return
    if any("--nosort" in word for word in step.argv):
        # The kernel's own order, which differs between namespaces.
        yield "standard output", sorted(theirs.out.splitlines()), sorted(ours.out.splitlines())
    else:
        yield "standard output", theirs.out, ours.out


def compare(
    pair: Pair, todo: Iterable[Sequence], *, table: tuple[str, ...] = (), at_most: int = 20
) -> tuple[int, list[Difference]]:
    """How many were played, and the first differences."""
    found: list[Difference] = []
    count = 0
    for sequence in todo:
        count += 1
        difference = pair.difference(sequence, table)
        if difference is not None:
            found.append(difference)
            if len(found) >= at_most:
                break
    return count, found


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--pairs", action="store_true", help="every command with every pair of options as well"
    )
    parser.add_argument("--every", type=int, default=1, metavar="N", help="of the pairs, each N-th")
    parser.add_argument("--at-most", type=int, default=20, help="differences, then it ends")
    parser.add_argument("--processes", action="store_true", help="ours as a process, too")
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args()
    program = [sys.executable, "-m", "lvsha.cli.ipvsadm"] if options.processes else None
    pair = Pair(program)
    begun = time.monotonic()
    report = {}
    failed = False
    try:
        jobs: dict[str, Iterable[Sequence]] = {"sequences": sequences(options.count, options.seed)}
        if options.pairs:
            jobs[PAIRS] = (each for n, each in enumerate(option_pairs()) if n % options.every == 0)
        for name, todo in jobs.items():
            count, found = compare(
                pair, todo, table=PAIRS_TABLE if name == PAIRS else (), at_most=options.at_most
            )
            for difference in found:
                print(difference)
            print(
                f"{name}: {count - len(found)} of {count} equal, {time.monotonic() - begun:.0f} s", flush=True
            )
            report[name] = {"played": count, "equal": count - len(found)}
            failed |= bool(found)
    finally:
        pair.close()
    if options.json:
        Path(options.json).write_text(json.dumps(report) + "\n", encoding="utf-8")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
