"""directord's side of vrrpd's socket: follows its state, answers before a hand-over."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

from lvsha.agent.ipc import LineBuffer, Message, encode
from lvsha.agent.journal import Journal
from lvsha.core.instant import Instant, to_seconds

_RETRY_S = 0.25
_ANSWER_S = 0.5
"""How long a status waits for vrrpd's own; then it shows what was last heard."""


class VrrpdClient:
    """Connects, and connects again; vrrpd does not need us."""

    def __init__(
        self,
        path: Path,
        journal: Journal,
        *,
        on_releasing: Callable[[], Awaitable[None]],
        on_preparing: Callable[[str, str], Awaitable[None]],
        on_routers: Callable[[Sequence[dict[str, Any]]], None] = lambda _: None,
        on_event: Callable[[dict[str, Any]], None] = lambda _: None,
        stays_out: Callable[[], bool] = lambda: False,
    ) -> None:
        """Args:
        on_routers: hears each picture of the routers that vrrpd sends.
        on_event: hears each line of vrrpd's journal.
        stays_out: whether a vrrpd that we meet is to take no part, by an operator's order.
        """
        self._path = path
        self._journal = journal
        self._on_releasing = on_releasing
        self._on_preparing = on_preparing
        """Waited for before a router is promoted or demoted, as its second argument says."""
        self._on_routers = on_routers
        self._on_event = on_event
        self._stays_out = stays_out
        self._may_preempt = True
        self._writer: asyncio.StreamWriter | None = None
        self._routers: list[dict[str, Any]] = []
        self._process: dict[str, Any] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._heard = asyncio.Event()
        """A status has come since it was last cleared."""

    @property
    def connected(self) -> bool:
        return self._writer is not None

    def states(self) -> dict[str, str]:
        """Of each virtual router by its name; nothing while vrrpd is away."""
        if not self.connected:
            return {}
        return {str(router["name"]): str(router["state"]) for router in self._routers}

    @property
    def routers(self) -> Sequence[dict[str, Any]]:
        """As vrrpd showed them last."""
        return self._routers

    @property
    def is_master(self) -> bool:
        """MASTER of any virtual router. While vrrpd is away, as it was last heard."""
        return any(router.get("state") == "MASTER" for router in self._routers)

    @property
    def holds_addresses(self) -> bool:
        """Any virtual router does."""
        return any(router.get("holds_addresses") for router in self._routers)

    async def refresh(self) -> None:
        """Ask for a status; returns when it has come, or will not come in time."""
        self._heard.clear()
        if self.send({"type": "get"}):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._heard.wait(), _ANSWER_S)

    def status(self, now: Instant, *, expected: bool) -> dict[str, Any]:
        """``expected``: whether the configuration has virtual routers at all.

        While vrrpd is away its routers stand as they were last heard, and ``connected`` is false.
        """
        routers = [
            {**router, "since_s": round(to_seconds(now) - router["since_monotonic_s"], 3)}
            for router in self._routers
        ]
        return {"connected": self.connected, "expected": expected, "routers": routers, **self._process}

    def allow_preemption(self, allowed: bool) -> None:
        """Whether routers may take an address from a MASTER; also after vrrpd has come back."""
        if allowed != self._may_preempt:
            self._may_preempt = allowed
            self.send({"type": "preempt", "allowed": allowed})

    def send(self, message: Message) -> bool:
        """False: nobody there."""
        if self._writer is None:
            return False
        self._writer.write(encode(message))
        return True

    async def run(self) -> None:
        """For ever."""
        while True:
            try:
                reader, writer = await asyncio.open_unix_connection(str(self._path), limit=1 << 21)
            except OSError:
                await asyncio.sleep(_RETRY_S)
                continue
            self._writer = writer
            if not self._may_preempt:
                writer.write(encode({"type": "preempt", "allowed": False}))
            writer.write(encode({"type": "serving"}))
            if self._stays_out():
                writer.write(encode({"type": "release"}))
            buffer = LineBuffer()
            with contextlib.suppress(OSError, ValueError):
                while data := await reader.read(1 << 16):
                    for message in buffer.feed(data):
                        self._take(message)
            self._writer = None
            writer.close()
            self._journal.write("director.vrrpd_gone")
            await asyncio.sleep(_RETRY_S / 10)

    def _take(self, message: Message) -> None:
        kind = message.get("type")
        if kind == "status":
            self._routers = message.get("routers", [])
            self._process = message.get("process", {})
            self._heard.set()
            self._on_routers(self._routers)
        elif kind == "event":
            self._on_event({key: value for key, value in message.items() if key != "type"})
        elif kind in ("releasing", "released"):
            self._begin(self._prepare(answer=kind == "releasing"))
        elif kind == "preparing":
            self._begin(self._promote(str(message.get("router"))))

    def _begin(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _promote(self, router: str) -> None:
        await self._on_preparing(router, "promote")
        self.send({"type": "permit", "router": router})

    async def _prepare(self, *, answer: bool) -> None:
        if answer:
            leading = [name for name, state in self.states().items() if state == "MASTER"]
            await asyncio.gather(*(self._on_preparing(name, "demote") for name in leading))
        await self._on_releasing()
        if answer:
            self.send({"type": "ready"})
