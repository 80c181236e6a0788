"""Every change has its causes; none comes about unseen."""

import random
from dataclasses import replace
from ipaddress import IPv4Address

import pytest

from lvsha.checker.pool import PoolView
from lvsha.checker.result import ProbeResult
from lvsha.core.instant import SECOND
from lvsha.director.cause import Cause, CauseKind
from lvsha.director.history import Change, ChangeKind, History, change_of_json
from lvsha.director.overrides import Override, OverrideKind, Target
from lvsha.ipvs.drift import drift
from lvsha.ipvs.model import Destination
from tests.director.operated import Bench, realserver, service, settings

PAIR = settings(service("web", realserver(11), realserver(12)))


class Told(Bench):
    """A bench whose changes are recorded as directord does: at every look at the kernel."""

    def __init__(self, wanted: object = PAIR) -> None:
        self.history = History()
        self.changes: list[Change] = []
        super().__init__(wanted)  # type: ignore[arg-type]
        self.director.generation = "one"

    def look(self) -> None:
        super().look()
        self.changes += self.history.on_weights(self.director, self.now, at=self.at)

    def last(self) -> Change:
        return self.changes[-1]

    def kinds(self) -> list[CauseKind]:
        return [cause.kind for cause in self.last().causes]


def told(wanted: object = PAIR) -> Told:
    bench = Told(wanted)
    bench.look()
    bench.advance(3 * SECOND)
    return bench


def test_a_start_is_one_change_for_a_service_not_one_for_each_realserver() -> None:
    bench = Told()

    bench.look()

    assert [(change.what, change.subject) for change in bench.changes] == [
        (ChangeKind.SERVICE, "service web")
    ]


def test_a_fallen_realserver_names_its_probe_and_what_it_saw() -> None:
    bench = told()
    bench.dead.add(IPv4Address("10.0.0.12"))

    bench.advance(4 * SECOND)

    change = bench.last()
    assert (change.subject, change.before, change.after) == ("rs12 in web", 10, 0)
    assert change.causes[0].kind is CauseKind.PROBE
    assert "refused: connection refused" in change.causes[0].text
    assert change.causes[0].evidence["failures"] == 2


def test_an_order_names_its_owner_and_its_reason() -> None:
    bench = told()

    bench.order("drain", "rs12", reason="new disk")
    bench.look()

    assert bench.kinds()[0] is CauseKind.OVERRIDE
    assert bench.last().causes[0].text == "is being drained by root: new disk"


def test_the_end_of_a_drain_and_the_order_behind_it_are_both_named() -> None:
    bench = told()
    bench.order("drain", "rs12")

    bench.advance(10 * SECOND)

    assert (bench.last().before, bench.last().after) == (0, None)
    assert bench.kinds()[:2] == [CauseKind.DRAIN, CauseKind.OVERRIDE]


def test_a_realserver_under_the_brake_says_so() -> None:
    bench = told(settings(service("web", realserver(11), realserver(12), minimum_pooled_percent=100)))
    bench.order("weight", "rs12", weight=20)
    bench.dead.add(IPv4Address("10.0.0.12"))
    bench.advance(4 * SECOND)

    bench.order("weight", "rs12", weight=30)
    bench.look()

    assert bench.kinds() == [CauseKind.BRAKE, CauseKind.PROBE, CauseKind.OVERRIDE]


def test_the_weight_that_a_check_says_is_a_cause() -> None:
    bench = told()
    bench.said[IPv4Address("10.0.0.12")] = ProbeResult(ok=True, percent=50)

    bench.advance(3 * SECOND)

    assert bench.last().after == 5
    assert CauseKind.CHECK_WEIGHT in bench.kinds()


def test_a_reload_names_the_configuration() -> None:
    bench = told()
    bench.director.generation = "two"

    heavier = settings(service("web", realserver(11), realserver(12, weight=20), realserver(13)))
    bench.take(bench.director.reconfigure(heavier, bench.now))
    bench.look()

    changes = {change.realserver: change for change in bench.changes[-2:]}
    assert (changes["rs12"].before, changes["rs12"].after) == (10, 20)
    assert changes["rs12"].causes[-1].evidence == {"generation": "two"}
    assert changes["rs13"].causes[0].text == "was added to the configuration"


def test_a_sorry_server_comes_by_the_lost_quorum() -> None:
    sorry = Destination(address=IPv4Address("10.0.0.9"), port=80)
    one = replace(service("web", realserver(11), has_sorry=True), sorry=sorry)
    bench = told(settings(one))
    bench.dead.add(IPv4Address("10.0.0.11"))

    bench.advance(4 * SECOND)

    assert bench.last().subject == "sorry server 10.0.0.9:80 of web"
    assert bench.kinds() == [CauseKind.QUORUM]


def test_what_somebody_else_wrote_is_a_change_and_its_repair() -> None:
    bench = told()
    table = bench.table()
    state = next(iter(table.values()))
    place, found = next(iter(state.destinations.items()))
    state.destinations[place] = replace(found, destination=replace(found.destination, weight=3))

    changes = bench.history.on_drift(drift(bench.director.desired(), table), at=bench.at)

    assert [change.subject for change in changes] == ["10.0.0.11:80 in TCP 10.0.0.100:80"]
    assert [cause.kind for cause in changes[0].causes] == [CauseKind.FOREIGN, CauseKind.REPAIR]


ROUTER = {"name": "eth0-51", "state": "BACKUP", "holds_addresses": False, "addresses": ["10.0.0.10/24"]}


def test_a_takeover_is_a_role_and_an_address_with_vrrps_reason() -> None:
    history = History()
    history.on_routers([ROUTER], at=1.0)
    event = {"event": "vrrp.became_master", "router": "eth0-51", "reason": "master_down", "after": 361000000}
    history.on_vrrp_event(event, at=2.0)

    changes = history.on_routers([{**ROUTER, "state": "MASTER", "holds_addresses": True}], at=2.0)

    assert [(change.what, change.before, change.after) for change in changes] == [
        (ChangeKind.ROLE, "BACKUP", "MASTER"),
        (ChangeKind.ADDRESS, None, "10.0.0.10/24"),
    ]
    assert changes[0].causes[0].kind is CauseKind.TAKEOVER
    assert changes[0].causes[0].evidence["after"] == 361000000


def test_an_operators_release_stands_before_what_vrrp_says() -> None:
    history = History()
    history.on_routers([{**ROUTER, "state": "MASTER", "holds_addresses": True}], at=1.0)
    history.on_order(Cause(kind=CauseKind.ORDER, text="switchover by root"))
    event = {"event": "vrrp.released", "router": "eth0-51", "reason": "heard_master"}
    history.on_vrrp_event(event, at=2.0)

    changes = history.on_routers([ROUTER], at=2.0)

    assert all(change.causes[0].text == "switchover by root" for change in changes)


def test_what_happened_unseen_is_called_so() -> None:
    history = History()
    history.on_routers([ROUTER], at=1.0)

    (change, _) = history.on_routers([{**ROUTER, "state": "MASTER", "holds_addresses": True}], at=9.0)

    assert change.causes[0].kind is CauseKind.UNSEEN


def test_its_length_is_bounded_and_its_numbers_go_on_in_the_next_life() -> None:
    history = History(keep=10)
    for number in range(30):
        state = "MASTER" if number % 2 else "BACKUP"
        history.on_routers([{**ROUTER, "state": state}], at=float(number))

    kept = history.changes(limit=100)
    successor = History(keep=10)
    successor.load(change_of_json(change.as_json()) for change in kept)

    assert [change.number for change in kept] == list(range(21, 31))
    assert successor.on_routers([ROUTER], at=99.0)[0].number == 31
    assert successor.changes(limit=3, until=28.0)[-1].at == 28.0


@pytest.mark.parametrize("seed", range(3))
def test_in_a_random_hour_every_change_of_a_weight_has_its_causes(seed: int) -> None:
    """Deaths, orders, checks that weigh, reloads: what the kernel got is what the history says."""
    dice = random.Random(seed)
    numbers = range(11, 17)

    def wanted(weights: int) -> object:
        return settings(
            service(
                "web",
                *(realserver(number, weight=weights) for number in numbers),
                slow_start=20 * SECOND,
                minimum_pooled_percent=dice.choice((0, 50)),
            ),
            service("api", *(realserver(number) for number in numbers[:3]), port=81),
        )

    bench = told(wanted(10))
    shown = snapshot(bench.director.views())
    begun = len(bench.changes)

    for step in range(120):
        act(bench, dice, numbers, step, wanted)
        bench.advance(dice.randrange(1, 60) * SECOND)

    assert len(bench.changes) > begun + 50
    for change in bench.changes[begun:]:
        assert change.causes, change
        assert all(cause.text for cause in change.causes)
        if change.what is ChangeKind.WEIGHT:
            place = (change.service, change.realserver)
            assert shown.pop(place, None) == change.before, change
            shown[place] = change.after
    assert shown == snapshot(bench.director.views())


def snapshot(views: dict[str, PoolView]) -> dict[tuple[str | None, str | None], int | str | None]:
    return {(name, member): weight for name, view in views.items() for member, weight in view.weights.items()}


def act(bench: Told, dice: random.Random, numbers: range, step: int, wanted: object) -> None:
    number = dice.choice(numbers)
    address = IPv4Address(f"10.0.0.{number}")
    match dice.randrange(7):
        case 0 | 1:
            bench.dead.symmetric_difference_update({address})
        case 2:
            bench.said[address] = ProbeResult(ok=True, percent=dice.choice((None, 0, 50)))
        case 3:
            kind = dice.choice(("drain", "disable", "weight", "maintenance"))
            weight = dice.randrange(30) if kind == "weight" else None
            bench.order(kind, dice.choice((f"rs{number}", "web", f"web/rs{number}")), weight=weight)
        case 4:
            for override in list(bench.director.overrides):
                outputs = bench.director.take_back([override.kind], override.target, bench.now, owner="root")
                bench.take(outputs)
        case 5:
            bench.connections[str(address)] = dice.choice((0, 0, 4))
        case _:
            bench.director.generation = str(step)
            new = wanted(dice.choice((10, 20)))  # type: ignore[operator]
            bench.take(bench.director.reconfigure(new, bench.now))


def test_an_order_of_the_other_director_is_a_cause_with_its_owner() -> None:
    bench = told()
    theirs = Override(
        kind=OverrideKind.DISABLE,
        target=Target(realserver="10.0.0.12"),
        owner="ann",
        reason="disk",
        node="lb2",
        version=7,
    )

    bench.take(bench.director.merge([theirs], bench.now, at=bench.at))
    bench.look()

    assert bench.weights() == {"rs11": 10, "rs12": 0}
    assert bench.last().after == 0
    assert CauseKind.OVERRIDE in bench.kinds()
    assert any("ann" in cause.text and "disk" in cause.text for cause in bench.last().causes)
