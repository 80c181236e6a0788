"""A keepalived that is configured differently: lvsha says what differs, and what to do.

Where the difference makes two MASTERs there are two, as the RFCs have it; nobody
may have to guess why.
"""

from dataclasses import replace
from typing import Any

import pytest

from tests.interop.stories import Stories
from tests.interop.vrrp_directors import Director, Keepalived, Lvsha, Pair, dropped, ended, wall_clock
from tests.interop.vrrp_stage import OWN_4, OWN_6, Missed, Stage, addresses, until

pytestmark = pytest.mark.interop

stories = Stories()
outcomes = stories.fixture()

V3 = Pair()
V2 = Pair(version=2, interval=1.0)
START_S = 40


async def first_event(lvsha: Lvsha, name: str, *, within: float = START_S, **fields: str) -> dict[str, Any]:
    """The first of its events of this name with these fields."""

    def look() -> dict[str, Any] | None:
        for event in lvsha.events(name):
            if all(event[key] == value for key, value in fields.items()):
                return event
        return None

    return await until(look, within=within, what=f"{name} {fields or ''}")


async def refusal(stage: Stage, lvsha: Lvsha, keepalived: Director, reason: str) -> dict[str, Any]:
    """Both start and neither hears the other; what lvsha says about it and counts.

    keepalived 2.2.7 that hears adverts which it refuses sometimes sends none itself
    after it became MASTER (seen in one run of 20, on the wire): it is started again.
    """
    lvsha.start()
    for within in (START_S, 12, 12):
        keepalived.start()
        try:
            event = await first_event(lvsha, "vrrp.advertisement_dropped", within=within, reason=reason)
        except Missed:
            if stage.wire.of("lb2"):
                raise  # it did send, and lvsha said nothing
            keepalived.end()
        else:
            break
    else:
        raise Missed("keepalived was silent three times")
    held = addresses(*lvsha.pair.addresses)
    await until(
        lambda: stage.holders(held) == ["lb1", "lb2"], within=START_S, what="both to be MASTER, each alone"
    )
    assert lvsha.ask()["process"]["drops"][reason] >= 1
    assert event["detail"]
    return event


def one_wire(stage: Stage, ours: Pair, theirs: Pair) -> tuple[Lvsha, Keepalived]:
    return Lvsha(stage.host("lb1"), ours), Keepalived(stage.host("lb2"), theirs)


@stories.story
async def test_another_vrid_is_named_with_those_that_are_known(stage: Stage) -> None:
    lvsha, keepalived = one_wire(stage, V3, replace(V3, vrid=52))
    with ended(lvsha, keepalived):
        event = await refusal(stage, lvsha, keepalived, "unknown_vrid")

        assert event["vrid"] == 52
        assert event["source"] == OWN_4["lb2"]
        assert "configured: 51" in event["detail"]
        # It holds the same address, and that is heard as well.
        conflict = await first_event(lvsha, "vrrp.address_conflict")
        claim = next(claim for claim in stage.wire.read().claims if claim.node == "lb2")
        assert conflict["address"] in ("10.0.0.10", "10.0.0.11")
        assert conflict["mac"] == claim.mac.hex(":")


@stories.story
async def test_another_version_is_named(stage: Stage) -> None:
    lvsha, keepalived = one_wire(stage, V3, V2)
    with ended(lvsha, keepalived):
        event = await refusal(stage, lvsha, keepalived, "bad_version")

        assert event["router"] == "eth0-51"
        assert "VRRPv2" in event["detail"]
        # keepalived says so too: what the pairs' tests look for in its log can be found there.
        await until(keepalived.complaints, within=START_S, what="a complaint of keepalived")


@stories.story
async def test_another_interval_of_version_2_is_refused_with_both_numbers(stage: Stage) -> None:
    """RFC 3768 section 7.1: the Adver Int MUST be the same."""
    lvsha, keepalived = one_wire(stage, V2, replace(V2, interval=2.0))
    with ended(lvsha, keepalived):
        event = await refusal(stage, lvsha, keepalived, "interval_mismatch")

        assert "2 s" in event["detail"]
        assert "1 s" in event["detail"]


@stories.story
async def test_another_password_is_refused_and_not_repeated(stage: Stage) -> None:
    lvsha, keepalived = one_wire(stage, replace(V2, password="sesame"), replace(V2, password="barley"))
    with ended(lvsha, keepalived):
        event = await refusal(stage, lvsha, keepalived, "auth_failed")

        assert event["router"] == "eth0-51"
        assert "sesame" not in lvsha.log()
        assert "barley" not in lvsha.log()
        statistics = await keepalived.statistics()
        assert "auth_failure" in dropped(statistics)


@stories.story
async def test_a_password_on_one_side_only_is_refused(stage: Stage) -> None:
    lvsha, keepalived = one_wire(stage, replace(V2, password="sesame"), V2)
    with ended(lvsha, keepalived):
        event = await refusal(stage, lvsha, keepalived, "bad_auth_type")

        assert "password" in event["detail"]


@stories.story
async def test_a_unicast_sender_that_is_no_peer_is_refused_by_name(stage: Stage) -> None:
    ours = replace(V3, unicast=(OWN_4["lb1"], "10.0.0.3"))
    lvsha, keepalived = one_wire(stage, ours, replace(V3, unicast=(OWN_4["lb1"], OWN_4["lb2"])))
    with ended(lvsha, keepalived):
        event = await refusal(stage, lvsha, keepalived, "unknown_peer")

        assert OWN_4["lb2"] in event["detail"]
        assert "unicast_peers" in event["detail"]


@stories.story
async def test_keepalived_over_ipv6_unicast_needs_min_ttl_and_the_line_says_so(stage: Stage) -> None:
    """It leaves the hop limit at the system's 64; RFC 9568 section 5.1.2.3 wants 255."""
    pair = replace(V3, addresses=("fe80::10/64", "2001:db8::10/64"), unicast=(OWN_6["lb1"], OWN_6["lb2"]))
    lvsha, keepalived = one_wire(stage, pair, pair)
    lvsha.write_config(replace(pair, priorities={"lb1": 100, "lb2": 200}))
    with ended(lvsha, keepalived):
        event = await refusal(stage, lvsha, keepalived, "bad_ttl")

        assert "TTL 64" in event["detail"]
        assert "min_ttl" in event["detail"]


@stories.story
async def test_another_interval_of_version_3_is_said_and_followed(stage: Stage) -> None:
    """RFC 9568 section 6.4.2: a BACKUP counts by the interval that its MASTER advertises."""
    slower = replace(V3, interval=0.9, priorities={"lb1": 100, "lb2": 200})
    lvsha, keepalived = one_wire(stage, replace(slower, interval=0.3), slower)
    with ended(lvsha, keepalived):
        keepalived.start()
        await until(lambda: stage.wire.of("lb2") or None, within=START_S, what="adverts of keepalived")
        lvsha.start()
        event = await first_event(lvsha, "vrrp.peer_disagrees", what="advert_interval")
        settled = wall_clock()
        await until(
            lambda: len(stage.wire.of("lb2", since=settled)) >= 4, within=START_S, what="four more adverts"
        )
        assert stage.wire.of("lb1", since=settled) == []
        stage.cable("lb2", plugged=False)
        first = await until(
            lambda: next(iter(stage.wire.of("lb1", since=settled)), None), within=3, what="a takeover"
        )

        silence = first.at - stage.wire.of("lb2", to=first.at)[-1].at
        limit = slower.down_interval("lb1")
        assert "theirs 0.9 s, ours 0.3 s" in event["detail"]
        assert limit - 0.02 < silence


@stories.story
async def test_another_address_list_is_said_and_there_is_one_master(stage: Stage) -> None:
    """RFC 9568 section 7.1 leaves it to us; dropping would make two MASTERs of a rolling change."""
    lvsha, keepalived = one_wire(
        stage,
        replace(V3, priorities={"lb1": 100, "lb2": 200}),
        replace(V3, addresses=("10.0.0.10/24",), priorities={"lb1": 100, "lb2": 200}),
    )
    with ended(lvsha, keepalived):
        lvsha.start()
        keepalived.start()
        event = await first_event(lvsha, "vrrp.peer_disagrees", what="addresses")
        await until(
            lambda: stage.holders(addresses(*V3.addresses)) == ["lb2"], within=START_S, what="one MASTER"
        )

        assert "only ours: 10.0.0.11" in event["detail"]
        assert lvsha.ask()["process"]["drops"] == {}
