"""The configuration of a running director: shown, checked, loaded anew."""

import asyncio
import contextlib
import fcntl
import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lvsha.api.port import Json, Refused, Unavailable
from lvsha.config.settings import Settings
from lvsha.core.errors import ConfigErrors, LvshaError

if TYPE_CHECKING:
    from lvsha.agent.directord import Directord

Load = Callable[[str | None], tuple[Settings, Sequence[Any]]]
"""Settings and warnings of a text, or (None) of the agent's own file as it is now."""

_RELOAD_S = 5.0


class ConfigLife:
    """See above."""

    def __init__(self, directord: "Directord", load: Load) -> None:
        self._directord = directord
        self._load = load
        self._reloaded = asyncio.Event()

    def on_reloaded(self) -> None:
        """Other settings are in force."""
        self._reloaded.set()

    def shown(self) -> Json:
        from lvsha.config.show import document

        return {
            "generation": self._directord.settings.generation,
            "config": document(self._directord.settings),
        }

    async def check(self, text: str | None) -> Json:
        return await asyncio.to_thread(self._check, text)

    def _check(self, text: str | None) -> Json:
        from lvsha.config.diff import diff

        try:
            settings, warnings = self._load(text)
        except ConfigErrors as refusal:
            return {
                "ok": False,
                "problems": [str(each) for each in refusal.problems],
                "warnings": [],
                "changes": [],
            }
        except LvshaError as error:
            return {"ok": False, "problems": [str(error)], "warnings": [], "changes": []}
        return {
            "ok": True,
            "problems": [],
            "warnings": [str(each) for each in warnings],
            "generation": settings.generation,
            "changes": [
                {
                    "kind": str(change.kind),
                    "path": change.path,
                    "field": change.field,
                    "before": change.before,
                    "after": change.after,
                    "effect": str(change.effect),
                    "advice": change.advice,
                    "text": str(change),
                }
                for change in diff(self._directord.settings, settings)
            ],
        }

    async def reload(self, *, owner: str) -> Json:
        """Both supervisors (one process, or one for each unit) load the file anew."""
        plan = await self.check(None)
        if not plan["ok"]:
            first = str(plan["problems"][0]) if plan["problems"] else ""
            self._directord.journal.write("director.reload_refused", owner=owner, problem=first)
            self._directord.refused = {"event": "director.reload_refused", "problem": first}
            raise Refused("refused: the file has problems; the old configuration runs on", **plan)
        pids = supervisors(Path(self._directord.settings.agent.run_dir))
        if not pids:
            raise Unavailable("no supervisor is there to load the file")
        self._directord.journal.write("director.reload_ordered", owner=owner, generation=plan["generation"])
        self._reloaded.clear()
        for pid in pids:
            try:
                os.kill(pid, signal.SIGHUP)
            except ProcessLookupError:
                continue  # it left a moment ago
            except PermissionError:
                raise Unavailable(f"process {pid} may not be signalled from here: systemctl reload") from None
        try:
            await asyncio.wait_for(self._reloaded.wait(), _RELOAD_S)
        except TimeoutError:
            raise Unavailable("the file was not taken within 5 s; see the agent's log") from None
        return {"reloaded": plan["generation"], "changes": plan["changes"], "warnings": plan["warnings"]}


def supervisors(run_dir: Path) -> set[int]:
    """The process ids in the locks of the run directory, of those that are held: others are left over, and
    their numbers may be anybody's by now."""
    pids = set()
    for name in ("directord", "vrrpd"):
        with contextlib.suppress(OSError, ValueError), (run_dir / f"{name}.lock").open() as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                pids.add(int(lock.read()))
    return pids
