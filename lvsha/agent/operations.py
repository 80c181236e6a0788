"""What operators order of a running director, and what the API shows of it.

Composes the pure parts (``director.overrides``, ``director.history``) with what carries
them out: directord's table, vrrpd, the switchover, the files under the state directory.
An order that is answered is on disk.
"""

import asyncio
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lvsha.agent.config_life import ConfigLife, Load
from lvsha.agent.explain import explain
from lvsha.agent.orders import OrdersFile, Standing
from lvsha.agent.role_orders import RoleOrders
from lvsha.agent.status_parts import Parts
from lvsha.api.port import Json, Refused, Unavailable, Vital
from lvsha.config.settings import Settings
from lvsha.core.instant import to_seconds
from lvsha.core.machine import Output
from lvsha.director.cause import Cause, CauseKind
from lvsha.director.drain import DrainEnded
from lvsha.director.overrides import (
    Ended,
    Override,
    OverrideExpired,
    OverrideKind,
    OverrideRefused,
    OverrideRemoved,
    OverrideSet,
    Target,
    find_target,
    named_by,
)
from lvsha.director.status import (
    override_status,
)
from lvsha.io.reactor import monotonic

if TYPE_CHECKING:
    from lvsha.agent.directord import Directord

_TO_KEEP = (OverrideSet, OverrideRemoved, OverrideExpired, DrainEnded)
_TABLE_AGE_MAX_S = 30.0
_TELL_S = 1.0
"""How long an order waits for the other directors to have it."""


class Operations:
    """The API's port; see ``api.port.DirectorPort`` for what each means."""

    def __init__(self, directord: "Directord", state_dir: Path, load: Load, *, file: str) -> None:
        self._directord = directord
        self._config = ConfigLife(directord, load, file=file, state_dir=state_dir)
        self._file = OrdersFile(state_dir / "orders.json")
        self.standing = self._file.load()
        """What stood when the last process ended."""
        if self._file.complaint:
            directord.journal.write("director.orders_unreadable", problem=self._file.complaint)
        self._keeping = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._role = RoleOrders(directord, self._keep)

    # Within the agent

    def start(self) -> None:
        """The loop runs."""
        if not self._role.start(self.standing):
            self._keep_soon()
        self._config.start()

    @property
    def is_out(self) -> bool:
        """This director takes no part in VRRP, by order."""
        return bool(self._directord.director.overrides.of_director)

    def on_outputs(self, outputs: Sequence[Output]) -> None:
        """Of the director: keep what has changed, and carry out what concerns the role."""
        if not any(isinstance(output, _TO_KEEP) for output in outputs):
            return
        self._keep_soon()
        self._directord.peers.settle()
        for output in outputs:
            if isinstance(output, OverrideExpired) and output.override.target.is_director:
                self._role.take_part(f"the {output.override.kind} by {output.override.owner} has expired")

    def on_reloaded(self) -> None:
        """Other settings are in force."""
        self._config.on_reloaded()

    def close(self) -> None:
        self._role.close()
        self._config.close()

    def _keep_soon(self) -> None:
        task = asyncio.create_task(self._keep())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _keep(self) -> None:
        async with self._keeping:
            director = self._directord.director
            standing = Standing(
                overrides=tuple(director.overrides),
                ended=director.drained,
                over=director.overrides.ended,
                switchover_at=self._role.planned_at,
                switchover_owner=self._role.planned_owner,
            )
            try:
                await asyncio.to_thread(self._file.save, standing)
            except OSError as error:
                self._directord.journal.write(
                    "director.orders_not_kept",
                    error=str(error),
                    advice="they hold until a restart; see [agent] state_dir",
                )

    # What is shown

    @property
    def settings(self) -> Settings:
        return self._directord.settings

    async def status_parts(self) -> Parts:
        await self._directord.vrrp.refresh()
        if sum(len(service.realservers) for service in self.settings.services) <= 200:
            self._directord.kernel.read_now()  # cheap: then it is as fresh as it can be
        return Parts(self._directord)

    def vital(self) -> Vital:
        directord = self._directord
        states = directord.vrrp.states()
        views = directord.director.views()
        table = directord.kernel.table
        expected = bool(self.settings.routers)
        return Vital(
            master=tuple(name for name, state in states.items() if state == "MASTER"),
            backup=tuple(name for name, state in states.items() if state == "BACKUP"),
            routers_expected=expected,
            vrrpd=directord.vrrp.connected or not expected,
            services=all(view.quorum_met for view in views.values())
            and all(service.service.key in table for service in self.settings.services),
            in_sync=self._in_sync(),
            table_age_s=to_seconds(monotonic() - directord.kernel.read_at),
            table_limit_s=_TABLE_AGE_MAX_S,
        )

    def _in_sync(self) -> bool:
        directord = self._directord
        if directord.relay is not None:
            target = directord.relay.settings.coverage_target
            views = directord.relay.relay.peers(monotonic())
            return any(view.connected and view.coverage >= target for view in views)
        status = directord.sync.status()
        return bool(status["expected"]) and not status["missing"]

    def history(self, query: Mapping[str, str]) -> Iterator[Json]:
        def number(name: str) -> float | None:
            return float(query[name]) if name in query else None

        limit = min(max(1, int(number("limit") or 100)), 10_000)
        found = self._directord.chronicle.history.changes(
            subject=query.get("subject"),
            service=query.get("service"),
            realserver=query.get("realserver"),
            until=number("until"),
            after=int(number("after") or 0),
            limit=limit,
        )
        return (change.as_json() for change in found)

    def explain(self, target: str, at: float | None) -> Json:
        directord = self._directord
        try:
            return explain(
                target,
                director=directord.director,
                history=directord.chronicle.history,
                routers=directord.vrrp.routers,
                now=monotonic(),
                at=at,
            )
        except OverrideRefused as error:
            raise Refused(str(error)) from None

    # Orders about realservers

    async def order(
        self,
        kind: str,
        target: str | None,
        *,
        owner: str,
        reason: str,
        weight: int | None = None,
        expires_s: float | None = None,
        deadline_s: float | None = None,
        services: Sequence[str] | None = None,
    ) -> Json:
        at = time.time()
        override = Override(
            kind=OverrideKind(kind),
            target=self._target(target, services),
            weight=weight,
            owner=owner,
            reason=reason,
            node=self.settings.node,
            set_at=round(at, 3),
            expires_at=None if expires_s is None else round(at + expires_s, 3),
            deadline_at=None if deadline_s is None else round(at + deadline_s, 3),
        )
        if override.target.is_director:
            await self._role.leave(override)
        try:
            outputs = self._directord.director.order(override, monotonic(), at=at)
        except OverrideRefused as error:
            raise Refused(str(error)) from None
        self._directord.perform(outputs)
        await self._directord.kernel.reconcile()
        await self._keep()
        return {
            "ordered": str(override.kind),
            **self._named(override.target),
            "override": override_status(override),
            "peers": await self._told(override.target),
        }

    async def _told(self, target: Target) -> Json:
        """By other director, whether it has the order; those that are away take it when they are back."""
        return {} if target.is_director else await self._directord.peers.shared(_TELL_S)

    async def take_back(
        self,
        kinds: Sequence[str],
        target: str | None,
        *,
        owner: str,
        reason: str,
        services: Sequence[str] | None = None,
    ) -> Json:
        wanted = self._target(target, services)
        standing = [
            each
            for each in self._directord.director.overrides
            if each.kind in kinds and (each.target == wanted or str(each.target) == target)
        ]
        if not standing:
            text = " or ".join(kinds)
            raise Refused(f"there is no {text} of {wanted}; `lvsha status` shows what is ordered")
        for override in standing:
            outputs = self._directord.director.take_back(
                [override.kind], override.target, monotonic(), owner=owner, reason=reason
            )
            self._directord.perform(outputs)
        await self._directord.kernel.reconcile()
        if wanted.is_director:
            self._role.take_part(f"{' and '.join(kinds)} ended by {owner}")
        await self._keep()
        return {
            "taken_back": [str(each.kind) for each in standing],
            **self._named(wanted),
            "peers": await self._told(wanted),
        }

    def merge(self, records: Sequence[Override | Ended]) -> None:
        """What another director knows of orders."""
        directord = self._directord
        before = directord.director.overrides.digest
        outputs = directord.director.merge(records, monotonic(), at=time.time())
        directord.perform(outputs)
        if directord.director.overrides.digest != before:
            self._keep_soon()
        directord.peers.settle()

    def maintained(self) -> Json:
        """By name of a realserver (or ``service NAME``) in maintenance: the owner of the order."""
        node = self.settings.node
        return {
            str(each.target).removeprefix("service "): each.owner
            if each.node == node
            else f"{each.owner} at {each.node}"
            for each in self._directord.director.overrides
            if each.kind is OverrideKind.MAINTENANCE and not each.target.is_director
        }

    def _target(self, text: str | None, services: Sequence[str] | None) -> Target:
        """What is meant, if the caller may touch it."""
        if text is None:
            if services is not None:
                raise Refused(f"refused: your token is for {', '.join(services)} alone")
            return Target()
        try:
            target = find_target(text, self.settings.services)
        except OverrideRefused as error:
            standing = [each.target for each in self._directord.director.overrides]
            named = next((each for each in standing if text in (str(each), each.service)), None)
            if named is None or services is not None:
                raise Refused(str(error)) from None
            return named  # it is not configured any more, and may still be taken back
        if services is not None:
            touched = {service for service, _ in self._places(target)}
            if not touched <= set(services):
                raise Refused(
                    f"refused: {target} is in {', '.join(sorted(touched))}, your token is for "
                    f"{', '.join(services)} alone: name SERVICE/REALSERVER"
                )
        return target

    def _places(self, target: Target) -> list[tuple[str, str]]:
        names_of = named_by([] if target.realserver is None else [target.realserver])
        return [
            (service.name, realserver.name)
            for service in self.settings.services
            if target.service in (None, service.name)
            for realserver in service.realservers
            if target.realserver is None or names_of(realserver)
        ]

    def _named(self, target: Target) -> Json:
        """What an order is about, as it is now."""
        if target.is_director:
            return {"target": str(target), "destinations": []}
        director, now = self._directord.director, monotonic()
        views = director.views()
        rows = []
        for service, realserver in self._places(target)[:100]:
            drain = director.drain((service, realserver), now)
            rows.append(
                {
                    "service": service,
                    "name": realserver,
                    "weight": views[service].weights.get(realserver),
                    "connections": drain.connections if drain is not None else None,
                }
            )
        return {"target": str(target), "destinations": rows}

    # The role

    async def switchover(self, *, force: bool, owner: str, at: float | None = None) -> Json:
        return await self._role.switchover(force=force, owner=owner, at=at)

    async def cancel_switchover(self, *, owner: str) -> Json:
        return await self._role.cancel_switchover(owner=owner)

    @property
    def planned_at(self) -> float | None:
        """When the addresses are to be handed over, seconds since 1970."""
        return self._role.planned_at

    async def resume(self, *, owner: str) -> Json:
        kinds = [str(each.kind) for each in self._directord.director.overrides.of_director]
        if kinds:
            await self.take_back(kinds, None, owner=owner, reason="resume")
            return {"ordered": "resume", "taken_back": kinds}
        self._directord.chronicle.on_order(Cause(kind=CauseKind.ORDER, text=f"resume by {owner}"))
        if not self._directord.vrrp.send({"type": "resume"}):
            raise Unavailable("vrrpd does not answer; is lvsha-vrrpd running?")
        return {"ordered": "resume"}

    def resync(self) -> Json:
        answer = self._directord.resync()
        if "error" in answer:
            raise Refused(answer["error"])
        return answer

    async def ask_peer(self, name: str | None, question: Json, body: bytes) -> tuple[str, int, bytes]:
        return await self._directord.peers.ask(name, question, body, is_order=question["method"] != "GET")

    # Alerts

    def alerts(self) -> list[Json]:
        from lvsha.config.show import alert_table

        waiting = self._directord.alerts.status()
        return [
            {
                **alert_table(alert, masked=True),
                "channels": [row for row in waiting if row["name"] == alert.name],
            }
            for alert in self.settings.alerts
        ]

    async def test_alert(self, name: str, *, owner: str) -> Json:
        alert = next((each for each in self.settings.alerts if each.name == name), None)
        if alert is None:
            known = ", ".join(each.name for each in self.settings.alerts) or "there is none"
            raise Refused(f"refused: no [[alert]] is called {name!r}; known: {known}")
        self._directord.journal.write("alert.test_ordered", alert=name, owner=owner)
        return {"alert": name, "results": await self._directord.alerts.test(alert)}

    # The configuration

    def config(self) -> Json:
        return self._config.shown()

    async def check_config(self, text: str | None) -> Json:
        return await self._config.check(text)

    @property
    def trial(self) -> Json | None:
        """The configuration that waits to be confirmed."""
        return self._config.trial

    async def apply_config(self, text: str, *, within_s: float, owner: str, pair: bool) -> Json:
        return await self._config.apply(text, within_s=within_s, owner=owner, pair=pair)

    async def confirm_config(self, *, generation: str | None, owner: str) -> Json:
        return await self._config.confirm(generation=generation, owner=owner)

    async def roll_back_config(self, *, owner: str) -> Json:
        return await self._config.roll_back(owner=owner)

    async def reload(self, *, owner: str) -> Json:
        return await self._config.reload(owner=owner)
