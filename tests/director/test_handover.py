"""A planned switchover: connections first, then the address; refused with what would be lost."""

from dataclasses import replace

import pytest

from lvsha.core.errors import StateError
from lvsha.core.instant import MILLISECOND, SECOND, Instant
from lvsha.core.machine import Output
from lvsha.director.handover import (
    READY,
    FlushKernel,
    Handover,
    HandoverFinished,
    HandoverRefused,
    ReleaseAddresses,
    StartBarrier,
    Step,
    best_successor,
)
from lvsha.sync.relay_outputs import PeerView
from lvsha.wire.relay import Readiness

NOW = Instant(5 * SECOND)
LOST = (b"one", b"two")
PEER = PeerView(
    peer=7,
    name="lb2",
    connected=True,
    since=Instant(0),
    epoch=1,
    readiness=READY,
    live=100,
    missing=0,
    coverage=1.0,
    missing_here=0,
    resynced=True,
    lag=0,
    rtt=None,
    waiting=0,
    in_flight=0,
    in_flight_keys=0,
    sent_frames=0,
    sent_bytes=0,
    received_frames=0,
    received_bytes=0,
    resent=0,
    key_id="",
    uses_primary_key=True,
)


def started(view: PeerView | None = PEER, *, force: bool = False) -> tuple[Handover, list[Output]]:
    handover = Handover(target=1.0, patience=10 * SECOND)
    return handover, handover.start(NOW, view, rows=100, lost=LOST, force=force)


def up_to_confirming(view: PeerView = PEER, *, force: bool = False) -> tuple[Handover, list[Output]]:
    """What the last barrier before the release brings."""
    handover, _ = started(view, force=force)
    handover.on_flushed(NOW)
    handover.on_barrier(1, NOW)
    handover.on_flushed(NOW)
    return handover, handover.on_barrier(2, NOW)


def test_connections_go_before_the_address_and_the_rest_after_it() -> None:
    handover, outputs = started()
    steps = [outputs]
    steps.append(handover.on_flushed(NOW))
    steps.append(handover.on_barrier(1, NOW))
    steps.append(handover.on_flushed(NOW))
    steps.append(handover.on_barrier(2, NOW))
    steps.append(handover.on_released(NOW))
    steps.append(handover.on_flushed(NOW))
    steps.append(handover.on_barrier(3, Instant(NOW + 40 * MILLISECOND)))

    assert steps == [
        [FlushKernel()],
        [StartBarrier(7, 1)],
        [FlushKernel()],
        [StartBarrier(7, 2)],
        [ReleaseAddresses()],
        [FlushKernel(handshakes=True)],
        [StartBarrier(7, 3)],
        [HandoverFinished(40 * MILLISECOND, "", 0)],
    ]
    assert handover.step is Step.IDLE
    assert handover.deadline is None


def test_without_a_peer_it_is_refused_and_all_connections_are_named_as_lost() -> None:
    handover, outputs = started(None)

    assert outputs == [HandoverRefused("no other director is connected", LOST, 100)]
    assert not handover.is_running


def test_force_goes_on_without_a_peer() -> None:
    handover, outputs = started(None, force=True)

    assert outputs == [ReleaseAddresses()]
    assert handover.on_released(NOW) == [FlushKernel(handshakes=True)]
    assert handover.on_flushed(NOW) == [HandoverFinished(0, "no other director is connected", 0)]


@pytest.mark.parametrize(
    ("missing", "says"),
    [
        (Readiness.SERVICES, "its services are not all in its kernel"),
        (Readiness.QUORUM, "a service has no quorum there"),
        (Readiness.INJECTS, "its kernel takes no entries"),
    ],
)
def test_a_peer_that_is_not_ready_is_waited_for_and_then_refused(missing: Readiness, says: str) -> None:
    unready = replace(PEER, readiness=READY & ~missing)
    handover, outputs = up_to_confirming(unready)
    assert outputs == []
    assert handover.on_peer(unready, LOST, NOW) == []
    assert handover.deadline == NOW + 10 * SECOND

    (refused,) = handover.on_deadline(Instant(NOW + 10 * SECOND))

    assert isinstance(refused, HandoverRefused)
    assert says in refused.reason
    assert refused.lost == LOST


def test_a_peer_that_becomes_ready_gets_the_address() -> None:
    handover, _ = up_to_confirming(replace(PEER, readiness=Readiness.SERVICES))

    assert handover.on_peer(PEER, (), NOW) == [ReleaseAddresses()]


def test_connections_that_are_on_their_way_do_not_hold_it_up() -> None:
    busy = replace(PEER, missing=3, coverage=0.97, waiting=2, in_flight_keys=1, lag=6 * MILLISECOND)

    assert up_to_confirming(busy)[1] == [ReleaseAddresses()]


@pytest.mark.parametrize(
    "lacking",
    [
        replace(PEER, missing=3, coverage=0.97),
        replace(PEER, missing=3, coverage=0.97, waiting=2, lag=6 * MILLISECOND),
        replace(PEER, missing=3, coverage=0.97, waiting=3, lag=200 * MILLISECOND),
    ],
    ids=["not-on-the-way", "one-not-on-the-way", "too-long-on-the-way"],
)
def test_connections_that_are_missing_do(lacking: PeerView) -> None:
    assert up_to_confirming(lacking)[1] == []


def test_a_lower_target_lets_some_be_lost() -> None:
    handover = Handover(target=0.9, patience=SECOND)
    handover.start(NOW, replace(PEER, missing=3, coverage=0.97), rows=100)
    handover.on_flushed(NOW)
    handover.on_barrier(1, NOW)
    handover.on_flushed(NOW)

    assert handover.on_barrier(2, NOW) == [ReleaseAddresses()]


def test_losing_the_peer_refuses_and_losing_it_after_the_release_only_ends() -> None:
    gone = replace(PEER, connected=False, missing=100)
    handover, _ = started()
    assert handover.on_peer(gone, LOST, NOW) == [HandoverRefused("lb2 was lost", LOST, 100)]

    handover, _ = up_to_confirming()
    assert handover.on_peer(gone, LOST, NOW) == [HandoverFinished(0, "", 100)]


def test_force_releases_at_the_deadline() -> None:
    handover, _ = up_to_confirming(replace(PEER, readiness=Readiness(0)), force=True)

    assert handover.on_deadline(Instant(NOW + 10 * SECOND)) == [ReleaseAddresses()]
    handover.on_released(NOW)
    (finished,) = handover.on_deadline(Instant(NOW + 11 * SECOND))

    assert isinstance(finished, HandoverFinished)
    assert "not ready" in finished.forced


def test_late_answers_change_nothing_and_two_at_once_are_refused() -> None:
    handover, _ = started()
    assert handover.on_barrier(1, NOW) == []
    assert handover.on_released(NOW) == []
    assert handover.on_peer(replace(PEER, peer=8), LOST, NOW) == []
    with pytest.raises(StateError):
        handover.start(NOW, PEER, rows=1)


def test_the_best_successor_is_ready_before_it_is_complete() -> None:
    unready = replace(PEER, peer=1, readiness=Readiness.SERVICES, coverage=1.0)
    lacking = replace(PEER, peer=2, coverage=0.9)
    away = replace(PEER, peer=3, connected=False)

    assert best_successor([unready, lacking, away]) == lacking
    assert best_successor([away]) is None
