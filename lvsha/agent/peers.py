"""directord's talk with the other directors: orders and news both ways, questions to their API.

Everything that decides is in ``director.pair`` and ``sync.talk``; here is one timer, and the
requests that are under way. Without a relay there is nobody to talk with.
"""

import asyncio
import json
import time
import zlib
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from lvsha import __version__
from lvsha.api.port import Json, Unavailable
from lvsha.core.instant import earliest, to_seconds
from lvsha.core.machine import Output
from lvsha.director.pair import ConfigAgrees, ConfigDiffers, Pair, TellNews, TellOrders
from lvsha.director.shared_orders import inflate, pack, unpack
from lvsha.io.reactor import monotonic
from lvsha.sync.relay_outputs import PeerLost, PeerTalks, TakeWord
from lvsha.sync.talk import Arrived, SendWord, Talk, TooMuch, Undelivered
from lvsha.wire.relay_talk import News, Purpose

if TYPE_CHECKING:
    from lvsha.agent.directord import Directord

_ROLES = ("nobody", "read", "operate", "admin")
_ASK_S = 10.0
_ORDER_S = 130.0
"""A switchover waits for the connections."""
_SERVED_MOST = 8
"""Questions of one peer that are being answered."""
_LOOK_S = 0.02


class PeerDesk:
    """See above."""

    def __init__(self, directord: "Directord") -> None:
        self._directord = directord
        self._relay = directord.relay
        self._pair = Pair(version=__version__)
        self._talk = Talk()
        self._timer: asyncio.TimerHandle | None = None
        self._waiting: dict[tuple[int, int], asyncio.Future[bytes]] = {}
        """By peer and question."""
        self._served: dict[int, int] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False
        if self._relay is not None:
            self._relay.hear = self._hear

    def close(self) -> None:
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        for task in self._tasks:
            task.cancel()

    def settle(self) -> None:
        """Orders or the configuration may be others than they were."""
        if self._relay is None:
            return
        overrides = self._directord.director.overrides
        self._pair.keep_only(frozenset(self._names()))
        self._perform(
            self._pair.settle(
                digest=overrides.digest,
                orders=len(overrides),
                generation=self._directord.settings.shared,
                now=monotonic(),
            )
        )

    async def shared(self, within_s: float) -> dict[str, bool]:
        """By peer, whether it has our orders; waits a moment for those that are connected."""
        end = time.monotonic() + within_s
        while True:
            states = {state.name: state.same_orders for state in self._pair.peers()}
            if time.monotonic() > end or False not in states.values():
                return {name: states.get(name) is True for name in self._names().values()}
            await asyncio.sleep(_LOOK_S)

    def status(self) -> list[Json]:
        """What each peer said of itself, for ``director.status.peers_status``."""
        return [
            {
                "name": state.name,
                "generation": state.generation,
                "version": state.version,
                "same_config": state.same_config,
                "differs": state.differs,
                "same_orders": state.same_orders,
            }
            for state in self._pair.peers()
        ]

    # Questions to a peer

    async def ask(
        self, name: str | None, question: Mapping[str, Any], body: bytes, *, is_order: bool
    ) -> tuple[str, int, bytes]:
        """Ask a peer's API: its name, the HTTP status, the body.

        Args:
            name: None: the only other one.
            question: ``method``, ``path``, ``name``, ``role``, ``services``.

        Raises:
            Unavailable: there is no such peer, it cannot be asked, or it did not answer; why.
        """
        name, peer = self._find(name)
        line = json.dumps({**question, "version": __version__}).encode()
        data = await asyncio.to_thread(zlib.compress, line + b"\n" + body)
        relay = self._relay
        assert relay is not None, "who has a peer has a relay"
        try:
            number, outputs = self._talk.send(
                peer, Purpose.QUESTION, data, monotonic(), room=relay.relay.part_room
            )
        except TooMuch as error:
            raise Unavailable(f"{name} cannot be asked: {error}") from None
        future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._waiting[peer, number] = future
        try:
            self._perform(outputs)
            patience = _ORDER_S if is_order else _ASK_S
            try:
                answer = await asyncio.wait_for(future, patience)
            except TimeoutError:
                raise Unavailable(f"{name} gave no answer within {patience:.0f} s") from None
        finally:
            self._waiting.pop((peer, number), None)
        try:
            head, _, text = (await asyncio.to_thread(inflate, answer)).partition(b"\n")
            return name, int(json.loads(head)["status"]), text
        except (ValueError, KeyError, TypeError):
            raise Unavailable(f"{name} gave an answer that is none; is it another version?") from None

    def _find(self, name: str | None) -> tuple[str, int]:
        names = self._names()
        if not names:
            raise Unavailable(
                'no other director can be asked: that takes [sync] transport = "relay" and a key file; '
                "or name its API with --url"
            )
        known = ", ".join(names.values())
        if name is None and len(names) > 1:
            raise Unavailable(f"there are several other directors: name one of {known}")
        found = next(((text, peer) for peer, text in names.items() if name in (None, text)), None)
        if found is None:
            raise Unavailable(f"there is no other director {name!r}; known: {known}")
        name, peer = found
        relay = self._relay
        assert relay is not None, "who has a peer has a relay"
        view = next((view for view in relay.relay.peers(monotonic()) if view.peer == peer), None)
        if view is None or not view.connected:
            raise Unavailable(f"{name} is not connected: is its directord running, and the network whole?")
        if not any(state.name == name and state.version for state in self._pair.peers()):
            raise Unavailable(f"{name} runs an older lvsha that cannot be asked; upgrade it, or use --url")
        return name, peer

    def _names(self) -> dict[int, str]:
        if self._relay is None:
            return {}
        return {peer.director: peer.name for peer in self._relay.settings.peers}

    # Questions of a peer

    async def _serve(self, peer: int, number: int, data: bytes) -> None:
        if self._served.get(peer, 0) >= _SERVED_MOST:
            return  # it asks again, or gives up
        self._served[peer] = self._served.get(peer, 0) + 1
        try:
            status, body = await self._answer(peer, data)
            packed = await asyncio.to_thread(zlib.compress, b'{"status":%d}\n' % status + body)
            self._reply(peer, number, packed)
        finally:
            self._served[peer] -= 1

    async def _answer(self, peer: int, data: bytes) -> tuple[int, bytes]:
        from lvsha.api.inward import ask_own

        try:
            head, _, body = (await asyncio.to_thread(inflate, data)).partition(b"\n")
            question = json.loads(head)
            method, path = str(question["method"]), str(question["path"])
            role = min(_ROLES.index(question["role"]), _ROLES.index(self._directord.settings.api.peer_role))
            services = question["services"]
            name = f"{str(question['name'])[:100]} at {self._names().get(peer, 'a peer')}"
        except (ValueError, KeyError, TypeError, AttributeError):
            return 400, b'{"error":"not understood"}'
        return await ask_own(
            self._directord.run_dir / "directord.sock",
            method,
            path,
            body,
            identity={"name": name, "role": _ROLES[role], "services": services},
        )

    def _reply(self, peer: int, number: int, data: bytes) -> None:
        assert self._relay is not None, "who is asked has a relay"
        room, now = self._relay.relay.part_room, monotonic()
        try:
            _, outputs = self._talk.send(peer, Purpose.ANSWER, data, now, room=room, answers=number)
        except TooMuch as error:
            text = json.dumps({"error": f"the answer cannot be sent: {error}"}).encode()
            short = zlib.compress(b'{"status":413}\n' + text)
            try:
                _, outputs = self._talk.send(peer, Purpose.ANSWER, short, now, room=room, answers=number)
            except TooMuch:
                return  # it has gone
        self._perform(outputs)

    # The machines

    def _hear(self, output: TakeWord | PeerTalks | PeerLost) -> None:
        now = monotonic()
        if isinstance(output, PeerTalks):
            self._talk.connect(output.peer, output.epoch)
            name = self._names().get(output.peer, "")
            self.settle()
            self._perform(self._pair.on_peer(output.peer, name, talks=True, now=now))
        elif isinstance(output, PeerLost):
            self._pair.on_lost(output.peer)
            self._perform(self._talk.lose(output.peer, output.reason))
        elif isinstance(output.word, News):
            self._perform(self._pair.hear(output.peer, output.word, now))
        else:
            self._perform(self._talk.receive(output.peer, output.word, now))

    def _perform(self, outputs: Iterable[Output]) -> None:
        words = []
        pending = list(outputs)
        while pending:
            output = pending.pop(0)
            if isinstance(output, SendWord):
                words.append((output.peer, output.word))
            elif isinstance(output, TellNews):
                words.append((output.peer, output.news))
            elif isinstance(output, TellOrders):
                pending += self._tell_orders(output.peer)
            elif isinstance(output, Arrived):
                self._on_arrived(output)
            elif isinstance(output, Undelivered):
                self._on_undelivered(output)
            elif isinstance(output, (ConfigDiffers, ConfigAgrees)):
                self._directord.journal.record("director", output)
        if self._closed:
            return
        if words and self._relay is not None:
            self._relay.say(words)
        self._arm()

    def _tell_orders(self, peer: int) -> list[Output]:
        assert self._relay is not None, "who has a peer has a relay"
        data = pack(self._directord.director.overrides.shared(), at=time.time())
        try:
            _, outputs = self._talk.send(
                peer, Purpose.ORDERS, data, monotonic(), room=self._relay.relay.part_room
            )
        except TooMuch:
            return []  # too much is on its way: its next news make us try again
        return outputs

    def _on_arrived(self, arrived: Arrived) -> None:
        if arrived.purpose is Purpose.ANSWER:
            future = self._waiting.get((arrived.peer, arrived.transfer))
            if future is not None and not future.done():
                future.set_result(arrived.data)
        elif arrived.purpose is Purpose.QUESTION:
            task = asyncio.create_task(self._serve(arrived.peer, arrived.transfer, arrived.data))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        else:
            try:
                records, bad = unpack(arrived.data, at=time.time())
            except ValueError as error:
                records, bad = [], 1
                self._directord.journal.write("director.orders_not_understood", error=str(error))
            if bad:
                self._directord.journal.write("director.orders_passed_over", count=bad)
            self._directord.operations.merge(records)

    def _on_undelivered(self, gone: Undelivered) -> None:
        future = self._waiting.get((gone.peer, gone.transfer))
        if gone.purpose is Purpose.QUESTION and future is not None and not future.done():
            name = self._names().get(gone.peer, "the peer")
            future.set_exception(
                Unavailable(f"{name} did not answer: {gone.reason}; an order may have been carried out")
            )

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        deadline = earliest(self._pair.deadline, self._talk.deadline)
        if deadline is not None:
            delay = max(0.0, to_seconds(deadline - monotonic()))
            self._timer = asyncio.get_running_loop().call_later(delay, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        now = monotonic()
        self._perform([*self._pair.on_deadline(now), *self._talk.on_deadline(now)])
