"""What the directors of a pair keep alike: operators' orders, and the configuration.

Each tells the others its news: a digest of the orders that it knows, and which
configuration it runs. Who hears another digest tells all that it knows; both take what is
newer (``director.overrides``), so both end with the same. Another configuration for longer
than ``PATIENCE`` is an event.

Source: ``proto/lvsha_relay_v1.md`` section 11.
"""

from dataclasses import dataclass
from typing import Final

from lvsha.core.instant import MILLISECOND, SECOND, Instant, after, earliest
from lvsha.core.machine import Action, Event, Output
from lvsha.wire.relay_talk import TEXT_LIMIT, News

EACH: Final = SECOND
TELL_LEAST: Final = 200 * MILLISECOND
"""Between two times that everything is told to one peer."""
PATIENCE: Final = 60 * SECOND
"""So long two directors may run different configurations: one is changed after the other."""


@dataclass(frozen=True, slots=True)
class TellNews(Action):
    peer: int
    news: News


@dataclass(frozen=True, slots=True)
class TellOrders(Action):
    """All of them, and those that are over."""

    peer: int


@dataclass(frozen=True, slots=True)
class ConfigDiffers(Event):
    """The peer runs another configuration than we do."""

    peer: str
    ours: str
    theirs: str


@dataclass(frozen=True, slots=True)
class ConfigAgrees(Event):
    """It did not, and does now."""

    peer: str
    generation: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerState:
    """What is known of one peer."""

    name: str
    generation: str | None
    """None: not connected, or it has not said yet."""
    version: str | None
    same_config: bool | None
    """None: not known. A difference counts after ``PATIENCE``, unless it is ``differs`` already."""
    differs: bool
    """Long enough to be a problem."""
    same_orders: bool | None


@dataclass(slots=True)
class _Peer:
    name: str
    connected: bool = False
    talks: bool = False
    news: News | None = None
    told: Instant | None = None
    """When everything was told last."""
    news_at: Instant | None = None
    tell_at: Instant | None = None
    differs_since: Instant | None = None
    said_differs: bool = False


class Pair:
    """See above. Peers are the relay's numbers."""

    def __init__(self, *, version: str) -> None:
        self._version = version[:TEXT_LIMIT]
        self._generation = ""
        self._digest = 0
        self._orders = 0
        self._peers: dict[int, _Peer] = {}

    # Inputs

    def on_peer(self, peer: int, name: str, *, talks: bool, now: Instant) -> list[Output]:
        """A session with it is up. ``talks``: it understands us."""
        state = self._peers.setdefault(peer, _Peer(name))
        state.name, state.connected = name, True
        if not talks or state.talks:
            return []
        state.talks, state.told = True, None
        return self._tell(peer, state, now)

    def on_lost(self, peer: int) -> None:
        state = self._peers.get(peer)
        if state is not None:
            state.connected = state.talks = False
            state.news = state.news_at = state.tell_at = state.differs_since = None

    def keep_only(self, peers: frozenset[int]) -> None:
        """The others have left the configuration."""
        for peer in self._peers.keys() - peers:
            del self._peers[peer]

    def hear(self, peer: int, news: News, now: Instant) -> list[Output]:
        state = self._peers.get(peer)
        if state is None or not state.connected:
            return []
        state.news = news
        return self._compare(peer, state, now)

    def settle(self, *, digest: int, orders: int, generation: str, now: Instant) -> list[Output]:
        """What we are like; called as often as one likes."""
        generation = generation[:TEXT_LIMIT]
        if (digest, generation) == (self._digest, self._generation):
            return []
        self._digest, self._orders, self._generation = digest, orders, generation
        outputs: list[Output] = []
        for peer, state in self._peers.items():
            if state.talks:
                outputs += [*self._tell(peer, state, now), *self._compare(peer, state, now)]
        return outputs

    @property
    def deadline(self) -> Instant | None:
        return earliest(
            *(
                earliest(
                    state.news_at,
                    state.tell_at,
                    None
                    if state.differs_since is None or state.said_differs
                    else after(state.differs_since, PATIENCE),
                )
                for state in self._peers.values()
            )
        )

    def on_deadline(self, now: Instant) -> list[Output]:
        outputs: list[Output] = []
        for peer, state in self._peers.items():
            if state.news_at is not None and state.news_at <= now:
                outputs += self._tell(peer, state, now)
            if state.tell_at is not None and state.tell_at <= now:
                outputs += self._tell_orders(peer, state, now)
            since = state.differs_since
            if since is not None and not state.said_differs and now - since >= PATIENCE:
                state.said_differs = True
                theirs = state.news.generation if state.news is not None else ""
                outputs.append(ConfigDiffers(state.name, self._generation, theirs))
        return outputs

    # Within

    def _tell(self, peer: int, state: _Peer, now: Instant) -> list[Output]:
        state.news_at = after(now, EACH)
        news = News(
            digest=self._digest, orders=self._orders, generation=self._generation, version=self._version
        )
        return [TellNews(peer, news)]

    def _compare(self, peer: int, state: _Peer, now: Instant) -> list[Output]:
        news = state.news
        if news is None:
            return []
        outputs: list[Output] = []
        if news.generation == self._generation:
            state.differs_since = None
            if state.said_differs:
                state.said_differs = False
                outputs.append(ConfigAgrees(state.name, self._generation))
        elif state.differs_since is None:
            state.differs_since = now
        if news.digest == self._digest:
            state.tell_at = None
        elif state.told is not None and now < (soon := after(state.told, TELL_LEAST)):
            state.tell_at = soon
        else:
            outputs += self._tell_orders(peer, state, now)
        return outputs

    def _tell_orders(self, peer: int, state: _Peer, now: Instant) -> list[Output]:
        state.tell_at = None
        if state.news is None or state.news.digest == self._digest:
            return []
        state.told = now
        return [TellOrders(peer)]

    # What there is to see

    def peers(self) -> tuple[PeerState, ...]:
        return tuple(
            PeerState(
                name=state.name,
                generation=state.news.generation if state.news is not None else None,
                version=state.news.version if state.news is not None else None,
                same_config=None if state.news is None else state.news.generation == self._generation,
                differs=state.differs_since is not None and state.said_differs,
                same_orders=None if state.news is None else state.news.digest == self._digest,
            )
            for state in self._peers.values()
        )
