"""The configuration of a running director: shown, checked, loaded anew, tried and confirmed."""

import asyncio
import contextlib
import fcntl
import os
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lvsha.agent import applied
from lvsha.api.port import Json, Refused, Unavailable
from lvsha.config.settings import Settings
from lvsha.core.errors import ConfigErrors, LvshaError

if TYPE_CHECKING:
    from lvsha.agent.directord import Directord

Load = Callable[[str | None], tuple[Settings, Sequence[Any]]]
"""Settings and warnings of a text, or (None) of the agent's own file as it is now."""

_RELOAD_S = 5.0
_APPLY_S = 20.0
_PLACES = ("run_dir", "state_dir")


class ConfigLife:
    """See above."""

    def __init__(self, directord: "Directord", load: Load, *, file: str, state_dir: Path) -> None:
        """``file``: the agent's own."""
        self._directord = directord
        self._load = load
        self._file = file
        self._state_dir = state_dir
        self._reloaded = asyncio.Event()
        self._trial: applied.Applied | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        self._one = asyncio.Lock()
        """One change of the configuration at a time."""

    def on_reloaded(self) -> None:
        """Other settings are in force."""
        self._reloaded.set()

    def shown(self) -> Json:
        from lvsha.config.show import document

        return {
            "generation": self._directord.settings.generation,
            "trial": self.trial,
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
        self._directord.journal.write("director.reload_ordered", owner=owner, generation=plan["generation"])
        await self._load_everywhere(_RELOAD_S)
        return {"reloaded": plan["generation"], "changes": plan["changes"], "warnings": plan["warnings"]}

    async def _load_everywhere(self, within_s: float) -> None:
        """Raises: Unavailable."""
        pids = supervisors(Path(self._directord.settings.agent.run_dir))
        if not pids:
            raise Unavailable("no supervisor is there to load the file")
        self._reloaded.clear()
        for pid in pids:
            try:
                os.kill(pid, signal.SIGHUP)
            except ProcessLookupError:
                continue  # it left a moment ago
            except PermissionError:
                raise Unavailable(f"process {pid} may not be signalled from here: systemctl reload") from None
        try:
            await asyncio.wait_for(self._reloaded.wait(), within_s)
        except TimeoutError:
            text = f"the file was not taken within {within_s:g} s; see the agent's log"
            raise Unavailable(text) from None

    # On trial

    def start(self) -> None:
        """A trial of the last process goes on, or is over."""
        self._trial = applied.recall(self._state_dir, self._file, applied.TRIAL)
        if self._trial is not None:
            self._arm()

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    @property
    def trial(self) -> Json | None:
        """What waits to be confirmed."""
        if self._trial is None:
            return None
        return {
            "generation": self._trial.generation,
            "until": self._trial.until,
            "owner": self._trial.owner,
            "pair": self._trial.pair,
        }

    async def apply(self, text: str, *, within_s: float, owner: str, pair: bool) -> Json:
        """Run by this text, for so long unless it is confirmed."""
        async with self._one:
            return await self._apply(text, within_s=within_s, owner=owner, pair=pair)

    async def _apply(self, text: str, *, within_s: float, owner: str, pair: bool) -> Json:
        if self._trial is not None:
            raise Refused(
                f"refused: configuration {self._trial.generation} of {self._trial.owner} is on trial: "
                "`lvsha config confirm` or `lvsha config rollback` first"
            )
        if not self._file.endswith(".toml"):
            raise Refused(
                f"refused: {self._file} is not in lvsha's own form: `lvsha config convert` makes it so"
            )
        plan = await self.check(text)
        if not plan["ok"]:
            raise Refused("refused: it has problems; the old configuration runs on", **plan)
        moved = [each for each in plan["changes"] if each["path"] == "agent" and each["field"] in _PLACES]
        if moved:
            raise Refused("refused: [agent] run_dir and state_dir change by a restart alone", **plan)
        try:
            until = round(time.time() + within_s, 3)
            trial = await asyncio.to_thread(self._keep, text, until, owner, pair)
        except (OSError, UnicodeDecodeError) as error:
            raise Unavailable(f"it cannot be kept: {error}") from None
        self._trial = trial
        try:
            await self._load_everywhere(_APPLY_S)
            if self._directord.settings.generation != trial.generation:
                raise Unavailable("another configuration was loaded at the same moment")
        except Unavailable:
            self._end_trial()
            with contextlib.suppress(Unavailable):
                await self._load_everywhere(_APPLY_S)
            raise
        self._arm()
        self._directord.journal.write(
            "director.config_on_trial", generation=trial.generation, owner=owner, within_s=within_s
        )
        return {
            "applied": trial.generation,
            "until": trial.until,
            "changes": plan["changes"],
            "warnings": plan["warnings"],
        }

    def _keep(self, text: str, until: float, owner: str, pair: bool) -> applied.Applied:
        over = applied.digest(Path(self._file).read_text("utf-8-sig"))
        trial = applied.Applied(text, over, until, owner, pair)
        applied.keep(self._state_dir, self._file, applied.TRIAL, trial)
        return trial

    async def confirm(self, *, generation: str | None, owner: str) -> Json:
        """It stays: the file is replaced, or, where it cannot be, what lies in the state directory stays."""
        async with self._one:
            trial = self._trial
            if trial is None:
                raise Refused("refused: no configuration is on trial here")
            if generation not in (None, trial.generation):
                raise Refused(f"refused: {trial.generation} is on trial here, not {generation}")
            try:
                written = await asyncio.to_thread(self._confirm, trial)
            except OSError as error:
                raise Unavailable(f"it cannot be kept: {error}") from None
            self._end_trial()
            self._directord.journal.write(
                "director.config_confirmed",
                generation=trial.generation,
                owner=owner,
                file=self._file,
                written=written,
            )
            return {"confirmed": trial.generation, "file": self._file, "written": written}

    def _confirm(self, trial: applied.Applied) -> bool:
        """Whether the file has it now."""
        kept = trial._replace(until=None)
        applied.keep(self._state_dir, self._file, applied.CONFIRMED, kept)
        try:
            applied.write(Path(self._file), trial.text)
        except OSError:
            return False
        applied.forget(self._state_dir, applied.CONFIRMED)
        return True

    async def roll_back(self, *, owner: str, why: str = "by order") -> Json:
        """Back to what ran before."""
        async with self._one:
            trial = self._trial
            if trial is None:
                raise Refused("refused: no configuration is on trial here")
            self._end_trial()
            self._directord.journal.write(
                "director.config_rolled_back", generation=trial.generation, owner=owner, reason=why
            )
            await self._load_everywhere(_APPLY_S)
            return {"rolled_back": trial.generation, "generation": self._directord.settings.generation}

    def _end_trial(self) -> None:
        self._trial = None
        applied.forget(self._state_dir, applied.TRIAL)
        self.close()

    def _arm(self) -> None:
        until = self._trial.until if self._trial is not None else None
        wait_s = max(0.0, (until or 0.0) - time.time())
        self._timer = asyncio.get_running_loop().call_later(wait_s, self._on_time)

    def _on_time(self) -> None:
        self._task = asyncio.create_task(self._give_up())

    async def _give_up(self) -> None:
        try:
            await self.roll_back(owner="nobody", why="not confirmed in time")
        except Refused:
            return  # it was confirmed at the last moment
        except Unavailable as error:
            self._directord.journal.write("director.config_not_rolled_back", error=str(error))


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
