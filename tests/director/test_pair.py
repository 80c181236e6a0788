"""Two directors keep one set of orders: lost messages, cuts, restarts, clocks that differ, both at once."""

import random
from collections.abc import Callable
from dataclasses import replace

import pytest

from lvsha.core.instant import MILLISECOND, SECOND, Instant
from lvsha.core.machine import Event, Output
from lvsha.director.overrides import (
    ENDED_LIMIT,
    LIMIT,
    VERSION_LIMIT,
    Ended,
    Override,
    OverrideExpired,
    OverrideKind,
    OverrideRemoved,
    Overrides,
    OverrideSet,
    Target,
)
from lvsha.director.pair import PATIENCE, ConfigAgrees, ConfigDiffers, Pair, TellNews, TellOrders
from lvsha.director.shared_orders import inflate, pack, unpack
from lvsha.wire.relay_talk import News

WALL = 1_800_000_000.0
RS1, RS2 = Target(realserver="10.0.0.11"), Target(service="web", realserver="rs2")


class Node:
    """A director as far as orders go: its overrides, its file, its clock."""

    def __init__(self, name: str, skew_s: float = 0.0) -> None:
        self.name, self.skew_s = name, skew_s
        self.overrides = Overrides(name)
        self.pair = Pair(version="1")
        self.generation = "g1"
        self.events: list[Event] = []

    def restart(self, now: Instant) -> None:
        """With what its file says."""
        standing, over = tuple(self.overrides), self.overrides.ended
        self.overrides, self.pair = Overrides(self.name), Pair(version="1")
        self.overrides.load(standing, now, at=self.at(now), ended=over)

    def at(self, now: Instant) -> float:
        return WALL + self.skew_s + now / SECOND

    def kinds(self) -> dict[Target, str]:
        return {each.target: str(each.kind) for each in self.overrides}


class World:
    """Two nodes and what is said between them, 2 ms under way."""

    def __init__(self, *, skew_s: float = 0.0, loss: Callable[[], bool] = lambda: False) -> None:
        self.now = Instant(0)
        self.nodes = {1: Node("lb1"), 2: Node("lb2", skew_s)}
        self.linked = False
        self.loss = loss
        self.wire: list[tuple[Instant, int, News | bytes]] = []

    def link(self) -> None:
        self.linked = True
        for number, node in self.nodes.items():
            other = 3 - number
            self.take(number, node.pair.on_peer(other, self.nodes[other].name, talks=True, now=self.now))
            self.settle(number)

    def cut(self) -> None:
        self.linked, self.wire = False, []
        for number, node in self.nodes.items():
            node.pair.on_lost(3 - number)

    def settle(self, number: int) -> None:
        node = self.nodes[number]
        outputs = node.pair.settle(
            digest=node.overrides.digest,
            orders=len(node.overrides),
            generation=node.generation,
            now=self.now,
        )
        self.take(number, outputs)

    def take(self, number: int, outputs: list[Output]) -> None:
        node = self.nodes[number]
        for output in outputs:
            if isinstance(output, Event):
                node.events.append(output)
                continue
            said: News | bytes
            if isinstance(output, TellNews):
                said = output.news
            else:
                assert isinstance(output, TellOrders)
                said = pack(node.overrides.shared(), at=node.at(self.now))
            if self.linked and not self.loss():
                self.wire.append((Instant(self.now + 2 * MILLISECOND), 3 - number, said))

    def run(self, duration: int) -> None:
        end = self.now + duration
        while self.now < end:
            dues = [each[0] for each in self.wire]
            for node in self.nodes.values():
                dues += [due for due in (node.pair.deadline, node.overrides.deadline) if due is not None]
            self.now = max(self.now, min([*dues, Instant(end)]))
            due = [each for each in self.wire if each[0] <= self.now]
            self.wire = [each for each in self.wire if each[0] > self.now]
            for _, number, said in due:
                self.hear(number, said)
            for number, node in self.nodes.items():
                node.events += [e for e in node.overrides.on_deadline(self.now) if isinstance(e, Event)]
                self.take(number, node.pair.on_deadline(self.now))
                self.settle(number)

    def hear(self, number: int, said: News | bytes) -> None:
        node = self.nodes[number]
        if isinstance(said, News):
            self.take(number, node.pair.hear(3 - number, said, self.now))
            return
        records, bad = unpack(said, at=node.at(self.now))
        assert not bad
        outputs = node.overrides.merge(records, self.now, at=node.at(self.now))
        node.events += [each for each in outputs if isinstance(each, Event)]
        self.settle(number)

    def order(self, number: int, kind: str, target: Target, **fields: object) -> None:
        node = self.nodes[number]
        override = Override(kind=OverrideKind(kind), target=target, owner="alice", reason="disk", **fields)  # type: ignore[arg-type]  # a test names its own fields
        node.overrides.set(override, self.now, at=node.at(self.now))
        self.settle(number)

    def take_back(self, number: int, kind: str, target: Target) -> None:
        self.nodes[number].overrides.remove([OverrideKind(kind)], target, owner="bob", reason="done")
        self.settle(number)

    @property
    def agree(self) -> bool:
        one, other = self.nodes[1].overrides, self.nodes[2].overrides
        return one.digest == other.digest and {each.stamp for each in one} == {each.stamp for each in other}


def test_an_order_holds_on_the_other_director_with_owner_reason_and_end() -> None:
    world = World(skew_s=-5000.0)
    world.link()

    world.order(1, "drain", RS1, expires_at=WALL + 60, deadline_at=WALL + 30)
    world.run(20 * MILLISECOND)

    (there,) = world.nodes[2].overrides
    assert (there.kind, there.target, there.owner, there.reason) == ("drain", RS1, "alice", "disk")
    assert there.node == "lb1"
    assert there.expires_at == pytest.approx(WALL - 5000 + 60, abs=0.1)
    assert there.deadline_at == pytest.approx(WALL - 5000 + 30, abs=0.1)
    assert world.nodes[2].overrides.cut_at(there) == pytest.approx(30 * SECOND, abs=SECOND // 10)
    assert [type(each) for each in world.nodes[2].events] == [OverrideSet]


def test_a_director_that_was_down_takes_it_when_they_meet() -> None:
    world = World()
    world.order(1, "disable", RS1)

    world.link()
    world.run(SECOND)

    assert world.nodes[2].kinds() == {RS1: "disable"}


def test_an_undrain_wins_over_the_order_that_the_other_still_has() -> None:
    world = World()
    world.link()
    world.order(1, "drain", RS1)
    world.run(SECOND)
    world.cut()
    world.take_back(1, "drain", RS1)
    world.nodes[1].restart(world.now)
    world.nodes[2].restart(world.now)

    world.link()
    world.run(SECOND)

    assert world.agree
    assert not world.nodes[1].kinds()
    assert not world.nodes[2].kinds()
    (removed,) = [each for each in world.nodes[2].events if isinstance(each, OverrideRemoved)]
    assert (removed.owner, removed.reason) == ("bob", "done")


@pytest.mark.parametrize("skew_s", [-86400.0, 86400.0])
def test_of_two_orders_the_one_that_had_seen_more_wins_whatever_the_clocks_say(skew_s: float) -> None:
    world = World(skew_s=skew_s)
    world.link()
    world.order(1, "weight", RS1, weight=5)
    world.run(SECOND)

    world.order(2, "weight", RS1, weight=7)
    world.run(SECOND)

    assert [each.weight for node in world.nodes.values() for each in node.overrides] == [7, 7]


def test_of_two_orders_at_once_both_directors_keep_the_same() -> None:
    world = World()
    world.order(1, "weight", RS1, weight=5)
    world.order(2, "weight", RS1, weight=7)

    world.link()
    world.run(SECOND)

    assert [each.weight for node in world.nodes.values() for each in node.overrides] == [7, 7]


def test_what_has_expired_here_does_not_return_from_there() -> None:
    world = World()
    world.link()
    world.order(1, "drain", RS1, expires_at=WALL + 5)
    world.run(4 * SECOND)
    world.cut()
    world.run(2 * SECOND)
    assert [type(each) for each in world.nodes[2].events] == [OverrideSet, OverrideExpired]

    world.link()
    world.run(2 * SECOND)

    assert world.agree
    assert not world.nodes[1].kinds()


def test_what_concerns_one_director_stays_there() -> None:
    world = World()
    world.link()

    world.order(1, "pause", Target())
    world.run(SECOND)

    assert world.nodes[2].kinds() == {}
    assert world.agree or world.nodes[1].overrides.digest == world.nodes[2].overrides.digest


def test_orders_of_before_there_were_stamps_are_shared_too() -> None:
    world = World()
    old = Override(kind=OverrideKind.DRAIN, target=RS1, owner="alice", node="lb1", set_at=WALL)
    world.nodes[1].overrides.load([old], world.now, at=WALL)

    world.link()
    world.run(SECOND)

    assert world.nodes[2].kinds() == {RS1: "drain"}


@pytest.mark.parametrize("seed", range(8))
def test_random_lives_end_with_the_same_orders(seed: int) -> None:
    """Loss, cuts, restarts and clocks an hour apart: once they meet, they agree, and the newest stands."""
    chance = random.Random(seed)
    world = World(skew_s=chance.uniform(-3600, 3600), loss=lambda: chance.random() < 0.3)
    newest: dict[tuple[str, Target], tuple[int, str, bool]] = {}

    for _ in range(120):
        number, target = chance.choice((1, 2)), chance.choice((RS1, RS2))
        kind = chance.choice(("drain", "disable", "weight", "maintenance"))
        match chance.choice(("order", "order", "back", "cut", "link", "restart")):
            case "order":
                world.order(number, kind, target, weight=chance.randrange(9) if kind == "weight" else None)
            case "back":
                world.take_back(number, kind, target)
            case "cut":
                world.cut()
            case "link" if not world.linked:
                world.link()
            case "restart":
                world.cut()
                world.nodes[number].restart(world.now)
            case _:
                pass
        for record in (*world.nodes[1].overrides.shared(), *world.nodes[2].overrides.shared()):
            key = (str(record.kind), record.target)
            newest[key] = max(newest.get(key, record.stamp), record.stamp)
        world.run(chance.randrange(2000) * MILLISECOND)
    world.loss = lambda: False
    if not world.linked:
        world.link()
    world.run(3 * SECOND)

    assert world.agree, f"seed {seed}"
    for node in world.nodes.values():
        held = {(str(each.kind), each.target): each.stamp for each in node.overrides.shared()}
        assert held == newest, f"seed {seed}"


def test_another_configuration_is_said_after_a_while_and_its_end_too() -> None:
    world = World()
    world.nodes[2].generation = "g2"
    world.link()
    world.run(PATIENCE - SECOND)
    assert world.nodes[1].events == []
    assert world.nodes[1].pair.peers()[0].same_config is False
    assert world.nodes[1].pair.peers()[0].differs is False

    world.run(2 * SECOND)
    assert world.nodes[1].events == [ConfigDiffers("lb2", "g1", "g2")]
    assert world.nodes[2].events == [ConfigDiffers("lb1", "g2", "g1")]
    assert world.nodes[1].pair.peers()[0].differs

    world.nodes[2].generation = "g1"
    world.run(2 * SECOND)
    assert world.nodes[1].events[1:] == [ConfigAgrees("lb2", "g1")]


def test_a_peer_that_does_not_understand_is_told_nothing() -> None:
    pair = Pair(version="1")
    pair.settle(digest=1, orders=1, generation="g", now=Instant(0))

    assert pair.on_peer(2, "lb2", talks=False, now=Instant(0)) == []
    assert pair.deadline is None
    assert pair.peers()[0].generation is None


def test_a_peer_can_grow_neither_orders_nor_memories_and_senseless_ones_are_passed_over() -> None:
    def ended(number: int) -> Ended:
        target = Target(realserver=str(number))
        return Ended(kind=OverrideKind.DRAIN, target=target, version=number + 1, node="lb2")

    def live(number: int) -> Override:
        target = Target(realserver=f"r{number}")
        return Override(kind=OverrideKind.DRAIN, target=target, version=number + 1, node="lb2")

    overrides = Overrides("lb1")
    overrides.merge([ended(number) for number in range(2 * ENDED_LIMIT)], Instant(0), at=WALL)
    overrides.merge([live(number) for number in range(2 * LIMIT)], Instant(0), at=WALL)

    assert len(overrides.ended) == ENDED_LIMIT
    assert min(each.version for each in overrides.ended) == ENDED_LIMIT + 1
    assert len(overrides) == LIMIT

    other = Overrides("lb1")
    senseless = [
        replace(live(1), version=VERSION_LIMIT),
        replace(live(2), kind=OverrideKind.WEIGHT, weight=70_000),
        replace(live(3), target=Target()),
        replace(live(4), kind=OverrideKind.PAUSE),
    ]
    assert other.merge(senseless, Instant(0), at=WALL) == []
    assert len(other) == 0


@pytest.mark.parametrize(
    "data", [b"", b"xx", pack((), at=WALL)[:-1], b"\x78\x9c\x03\x00\x00\x00\x00\x01"], ids=range(4)
)
def test_what_is_no_orders_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError):
        unpack(data, at=WALL)


def test_a_row_that_is_no_order_spoils_no_other() -> None:
    import json
    import zlib

    good = json.loads(inflate(pack([Override(kind=OverrideKind.DRAIN, target=RS1, version=1)], at=WALL)))[0]
    rows = [
        good,
        {},
        7,
        good | {"kind": "x"},
        good | {"version": 1.5},
        good | {"service": 7},
        good | {"realserver": "x" * 501},
        good | {"expires_in_s": float("inf")},
        good | {"weight": "heavy"},
    ]

    records, bad = unpack(zlib.compress(json.dumps(rows).encode()), at=WALL)

    assert (len(records), bad) == (1, len(rows) - 1)
