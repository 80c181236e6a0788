"""``vrrp_script``, ``track_*`` and ``vrrp_sync_group`` to ``track``, ``group`` and ``hook``."""

import math
import shlex
from typing import Any

from lvsha.config.importers.keepalived_hooks import Notifies
from lvsha.config.importers.keepalived_scope import duration, number, read_block, refuse, seconds, whole
from lvsha.config.importers.keepalived_text import Statement
from lvsha.config.importers.report import Notebook

_SHELL = frozenset("<>|&;`$(")


class Trackers:
    """What is defined at the top level, for instances and groups to name."""

    def __init__(self, notebook: Notebook, *, has_script_security: bool) -> None:
        self._notebook = notebook
        self._has_script_security = has_script_security
        self._scripts: dict[str, dict[str, Any]] = {}
        self._processes: dict[str, dict[str, Any]] = {}
        self._files: dict[str, dict[str, Any]] = {}
        self._group_of: dict[str, str] = {}
        self._group_notifies: dict[str, Notifies] = {}
        self._group_tracks: dict[str, list[dict[str, Any]]] = {}

    def define(self, statement: Statement) -> bool:
        """Read a definition; False: it is none of these."""
        if statement.keyword == "vrrp_script":
            self._define_script(statement)
        elif statement.keyword == "vrrp_track_process":
            self._define_process(statement)
        elif statement.keyword in ("track_file", "vrrp_track_file"):
            self._define_file(statement)
        else:
            return False
        return True

    def group(self, statement: Statement) -> None:
        """A vrrp_sync_group; after all definitions."""
        notebook = self._notebook
        name = statement.values[0] if statement.values else "group"
        notebook.take()
        members: list[str] = []
        tracks: list[dict[str, Any]] = []

        def take_members(inner: Statement) -> None:
            notebook.take()
            for line in inner:
                notebook.take()
                members.extend(line.words)

        notifies = Notifies("GROUP", name, notebook)
        handlers = {"group": take_members, **notifies.handlers()} | self.handlers(tracks)
        bare = [line for line in statement if line.children is None and len(line.words) == 1]
        if bare and not any(line.keyword == "group" for line in statement):
            for line in bare:
                notebook.suspicious(
                    line.place,
                    line.keyword,
                    "stands in no group { }, so keepalived drops it; it is a member here",
                )
                notebook.take()
                members.append(line.keyword)
            read_block([line for line in statement if line not in bare], handlers, notebook)
        else:
            read_block(statement, handlers, notebook)
        for member in members:
            self._group_of[member] = name
            self._group_tracks[member] = tracks
        self._group_notifies[name] = notifies

    def handlers(self, into: list[dict[str, Any]]) -> dict[str, Any]:
        """For a block that names trackers; each adds to ``into``."""
        return {
            "track_interface": lambda s: self._take(s, into, self._interface),
            "track_script": lambda s: self._take(s, into, self._script),
            "track_process": lambda s: self._take(s, into, self._process),
            "track_file": lambda s: self._take(s, into, self._file),
        }

    def of_group(self, instance: str) -> tuple[str | None, list[dict[str, Any]]]:
        """The group of an instance, and what that tracks."""
        return self._group_of.get(instance), self._group_tracks.get(instance, [])

    def notifies_of(self, instance: str) -> list[Notifies]:
        """The scripts of its group, for the member that asks first: they run once."""
        notifies = self._group_notifies.pop(self._group_of.get(instance, ""), None)
        return [] if notifies is None else [notifies]

    # Within

    def _define_script(self, statement: Statement) -> None:
        name = statement.values[0] if statement.values else ""
        if not self._scripts and not self._has_script_security:
            self._notebook.suspicious(
                statement.place,
                "vrrp_script",
                "scripts run with the rights of directord: nobody but root may be able to write them",
            )
        table: dict[str, Any] = {}
        times: dict[str, float] = {"interval": 1.0}
        self._notebook.take()

        def take_script(inner: Statement) -> None:
            text = " ".join(inner.values)
            if set(text) & _SHELL:
                refuse("keepalived starts a program, no shell, and so does lvsha: put this into a script")
            table["script"] = shlex.split(text)

        def take_timeout(inner: Statement) -> None:
            times["timeout"] = seconds(inner)

        read_block(
            statement,
            {
                "script": take_script,
                "interval": lambda s: times.update(interval=seconds(s)),
                "timeout": take_timeout,
                "weight": lambda s: table.update(weight=_weight(s.values)),
                "rise": lambda s: table.update(rise=number(s, 1, 100)),
                "fall": lambda s: table.update(fall=number(s, 1, 100)),
                "init_fail": lambda s: None,
                "user": lambda s: self._notebook.lost(
                    s.place, "user", "a script has the rights of directord", matters=False
                ),
            },
            self._notebook,
        )
        if "script" in table:
            table.setdefault("rise", 1)
            table.setdefault("fall", 1)
            table["interval"] = duration(max(times["interval"], 0.001))
            table["timeout"] = duration(max(times.get("timeout", times["interval"]), 0.001))
            self._scripts[name] = table

    def _define_process(self, statement: Statement) -> None:
        name = statement.values[0] if statement.values else ""
        table: dict[str, Any] = {}
        self._notebook.take()

        def take_process(inner: Statement) -> None:
            table["process"] = inner.values[0].rpartition("/")[2]
            if len(inner.values) > 1:
                self._notebook.lost(inner.place, "process", "parameters are not compared, the name is")

        def take_quorum(inner: Statement) -> None:
            if number(inner, 1, 2**31 - 1) > 1:
                refuse("one process of the name suffices here: write a `track` with `script` (pgrep -c)")

        def take_delay(*keys: str) -> Any:
            def take(inner: Statement) -> None:
                table.update(dict.fromkeys(keys, min(1 + math.ceil(seconds(inner)), 100)))

            return take

        read_block(
            statement,
            {
                "process": take_process,
                "weight": lambda s: table.update(weight=_weight(s.values)),
                "quorum": take_quorum,
                "fork_delay": take_delay("rise"),
                "terminate_delay": take_delay("fall"),
                "delay": take_delay("rise", "fall"),
            },
            self._notebook,
        )
        if "process" in table:
            self._processes[name] = table

    def _define_file(self, statement: Statement) -> None:
        name = statement.values[0] if statement.values else ""
        table: dict[str, Any] = {"weight": 1}
        self._notebook.take()

        def take_weight(inner: Statement) -> None:
            table["weight"] = whole(inner.values[0], -253, 253) * (-1 if "reverse" in inner.values else 1)
            table["reverse"] = "reverse" in inner.values

        read_block(
            statement,
            {"file": lambda s: table.update(file=s.values[0]), "weight": take_weight},
            self._notebook,
        )
        if "file" in table:
            self._files[name] = table

    def _take(self, statement: Statement, into: list[dict[str, Any]], make: Any) -> None:
        self._notebook.take()
        for line in statement:
            try:
                table = dict(make(line))
                if table.get("weight") == 0:
                    del table["weight"]  # a fault, in both programs
                into.append(table)
            except (ValueError, IndexError) as error:
                message = str(error) or "its weight is missing"
                self._notebook.suspicious(line.place, line.keyword, f"{message}: left out", matters=True)
            else:
                self._notebook.take()

    def _interface(self, line: Statement) -> dict[str, Any]:
        return {"interface": line.keyword} | _own_weight(line)

    def _script(self, line: Statement) -> dict[str, Any]:
        if line.keyword not in self._scripts:
            refuse(f"there is no vrrp_script {line.keyword} that can be run")
        table = self._scripts[line.keyword]
        if "reverse" not in line.values:
            return table | _own_weight(line)
        weight = table.get("weight", 0)
        if "weight" in line.values:
            weight = whole(line.values[line.values.index("weight") + 1], -253, 253)
        return table | {"script": ["/bin/sh", "-c", '! "$@"', "sh", *table["script"]], "weight": -weight}

    def _process(self, line: Statement) -> dict[str, Any]:
        if line.keyword not in self._processes:
            refuse(f"there is no vrrp_track_process {line.keyword}")
        return self._processes[line.keyword] | _own_weight(line)

    def _file(self, line: Statement) -> dict[str, Any]:
        """keepalived adds number * weight to the priority, and with weight 0 any other number is a fault.

        lvsha's ``file`` is up while it holds another number than 0; a script asks for the opposite.
        """
        if line.keyword not in self._files:
            refuse(f"there is no track_file {line.keyword} with a file")
        defined = self._files[line.keyword]
        path, weight, is_reverse = defined["file"], defined["weight"], defined.get("reverse", False)
        if "weight" in line.values:
            is_reverse = "reverse" in line.values
            weight = whole(line.values[line.values.index("weight") + 1], -253, 253) * (
                -1 if is_reverse else 1
            )
        if weight:
            self._notebook.suspicious(
                line.place,
                "track_file",
                f"keepalived adds the number in {path} times {weight} to the priority; here {weight:+d} for"
                " any number but 0: write as its weight what the file adds",
                matters=True,
            )
        if weight > 0 or (is_reverse and weight == 0):
            return {"file": path, "weight": weight}
        return {"script": ["/bin/sh", "-c", _IS_ZERO, "sh", path], "rise": 1, "fall": 1, "weight": weight}


_IS_ZERO = 'read -r n < "$1" || [ -n "$n" ] || exit 0; [ "$n" -eq 0 ]'
"""Ends with 0 for a file with 0 in it, an empty one and none, as keepalived reads them."""


def _own_weight(line: Statement) -> dict[str, Any]:
    if "reverse" in line.values:
        refuse("only scripts are tracked in reverse: write one (a `track` with `script`)")
    if "weight" not in line.values:
        return {}
    return {"weight": _weight(line.values[line.values.index("weight") + 1 :])}


def _weight(words: tuple[str, ...]) -> int:
    if "reverse" in words:
        refuse("is reversed where it is tracked (track_script), not where it is defined")
    return whole(words[0], -253, 253)
