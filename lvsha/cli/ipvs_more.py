"""What ``lvsha ipvs`` adds to ipvsadm's options: JSON, watching, filters, restoring all or nothing."""

import importlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace

from lvsha.cli import ipvs, ipvsadm
from lvsha.cli.ipvs_connections import Filter, connection_json, connection_line
from lvsha.core.errors import KernelError
from lvsha.io.ipvs_genl import IpvsSocket
from lvsha.io.names import SystemNames
from lvsha.io.procfs import connections
from lvsha.ipvs import as_json
from lvsha.ipvs.ipvsadm.command import Command, parse
from lvsha.ipvs.ipvsadm.errors import UsageError
from lvsha.ipvs.ipvsadm.lines import key_of
from lvsha.ipvs.model import ServiceState, Table

NAME = "lvsha ipvs"
_WATCH_S = 2.0
_CLEAR = "\x1b[H\x1b[2J"


class Wrong(Exception):
    """Wrong usage: one line that says what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Extras:
    """The options that ipvsadm does not know."""

    given: frozenset[str] = frozenset()
    """Which were said, without their dashes."""
    watch_s: float = _WATCH_S
    count: int | None = None
    only: Filter = field(default_factory=Filter)

    def has(self, name: str) -> bool:
        return name in self.given


def take(argv: list[str]) -> tuple[Extras, list[str]]:
    """Our options, and the rest for ipvsadm's grammar.

    Raises:
        Wrong: an option's argument is missing or not understood.
    """
    found = Extras()
    rest: list[str] = []
    words = iter(argv)
    for word in words:
        name, equals, text = word.partition("=")
        if name not in ipvs.OPTIONS:
            rest.append(word)
            continue
        found = replace(found, given=found.given | {name[2:]})
        if name in ("--vip", "--rs", "--client", "--state", "--count") and not equals:
            text = next(words, "")
        if name == "--watch":
            found = replace(found, watch_s=_number(name, text) if equals else _WATCH_S)
        elif name == "--count":
            found = replace(found, count=int(_number(name, text)))
        elif name in ("--vip", "--rs", "--client", "--state"):
            try:
                found = replace(found, only=found.only.with_option(name[2:], text))
            except ValueError as error:
                raise Wrong(f"{name}: {error}") from None
        elif equals:
            raise Wrong(f"{name} takes no argument")
    return found, rest


def _number(name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0
    if value <= 0:
        raise Wrong(f"{name} wants a number above 0, as in {name}=5")
    return value


def main(argv: list[str]) -> int:
    """Everything that ``lvsha.cli.ipvs.is_ours``."""
    try:
        if argv[0] in ipvs.VERBS:
            return int(importlib.import_module(f"lvsha.cli.{ipvs.VERBS[argv[0]]}").main(argv[1:]))
        extras, rest = take(argv)
        command = parse(rest, SystemNames(), program=NAME)
        return _run(command, extras, rest)
    except (Wrong, UsageError) as error:
        print(f"{NAME}: {str(error).strip()}; see `{NAME} --help`", file=sys.stderr)
        return 2
    except KernelError as error:
        print(f"{NAME}: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 141
    except KeyboardInterrupt:
        return 130


def _run(command: Command, extras: Extras, rest: list[str]) -> int:
    fits = {
        "list": {"json", "watch", "count"},
        "save": {"full"},
        "restore": {"atomic", "dry-run", "json"},
    }.get(command.verb, set())
    if command.has("connection"):
        fits |= {"vip", "rs", "client", "state"}
    wrong = sorted(extras.given - fits)
    if wrong:
        raise Wrong(f"--{wrong[0]} does not go with --{command.verb}")
    if command.verb == "save":
        return _save(command)
    if command.verb == "restore":
        from lvsha.cli import ipvs_restore

        text = (line.decode(errors="surrogateescape") for line in sys.stdin.buffer)
        return ipvs_restore.restore(text, dry_run=extras.has("dry-run"), as_json=extras.has("json"))
    if extras.has("watch"):
        return _watch(lambda: _list(command, extras, rest), extras)
    return _list(command, extras, rest)


def _save(command: Command) -> int:
    from lvsha.io.ipvs_rows import IpvsRows
    from lvsha.ipvs.ipvsadm.saving import Saving

    kernel = IpvsRows()
    try:
        saving = Saving(command.given, SystemNames(), full=True)
        _print(saving.lines(kernel.services(), kernel.destinations))
    finally:
        kernel.close()
    return 0


def _list(command: Command, extras: Extras, rest: list[str]) -> int:
    if command.has("connection"):
        return _connections(command, extras)
    if not extras.has("json"):
        watched = ("stats", "rate", "thresholds", "persistent-conn", "tun-info", "timeout", "daemon")
        live = ["--rate"] if extras.has("watch") and not any(map(command.has, watched)) else []
        return ipvsadm.run([*rest, *live], name=NAME)
    with IpvsSocket() as kernel:
        if command.has("timeout"):
            found = as_json.timeouts_json(kernel.timeouts())
        elif command.has("daemon"):
            found = as_json.daemons_json(kernel.daemons())
        else:
            found = as_json.table_json(_table(kernel, command), kernel.info())
    print(json.dumps(found))
    return 0


def _table(kernel: IpvsSocket, command: Command) -> Table:
    if not command.has("service-address"):
        return kernel.table()
    key = key_of(command)
    state = kernel.service(key)
    return {
        key: ServiceState(service=state.service, stats=state.stats, destinations=kernel.destinations(key))
    }


def _connections(command: Command, extras: Extras) -> int:
    """As they come: memory does not grow with the table."""
    rows = (row for row in connections() if extras.only.takes(row))
    if extras.has("json"):
        _print(json.dumps(connection_json(row)) for row in rows)
        return 0
    from lvsha.ipvs.ipvsadm.connections import COLUMNS, HEADING
    from lvsha.ipvs.ipvsadm.names import Texts

    texts = Texts(SystemNames(), numeric=command.has("numeric"))

    def lines() -> Iterator[str]:
        yield HEADING
        yield COLUMNS
        for row in rows:
            yield connection_line(row, texts)

    _print(lines())
    return 0


def _print(lines: Iterable[str]) -> None:
    for line in lines:
        sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _watch(show: Callable[[], int], extras: Extras) -> int:
    status, shown = 0, 0
    while status == 0:
        if sys.stdout.isatty():
            sys.stdout.write(_CLEAR)
        status = show()
        sys.stdout.flush()
        shown += 1
        if extras.count is not None and shown >= extras.count:
            break
        time.sleep(extras.watch_s)
        if not sys.stdout.isatty() and not extras.has("json"):
            sys.stdout.write("\n")
    return status
