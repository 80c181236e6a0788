"""The role by hand: hand the addresses over now or later, leave, take part again."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from lvsha.agent.orders import Standing
from lvsha.api.port import Json, Refused, Unavailable
from lvsha.director.cause import Cause, CauseKind
from lvsha.director.overrides import Override

if TYPE_CHECKING:
    from lvsha.agent.directord import Directord

_SCHEDULE_MAX_S = 30 * 86400.0
_MISSED_S = 60.0


class RoleOrders:
    """See above. A planned switchover is part of what is kept on disk."""

    def __init__(self, directord: "Directord", keep: Callable[[], Awaitable[None]]) -> None:
        self._directord = directord
        self._keep = keep
        self._tasks: set[asyncio.Task[None]] = set()
        self.planned_at: float | None = None
        self.planned_owner = ""
        self._planned: asyncio.TimerHandle | None = None

    def start(self, standing: Standing) -> bool:
        """What the last process had planned; False: it was missed, and is not planned any more."""
        at = standing.switchover_at
        if at is None:
            return True
        if at < time.time() - _MISSED_S:
            self._directord.journal.write("director.switchover_missed", planned_at=at)
            return False
        self._plan(at, standing.switchover_owner)
        return True

    def close(self) -> None:
        if self._planned is not None:
            self._planned.cancel()

    async def leave(self, override: Override) -> None:
        """This director is to take no part: hand over what it holds first."""
        text = f"{override.kind} by {override.owner}" + (f": {override.reason}" if override.reason else "")
        await self.hand_over(force=False, cause=text)

    async def hand_over(self, *, force: bool, cause: str) -> Json:
        self._directord.chronicle.on_order(Cause(kind=CauseKind.ORDER, text=cause))
        answer = await self._directord.switchover(force=force)
        if "error" in answer:
            error = answer.pop("error")
            if error.startswith("refused"):
                raise Refused(error, **answer)
            raise Unavailable(error)
        return answer

    def take_part(self, why: str) -> None:
        if not self._directord.operations.is_out:
            self._directord.chronicle.on_order(Cause(kind=CauseKind.ORDER, text=why))
            self._directord.vrrp.send({"type": "resume"})

    async def switchover(self, *, force: bool, owner: str, at: float | None = None) -> Json:
        if at is None:
            return await self.hand_over(force=force, cause=f"switchover by {owner}")
        wait_s = at - time.time()
        if not 0 < wait_s <= _SCHEDULE_MAX_S:
            raise Refused("refused: the time lies in the past, or more than 30 days ahead")
        self._plan(at, owner)
        self._directord.journal.write("director.switchover_planned", planned_at=at, owner=owner)
        await self._keep()
        return {"planned_at": at}

    async def cancel_switchover(self, *, owner: str) -> Json:
        if self._planned is None:
            raise Refused("refused: no switchover is planned")
        at = self.planned_at
        self._forget_plan()
        self._directord.journal.write("director.switchover_cancelled", planned_at=at, owner=owner)
        await self._keep()
        return {"cancelled": at}

    def _plan(self, at: float, owner: str) -> None:
        self._forget_plan()
        self.planned_at, self.planned_owner = at, owner
        loop = asyncio.get_running_loop()
        self._planned = loop.call_later(max(0.0, at - time.time()), self._begin_planned)

    def _forget_plan(self) -> None:
        if self._planned is not None:
            self._planned.cancel()
        self._planned, self.planned_at, self.planned_owner = None, None, ""

    def _begin_planned(self) -> None:
        owner = self.planned_owner
        self._forget_plan()
        task = asyncio.create_task(self._carry_out(owner))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _carry_out(self, owner: str) -> None:
        await self._keep()
        try:
            await self.hand_over(force=False, cause=f"switchover planned by {owner}")
        except (Refused, Unavailable) as error:
            self._directord.journal.write("director.switchover_failed", owner=owner, reason=str(error))
