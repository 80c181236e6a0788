"""What the kernel drops without a word is found and named; each once, and once more when it is over."""

from ipaddress import IPv4Address

import pytest

from lvsha.core.instant import SECOND, Instant, after
from lvsha.sync.neighbours import (
    GONE_AFTER,
    TROUBLES_MOST,
    Heard,
    Neighbours,
    NeighbourTrouble,
    NeighbourWell,
    Trouble,
)

PEER = IPv4Address("10.0.0.2")


def neighbours(*, peers: int = 1) -> Neighbours:
    return Neighbours(syncid=51, port=8848, maxlen=1472, peers=peers)


def heard(*, source: IPv4Address = PEER, port: int = 8848, syncid: int = 51, size: int = 44) -> Heard:
    return Heard(source, port, syncid, size)


@pytest.mark.parametrize(
    ("message", "trouble"),
    [
        (heard(syncid=52), Trouble.OTHER_SYNCID),
        (heard(port=8850), Trouble.OTHER_PORT),
        (heard(size=8_972), Trouble.TOO_LONG),
    ],
)
def test_a_message_that_no_daemon_takes_is_said_once_and_when_it_is_over(
    message: Heard, trouble: Trouble
) -> None:
    ours = neighbours()

    (event,) = ours.look([message, message], delivered=True, now=Instant(0))

    assert isinstance(event, NeighbourTrouble)
    assert (event.trouble, event.source) == (trouble, "10.0.0.2")
    assert ours.look([message], delivered=True, now=Instant(SECOND)) == []
    assert [each[0] for each in ours.troubles] == [trouble]
    over = after(Instant(SECOND), GONE_AFTER)
    assert ours.look([], delivered=True, now=over) == [NeighbourWell(trouble, "10.0.0.2")]
    assert ours.troubles == ()


def test_a_good_peer_is_no_trouble() -> None:
    ours = neighbours()

    assert all(ours.look([heard()], delivered=True, now=Instant(n * SECOND)) == [] for n in range(100))


def test_what_arrives_and_is_not_delivered_was_swallowed_by_a_filter() -> None:
    ours = neighbours()

    assert ours.look([heard()], delivered=False, now=Instant(0)) == []
    assert ours.look([heard()], delivered=False, now=Instant(SECOND)) == []
    (event,) = ours.look([heard()], delivered=False, now=Instant(2 * SECOND))

    assert isinstance(event, NeighbourTrouble)
    assert event.trouble is Trouble.FILTERED


def test_silence_is_no_filter() -> None:
    ours = neighbours()

    assert all(ours.look([], delivered=False, now=Instant(n * SECOND)) == [] for n in range(10))


def test_more_speakers_than_directors_share_a_syncid() -> None:
    stranger = heard(source=IPv4Address("10.0.0.77"))

    assert neighbours(peers=2).look([heard(), stranger], delivered=True, now=Instant(0)) == []
    (event,) = neighbours(peers=1).look([heard(), stranger], delivered=True, now=Instant(0))

    assert isinstance(event, NeighbourTrouble)
    assert event.trouble is Trouble.SHARED_SYNCID
    assert event.source == "10.0.0.2, 10.0.0.77"


def test_invented_sources_are_bounded() -> None:
    ours = neighbours()
    flood = [heard(source=IPv4Address(number), syncid=9) for number in range(10_000)]

    assert len(ours.look(flood, delivered=True, now=Instant(0))) == TROUBLES_MOST
    assert len(ours.troubles) == TROUBLES_MOST
