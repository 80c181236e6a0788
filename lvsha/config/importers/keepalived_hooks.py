"""``notify``, ``notify_master`` … of an instance or a sync group to one ``hook``.

lvsha runs one program for every state, so several scripts become one ``sh -c`` that chooses.
"""

import shlex
from typing import Any, Final

from lvsha.config.importers.keepalived_scope import refuse
from lvsha.config.importers.keepalived_text import Statement
from lvsha.config.importers.report import Notebook

_STATES: Final = {"notify_master": "MASTER", "notify_backup": "BACKUP", "notify_fault": "FAULT"}
HOOK_TIMEOUT: Final = "1m"
"""keepalived waits without end."""


class Notifies:
    """The scripts of one instance or group."""

    def __init__(self, kind: str, name: str, notebook: Notebook) -> None:
        """``kind``: ``INSTANCE`` or ``GROUP``, what ``notify`` is told first."""
        self._kind = kind
        self._name = name
        self._notebook = notebook
        self._of_state: dict[str, list[str]] = {}
        self._always: list[str] | None = None

    def handlers(self) -> dict[str, Any]:
        return {"notify": self._notify, **dict.fromkeys(_STATES, self._on_state)}

    def is_empty(self) -> bool:
        return self._always is None and not self._of_state

    def plain(self) -> list[str] | None:
        """A program and its arguments, where one ``notify`` of an instance is all there is."""
        if self._always is None or self._of_state or self._kind != "INSTANCE":
            return None
        return [*self._always, self._kind]

    def shell(self) -> str:
        """Commands of sh; ``$2`` is the state."""
        parts = []
        if self._of_state:
            cases = (f"{state}) {shlex.join(words)} ;;" for state, words in sorted(self._of_state.items()))
            parts.append(f'case "$2" in {" ".join(cases)} esac')
        if self._always is not None:
            parts.append(f'{shlex.join([*self._always, self._kind, self._name])} "$2"')
        return "; ".join(parts)

    def _on_state(self, statement: Statement) -> None:
        self._of_state[_STATES[statement.keyword]] = self._command(statement)
        self._notebook.changed(
            statement.place,
            statement.keyword,
            "a part of `hook`: killed after hook_timeout, and run again after 5 s if it fails",
        )

    def _notify(self, statement: Statement) -> None:
        self._always = self._command(statement)
        self._notebook.changed(
            statement.place,
            "notify",
            f"`hook`: gets {self._kind}, the name and MASTER, BACKUP or FAULT as before, INIT for"
            " STOP, and no priority; killed after hook_timeout, and run again after 5 s if it fails",
        )

    def _command(self, statement: Statement) -> list[str]:
        words = shlex.split(statement.values[0])
        if not words:
            refuse("names no script")
        if len(statement.values) > 1:
            self._notebook.lost(
                statement.place, statement.keyword, "a hook has the rights of directord", matters=False
            )
        return words


def hook_of(notifies: list[Notifies]) -> dict[str, Any]:
    """Keys of ``[[vrrp]]``; none where there are no scripts."""
    given = [each for each in notifies if not each.is_empty()]
    if not given:
        return {}
    command = given[0].plain() if len(given) == 1 else None
    if command is None:
        command = ["/bin/sh", "-c", "; ".join(each.shell() for each in given), "hook"]
    return {"hook": command, "hook_timeout": HOOK_TIMEOUT, "hook_repeat": "0s"}
