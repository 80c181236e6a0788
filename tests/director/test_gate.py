"""The gate: no address is taken back before its connections are here."""

from dataclasses import replace

from lvsha.core.instant import SECOND, Instant
from lvsha.director.gate import Gate, GateClosed, GateOpened
from tests.director.test_handover import PEER

NOW = Instant(SECOND)
AWAY = replace(PEER, connected=False, missing_here=None, resynced=False, live=0)
SENDING = replace(PEER, resynced=False)


def closed() -> Gate:
    gate = Gate(target=1.0, patience=30 * SECOND)
    (event,) = gate.start(NOW, peers=1)
    assert isinstance(event, GateClosed)
    return gate


def test_alone_it_is_open() -> None:
    gate = Gate(target=1.0, patience=SECOND)

    assert gate.start(NOW, peers=0) == []
    assert gate.is_open


def test_it_opens_when_everything_is_here() -> None:
    gate = closed()

    assert gate.on_peers([AWAY], NOW, is_master=False) == []
    assert gate.reason == "no peer is connected"
    assert gate.on_peers([SENDING], NOW, is_master=False) == []
    assert gate.reason == "lb2 is still sending what it has"
    assert gate.on_peers([replace(PEER, missing_here=3)], NOW, is_master=False) == []
    assert gate.reason == "3 of 100 connections of lb2 are not here"
    assert gate.on_peers([PEER], NOW, is_master=False) == [
        GateOpened("everything that the peers hold is here")
    ]
    assert gate.is_open
    assert gate.deadline is None


def test_every_connected_peer_counts_and_no_other() -> None:
    gate = closed()

    assert gate.on_peers([PEER, replace(SENDING, peer=8)], NOW, is_master=False) == []
    assert gate.on_peers([PEER, replace(AWAY, peer=8)], NOW, is_master=False) != []


def test_the_target_is_a_share_of_what_the_peer_holds() -> None:
    gate = Gate(target=0.95, patience=SECOND)
    gate.start(NOW, peers=1)

    assert gate.on_peers([replace(PEER, missing_here=6)], NOW, is_master=False) == []
    assert gate.on_peers([replace(PEER, missing_here=5)], NOW, is_master=False) != []


def test_at_the_deadline_it_opens_and_says_why() -> None:
    gate = closed()
    gate.on_peers([SENDING], NOW, is_master=False)

    assert gate.on_deadline(Instant(NOW + 30 * SECOND - 1)) == []
    assert gate.on_deadline(Instant(NOW + 30 * SECOND)) == [
        GateOpened("30 s have passed: lb2 is still sending what it has")
    ]


def test_a_master_holds_the_connections_already() -> None:
    gate = closed()

    assert gate.on_peers([AWAY], NOW, is_master=True) == [GateOpened("we are MASTER")]


def test_a_peer_that_comes_back_closes_it_until_its_connections_are_here() -> None:
    gate = closed()
    gate.on_peers([PEER], NOW, is_master=False)
    assert gate.on_peers([AWAY], NOW, is_master=False) == []

    assert gate.on_peers([SENDING], NOW, is_master=False) == [GateClosed("lb2 is still sending what it has")]
    assert gate.on_peers([PEER], NOW, is_master=False) != []


def test_a_peer_that_comes_back_does_not_close_a_masters() -> None:
    gate = closed()
    gate.on_peers([PEER], NOW, is_master=True)
    gate.on_peers([AWAY], NOW, is_master=True)

    assert gate.on_peers([SENDING], NOW, is_master=True) == []
    assert gate.is_open
