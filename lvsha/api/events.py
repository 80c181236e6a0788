"""``GET /v1/events``: what happens, as it happens, by server-sent events.

One ring of encoded events for all clients. A client that connects again says by
``Last-Event-ID`` what it had; what is gone from the ring meanwhile, or was said by a
former life of the process, comes as one event ``gap``, and it should ask for the status.

One task writes to everybody, in small portions between which the loop does other things:
a thousand clients are no pause of a check. It never waits for a client. Who has 64 KiB to
read gets no more until it has read, and who reads nothing for 5 s, or falls behind the
ring, is let go; it may come again with its id.
"""

import asyncio
import contextlib
import json
import time
from collections import deque
from collections.abc import Mapping
from typing import Any

from aiohttp import web

KEEP = 10_000
"""Events in the ring; the oldest goes."""
CLIENTS_MAX = 1_200
_COALESCE_S = 0.02
_SHARE = 4
"""A pause after writing to all, so many times as long as that took: what comes meanwhile is gathered."""
_COALESCE_MAX_S = 0.1
_PORTION = 10
"""Clients written to between two looks at everything else."""
_HEARTBEAT_S = 15.0
_BEHIND_S = 0.05
"""How soon to look again at clients that have more to come."""
_STALLED_S = 5.0
_BUFFER_MAX = 64 << 10
_WRITE_MAX = 32 << 10


class Client:
    """One open stream."""

    __slots__ = ("cursor", "done", "kinds", "response", "stalled_since", "transport")

    def __init__(self, response: web.StreamResponse, transport: asyncio.Transport, cursor: int) -> None:
        self.response = response
        self.transport = transport
        self.cursor = cursor
        """The number of the last event that it has."""
        self.done = asyncio.Event()
        self.kinds: frozenset[str] | None = None
        self.stalled_since: float | None = None
        """Since when it has enough to read."""


class EventStream:
    """See above. ``life`` tells this process's numbers from another's."""

    def __init__(self, life: str, *, keep: int = KEEP) -> None:
        self._life = life
        self._ring: deque[tuple[int, str, bytes]] = deque(maxlen=keep)
        self._number = 0
        self._clients: set[Client] = set()
        self._news = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.dropped = 0
        """Clients let go because they did not read."""

    @property
    def clients(self) -> int:
        return len(self._clients)

    @property
    def last_id(self) -> str:
        return f"{self._life}-{self._number}"

    def publish(self, kind: str, data: Mapping[str, Any]) -> None:
        """``kind``: ``change``, ``journal``. Never waits."""
        self._number += 1
        self._ring.append((self._number, kind, self._encode(self._number, kind, data)))
        self._news.set()

    def _encode(self, number: int, kind: str, data: Mapping[str, Any]) -> bytes:
        text = json.dumps(data, separators=(",", ":"), default=str)
        return f"id: {self._life}-{number}\nevent: {kind}\ndata: {text}\n\n".encode()

    async def serve(self, request: web.Request, kinds: frozenset[str] | None) -> web.StreamResponse:
        """Until the client goes, or is let go.

        Args:
            kinds: which to send; None: all.
        """
        if len(self._clients) >= CLIENTS_MAX:
            raise web.HTTPServiceUnavailable(text=f"there are {CLIENTS_MAX} listeners already")
        headers = {
            "Content-Type": "text/event-stream",
            "Cache-Control": "no-store",
            "X-Accel-Buffering": "no",
        }
        response = web.StreamResponse(headers=headers)
        last_id = request.headers.get("Last-Event-ID", "") or request.query.get("last_event_id", "")
        cursor, gap = self._resume(last_id)
        await response.prepare(request)
        transport = request.transport
        if transport is None:
            return response
        # Above what we let it have unread: then no write waits.
        transport.set_write_buffer_limits(high=4 * _BUFFER_MAX)
        await response.write(b"retry: 1000\n\n")
        if gap:
            text = json.dumps({"lost": gap, "last_id": last_id[:80]})
            await response.write(f"id: {self._life}-{cursor}\nevent: gap\ndata: {text}\n\n".encode())
        client = Client(response, transport, cursor)
        client.kinds = kinds
        self._clients.add(client)
        self._news.set()
        if self._task is None:
            self._task = asyncio.create_task(self._broadcast())
        try:
            await client.done.wait()
        finally:
            self._clients.discard(client)
        return response

    async def stop(self) -> None:
        """Let everybody go."""
        for client in self._clients:
            client.done.set()
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    def _resume(self, last_id: str) -> tuple[int, str]:
        """After which number to go on, and why not everything can be told."""
        if not last_id:
            return self._number, ""
        life, _, number_text = last_id.rpartition("-")
        number = int(number_text) if number_text.isascii() and number_text.isdigit() else -1
        if life != self._life or not 0 <= number <= self._number:
            return self._number, "the process was started anew"
        first = self._ring[0][0] if self._ring else self._number + 1
        if number + 1 < first:
            return self._number, f"{first - number - 1} events are no longer kept"
        return number, ""

    async def _broadcast(self) -> None:
        pause_s = _COALESCE_S
        while True:
            beat = b""
            is_behind = any(client.cursor < self._number for client in self._clients)
            try:
                await asyncio.wait_for(self._news.wait(), _BEHIND_S if is_behind else _HEARTBEAT_S)
                await asyncio.sleep(pause_s)
            except TimeoutError:
                beat = b"" if is_behind else b": still here\n\n"
            self._news.clear()
            now = asyncio.get_running_loop().time()
            begun = time.thread_time()
            for count, client in enumerate(tuple(self._clients), 1):
                await self._write(client, beat, now)
                if count % _PORTION == 0:
                    await asyncio.sleep(0)
            pause_s = min(max(_COALESCE_S, _SHARE * (time.thread_time() - begun)), _COALESCE_MAX_S)

    async def _write(self, client: Client, beat: bytes, now: float) -> None:
        behind = self._number - client.cursor
        if client.done.is_set() or not (behind or beat):
            return
        if client.transport.is_closing():
            client.done.set()
            return
        if client.transport.get_write_buffer_size() > _BUFFER_MAX:
            if client.stalled_since is None:
                client.stalled_since = now
            elif now - client.stalled_since > _STALLED_S:
                self._let_go(client)
            return
        client.stalled_since = None
        if behind > len(self._ring):
            self._let_go(client)
            return
        data = bytearray()
        for index in range(len(self._ring) - behind, len(self._ring)):
            number, kind, text = self._ring[index]
            if client.kinds is None or kind in client.kinds:
                data += text
            client.cursor = number
            if len(data) >= _WRITE_MAX:
                break
        if data or beat:
            try:
                await client.response.write(bytes(data) or beat)
            except (ConnectionError, RuntimeError):
                client.done.set()

    def _let_go(self, client: Client) -> None:
        self.dropped += 1
        client.transport.abort()
        client.done.set()
