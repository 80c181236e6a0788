"""Words between two relays: told to who understands, once, of any frame size, and through loss."""

from lvsha.core.instant import SECOND
from lvsha.core.machine import Output
from lvsha.sync.relay_outputs import PeerLost, PeerTalks, SendDatagram, TakeWord
from lvsha.sync.talk import Arrived, SendWord, Talk
from lvsha.wire.relay import Readiness
from lvsha.wire.relay_talk import Got, News, Part, Purpose
from tests.sync.relay_pair import A, B, Pair

NEWS = News(digest=1, orders=2, generation="abc", version="1.0")


def talking() -> Pair:
    pair = Pair()
    pair.start()
    for director in (A, B):
        pair.perform(director, pair.relays[director].set_ready(Readiness.TALKS, pair.now))
    pair.run(SECOND)
    return pair


def words(pair: Pair, outputs: list[Output]) -> list[Output]:
    """What the other end makes of the datagrams."""
    found: list[Output] = []
    for output in outputs:
        assert isinstance(output, SendDatagram)
        assert len(output.data) <= pair.relays[A].settings.datagram
        found += pair.deliver(A, B, output.data)
    return [each for each in found if isinstance(each, TakeWord)]


def test_a_word_reaches_a_peer_that_says_that_it_understands() -> None:
    pair = talking()

    assert words(pair, pair.relays[A].talk(B, NEWS)) == [TakeWord(A, NEWS)]
    assert pair.said(A, PeerTalks) == [PeerTalks(B, B)]


def test_an_older_peer_is_told_nothing() -> None:
    pair = Pair()
    pair.start()
    pair.run(SECOND)

    assert pair.view(A).connected
    assert pair.relays[A].talk(B, NEWS) == []
    assert pair.relays[A].talk(7, NEWS) == []
    assert not pair.said(A, PeerTalks)


def test_a_peer_that_is_back_says_it_again() -> None:
    pair = talking()
    pair.passes = lambda sender, data: False
    pair.run(6 * SECOND)
    assert pair.said(A, PeerLost)
    assert pair.relays[A].talk(B, NEWS) == []

    pair.passes = lambda sender, data: True
    pair.run(3 * SECOND)

    assert len(pair.said(A, PeerTalks)) == 2


def test_a_full_part_fills_a_datagram_and_no_more() -> None:
    pair = talking()
    data = bytes(pair.relays[A].part_room)
    part = Part(purpose=Purpose.ORDERS, transfer=1, parts=1, index=0, data=data)

    (sent,) = pair.relays[A].talk(B, part)

    assert isinstance(sent, SendDatagram)
    assert len(sent.data) == pair.relays[A].settings.datagram
    assert words(pair, [sent]) == [TakeWord(A, part)]


def test_a_long_message_passes_a_wire_that_loses_every_fifth_frame() -> None:
    pair = talking()
    ends = {A: Talk(), B: Talk()}
    ends[A].connect(B, B)
    ends[B].connect(A, A)
    arrived: list[bytes] = []
    count = 0

    def passes(sender: int, data: bytes) -> bool:
        nonlocal count
        count += 1
        return count % 5 != 0

    def take(director: int, outputs: list[Output]) -> None:
        for output in outputs:
            if isinstance(output, SendWord):
                pair_perform(director, pair.relays[director].talk(output.peer, output.word))
            elif isinstance(output, Arrived):
                arrived.append(output.data)

    pair_perform = pair.perform

    def perform(director: int, outputs: list[Output]) -> None:
        pair_perform(director, outputs)
        for output in outputs:
            if isinstance(output, TakeWord) and isinstance(output.word, (Part, Got)):
                take(director, ends[director].receive(output.peer, output.word, pair.now))

    pair.perform = perform  # type: ignore[method-assign]  # both ends hear what comes
    pair.passes = passes
    data = bytes(range(256)) * 400
    _, outputs = ends[A].send(B, Purpose.QUESTION, data, pair.now, room=pair.relays[A].part_room)
    take(A, outputs)
    for _ in range(50):
        pair.run(SECOND // 10)
        for director, talk in ends.items():
            if talk.deadline is not None and talk.deadline <= pair.now:
                take(director, talk.on_deadline(pair.now))

    assert arrived == [data]
