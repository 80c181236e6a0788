"""lvsha and keepalived as a pair, in both roles: the whole life of a virtual address.

Every pair plays the same story, all pairs at once; each test then looks at one
chapter of it::

    elected    both start; the one of higher priority becomes MASTER
    crashed    its cable is pulled; the other takes over
    returned   the cable is back; it preempts, or with nopreempt it does not
    left       the MASTER is stopped as planned; the other takes over
    counted    what each side has refused of the other's adverts
    ended      the last one is stopped too; nothing stays bound

All times are read off the wire.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest

from tests.interop.stories import Outcomes, play
from tests.interop.vrrp_directors import (
    ROUTER,
    Director,
    Keepalived,
    Lvsha,
    Pair,
    dropped,
    ended,
    wall_clock,
)
from tests.interop.vrrp_stage import OWN_4, OWN_6, Missed, Stage, addresses, until

pytestmark = pytest.mark.interop

SIX = ("fe80::10/64", "2001:db8::10/64")
PAIRS = {
    "v3-ipv4": Pair(),
    "v3-ipv4-unicast": Pair(unicast=(OWN_4["lb1"], OWN_4["lb2"])),
    "v3-ipv4-nopreempt": Pair(preempts=False),
    "v3-ipv6": Pair(addresses=SIX),
    "v3-ipv6-unicast": Pair(addresses=SIX, unicast=(OWN_6["lb1"], OWN_6["lb2"]), min_ttl=64),
    "v2": Pair(version=2, interval=1.0),
    "v2-unicast": Pair(version=2, interval=1.0, unicast=(OWN_4["lb1"], OWN_4["lb2"])),
    "v2-password": Pair(version=2, interval=1.0, password="sesame"),
}
CASES = {f"{name}-{first}-first": (name, first) for name in PAIRS for first in ("lvsha", "keepalived")}
"""``first``: who has the higher priority."""

LATE_S = 10.0
"""What busy cores may add to a timer. Nothing happens too early; how late, the units and the lab say."""
EARLY_S = 0.02
START_S = 60
"""Until two dozen daemons that start at once have settled; nothing is measured before."""
CHAPTERS = ("elected", "crashed", "returned", "left", "counted", "ended")


@dataclass(slots=True)
class Takeover:
    """Who was heard instead of whom."""

    silence: float
    """Seconds between the last advert of the old MASTER and the first of the new one."""
    holders: list[str]
    """When it was settled."""
    announced_after: float
    """Seconds from the new MASTER's first advert until it had claimed every address."""
    last_priority: int
    """Of the old MASTER's last advert."""


@dataclass(slots=True)
class Told:
    """What a story has seen. A chapter that went wrong holds why, and is the last."""

    chapters: dict[str, Any] = field(default_factory=dict)

    def chapter(self, name: str) -> Any:
        if name not in self.chapters:
            *_, last = self.chapters
            raise Missed(f"not reached: the story ended in the chapter {last!r}")
        seen = self.chapters[name]
        if isinstance(seen, Missed):
            raise seen
        return seen


class Story:
    """One pair on its stage. lb1 has the higher priority."""

    def __init__(self, stage: Stage, pair: Pair, first: str, everybody_settled: asyncio.Barrier) -> None:
        self.stage = stage
        self.pair = pair
        self.addresses = addresses(*pair.addresses)
        self.everybody_settled = everybody_settled
        kinds: dict[str, Callable[..., Director]] = {"lvsha": Lvsha, "keepalived": Keepalived}
        second = "keepalived" if first == "lvsha" else "lvsha"
        self.lb1 = kinds[first](stage.host("lb1"), pair)
        self.lb2 = kinds[second](stage.host("lb2"), pair)

    async def play(self) -> Told:
        told = Told()
        with ended(self.lb1, self.lb2):
            try:
                for chapter in CHAPTERS:
                    told.chapters[chapter] = await getattr(self, chapter)()
            except Missed as missed:
                for director in (self.lb1, self.lb2):
                    missed.add_note(f"--- {director.node} ---\n{director.last_words()}")
                told.chapters[chapter] = missed
        return told

    # Chapters

    async def elected(self) -> list[str]:
        try:
            self.lb1.start()
            if not self.pair.preempts:  # then whoever is there first stays MASTER
                await self.settled("lb1", within=START_S)
            self.lb2.start()
            await self.settled("lb1", within=START_S)
        finally:
            await self.everybody_settled.wait()  # nobody measures while others still start
        return await self.calm("lb1")

    async def crashed(self) -> Takeover:
        since = wall_clock()
        self.stage.cable("lb1", plugged=False)
        takeover = await self.takeover("lb1", "lb2", since)
        await self.calm("lb2")
        return takeover

    async def returned(self) -> list[str]:
        master = "lb1" if self.pair.preempts else "lb2"
        since = wall_clock()
        self.stage.cable("lb1", plugged=True)
        if not self.pair.preempts:
            # Long enough for whoever would take over.
            await self.heard("lb2", since + 2 * self.pair.down_interval("lb1"))
        await self.settled(master, within=3 * self.pair.down_interval("lb1") + 1)
        return await self.calm(master)

    async def left(self) -> Takeover:
        leaving, staying = (self.lb1, self.lb2) if self.pair.preempts else (self.lb2, self.lb1)
        self.refused = await self.refusals()
        since = wall_clock()
        leaving.stop()
        takeover = await self.takeover(leaving.node, staying.node, since)
        await self.exited(leaving)
        return takeover

    async def counted(self) -> dict[str, Any]:
        """Before one of them left; and what keepalived has written until now."""
        keepalived = next(d for d in (self.lb1, self.lb2) if isinstance(d, Keepalived))
        return {**self.refused, "complaints": keepalived.complaints()}

    async def ended(self) -> list[str]:
        for director in (self.lb1, self.lb2):
            if director.status is None:
                director.stop()
        for director in (self.lb1, self.lb2):
            await self.exited(director)
        return self.stage.holders(self.addresses)

    # What chapters are made of

    async def settled(self, master: str, *, within: float) -> None:
        """Only ``master`` holds the addresses, all of them, and only ``master`` was heard last."""

        def is_settled() -> bool:
            director = self.lb1 if master == "lb1" else self.lb2
            if director.status is not None:
                raise Missed(f"{director.command()[0]} on {master} has ended")
            heard = self.stage.wire.read().adverts
            return (
                self.stage.holders(self.addresses) == [master]
                and self.addresses <= self.stage.host(master).addresses()
                and bool(heard)
                and heard[-1].node == master
            )

        await until(is_settled, within=within, what=f"{master} to be the one MASTER")

    async def heard(self, node: str, at: float) -> None:
        await until(
            lambda: self.stage.wire.of(node, since=at) or None,
            within=at - wall_clock() + 3 * self.pair.interval + 1,
            what=f"another advert of {node}",
        )

    async def calm(self, master: str) -> list[str]:
        """Who advertises while nothing happens: three adverts' time, from now on."""
        now = wall_clock()
        await self.heard(master, now + 3 * self.pair.interval)
        other = "lb2" if master == "lb1" else "lb1"
        if self.stage.wire.of(other, since=now):
            raise Missed(f"{other} advertises beside the MASTER {master}")
        return self.stage.holders(self.addresses)

    async def takeover(self, old: str, new: str, since: float) -> Takeover:
        limit = self.pair.down_interval(new) + 1 + LATE_S
        first = await until(
            lambda: next(iter(self.stage.wire.of(new, since=since)), None),
            within=limit,
            what=f"an advert of {new} after {old} has gone",
        )
        last = self.stage.wire.of(old, to=first.at)[-1]
        await self.settled(new, within=2)
        claims = await until(
            lambda: self.stage.wire.claims_of(new, self.addresses, since=first.at - EARLY_S),
            within=2,
            what=f"{new} to announce every address",
        )
        return Takeover(
            silence=first.at - last.at,
            holders=self.stage.holders(self.addresses),
            announced_after=claims[-1].at - first.at,
            last_priority=last.priority,
        )

    async def exited(self, director: Director) -> None:
        await until(lambda: director.status is not None, within=10, what=f"{director.node} to have ended")
        if director.status != 0:
            raise Missed(f"{director.node} ended with status {director.status}")

    async def refusals(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for director in (self.lb1, self.lb2):
            if isinstance(director, Lvsha):
                status = director.ask()
                found["lvsha"] = status["process"]["drops"]
                found["router"] = status["routers"][0]
            elif isinstance(director, Keepalived):
                statistics = await director.statistics()
                found["keepalived"] = dropped(statistics)
                found["statistics"] = statistics
        return found


@pytest.fixture(scope="module")
def outcomes(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Outcomes:
    wanted = {
        item.callspec.params["case"]
        for item in request.session.items
        if item.path == request.path and hasattr(item, "callspec")
    }
    everybody_settled = asyncio.Barrier(len(wanted))

    async def story(name: str, stage: Stage) -> Told:
        pair, first = CASES[name]
        return await Story(stage, PAIRS[pair], first, everybody_settled).play()

    return play({name: partial(story, name) for name in sorted(wanted)}, tmp_path_factory.mktemp("pairs"))


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def pair(case: str) -> Pair:
    return PAIRS[CASES[case][0]]


@pytest.fixture
def told(case: str, outcomes: Outcomes) -> Told:
    result: Told = outcomes.of(case)
    return result


def test_one_is_master_and_the_other_follows(told: Told) -> None:
    assert told.chapter("elected") == ["lb1"]


def test_the_backup_takes_over_from_a_dead_master_in_its_down_interval(told: Told, pair: Pair) -> None:
    """RFC 9568 section 6.4.2: Active_Down_Timer fires; section 6.1 says after how long."""
    crashed: Takeover = told.chapter("crashed")

    limit = pair.down_interval("lb2")
    assert limit - EARLY_S <= crashed.silence <= limit + LATE_S
    assert crashed.holders == ["lb2"]
    assert crashed.announced_after < LATE_S
    assert crashed.last_priority == pair.priorities["lb1"]


def test_the_better_one_preempts_when_it_returns_or_leaves_it(told: Told, pair: Pair) -> None:
    assert told.chapter("returned") == (["lb1"] if pair.preempts else ["lb2"])


def test_a_planned_stop_hands_over_in_skew_time(told: Told, pair: Pair) -> None:
    """The MASTER says priority 0, and the BACKUP waits Skew_Time, not the down interval."""
    left: Takeover = told.chapter("left")

    staying = "lb2" if pair.preempts else "lb1"
    assert left.last_priority == 0
    assert pair.skew(staying) - EARLY_S <= left.silence <= pair.skew(staying) + LATE_S
    assert left.holders == [staying]
    assert left.announced_after < LATE_S


def test_neither_refuses_anything_of_the_other(told: Told, case: str, pair: Pair) -> None:
    counted = told.chapter("counted")

    assert counted["lvsha"] == {}
    assert counted["keepalived"] == {}
    assert counted["complaints"] == []
    assert counted["statistics"]["advert_rcvd"] > 0
    assert counted["router"]["name"] == ROUTER


def test_nothing_stays_bound(told: Told) -> None:
    assert told.chapter("ended") == []
