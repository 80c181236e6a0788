"""An operator's own program, run when a virtual router's state changes, and again while it lasts.

Level-triggered: what is run says the state as it is, not what it was on the way there.
Per router at most one runs at a time, so they come in order; a state that is over
before its turn came is not reported. One that fails, or takes longer than its time, is
run again after ``RETRY_S``, and one that worked after ``hook_repeat``: whoever moves a
floating address or a label by such a program gets there even if it was lost once.

directord runs them, so nothing here can delay an advert, and none can veto a takeover. Only
a ``pre_hook`` is waited for, before a takeover and before a planned hand-over, and never longer
than its time; whatever it ends with, the role moves.
"""

import asyncio
import os
import time
from collections.abc import Callable, Iterable

from lvsha.agent.journal import Journal
from lvsha.core.instant import to_seconds
from lvsha.io.launcher import Program, Run, run_program
from lvsha.vrrp.settings import RouterSettings

RETRY_S = 5.0
OUTPUT_KEPT = 400
"""Characters of what it wrote, from the end; a line of the journal."""
_LOOK_S = 0.1


class Hooks:
    """One task per virtual router that has a ``hook``."""

    def __init__(
        self, *, states: Callable[[], dict[str, str]], journal: Journal, run: Run = run_program
    ) -> None:
        """``states``: by router's name; who is not there is not known at present. ``run`` starts programs."""
        self._start = run
        self._states = states
        self._journal = journal
        self._tasks: dict[RouterSettings, asyncio.Task[None]] = {}

    def reconfigure(self, routers: Iterable[RouterSettings]) -> None:
        """What did not change goes on; a hook that runs is let finish."""
        wanted = {router for router in routers if router.hook}
        for router in set(self._tasks) - wanted:
            self._tasks.pop(router).cancel()
        for router in wanted - set(self._tasks):
            self._tasks[router] = asyncio.create_task(self._follow(router))

    def close(self) -> None:
        self.reconfigure(())

    async def before(self, router: RouterSettings, what: str) -> None:
        """Its ``pre_hook`` runs and ends, or is killed; ``what``: ``promote`` or ``demote``."""
        if router.pre_hook:
            before = self._states().get(router.name)
            await self._run(router, what, before, router.pre_hook, to_seconds(router.pre_hook_timeout))

    async def _follow(self, router: RouterSettings) -> None:
        done: str | None = None
        again = 0.0
        while True:
            state = self._states().get(router.name)
            if state is not None and (state != done or (again and time.monotonic() >= again)):
                worked = await self._run(router, state, done, router.hook, to_seconds(router.hook_timeout))
                pause = to_seconds(router.hook_repeat) if worked else RETRY_S
                done, again = state, time.monotonic() + pause if pause else 0.0
            await asyncio.sleep(_LOOK_S)

    async def _run(
        self, router: RouterSettings, state: str, before: str | None, command: tuple[str, ...], limit_s: float
    ) -> bool:
        """Whether it ended with 0 in time."""
        began = time.monotonic()
        environment = os.environ | {
            "LVSHA_ROUTER": router.name,
            "LVSHA_STATE": state,
            "LVSHA_BEFORE": before or "",
            "LVSHA_INTERFACE": router.interface,
            "LVSHA_VRID": str(router.vrid),
            "LVSHA_ADDRESSES": " ".join(map(str, router.bound_addresses)),
        }
        try:
            program = Program(words=(*command, router.name, state), environment=environment, limit_s=limit_s)
            status, output = await self._start(program)
        except OSError as error:
            self._journal.write("hook.failed", router=router.name, state=state, problem=str(error))
            return False
        self._journal.write(
            "hook.finished" if status == 0 else "hook.failed",
            router=router.name,
            state=state,
            status="timeout" if status is None else status,
            took_ms=round((time.monotonic() - began) * 1000),
            output=output.decode(errors="replace").strip()[-OUTPUT_KEPT:],
        )
        return status == 0
