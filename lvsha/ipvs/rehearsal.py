"""Lines of ``ipvsadm -R``, tried on a copy of the table before the kernel sees any of them.

``ipvsadm -R`` stops half-way at a word it does not know and goes on after a line that
the kernel refuses; either leaves a table that nobody asked for. A rehearsal reads all
lines first, tells everything that is wrong, and gives the table that would come out:
the way there is then ``lvsha.ipvs.plan``'s, without interruption even if the lines
begin with ``-C``.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from lvsha.ipvs.ipvsadm import lines
from lvsha.ipvs.ipvsadm.command import Command, parse
from lvsha.ipvs.ipvsadm.errors import UsageError
from lvsha.ipvs.ipvsadm.messages import refusal
from lvsha.ipvs.ipvsadm.names import Names
from lvsha.ipvs.ipvsadm.restoring import commands
from lvsha.ipvs.model import (
    DesiredService,
    DesiredTable,
    Destination,
    DestinationKey,
    Service,
    ServiceKey,
    Table,
)

_SHOWN = 160
_EEXIST, _ENOENT, _ESRCH, _ERANGE = 17, 2, 3, 34
_CHANGES = (
    *("add-service", "edit-service", "delete-service", "add-server", "edit-server", "delete-server"),
    "clear",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LineProblem:
    """What is wrong with one line."""

    line: int
    text: str
    message: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.message} ({self.text})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rehearsal:
    """What would come of the lines."""

    after: DesiredTable
    problems: tuple[LineProblem, ...]
    lines: int
    """That say something."""


def wanted_of(table: Table) -> dict[ServiceKey, DesiredService]:
    """A dump as something to wish for: the way back."""
    return {
        key: DesiredService(
            service=state.service,
            destinations=tuple(each.destination for each in state.destinations.values()),
        )
        for key, state in table.items()
    }


def rehearse(text: Iterable[str], before: Table, names: Names) -> Rehearsal:
    """Carry out all lines on a copy of ``before``; the kernel's own checks are only partly known here."""
    copy = _Copy(before)
    problems: list[LineProblem] = []
    count = 0
    for number, words in commands(text):
        count += 1
        try:
            copy.do(parse(words, names, nested=True))
        except UsageError as error:
            line = " ".join(words)
            problems.append(LineProblem(line=number, text=_shown(line), message=_one_line(error.message)))
    return Rehearsal(after=copy.result(), problems=tuple(problems), lines=count)


def _shown(line: str) -> str:
    """A line as it can be printed, whatever file it is of."""
    short = line if len(line) <= _SHOWN else f"{line[:_SHOWN]}..."
    return "".join(each if each.isprintable() else "?" for each in short)


def _one_line(message: str) -> str:
    """What ipvsadm says of a usage in several lines, without where to read its help."""
    lines = [line for line in message.strip().splitlines() if not line.startswith("Try `")]
    return _shown("; ".join(lines)) or "this is no command of ipvsadm's"


class _Copy:
    """A table that can be changed."""

    def __init__(self, table: Table) -> None:
        self._services: dict[ServiceKey, Service] = {key: state.service for key, state in table.items()}
        self._destinations: dict[ServiceKey, dict[DestinationKey, Destination]] = {
            key: {place: each.destination for place, each in state.destinations.items()}
            for key, state in table.items()
        }

    def result(self) -> dict[ServiceKey, DesiredService]:
        return {
            key: DesiredService(service=service, destinations=tuple(self._destinations[key].values()))
            for key, service in self._services.items()
        }

    def do(self, command: Command) -> None:
        if command.verb not in _CHANGES:
            raise UsageError(f"--{command.verb} cannot be taken back: leave it out, or run it by itself")
        if command.verb == "clear":
            self._services.clear()
            self._destinations.clear()
            return
        key = lines.key_of(command)
        adds = command.verb in ("add-service", "add-server")
        if command.verb.endswith("service"):
            self._require((key in self._services) != adds, command, _EEXIST if adds else _ESRCH)
            self._change_service(command, key)
            return
        self._require(key in self._services, command, _ESRCH)
        place = (lines.destination_of(command).address, command.server_port)
        self._require((place in self._destinations[key]) != adds, command, _EEXIST if adds else _ENOENT)
        self._change_destination(command, key, place)

    def _require(self, holds: bool, command: Command, errno: int) -> None:
        if not holds:
            raise UsageError(refusal(command.verb, errno, f"error {errno}"))

    def _change_service(self, command: Command, key: ServiceKey) -> None:
        if command.verb == "delete-service":
            del self._services[key], self._destinations[key]
            return
        self._services[key] = lines.service_of(command)
        self._destinations.setdefault(key, {})

    def _change_destination(self, command: Command, key: ServiceKey, place: DestinationKey) -> None:
        if command.verb == "delete-server":
            del self._destinations[key][place]
            return
        if command.lower > command.upper:
            raise UsageError("the lower threshold is above the upper one")
        self._destinations[key][place] = lines.destination_of(command)
