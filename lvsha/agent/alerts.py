"""The alerts in directord's hands: the journal in, messages out, what came back into the journal."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lvsha.agent.journal import Journal, level_of
from lvsha.config.alerts import AlertSettings
from lvsha.core.instant import Instant, to_seconds
from lvsha.core.machine import Output
from lvsha.director.alerts import TEST, Alerts, Deliver, Message, document_of
from lvsha.io.alert_channels import tell
from lvsha.io.reactor import monotonic

COVERAGE_LOOK_S = 5.0
_COVERAGE_LOOKS = 2
"""So many looks in a row decide: a burst of connections is no alarm."""


class AlertDesk:
    """See above. One task per message on its way, at most one for each channel of each alert."""

    def __init__(self, journal: Journal, *, node: str) -> None:
        self._journal = journal
        self._node = node
        self._alerts = Alerts()
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._armed: Instant | None = None
        self._is_closed = False

    def reconfigure(self, settings: Sequence[AlertSettings]) -> None:
        self._alerts.reconfigure(settings)
        self._perform(self._alerts.on_deadline(monotonic()))

    def hear(self, entry: Mapping[str, Any]) -> None:
        """A line of the journal, ours or vrrpd's or the supervisor's."""
        if not self._is_closed:
            self._perform(self._alerts.hear(entry, str(level_of(str(entry["event"]))), monotonic()))

    def status(self) -> list[dict[str, Any]]:
        return self._alerts.status()

    async def close(self, patience_s: float = 0.0) -> None:
        """What is on its way may arrive; what waits is forgotten."""
        self._is_closed = True
        if self._timer is not None:
            self._timer.cancel()
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=patience_s)
            for task in late:
                task.cancel()

    async def test(self, alert: AlertSettings) -> list[dict[str, Any]]:
        """A message through each channel at once, past queue and rate; what came back."""
        message = Message(event=TEST, severity="info", subject=alert.name, at=round(time.time(), 3))
        document = document_of(message, alert=alert.name, node=self._node)

        async def one(channel: Any) -> dict[str, Any]:
            begun = time.monotonic()
            answer = await tell(alert, channel, document)
            took_ms = round((time.monotonic() - begun) * 1000)
            row = {"channel": str(channel), "ok": answer.ok, "answer": answer.text, "took_ms": took_ms}
            self._journal.write("alert.tested", alert=alert.name, **row)
            return row

        return list(await asyncio.gather(*(one(channel) for channel in alert.channels)))

    def _perform(self, outputs: Sequence[Output]) -> None:
        for output in outputs:
            if isinstance(output, Deliver):
                task = asyncio.get_running_loop().create_task(self._deliver(output))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
            else:
                self._journal.record("alert", output)
        self._arm()

    async def _deliver(self, order: Deliver) -> None:
        name = order.alert.name
        answer = await tell(
            order.alert, order.channel, document_of(order.message, alert=name, node=self._node)
        )
        outputs = self._alerts.on_result(
            name, order.channel, ok=answer.ok, answer=answer.text, now=monotonic()
        )
        if not self._is_closed:
            self._perform(outputs)

    def _arm(self) -> None:
        deadline = self._alerts.deadline
        if deadline == self._armed and self._timer is not None:
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._armed = deadline
        if deadline is not None and not self._is_closed:
            delay = max(0.0, to_seconds(deadline - monotonic()))
            self._timer = asyncio.get_running_loop().call_later(delay, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self._perform(self._alerts.on_deadline(monotonic()))


async def watch_coverage(journal: Journal, look: Callable[[], tuple[float, float] | None]) -> None:
    """Say when a peer holds fewer of our connections than ``coverage_target``, and when it does again.

    ``look``: coverage and target; None: there is nobody, or it is not our turn.
    """
    is_low, looks = False, 0
    while True:
        await asyncio.sleep(COVERAGE_LOOK_S)
        found = look()
        if found is None or (found[0] < found[1]) == is_low:
            looks = 0
            continue
        looks += 1
        if looks >= _COVERAGE_LOOKS:
            is_low, looks = not is_low, 0
            event = "alert.coverage_low" if is_low else "alert.coverage_restored"
            journal.write(event, coverage=round(found[0], 4), target=found[1])
