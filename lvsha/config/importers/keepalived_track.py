"""``vrrp_script``, ``vrrp_track_process``, ``track_*`` and ``vrrp_sync_group`` to ``track`` and ``group``."""

import shlex
from typing import Any

from lvsha.config.importers.keepalived_scope import duration, number, read_block, refuse, seconds, whole
from lvsha.config.importers.keepalived_text import Statement
from lvsha.config.importers.report import Notebook

_SHELL = frozenset("<>|&;`$(")


class Trackers:
    """What is defined at the top level, for instances and groups to name."""

    def __init__(self, notebook: Notebook) -> None:
        self._notebook = notebook
        self._scripts: dict[str, dict[str, Any]] = {}
        self._processes: dict[str, dict[str, Any]] = {}
        self._group_of: dict[str, str] = {}
        self._group_tracks: dict[str, list[dict[str, Any]]] = {}

    def define(self, statement: Statement) -> bool:
        """Read a definition; False: it is none of these."""
        if statement.keyword == "vrrp_script":
            self._define_script(statement)
        elif statement.keyword == "vrrp_track_process":
            self._define_process(statement)
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

        handlers = {"group": take_members} | self.handlers(tracks)
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

    def handlers(self, into: list[dict[str, Any]]) -> dict[str, Any]:
        """For a block that names trackers; each adds to ``into``."""
        return {
            "track_interface": lambda s: self._take(s, into, self._interface),
            "track_script": lambda s: self._take(s, into, self._script),
            "track_process": lambda s: self._take(s, into, self._process),
        }

    def of_group(self, instance: str) -> tuple[str | None, list[dict[str, Any]]]:
        """The group of an instance, and what that tracks."""
        return self._group_of.get(instance), self._group_tracks.get(instance, [])

    # Within

    def _define_script(self, statement: Statement) -> None:
        name = statement.values[0] if statement.values else ""
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

        read_block(
            statement,
            {"process": take_process, "weight": lambda s: table.update(weight=_weight(s.values))},
            self._notebook,
        )
        if "process" in table:
            self._processes[name] = table

    def _take(self, statement: Statement, into: list[dict[str, Any]], make: Any) -> None:
        self._notebook.take()
        for line in statement:
            try:
                table = dict(make(line.keyword))
                if "reverse" in line.values:
                    refuse("nothing is tracked in reverse")
                if "weight" in line.values:
                    table["weight"] = _weight(line.values[line.values.index("weight") + 1 :])
                if table.get("weight") == 0:
                    del table["weight"]  # a fault, in both programs
                into.append(table)
            except (ValueError, IndexError) as error:
                message = str(error) or "its weight is missing"
                self._notebook.suspicious(line.place, line.keyword, f"{message}: left out", matters=True)
            else:
                self._notebook.take()

    def _interface(self, name: str) -> dict[str, Any]:
        return {"interface": name}

    def _script(self, name: str) -> dict[str, Any]:
        if name not in self._scripts:
            refuse(f"there is no vrrp_script {name} that can be run")
        return self._scripts[name]

    def _process(self, name: str) -> dict[str, Any]:
        if name not in self._processes:
            refuse(f"there is no vrrp_track_process {name}")
        return self._processes[name]


def _weight(words: tuple[str, ...]) -> int:
    if "reverse" in words:
        refuse("nothing is tracked in reverse")
    return whole(words[0], -253, 253)
