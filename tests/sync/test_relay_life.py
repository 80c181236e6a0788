"""Which life of a peer counts: challenges, answers, and how often anybody is asked."""

from lvsha.core.instant import MILLISECOND, SECOND, Instant
from lvsha.sync.relay_life import (
    HELLO_LATER,
    HELLO_LEAST,
    HELLO_SOON,
    HELLOS_SOON,
    UNKNOWN_EPOCHS_MOST,
    WELCOME_LEAST,
    Life,
)
from lvsha.wire.relay import Hello, Welcome

OURS, THEIRS, OTHER = 11, 22, 33
NOW = Instant(0)


def at(instant: int) -> Instant:
    return Instant(instant)


def test_only_an_answer_to_the_challenge_of_now_is_one() -> None:
    """A recorded WELCOME holds an old challenge, or an old epoch of ours."""
    life = Life(OURS, NOW)
    first = life.hello(NOW).challenge

    assert not life.is_answer(Welcome(epoch=OURS, challenge=first + 1))
    assert not life.is_answer(Welcome(epoch=OTHER, challenge=first))
    assert life.is_answer(Welcome(epoch=OURS, challenge=first))
    life.answered(THEIRS)
    assert not life.is_answer(Welcome(epoch=OURS, challenge=first))
    assert life.hello(NOW).challenge == first + 1


def test_a_challenge_stays_until_it_is_answered() -> None:
    life = Life(OURS, NOW)

    assert life.hello(NOW) == life.hello(at(SECOND))


def test_another_life_of_the_peer_does_not_hear_us_yet() -> None:
    life = Life(OURS, NOW)
    life.answered(THEIRS)
    life.hears_us = True
    assert life.is_mutual

    assert not life.answered(THEIRS)
    assert life.is_mutual
    assert life.answered(OTHER)
    assert not life.is_mutual


def test_who_is_not_there_is_asked_less_often_later_and_not_at_all_while_it_is() -> None:
    life = Life(OURS, NOW)
    for number in range(HELLOS_SOON + 1):
        life.hello(at(number * SECOND))
        pause = HELLO_SOON if number < HELLOS_SOON else HELLO_LATER
        assert life.hello_at == number * SECOND + pause

    life.settle()
    life.hello(at(60 * SECOND))

    assert life.hello_at is None
    assert not life.may_ask_again(at(60 * SECOND + HELLO_LEAST - 1))
    assert life.may_ask_again(at(60 * SECOND + HELLO_LEAST))


def test_a_hello_is_answered_once_in_a_while() -> None:
    life = Life(OURS, NOW)

    assert life.welcome(Hello(challenge=5), THEIRS, NOW) == Welcome(epoch=THEIRS, challenge=5)
    assert life.welcome(Hello(challenge=6), THEIRS, at(WELCOME_LEAST - 1)) is None
    assert life.welcome(Hello(challenge=6), THEIRS, at(WELCOME_LEAST)) is not None


def test_tries_at_epochs_that_are_not_accepted_are_bounded() -> None:
    life = Life(OURS, NOW)

    allowed = sum(life.allows_unknown(at(MILLISECOND)) for _ in range(2 * UNKNOWN_EPOCHS_MOST))

    assert allowed == UNKNOWN_EPOCHS_MOST
    assert life.allows_unknown(at(SECOND + MILLISECOND))
