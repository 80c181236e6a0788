"""ipvsadm and ours say and do the same: a part of it; ``ipvsadm_pair`` plays the rest."""

import itertools
import sys
from collections.abc import Iterator

import pytest

from tests.kernel.ipvsadm_commands import MAN_PAGE, PAIRS_TABLE, option_pairs, plain_lists, sequences
from tests.kernel.ipvsadm_pair import Pair, compare

pytestmark = [pytest.mark.kernel, pytest.mark.timeout(180)]


@pytest.fixture
def pair() -> Iterator[Pair]:
    pair = Pair()
    yield pair
    pair.close()


def test_examples_of_the_man_page(pair: Pair) -> None:
    count, found = compare(pair, MAN_PAGE)

    assert count == 6
    assert not found, found[0]


def test_sequences(pair: Pair) -> None:
    _, found = compare(pair, sequences(120, seed=2026), at_most=3)

    assert not found, "\n".join(map(str, found))


def test_plain_lists(pair: Pair) -> None:
    """By the program that starts without Python."""
    _, found = compare(pair, plain_lists(16, seed=63), at_most=3)

    assert not found, "\n".join(map(str, found))


def test_option_pairs(pair: Pair) -> None:
    _, found = compare(pair, itertools.islice(option_pairs(), 0, None, 211), table=PAIRS_TABLE, at_most=3)

    assert not found, "\n".join(map(str, found))


def test_sequences_as_processes() -> None:
    pair = Pair([sys.executable, "-m", "lvsha.cli.ipvsadm"])
    try:
        _, found = compare(pair, sequences(8, seed=7), at_most=3)
    finally:
        pair.close()

    assert not found, "\n".join(map(str, found))
